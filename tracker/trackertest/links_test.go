package trackertest_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/trackertest"
	"github.com/draeder/peerservers/tracker/wsserver"
)

// runLinks runs a talk against two whole nodes in a bubble: clients and links
// come in through the same server, over pipes, and the nodes find each other
// in a directory in memory.
func runLinks(t *testing.T, talk *trackertest.Talk) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newNodes(t, talk, dir)
		defer w.stop()
		check(t, talk, w)
	})
}

const (
	// acquaintance is how long the nodes have before the talk begins.
	acquaintance = 30 * time.Second
	// settling is after how long nodes that know each other have told of what
	// changed in a swarm, and have sent on the parked offers that one of them
	// holds back for a second.
	settling = 1500 * time.Millisecond
)

// nodes is a world of two federated nodes.
type nodes struct {
	t       *testing.T
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	byAddr  map[string]*pipes
	clients [2]*trackertest.Sockets
}

func newNodes(t *testing.T, talk *trackertest.Talk, dir string) *nodes {
	w := &nodes{t: t, byAddr: map[string]*pipes{}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	network, err := derive.New("talks", nil)
	if err != nil {
		t.Fatal(err)
	}
	directory := dhtstore.NewMemory()
	// Node 1 may want to dial before node 2 has started.
	for i := range w.clients {
		w.byAddr[nodeAddr(i).String()] = newPipes()
	}
	for i := range w.clients {
		w.start(i, talk, dir, network, directory)
	}
	time.Sleep(acquaintance)
	return w
}

func nodeAddr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(8001+i))
}

// start runs node i.
func (w *nodes) start(i int, talk *trackertest.Talk, dir string, network derive.Network, directory *dhtstore.Memory) {
	cfg, err := talk.Config(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	watcher := federation.NewWatcher()
	cfg.Watcher = watcher
	cfg.Seed = &[32]byte{byte(i + 1)}
	tr, err := tracker.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	addr := nodeAddr(i)
	url, err := nodeaddr.Parse("ws://"+addr.String(), true)
	if err != nil {
		w.t.Fatal(err)
	}
	fed, err := federation.New(federation.Config{
		Key: ed25519.NewKeyFromSeed([]byte(fmt.Sprintf("seed of node number %12d", i))), Network: network,
		Tracker: tr, Watcher: watcher, Directory: directory.Node(addr), URLs: []nodeaddr.URL{url},
		AllowPrivate: true, Dialer: w, Limits: cfg.Limits, Rand: rand.New(rand.NewPCG(uint64(i), 1)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	srv, err := wsserver.New(wsserver.Config{
		Tracker: tr, Access: cfg.Access, AllowPrivate: true,
		Protocols: []wsserver.Protocol{{Path: "/federation", Name: federation.Subprotocol, Handler: fed.AcceptLink}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	l := w.byAddr[addr.String()]
	w.clients[i] = &trackertest.Sockets{Tracker: tr, Dial: l.dial, Virtual: true}
	for _, run := range []func() error{
		func() error { return tr.Run(w.ctx) },
		func() error { return fed.Run(w.ctx) },
		func() error { return srv.Serve(w.ctx, l) },
	} {
		w.running.Go(func() {
			if err := run(); err != nil {
				w.t.Error(err)
			}
		})
	}
}

func (w *nodes) stop() {
	for _, c := range w.clients {
		c.Close()
	}
	w.cancel()
	w.running.Wait()
}

// DialContext is how nodes reach each other.
func (w *nodes) DialContext(_ context.Context, _, address string) (net.Conn, error) {
	l := w.byAddr[address]
	if l == nil {
		return nil, fmt.Errorf("nobody is at %s", address)
	}
	return l.dial("127.0.0.1")
}

func (w *nodes) Kind() trackertest.Kind { return trackertest.KindFederated }

func (w *nodes) Open(o trackertest.Open) (trackertest.Conn, error) {
	if o.Node < 1 || o.Node > len(w.clients) {
		return nil, fmt.Errorf("no node %d", o.Node)
	}
	return w.clients[o.Node-1].Open(o)
}

func (w *nodes) Settle() error { return w.Advance(settling) }

func (w *nodes) Advance(d time.Duration) error {
	time.Sleep(d)
	return errors.Join(w.clients[0].Settle(), w.clients[1].Settle())
}

func (w *nodes) Swarms() int { return max(w.clients[0].Swarms(), w.clients[1].Swarms()) }

var errPair = errors.New("not for a pair of nodes")

func (w *nodes) Get(string, string) (trackertest.Page, error) { return trackertest.Page{}, errPair }
func (w *nodes) Drain() error                                 { return errPair }
func (w *nodes) Shutdown() error                              { return errPair }
