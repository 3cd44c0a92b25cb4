package dhtstore

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draeder/peerservers/federation"
)

// Node is a DHT node in the IPv4 DHT, the IPv6 one or both, and the
// federation's directory in them. One that never publishes a record (as
// `peerservers dht` runs) is a plain DHT node.
//
// What belongs to one DHT is in its stack. The node has what is one for both:
// the packet budget, the limits on what others may ask, our record, and the
// numbers of the records seen.
type Node struct {
	// Static.
	cfg    Config
	stacks []*stack // by family, those that there are
	budget *budget
	salt   []byte // of our record and those that we look for
	counts counters

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	readOnly atomic.Bool

	saving sync.Mutex // held while the state file is written; before mu

	mu       sync.Mutex
	closed   bool
	calls    sync.WaitGroup // Add only while not closed
	rand     *rand.Rand
	record   *storedItem // our own
	seen     *seqs
	saved    [families]savedFamily // as in the file, those not spoken today too
	tokens   tokens
	incoming perHost
	puts     perHost
	pingEach perHost
	pingAll  bucket
	replies  bucket
	resolves bucket
}

var _ federation.Directory = (*Node)(nil)

// New starts a node. It needs no network to start, and looks for one for as
// long as it runs.
func New(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.withDefaults()
	saved, err := loadState(cfg.Dir)
	if err != nil {
		return nil, err
	}
	conns := cfg.Conns
	if len(conns) == 0 {
		if conns, err = cfg.open(); err != nil {
			return nil, err
		}
	}
	n, err := start(cfg, conns, saved)
	if err != nil {
		closeConns(conns)
		return nil, err
	}
	return n, nil
}

func start(cfg Config, conns []net.PacketConn, saved *savedState) (*Node, error) {
	var seed [32]byte
	var secret tokens
	for _, b := range [][]byte{seed[:], secret.secret[:]} {
		if _, err := crand.Read(b); err != nil {
			return nil, fmt.Errorf("dhtstore: %w", err)
		}
	}
	n := &Node{
		cfg:      cfg,
		budget:   newBudget(cfg.PacketRate),
		salt:     saltOr(cfg.RecordSalt),
		tokens:   secret,
		rand:     rand.New(rand.NewChaCha8(seed)),
		seen:     saved.seen,
		saved:    saved.of,
		incoming: newPerHost(rateLimit{10, 20}, rateLimit{500, 1000}),
		puts:     newPerHost(rateLimit{10.0 / 60, 10}, rateLimit{10, 100}),
		pingEach: newPerHost(rateLimit{1.0 / 60, 1}, rateLimit{1, 2}),
	}
	n.readOnly.Store(cfg.ReadOnly)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	for f := range families {
		for _, conn := range conns {
			local, _ := addrPort(conn.LocalAddr())
			if g, ok := familyOf(local.Addr()); !ok || g != f {
				continue
			}
			s, err := newStack(n, f, conn, saved.of[f])
			if err != nil {
				n.cancel()
				for _, s := range n.stacks {
					s.close()
				}
				return nil, err
			}
			n.stacks = append(n.stacks, s)
		}
	}
	// Each reads since it was made, and waits for all to be there.
	n.calls.Add(1 + len(n.stacks))
	for _, s := range n.stacks {
		close(s.guard.ready)
		go func() {
			defer n.calls.Done()
			s.maintain(n.ctx)
		}()
	}
	go func() {
		defer n.calls.Done()
		n.housekeep(n.ctx)
	}()
	return n, nil
}

// LocalAddr is the address that the node listens on; of two, that of IPv4.
func (n *Node) LocalAddr() netip.AddrPort { return n.stacks[0].local }

// LocalAddrs are all addresses that the node listens on.
func (n *Node) LocalAddrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range n.stacks {
		out = append(out, s.local)
	}
	return out
}

// stack returns the one for addresses like a, or nil.
func (n *Node) stack(a netip.Addr) *stack {
	for _, s := range n.stacks {
		if f, ok := familyOf(a); ok && f == s.family {
			return s
		}
	}
	return nil
}

// SetReadOnly makes the node ask only, as [Config.ReadOnly] does from the
// start, or answer as well. One that begins to answer makes itself known.
func (n *Node) SetReadOnly(yes bool) {
	if n.readOnly.Swap(yes) && !yes {
		for _, s := range n.stacks {
			s.nudge()
		}
	}
}

// External returns what others say about this node's addresses, the most
// often said first. They may lie, and a NAT may give each of them another
// port.
func (n *Node) External() []External {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []External
	for _, s := range n.stacks {
		out = append(out, s.external.count(now)...)
	}
	sortExternal(out)
	return out
}

// begin admits a call and ties its context to the node's life.
func (n *Node) begin(ctx context.Context) (context.Context, func(), error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, nil, ErrClosed
	}
	n.calls.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(n.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
		n.calls.Done()
	}, nil
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

// each runs f for all stacks at once, none of which waits for another, and
// returns nil if one of them does. Of several errors the one that says most
// is returned.
func (n *Node) each(f func(*stack) error) error {
	if len(n.stacks) == 1 {
		return f(n.stacks[0])
	}
	var wg sync.WaitGroup
	errs := make([]error, len(n.stacks))
	for i, s := range n.stacks {
		wg.Go(func() { errs[i] = f(s) })
	}
	wg.Wait()
	return mergeErrors(errs)
}

func mergeErrors(errs []error) error {
	out := errs[0]
	for _, err := range errs {
		if err == nil {
			return nil
		}
		if errors.Is(out, errNoAnswer) {
			out = err
		}
	}
	return out
}

// Close ends all calls, saves the state and returns when nothing of the node
// runs any more.
func (n *Node) Close() error {
	n.mu.Lock()
	first := !n.closed
	n.closed = true
	n.mu.Unlock()
	n.cancel()
	n.calls.Wait()
	if !first {
		return nil
	}
	err := n.save()
	for _, s := range n.stacks {
		s.close()
	}
	return err
}

// housekeep saves the state and forgets what has expired.
func (n *Node) housekeep(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	saved := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		n.mu.Lock()
		for _, s := range n.stacks {
			s.peers.expire(now)
			s.items.expire(now)
		}
		n.mu.Unlock()
		if now.Sub(saved) >= saveEvery {
			saved = now
			if err := n.save(); err != nil {
				n.cfg.Log.Warn("cannot save the DHT state", "error", err)
			}
		}
	}
}
