package trackertest_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/trackertest"
	"github.com/draeder/peerservers/tracker/wsserver"
)

// runServer runs a talk against the portable engine in a bubble, over pipes:
// nothing of the server is left out but the kernel, and time is virtual.
func runServer(t *testing.T, talk *trackertest.Talk) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		w := &trackertest.Sockets{Dial: l.dial, Virtual: true}
		defer serve(t, talk, dir, w, l, wsserver.Config{})()
		check(t, talk, w)
	})
}

// runSockets runs a talk against the portable engine over loopback, in real
// time.
func runSockets(t *testing.T, talk *trackertest.Talk) {
	l := listen(t)
	w := &trackertest.Sockets{Dial: func(string) (net.Conn, error) {
		return net.Dial("tcp", l.Addr().String())
	}}
	defer serve(t, talk, t.TempDir(), w, l, wsserver.Config{Engine: wsserver.EnginePortable})()
	check(t, talk, w)
}

// runLoops runs a talk against the event loops, over loopback, as nothing else
// will do for them. Time passes only when the talk says so, however slow the
// machine is, but for a microsecond at each look at the clock, so that one thing
// is after another: the clock of loops and tracker is put forward then, and a
// request makes the loops look at it.
func runLoops(t *testing.T, talk *trackertest.Talk) {
	if runtime.GOOS != "linux" {
		t.Skip("event loops need Linux")
	}
	l := listen(t)
	var passed atomic.Int64
	began := time.Now()
	w := &trackertest.Sockets{Dial: func(from string) (net.Conn, error) {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err == nil && from != "" {
			_, err = fmt.Fprintf(nc, "PROXY TCP4 %s 127.0.0.1 40000 80\r\n", from)
		}
		return nc, err
	}}
	w.Pass = func(d time.Duration) error {
		passed.Add(int64(d))
		if _, err := w.Get("/health", ""); err != nil {
			return err
		}
		w.Tracker.Sweep()
		return nil
	}
	defer serve(t, talk, t.TempDir(), w, l, wsserver.Config{
		Engine:         wsserver.EngineLoops,
		Now:            func() time.Time { return began.Add(time.Duration(passed.Add(int64(time.Microsecond)))) },
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, ProxyProtocol: true,
	})()
	check(t, talk, w)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve starts a server for w; the function it returns ends it.
func serve(t *testing.T, talk *trackertest.Talk, dir string, w *trackertest.Sockets, l net.Listener, scfg wsserver.Config) (stop func()) {
	t.Helper()
	cfg, err := talk.Config(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Now = scfg.Now
	if w.Tracker, err = tracker.New(cfg); err != nil {
		t.Fatal(err)
	}
	scfg.Tracker, scfg.Access, scfg.AllowPrivate = w.Tracker, cfg.Access, true
	srv, err := wsserver.New(scfg)
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
