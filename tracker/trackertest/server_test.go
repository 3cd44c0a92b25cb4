package trackertest_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/trackertest"
	"github.com/draeder/peerservers/tracker/wsserver"
)

// runServer runs a talk against the server in a bubble, over pipes: nothing
// of the server is left out but the kernel, and time is virtual.
func runServer(t *testing.T, talk *trackertest.Talk) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		w := &trackertest.Sockets{Dial: l.dial, Virtual: true}
		defer serve(t, talk, dir, w, l)()
		check(t, talk, w)
	})
}

// runSockets runs a talk against the server over loopback, in real time.
func runSockets(t *testing.T, talk *trackertest.Talk) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &trackertest.Sockets{Dial: func(string) (net.Conn, error) {
		return net.Dial("tcp", l.Addr().String())
	}}
	defer serve(t, talk, t.TempDir(), w, l)()
	check(t, talk, w)
}

// serve starts a server for w; the function it returns ends it.
func serve(t *testing.T, talk *trackertest.Talk, dir string, w *trackertest.Sockets, l net.Listener) (stop func()) {
	t.Helper()
	cfg, err := talk.Config(dir)
	if err != nil {
		t.Fatal(err)
	}
	if w.Tracker, err = tracker.New(cfg); err != nil {
		t.Fatal(err)
	}
	srv, err := wsserver.New(wsserver.Config{Tracker: w.Tracker, Access: cfg.Access, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- w.Tracker.Run(ctx) }()
	go func() { ended <- srv.Serve(ctx, l) }()
	w.DrainServer = srv.Drain
	w.ShutdownServer = func() error { return srv.Shutdown(ctx) }
	return func() {
		w.Close()
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
}

// pipes is a listener whose connections are pipes in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(from string) (net.Conn, error) {
	addr := netip.MustParseAddr("192.0.2.200")
	if from != "" {
		var err error
		if addr, err = netip.ParseAddr(from); err != nil {
			return nil, err
		}
	}
	client, server := net.Pipe()
	select {
	case p.conns <- pipeEnd{server, net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 40000))}:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

// pipeEnd is the server's end, with a client's address.
type pipeEnd struct {
	net.Conn
	remote net.Addr
}

func (e pipeEnd) RemoteAddr() net.Addr { return e.remote }
