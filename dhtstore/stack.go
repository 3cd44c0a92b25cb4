package dhtstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	alog "github.com/anacrolix/log"
	"golang.org/x/time/rate"
)

// stack is a node's half in one of the two DHTs: socket, guard, the library's
// transactions, our id and routing table there, and what others store with us
// there.
type stack struct {
	// Static.
	node   *Node
	family family
	local  netip.AddrPort
	guard  *guard
	server *dht.Server
	began  time.Time

	settled chan struct{} // closed when somebody answers, or there is nobody to ask
	wake    chan struct{} // tells maintain that others shall hear of us

	// Owned by the reader, in respond: the reply being made.
	out []byte

	// Under node.mu.
	table      *table
	peers      *peerStore
	items      *itemStore
	saved      []contact // the last good table, to come back to
	boot       []netip.AddrPort
	hints      []contact // named by the other DHT while we are alone here
	isSettled  bool
	lastAnswer time.Time
	external   votes
	estimates  estimates
	moved      time.Time // when the id was last changed
}

func newStack(n *Node, f family, conn net.PacketConn, saved savedFamily) (*stack, error) {
	local, _ := addrPort(conn.LocalAddr())
	self := saved.id
	if self == (nodeID{}) {
		self = nodeID(krpc.RandomNodeID())
	}
	s := &stack{
		node: n, family: f, local: local, began: time.Now(),
		table: newTable(self), peers: newPeerStore(), items: newItemStore(),
		saved:   saved.nodes,
		settled: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	s.guard = newGuard(conn, &n.counts, s.usable)
	s.guard.onQuery = s.answer
	s.guard.identity = s.identity
	server, err := dht.NewServer(&dht.ServerConfig{
		NodeId:     krpc.ID(self), // the guard puts in that of today
		NoSecurity: true,          // ours to judge
		Conn:       s.guard,
		// No query gets as far as this.
		OnQuery:          func(*krpc.Msg, net.Addr) bool { return false },
		StartingNodes:    func() ([]dht.Addr, error) { return nil, nil },
		DefaultWant:      []krpc.Want{krpc.Want(f.want())},
		QueryResendDelay: func() time.Duration { return queryTimeout },
		// Ours is in query; this one is here because the library's default is
		// shared by the whole process.
		SendLimiter: rate.NewLimiter(rate.Inf, 1),
		Logger:      alog.NewLogger().WithFilterLevel(alog.Disabled),
	})
	if err != nil {
		return nil, fmt.Errorf("dhtstore: %w", err)
	}
	s.server = server
	return s, nil
}

func (s *stack) close() {
	s.server.Close()
	<-s.guard.closed
}

// usable is [Config.usable] for this DHT.
func (s *stack) usable(addr netip.AddrPort) bool {
	f, ok := familyOf(addr.Addr())
	return ok && f == s.family && s.node.cfg.usable(addr)
}

func (s *stack) named(addr netip.AddrPort) bool { return s.usable(addr) && s.node.cfg.named(addr) }

// identity is what our queries say of us.
func (s *stack) identity() (self nodeID, readOnly bool) {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	return s.table.self, s.node.readOnly.Load()
}

// fitID changes our id, if need be, to one that fits the public address ip by
// BEP 42. The caller holds mu.
func (s *stack) fitID(ip netip.Addr) bool {
	self := s.table.self
	if secureID(contact{self, netip.AddrPortFrom(ip, 1)}) {
		return false
	}
	self.fit(ip)
	s.table.moveTo(time.Now(), self)
	return true
}

// nudge has maintain look for our own place soon.
func (s *stack) nudge() {
	select {
	case s.wake <- struct{}{}:
	default: // told already
	}
}

// other is the node's stack in the other DHT, or nil.
func (s *stack) other() *stack {
	for _, o := range s.node.stacks {
		if o != s {
			return o
		}
	}
	return nil
}

// settle ends the waiting for a first answer. The caller holds mu.
func (s *stack) settle() {
	if !s.isSettled {
		s.isSettled = true
		close(s.settled)
	}
}

// query sends one query and waits for its reply, once. It keeps the table
// informed. An error reply is an error of type [krpc.Error].
func (s *stack) query(ctx context.Context, addr netip.AddrPort, m method, args krpc.MsgArgs, write bool) (*krpc.Msg, error) {
	n := s.node
	if addr == s.local || !s.usable(addr) {
		return nil, errAddress
	}
	if err := n.budget.wait(ctx, addr, write); err != nil {
		if errors.Is(err, ErrBusy) {
			n.counts.inc(countBusy)
		}
		return nil, err
	}
	n.counts.inc(countAsked)
	res := s.server.Query(ctx, dht.NewAddr(net.UDPAddrFromAddrPort(addr)), m.String(), dht.QueryInput{
		MsgArgs:      args,
		NumTries:     1,
		RateLimiting: dht.QueryRateLimiting{NotAny: true},
	})
	if res.Err != nil {
		if !errors.Is(res.Err, dht.TransactionTimeout) {
			return nil, res.Err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		n.counts.inc(countTimeouts)
		n.mu.Lock()
		s.table.failed(addr)
		n.mu.Unlock()
		return nil, errTimeout
	}
	reply := res.Reply
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	s.settle()
	s.lastAnswer = now
	if e := reply.Error(); e != nil {
		n.counts.inc(countRefused)
		return nil, *e
	}
	if reply.R == nil {
		return nil, errTimeout // the guard lets no such message through
	}
	n.counts.inc(countAnswered)
	s.table.answered(now, contact{nodeID(reply.R.ID), addr})
	if ext, ok := replyExternal(&reply); ok && s.sameFamily(ext) {
		s.external.note(now, addr, ext)
	}
	return &reply, nil
}

func (s *stack) sameFamily(addr netip.AddrPort) bool {
	f, ok := familyOf(addr.Addr())
	return ok && f == s.family
}

// insist is query with a second try, for what a lookup worked towards.
func (s *stack) insist(ctx context.Context, addr netip.AddrPort, m method, args krpc.MsgArgs, write bool) (*krpc.Msg, error) {
	r, err := s.query(ctx, addr, m, args, write)
	if errors.Is(err, errTimeout) {
		return s.query(ctx, addr, m, args, write)
	}
	return r, err
}

// verify pings a node that asked us something; if it answers, it is in the
// table.
func (s *stack) verify(c contact) {
	ctx, done, err := s.node.begin(s.node.ctx)
	if err != nil {
		return
	}
	go func() {
		defer done()
		_, _ = s.query(ctx, c.addr, methodPing, krpc.MsgArgs{}, false) // the table knows
	}()
}

// isSelf reports whether addr is ours, as far as we know.
func (s *stack) isSelf(addr netip.AddrPort) bool {
	if addr == s.local {
		return true
	}
	// Listening on all addresses, nobody else has our port on loopback.
	if s.local.Addr().IsUnspecified() && addr.Addr().IsLoopback() && addr.Port() == s.local.Port() {
		return true
	}
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	us, ok := s.external.address(time.Now())
	return ok && addr == us
}

// replyExternal is our address as the replier sees it.
func replyExternal(m *krpc.Msg) (netip.AddrPort, bool) {
	return addrOf(m.IP)
}

// addrOf is an address that the library read: 4 bytes or 16, as they came.
func addrOf(a krpc.NodeAddr) (netip.AddrPort, bool) {
	ip, ok := netip.AddrFromSlice(a.IP)
	return netip.AddrPortFrom(ip, uint16(a.Port)), ok && a.Port != 0
}
