package trackertest

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

// Core is a world without sockets: frames go straight to a Tracker and come
// straight back. It stands in for the engine where a client could tell: it
// answers pings of the server, and sends some itself. It is to be made and
// closed within a synctest bubble.
type Core struct {
	Tracker *tracker.Tracker
	conns   []*coreConn
	stop    func()
}

// NewCore starts a tracker.
func NewCore(cfg tracker.Config) (*Core, error) {
	t, err := tracker.New(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { t.Run(ctx) })
	w := &Core{Tracker: t}
	w.stop = func() {
		cancel()
		wg.Wait()
		for _, c := range w.conns {
			c.end()
		}
	}
	return w, nil
}

// Close ends the tracker and what is connected to it.
func (w *Core) Close() { w.stop() }

func (w *Core) Kind() Kind { return KindCore }

func (w *Core) Open(o Open) (Conn, error) {
	c := &coreConn{done: make(chan struct{})}
	who := tracker.Client{Origin: o.Origin, Path: o.Path}
	if o.From != "" {
		addr, err := netip.ParseAddr(o.From)
		if err != nil {
			return nil, err
		}
		who.Addr = netip.AddrPortFrom(addr, 40000)
	}
	c.session = w.Tracker.Open(c, who)
	w.conns = append(w.conns, c)
	go c.live()
	return coreClient{c}, nil
}

func (w *Core) Settle() error {
	synctest.Wait()
	return w.Tracker.Check()
}

func (w *Core) Advance(d time.Duration) error {
	time.Sleep(d)
	return w.Settle()
}

func (w *Core) Swarms() int { return countSwarms(w.Tracker) }

var errNoSockets = errors.New("the core has no sockets")

func (w *Core) Get(string, string) (Page, error) { return Page{}, errNoSockets }
func (w *Core) Drain() error                     { return errNoSockets }
func (w *Core) Shutdown() error                  { return errNoSockets }

// coreKeepalive is how often the server would ping an idle client.
const coreKeepalive = 25 * time.Second

// coreConn is both ends of a connection.
type coreConn struct {
	session *tracker.Session
	inbox   Inbox
	stalled atomic.Bool
	ended   sync.Once
	done    chan struct{}
}

// live answers the pings that an engine would send.
func (c *coreConn) live() {
	tick := time.NewTicker(coreKeepalive)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
			if !c.stalled.Load() {
				c.session.Seen()
			}
		}
	}
}

// Deliver implements tracker.Sink.
func (c *coreConn) Deliver(m *wire.Message) {
	if !c.stalled.Load() && !c.over() {
		c.inbox.Put(wire.Append(nil, m), false)
	}
}

// Ping implements tracker.Sink. The pong takes its time, as on a network.
func (c *coreConn) Ping() {
	if c.stalled.Load() {
		return
	}
	c.inbox.Pinged()
	go func() {
		pong := time.NewTimer(10 * time.Millisecond)
		defer pong.Stop()
		select {
		case <-c.done:
		case <-pong.C:
			c.session.Seen()
		}
	}()
}

// Close implements tracker.Sink: the server closes.
func (c *coreConn) Close(code int, _ string) {
	c.inbox.Closed(code)
	go c.end()
}

func (c *coreConn) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *coreConn) end() {
	c.ended.Do(func() {
		close(c.done)
		c.session.Close()
	})
}

func (c *coreConn) Inbox() *Inbox { return &c.inbox }

// coreClient is the client's end, whose Close is another than the sink's.
type coreClient struct{ *coreConn }

func (c coreClient) Send(f Frame) error {
	if f.Binary || f.Pieces > 1 {
		return errNoSockets
	}
	if !c.over() {
		c.session.Handle(bytes.Clone(f.Data))
	}
	return nil
}

func (c coreClient) Ping() error {
	c.session.Ping()
	return nil
}

func (c coreClient) Stall() { c.stalled.Store(true) }
func (c coreClient) Probe() {}
func (c coreClient) Close() { c.end() }
func (c coreClient) Drop()  { c.end() }

// countSwarms is how many swarms with local members a tracker knows.
func countSwarms(t *tracker.Tracker) int {
	n := 0
	for range t.Swarms {
		n++
	}
	return n
}
