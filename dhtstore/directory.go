package dhtstore

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/draeder/peerservers/federation"
)

// quorum is how many must agree on the newest record before a fetch ends
// early.
const quorum = 2

// Lookup implements [federation.Directory].
func (n *Node) Lookup(ctx context.Context, target federation.Target, announce bool, found func(netip.AddrPort)) error {
	caller := ctx
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	n.counts.inc(countLookups)

	// The DHTs are searched at once; found is called from here only.
	sightings := make(chan netip.AddrPort)
	ended := make(chan error, 1)
	go func() {
		ended <- n.each(func(s *stack) error {
			return s.search(ctx, nodeID(target), announce, func(addr netip.AddrPort) { sightings <- addr })
		})
	}()
	for {
		select {
		case addr := <-sightings:
			if found != nil {
				found(addr)
			}
		case err := <-ended:
			return n.failure(caller, err)
		}
	}
}

// resolveLimit bounds Resolve: the addresses come from strangers.
func resolveLimit() rateLimit { return rateLimit{rate: 5, burst: 10} }

// Resolve implements [federation.Directory].
func (n *Node) Resolve(ctx context.Context, addr netip.AddrPort) (federation.Item, error) {
	caller := ctx
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return federation.Item{}, err
	}
	defer done()
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	s := n.stack(addr.Addr())
	if s == nil || !s.named(addr) || s.isSelf(addr) {
		return federation.Item{}, errAddress
	}
	item, err := s.resolve(ctx, addr)
	if err != nil {
		n.counts.inc(countResolvesFailed)
		return federation.Item{}, n.failure(caller, err)
	}
	n.counts.inc(countResolves)
	return item, nil
}

func (s *stack) resolve(ctx context.Context, addr netip.AddrPort) (federation.Item, error) {
	n := s.node
	now := time.Now()
	n.mu.Lock()
	d := n.resolves.delay(now, resolveLimit(), 0)
	n.resolves.tokens--
	n.mu.Unlock()
	if err := sleep(ctx, d); err != nil {
		n.mu.Lock()
		n.resolves.tokens++
		n.mu.Unlock()
		return federation.Item{}, err
	}
	ask := s.askRecord
	if n.inClosed() {
		ask = s.askMember
	}
	reply, err := ask(ctx, addr)
	if err != nil {
		return federation.Item{}, err
	}
	return n.accept(itemOf(reply))
}

// askRecord asks a node for its record, with the token that it gives first.
func (s *stack) askRecord(ctx context.Context, addr netip.AddrPort) (*krpc.Return, error) {
	reply, err := s.insist(ctx, addr, methodRecord, krpc.MsgArgs{}, false)
	if err != nil {
		return nil, err
	}
	if reply.R.Token == nil {
		return nil, ErrNotFound
	}
	if reply, err = s.insist(ctx, addr, methodRecord, krpc.MsgArgs{Token: *reply.R.Token}, true); err != nil {
		return nil, err
	}
	return reply.R, nil
}

// sleep waits for d, or says at once that ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Now().Add(d).After(deadline) {
		return ErrBusy
	}
	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// accept checks a record from the network: its signature, and that it is not
// older than one that we have seen, even before the last restart.
func (n *Node) accept(item federation.Item) (federation.Item, error) {
	if len(item.Value) == 0 {
		return federation.Item{}, ErrNotFound
	}
	if err := verifyItem(item, n.salt); err != nil {
		n.counts.inc(countBadRecords)
		return federation.Item{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.seen.note(item.Key, item.Seq) {
		n.counts.inc(countStaleRecords)
		return federation.Item{}, ErrStale
	}
	return item, nil
}

func itemOf(r *krpc.Return) federation.Item {
	item := federation.Item{Key: slices.Clone(r.K[:]), Sig: r.Sig, Value: bytes.Clone(r.V)}
	if r.Seq == nil {
		item.Value = nil
		return item
	}
	item.Seq = *r.Seq
	return item
}

// Fetch implements [federation.Directory]. It ends when two nodes agree on
// the newest record seen, and otherwise when the lookup does.
func (n *Node) Fetch(ctx context.Context, key ed25519.PublicKey) (federation.Item, error) {
	if len(key) != ed25519.PublicKeySize {
		return federation.Item{}, errBadKey
	}
	caller := ctx
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return federation.Item{}, err
	}
	defer done()
	n.counts.inc(countFetches)

	// One DHT's answers vouch for the other's: the signature is what counts.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := newest{node: n, key: key}
	err = n.each(func(s *stack) error { return s.fetch(ctx, &r, cancel) })
	if item, ok := r.best(); ok {
		return item, nil
	}
	if err == nil {
		err = ErrNotFound
	}
	return federation.Item{}, n.failure(caller, err)
}

// newest collects the answers to a fetch.
type newest struct {
	node *Node
	key  ed25519.PublicKey

	mu    sync.Mutex
	item  federation.Item
	votes int
}

// take judges an item and reports whether enough agree on the newest.
func (r *newest) take(item federation.Item) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bytes.Equal(item.Key, r.key) {
		item, err := r.node.accept(item)
		switch {
		case err != nil || r.votes > 0 && item.Seq < r.item.Seq:
		case r.votes > 0 && item.Seq == r.item.Seq:
			r.votes++
		default:
			r.item, r.votes = item, 1
		}
	}
	return r.votes >= quorum
}

func (r *newest) best() (federation.Item, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.item, r.votes > 0
}

// Publish implements [federation.Directory].
func (n *Node) Publish(ctx context.Context, item federation.Item) error {
	if err := verifyItem(item, n.salt); err != nil {
		return err
	}
	caller := ctx
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	n.counts.inc(countPublishes)
	item = cloneItem(item)
	target := recordTarget(item.Key, n.salt)

	n.mu.Lock()
	if !n.seen.note(item.Key, item.Seq) {
		n.mu.Unlock()
		return ErrStale
	}
	n.record = &storedItem{
		target: target, key: item.Key, salt: n.salt, sig: item.Sig[:],
		seq: item.Seq, value: item.Value,
	}
	n.mu.Unlock()
	// Before anybody else knows the sequence number: it must never be used
	// again for another value.
	if err := n.save(); err != nil {
		n.cfg.Log.Warn("cannot save the DHT state", "error", err)
	}

	err = n.each(func(s *stack) error { return s.publish(ctx, target, item) })
	var refused krpc.Error
	if errors.As(err, &refused) && refused.Code == codeSeq {
		return ErrStale
	}
	return n.failure(caller, err)
}

// HighestSeq returns the highest sequence number known of key's records, also
// from before the last restart; the next record's must be higher.
func (n *Node) HighestSeq(key ed25519.PublicKey) (seq int64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen.highest(key)
}
