package federation_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

// world is a network in memory: nodes by host:port, and one directory.
type world struct {
	t   testing.TB
	ctx context.Context
	end context.CancelFunc
	dir *dhtstore.Memory
	net derive.Network

	mu    sync.Mutex
	nodes map[string]*node
	taps  map[string]func(net.Conn) // whoever else listens at host:port
	dials map[string]int
	conns []net.Conn
	cut   bool
	wait  sync.WaitGroup
	made  int
}

// node is one tracker with its federation.
type node struct {
	w     *world
	name  string
	hp    string
	key   ed25519.PrivateKey
	tr    *tracker.Tracker
	fed   *federation.Federation
	watch *federation.Watcher
	dir   *dhtstore.MemoryNode
	ctx   context.Context
	end   context.CancelFunc
	done  chan struct{}
	cfg   federation.Config
}

func newWorld(t testing.TB) *world {
	network, err := derive.New("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, dir: dhtstore.NewMemory(), net: network,
		nodes: make(map[string]*node), taps: make(map[string]func(net.Conn)), dials: make(map[string]int),
	}
	w.ctx, w.end = context.WithCancel(context.Background())
	return w
}

// inBubble runs a test with a world on virtual time. The bubble ends only if
// every goroutine has, so each of these is a leak test as well.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		test(t, w)
	})
}

func (w *world) close() {
	for _, n := range w.all() {
		n.stop()
	}
	w.end()
	w.mu.Lock()
	for _, c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.wait.Wait()
}

func (w *world) all() (list []*node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		list = append(list, n)
	}
	return list
}

func keyOf(i int) ed25519.PrivateKey {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i)+1)
	return ed25519.NewKeyFromSeed(seed[:])
}

type option func(*federation.Config, *tracker.Config)

func leaf(c *federation.Config, _ *tracker.Config)         { c.URLs = nil }
func noRendezvous(c *federation.Config, _ *tracker.Config) { c.NoRendezvous = true }

func clock(offset time.Duration) option {
	return func(c *federation.Config, _ *tracker.Config) {
		c.Now = func() time.Time { return time.Now().Add(offset) }
	}
}

func seeds(urls ...string) option {
	return func(c *federation.Config, _ *tracker.Config) {
		for _, u := range urls {
			parsed, err := nodeaddr.Parse(u, true)
			if err != nil {
				panic(err)
			}
			c.Seeds = append(c.Seeds, parsed)
		}
	}
}

// start makes node i, at 127.0.0.1:9000+i, and runs it.
func (w *world) start(i int, opts ...option) *node {
	w.t.Helper()
	n := w.make(i, opts...)
	n.run()
	return n
}

func (w *world) make(i int, opts ...option) *node {
	w.t.Helper()
	n := &node{w: w, name: fmt.Sprint("node", i), hp: fmt.Sprintf("127.0.0.1:%d", 9000+i), done: make(chan struct{})}
	n.watch = federation.NewWatcher()
	u, err := nodeaddr.Parse("ws://"+n.hp, true)
	if err != nil {
		w.t.Fatal(err)
	}
	n.dir = w.dir.Node(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(7000+i)))
	fc := federation.Config{
		Key: keyOf(i), Network: w.net, Watcher: n.watch, Directory: n.dir,
		URLs: []nodeaddr.URL{u}, AllowPrivate: true, Dialer: dialer{w, n},
		Rand: rand.New(rand.NewPCG(uint64(i), 7)),
	}
	tc := tracker.DefaultConfig()
	tc.Shards = 1
	tc.Watcher = n.watch
	seed := [32]byte{byte(i), 1}
	tc.Seed = &seed
	for _, o := range opts {
		o(&fc, &tc)
	}
	if n.tr, err = tracker.New(tc); err != nil {
		w.t.Fatal(err)
	}
	fc.Tracker = n.tr
	n.cfg = fc
	n.key = fc.Key
	if n.fed, err = federation.New(fc); err != nil {
		w.t.Fatal(err)
	}
	n.ctx, n.end = context.WithCancel(w.ctx)
	w.mu.Lock()
	w.nodes[n.hp] = n
	w.mu.Unlock()
	return n
}

func (n *node) run() {
	go func() {
		defer close(n.done)
		go n.tr.Run(n.ctx)
		n.fed.Run(n.ctx)
	}()
}

// stop ends the node and waits for it.
func (n *node) stop() {
	n.end()
	<-n.done
	n.w.mu.Lock()
	if n.w.nodes[n.hp] == n {
		delete(n.w.nodes, n.hp)
	}
	n.w.mu.Unlock()
}

// dialer is how node from reaches others.
type dialer struct {
	w    *world
	from *node
}

var errUnreachable = errors.New("nobody there")

func (d dialer) DialContext(_ context.Context, _, address string) (net.Conn, error) {
	w := d.w
	w.mu.Lock()
	to, tap, cut := w.nodes[address], w.taps[address], w.cut
	w.dials[address]++
	w.mu.Unlock()
	if cut || to == nil && tap == nil || to != nil && len(to.cfg.URLs) == 0 {
		return nil, errUnreachable
	}
	near, far := w.pipe()
	w.wait.Add(1)
	go func() {
		defer w.wait.Done()
		if tap != nil {
			tap(far)
			return
		}
		to.serve(far)
	}()
	return near, nil
}

func (w *world) pipe() (near, far net.Conn) {
	near, far = net.Pipe()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	w.conns = append(w.conns, near, far)
	return addressed{near, 20000 + w.made}, addressed{far, 20000 + w.made}
}

// addressed gives a pipe an address, which limits per address need.
type addressed struct {
	net.Conn
	port int
}

func (a addressed) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: a.port % 65536}
}

// serve does what the web server does with a connection for /federation.
func (n *node) serve(c net.Conn) {
	if !upgrade(c) {
		c.Close()
		return
	}
	n.fed.AcceptLink(c, nil, &http.Request{RemoteAddr: c.RemoteAddr().String()})
}

func upgrade(c net.Conn) bool {
	u := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == federation.Subprotocol }}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	defer c.SetDeadline(time.Time{})
	hs, err := u.Upgrade(c)
	return err == nil && hs.Protocol == federation.Subprotocol
}

// cutAll ends every connection that there is, as a cut cable would.
func (w *world) cutAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

// client is a client of one tracker, which answers each offer unless mute.
type client struct {
	n       *node
	id      string
	s       *tracker.Session
	mute    bool
	mu      sync.Mutex
	replies []wire.Message
	offers  []got
	answers []got
	wire    [][]byte // every frame
}

// got is an offer or answer that a client got.
type got struct{ from, id, payload string }

func (n *node) client(id string) *client {
	c := &client{n: n, id: fmt.Sprintf("%-20.20s", id)}
	c.s = n.tr.Open(c, tracker.Client{})
	return c
}

// Deliver implements tracker.Sink.
func (c *client) Deliver(m *wire.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire = append(c.wire, wire.Append(nil, m))
	g := got{string(m.PeerID), string(m.OfferID), string(m.Payload)}
	switch m.Kind {
	case wire.KindReply:
		c.replies = append(c.replies, wire.Message{Complete: m.Complete, Incomplete: m.Incomplete})
	case wire.KindOffer:
		c.offers = append(c.offers, g)
		if !c.mute {
			ih := string(m.InfoHash)
			// A real client answers later, from its own goroutine.
			go c.answer(ih, g)
		}
	case wire.KindAnswer:
		c.answers = append(c.answers, g)
	}
}

func (c *client) Ping()                 {}
func (c *client) Close(_ int, _ string) {}

func (c *client) answer(ih string, g got) {
	c.send(map[string]any{
		"action": "announce", "info_hash": ih, "peer_id": c.id, "to_peer_id": g.from,
		"offer_id": json.RawMessage(g.id), "answer": map[string]string{"type": "answer", "sdp": "to " + g.payload},
	})
}

func (c *client) send(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	c.s.Handle(b)
}

// announce announces with that many offers.
func (c *client) announce(ih string, offers int, extra ...string) {
	list := make([]any, offers)
	for i := range list {
		list[i] = map[string]any{
			"offer_id": fmt.Sprintf("%s-%02d", c.id, i),
			"offer":    map[string]string{"type": "offer", "sdp": fmt.Sprintf("%s/%d", c.id, i)},
		}
	}
	m := map[string]any{"action": "announce", "info_hash": ih, "peer_id": c.id, "numwant": offers, "offers": list, "left": 1}
	for i := 0; i+1 < len(extra); i += 2 {
		m[extra[i]] = extra[i+1]
	}
	c.send(m)
}

func (c *client) got() (offers, answers []got) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]got(nil), c.offers...), append([]got(nil), c.answers...)
}

// met reports whether c got an answer from, or an offer of, other.
func (c *client) met(other *client) bool {
	offers, answers := c.got()
	for _, g := range append(offers, answers...) {
		if g.from == other.id {
			return true
		}
	}
	return false
}

func hash(i int) string { return fmt.Sprintf("%020d", i) }

// introduced fails unless a and b have been introduced within d from now.
func introduced(t testing.TB, a, b *client, d time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		synctest.Wait()
		if a.met(b) && b.met(a) {
			return time.Since(start)
		}
		if time.Since(start) >= d {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s and %s were not introduced within %v", a.id, b.id, d)
	return 0
}
