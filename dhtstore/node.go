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

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	alog "github.com/anacrolix/log"
	"github.com/draeder/peerservers/federation"
	"golang.org/x/time/rate"
)

// Node is a DHT node, and the federation's directory in the DHT. One that
// never publishes a record (as `peerservers dht` runs) is a plain DHT node.
type Node struct {
	// Static.
	cfg    Config
	local  netip.AddrPort
	guard  *guard
	server *dht.Server
	budget *budget
	counts counters

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	formed chan struct{} // closed when somebody answers for the first time
	wake   chan struct{} // tells maintain that others shall hear of us

	readOnly atomic.Bool

	// Owned by the reader, in respond: the reply being made.
	out []byte

	saving sync.Mutex // held while the state file is written; before mu

	mu         sync.Mutex
	closed     bool
	calls      sync.WaitGroup // Add only while not closed
	table      *table
	peers      *peerStore
	items      *itemStore
	tokens     tokens
	rand       *rand.Rand
	record     *storedItem // our own
	seen       *seqs
	saved      []contact // the last good table, to come back to
	boot       []netip.AddrPort
	lastAnswer time.Time
	external   votes
	incoming   perHost
	puts       perHost
	pingEach   perHost
	pingAll    bucket
	replies    bucket
	resolves   bucket
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
	conn := cfg.Conn
	if conn == nil {
		if conn, err = net.ListenPacket("udp4", cfg.Listen); err != nil {
			return nil, fmt.Errorf("dhtstore: %w", err)
		}
	}
	n, err := start(cfg, conn, saved)
	if err != nil {
		_ = conn.Close() // the error that matters is the first
		return nil, err
	}
	return n, nil
}

func start(cfg Config, conn net.PacketConn, saved *savedState) (*Node, error) {
	local, ok := addrPort(conn.LocalAddr())
	if !ok {
		return nil, errors.New("dhtstore: the connection's address is not a UDP address")
	}
	var seed [32]byte
	var secret tokens
	for _, b := range [][]byte{seed[:], secret.secret[:]} {
		if _, err := crand.Read(b); err != nil {
			return nil, fmt.Errorf("dhtstore: %w", err)
		}
	}
	public := cfg.PublicIP
	if !public.IsValid() {
		public = saved.external
	}
	self := makeID(saved.id, public)
	n := &Node{
		cfg: cfg, local: local,
		budget:   newBudget(cfg.PacketRate),
		table:    newTable(self),
		peers:    newPeerStore(),
		items:    newItemStore(),
		tokens:   secret,
		rand:     rand.New(rand.NewChaCha8(seed)),
		seen:     saved.seen,
		saved:    saved.nodes,
		incoming: newPerHost(rateLimit{10, 20}, rateLimit{500, 1000}),
		puts:     newPerHost(rateLimit{10.0 / 60, 10}, rateLimit{10, 100}),
		pingEach: newPerHost(rateLimit{1.0 / 60, 1}, rateLimit{1, 2}),
	}
	n.readOnly.Store(cfg.ReadOnly)
	n.formed, n.wake = make(chan struct{}), make(chan struct{}, 1)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.guard = newGuard(conn, &n.counts, cfg.usable)
	n.guard.onQuery = n.answer
	n.guard.readOnly = n.readOnly.Load

	server, err := dht.NewServer(&dht.ServerConfig{
		NodeId:     krpc.ID(self),
		NoSecurity: true, // ours to judge
		Conn:       n.guard,
		// No query gets as far as this.
		OnQuery:          func(*krpc.Msg, net.Addr) bool { return false },
		StartingNodes:    func() ([]dht.Addr, error) { return nil, nil },
		DefaultWant:      []krpc.Want{krpc.WantNodes},
		QueryResendDelay: func() time.Duration { return queryTimeout },
		// Ours is in query; this one is here because the library's default is
		// shared by the whole process.
		SendLimiter: rate.NewLimiter(rate.Inf, 1),
		Logger:      alog.NewLogger().WithFilterLevel(alog.Disabled),
	})
	if err != nil {
		n.cancel()
		return nil, fmt.Errorf("dhtstore: %w", err)
	}
	n.server = server
	close(n.guard.ready) // the library reads since NewServer
	n.calls.Add(1)
	go func() {
		defer n.calls.Done()
		n.maintain(n.ctx)
	}()
	return n, nil
}

// makeID returns the node's id: the former one if it still fits the public
// address (BEP 42), or a new one.
func makeID(former nodeID, public netip.Addr) nodeID {
	if !public.IsValid() || !isPublic(public) {
		if former != (nodeID{}) {
			return former
		}
		return nodeID(krpc.RandomNodeID())
	}
	if former != (nodeID{}) && secureID(contact{former, netip.AddrPortFrom(public, 1)}) {
		return former
	}
	id := krpc.RandomNodeID()
	dht.SecureNodeId(&id, net.IP(public.AsSlice()))
	return nodeID(id)
}

// SetReadOnly makes the node ask only, as [Config.ReadOnly] does from the
// start, or answer as well. One that begins to answer makes itself known.
func (n *Node) SetReadOnly(yes bool) {
	if n.readOnly.Swap(yes) && !yes {
		select {
		case n.wake <- struct{}{}:
		default: // told already
		}
	}
}

// LocalAddr is the address that the node listens on.
func (n *Node) LocalAddr() netip.AddrPort { return n.local }

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
	n.server.Close()
	<-n.guard.closed
	return err
}

// query sends one query and waits for its reply, once. It keeps the table
// informed. An error reply is an error of type [krpc.Error].
func (n *Node) query(ctx context.Context, addr netip.AddrPort, m method, args krpc.MsgArgs, write bool) (*krpc.Msg, error) {
	if addr == n.local || !n.cfg.usable(addr) {
		return nil, errAddress
	}
	if err := n.budget.wait(ctx, addr, write); err != nil {
		if errors.Is(err, ErrBusy) {
			n.counts.inc(countBusy)
		}
		return nil, err
	}
	n.counts.inc(countAsked)
	res := n.server.Query(ctx, dht.NewAddr(net.UDPAddrFromAddrPort(addr)), m.String(), dht.QueryInput{
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
		n.table.failed(addr)
		n.mu.Unlock()
		return nil, errTimeout
	}
	reply := res.Reply
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lastAnswer.IsZero() {
		close(n.formed)
	}
	n.lastAnswer = now
	if e := reply.Error(); e != nil {
		n.counts.inc(countRefused)
		return nil, *e
	}
	if reply.R == nil {
		return nil, errTimeout // the guard lets no such message through
	}
	n.counts.inc(countAnswered)
	n.table.answered(now, contact{nodeID(reply.R.ID), addr})
	if ext, ok := replyExternal(&reply); ok {
		n.external.note(now, addr, ext)
	}
	return &reply, nil
}

// insist is query with a second try, for what a lookup worked towards.
func (n *Node) insist(ctx context.Context, addr netip.AddrPort, m method, args krpc.MsgArgs, write bool) (*krpc.Msg, error) {
	r, err := n.query(ctx, addr, m, args, write)
	if errors.Is(err, errTimeout) {
		return n.query(ctx, addr, m, args, write)
	}
	return r, err
}

// verify pings a node that asked us something; if it answers, it is in the
// table.
func (n *Node) verify(c contact) {
	ctx, done, err := n.begin(n.ctx)
	if err != nil {
		return
	}
	go func() {
		defer done()
		_, _ = n.query(ctx, c.addr, methodPing, krpc.MsgArgs{}, false) // the table knows
	}()
}

// replyExternal is our address as the replier sees it.
func replyExternal(m *krpc.Msg) (netip.AddrPort, bool) {
	ip, ok := netip.AddrFromSlice(m.IP.IP)
	return netip.AddrPortFrom(ip, uint16(m.IP.Port)), ok && m.IP.Port != 0
}
