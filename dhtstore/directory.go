package dhtstore

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
	"github.com/draeder/peerservers/federation"
)

const (
	// maxSightings bounds what one lookup reports.
	maxSightings = 1000
	// quorum is how many must agree on the newest record before a fetch ends
	// early.
	quorum = 2
	// formingTime is how long a call waits for the first answer of anybody.
	formingTime = 2 * time.Second
)

// Lookup implements [federation.Directory].
func (n *Node) Lookup(ctx context.Context, target federation.Target, announce bool, found func(netip.AddrPort)) error {
	caller := ctx
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	n.counts.inc(countLookups)

	// What others announced to us is part of the answer: in a network of two,
	// all of it.
	sightings := 0
	own := make(map[netip.AddrPort]bool)
	report := func(addr netip.AddrPort) {
		if found != nil && sightings < maxSightings && n.cfg.named(addr) && !n.isSelf(addr) {
			sightings++
			found(addr)
		}
	}
	reportOwn := func() {
		n.mu.Lock()
		stored := n.peers.sample(time.Now(), n.rand, nodeID(target), maxPeers)
		n.mu.Unlock()
		for _, addr := range stored {
			if !own[addr] {
				own[addr] = true
				report(addr)
			}
		}
	}
	reportOwn()

	n.await(ctx)
	l := n.newLookup(nodeID(target))
	args := krpc.MsgArgs{InfoHash: krpc.ID(target), Want: []krpc.Want{krpc.WantNodes}}
	err = n.traverse(ctx, l, methodGetPeers, args, func(_ contact, reply *krpc.Msg) bool {
		us, _ := replyExternal(reply)
		for _, v := range reply.R.Values {
			ip, ok := netip.AddrFromSlice(v.IP)
			addr := netip.AddrPortFrom(ip.Unmap(), uint16(v.Port))
			// Who names us among the announced says in the same reply which
			// address is ours.
			if ok && addr != us {
				report(addr)
			}
		}
		return true
	})
	if err == nil && announce {
		port := int(n.local.Port())
		written := n.writeAll(ctx, l, methodAnnounce, func(token string) krpc.MsgArgs {
			return krpc.MsgArgs{InfoHash: krpc.ID(target), Port: &port, ImpliedPort: true, Token: token}
		})
		n.counts.add(countAnnounces, written.ok)
		if written.ok == 0 {
			err = written.err
		}
	}
	reportOwn()
	return n.failure(caller, err)
}

// failure prefers to say that the caller or Close ended a call.
func (n *Node) failure(caller context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case n.ctx.Err() != nil:
		return ErrClosed
	case caller.Err() != nil:
		return caller.Err()
	}
	return err
}

// isSelf reports whether addr is ours, as far as we know.
func (n *Node) isSelf(addr netip.AddrPort) bool {
	if addr == n.local || n.cfg.PublicIP.IsValid() && addr == netip.AddrPortFrom(n.cfg.PublicIP, n.local.Port()) {
		return true
	}
	// Listening on all addresses, nobody else has our port on loopback.
	if n.local.Addr().IsUnspecified() && addr.Addr().IsLoopback() && addr.Port() == n.local.Port() {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	us, ok := n.external.address(time.Now())
	return ok && addr == us
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
	if !n.cfg.named(addr) || n.isSelf(addr) {
		return federation.Item{}, errAddress
	}
	item, err := n.resolve(ctx, addr)
	if err != nil {
		n.counts.inc(countResolvesFailed)
		return federation.Item{}, n.failure(caller, err)
	}
	n.counts.inc(countResolves)
	return item, nil
}

func (n *Node) resolve(ctx context.Context, addr netip.AddrPort) (federation.Item, error) {
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
	reply, err := n.insist(ctx, addr, methodRecord, krpc.MsgArgs{}, false)
	if err != nil {
		return federation.Item{}, err
	}
	if reply.R.Token == nil {
		return federation.Item{}, ErrNotFound
	}
	reply, err = n.insist(ctx, addr, methodRecord, krpc.MsgArgs{Token: *reply.R.Token}, true)
	if err != nil {
		return federation.Item{}, err
	}
	return n.accept(itemOf(reply.R))
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
	if err := verifyItem(item); err != nil {
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

	target := recordTarget(key)
	var (
		best  federation.Item
		votes int
	)
	take := func(item federation.Item) {
		if !bytes.Equal(item.Key, key) {
			return
		}
		item, err := n.accept(item)
		switch {
		case err != nil || votes > 0 && item.Seq < best.Seq:
		case votes > 0 && item.Seq == best.Seq:
			votes++
		default:
			best, votes = item, 1
		}
	}
	n.mu.Lock()
	if it := n.stored(time.Now(), target); it != nil && it.key != nil {
		best = federation.Item{Key: it.key, Seq: it.seq, Sig: [64]byte(it.sig), Value: it.value}
		best = cloneItem(best)
	}
	n.mu.Unlock()
	if best.Key != nil {
		take(best)
	}

	args := krpc.MsgArgs{Target: krpc.ID(target), Want: []krpc.Want{krpc.WantNodes}}
	n.await(ctx)
	l := n.newLookup(target)
	err = n.traverse(ctx, l, methodGet, args, func(from contact, reply *krpc.Msg) bool {
		if r := reply.R; len(r.V) == 0 && r.Seq != nil && r.Token != nil {
			// It has the record and does not send that much to an address that
			// may not be ours; with the token it does.
			more := args
			more.Token = *r.Token
			if again, err := n.insist(ctx, from.addr, methodGet, more, false); err == nil {
				reply = again
			}
		}
		if len(reply.R.V) > 0 {
			take(itemOf(reply.R))
		}
		return votes < quorum
	})
	if votes > 0 {
		return best, nil
	}
	if err == nil {
		err = ErrNotFound
	}
	return federation.Item{}, n.failure(caller, err)
}

// Publish implements [federation.Directory].
func (n *Node) Publish(ctx context.Context, item federation.Item) error {
	if err := verifyItem(item); err != nil {
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
	target := recordTarget(item.Key)

	n.mu.Lock()
	if !n.seen.note(item.Key, item.Seq) {
		n.mu.Unlock()
		return ErrStale
	}
	n.record = &storedItem{
		target: target, key: item.Key, salt: []byte(recordSalt), sig: item.Sig[:],
		seq: item.Seq, value: item.Value,
	}
	n.mu.Unlock()
	// Before anybody else knows the sequence number: it must never be used
	// again for another value.
	if err := n.save(); err != nil {
		n.cfg.Log.Warn("cannot save the DHT state", "error", err)
	}

	n.await(ctx)
	l := n.newLookup(target)
	args := krpc.MsgArgs{Target: krpc.ID(target), Want: []krpc.Want{krpc.WantNodes}}
	if err := n.traverse(ctx, l, methodGet, args, nil); err != nil {
		return n.failure(caller, err)
	}
	written := n.writeAll(ctx, l, methodPut, func(token string) krpc.MsgArgs {
		seq := item.Seq
		return krpc.MsgArgs{
			V: bencode.Bytes(item.Value), K: [32]byte(item.Key), Salt: []byte(recordSalt),
			Seq: &seq, Sig: item.Sig, Token: token,
		}
	})
	n.counts.add(countPuts, written.ok)
	if written.ok > 0 {
		return nil
	}
	var refused krpc.Error
	if errors.As(written.err, &refused) && refused.Code == codeSeq {
		return ErrStale
	}
	return n.failure(caller, written.err)
}

// HighestSeq returns the highest sequence number known of key's records, also
// from before the last restart; the next record's must be higher.
func (n *Node) HighestSeq(key ed25519.PublicKey) (seq int64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen.highest(key)
}
