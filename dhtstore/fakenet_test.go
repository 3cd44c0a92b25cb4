package dhtstore

import (
	"bytes"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeNet is a network of channels, for tests with public addresses and with
// the time of a testing/synctest bubble.
type fakeNet struct {
	mu    sync.Mutex
	conns map[netip.AddrPort]*fakeConn
	// lose drops what it says, if set.
	lose func(from, to netip.AddrPort) bool
	sent map[netip.AddrPort]int // packets by sender
	got  map[netip.AddrPort]int // packets by destination, existing or not
	// ocean answers for addresses that nobody listens on, if set, and watch is
	// told of each packet.
	ocean *ocean
	watch func(from, to netip.AddrPort)
}

func newFakeNet() *fakeNet {
	return &fakeNet{
		conns: make(map[netip.AddrPort]*fakeConn),
		sent:  make(map[netip.AddrPort]int), got: make(map[netip.AddrPort]int),
	}
}

type fakePacket struct {
	b    []byte
	from netip.AddrPort
}

type fakeConn struct {
	net    *fakeNet
	addr   netip.AddrPort
	in     chan fakePacket
	closed chan struct{}
	once   sync.Once
}

func (f *fakeNet) listen(addr string) *fakeConn {
	c := &fakeConn{net: f, addr: netip.MustParseAddrPort(addr), in: make(chan fakePacket, 4096), closed: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[c.addr] = c
	return c
}

// isolate makes the network lose everything, or nothing.
func (f *fakeNet) isolate(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose = nil
	if yes {
		f.lose = func(_, _ netip.AddrPort) bool { return true }
	}
}

func (f *fakeNet) packetsFrom(addr netip.AddrPort) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent[addr]
}

func (f *fakeNet) packetsTo(addr netip.AddrPort) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got[addr]
}

func (c *fakeConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.in:
		return copy(b, p.b), net.UDPAddrFromAddrPort(p.from), nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *fakeConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, _ := addrPort(addr)
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.net.sent[c.addr]++
	c.net.got[to]++
	if c.net.lose != nil && c.net.lose(c.addr, to) {
		return len(b), nil
	}
	if c.net.watch != nil {
		c.net.watch(c.addr, to)
	}
	if other := c.net.conns[to]; other == nil && c.net.ocean != nil {
		c.net.ocean.receive(c, to, b)
	} else if other != nil {
		select {
		case other.in <- fakePacket{bytes.Clone(b), c.addr}:
		default:
		}
	}
	return len(b), nil
}

func (c *fakeConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		if c.net.conns[c.addr] == c {
			delete(c.net.conns, c.addr)
		}
	})
	return nil
}

func (c *fakeConn) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(c.addr) }
func (c *fakeConn) SetDeadline(time.Time) error      { return nil }
func (c *fakeConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fakeConn) SetWriteDeadline(time.Time) error { return nil }

// node starts a node on the network. The caller closes it, inside the bubble.
func (f *fakeNet) node(t testing.TB, addr string, change func(*Config), boot ...string) *Node {
	t.Helper()
	cfg := Config{Conns: []net.PacketConn{f.listen(addr)}, Bootstrap: boot}
	if change != nil {
		change(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func closeAll(t testing.TB, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}

// bubble is synctest.Test. With the race detector it keeps to one processor:
// of Go 1.26, two that receive from timers which are due already (time.After(0),
// as the library does for each query) use one race context at once, and the
// process dies.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if raceEnabled {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, f)
}
