package wsserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// growing is a server whose time passes, and whose loops are busy, by order.
type growing struct {
	*instance
	k      *clock
	worked [8]atomic.Int64
}

func startGrowing(t *testing.T, processors int, change func(*Config)) *growing {
	t.Helper()
	g := new(growing)
	g.instance, g.k = timed(t, func(c *Config) {
		c.processors = processors
		c.worked = func(loop int) time.Duration { return time.Duration(g.worked[loop].Load()) }
		if change != nil {
			change(c)
		}
	})
	return g
}

// pass lets seconds pass in which each loop works for so much of the time.
func (g *growing) pass(seconds int, share float64) {
	for range seconds {
		for i := range g.worked {
			g.worked[i].Add(int64(share * float64(time.Second)))
		}
		g.k.pass(time.Second)
	}
}

// grow makes all loops busy until there are n. From then on the first ones are
// thought to have much to do and the last one nothing, so that it is given about
// as many as each of the others has.
func (g *growing) grow(n int) {
	g.t.Helper()
	g.until(fmt.Sprintf("there are %d loops", n), func() bool {
		if g.loops() < n {
			g.pass(1, 1)
		}
		return g.loops() == n
	})
}

func (g *growing) loops() int { return len(g.srv.Stats().LoopsBusy) }

// spread is how many clients each loop has.
func (g *growing) spread() string {
	n := make([]int, g.loops())
	g.srv.eachLoopConn(func(l *loop, c *loopConn) {
		if c.is(wasOpen) {
			n[l.number]++
		}
	})
	return fmt.Sprint(n)
}

// A loop that is always busy gets another beside it. Who comes then lands there,
// who was there stays, and they talk with each other.
func TestLoopsGrow(t *testing.T) {
	g := startGrowing(t, 2, nil)
	a, b := g.dial("/"), g.dial("/")
	a.join(hash, pid("a"))
	b.join(hash, pid("b"))
	g.grow(2)
	c, d := g.dial("/"), g.dial("/")
	c.join(hash, pid("c"))
	d.join(hash, pid("d"))
	if got := g.spread(); got != "[2 2]" {
		t.Errorf("clients are spread %s", got)
	}
	peers := map[string]*client{"a": a, "b": b, "c": c, "d": d}
	for from, p := range peers {
		p.send(announce(hash, pid(from), "one", "two", "three"))
		if m := p.recvJSON(); m.Incomplete == nil || *m.Incomplete != 4 {
			t.Fatalf("the reply to %s: %+v", from, m)
		}
		for to, q := range peers {
			if to == from {
				continue
			}
			offer := q.recvJSON()
			if offer.PeerID != pid(from) || offer.Offer == nil {
				t.Fatalf("%s got %+v instead of an offer of %s", to, offer, from)
			}
			q.send(fmt.Sprintf(`{"action":"announce","info_hash":%q,"peer_id":%q,"to_peer_id":%q,"offer_id":%s,"answer":{"type":"answer","sdp":"x"}}`,
				hash, pid(to), pid(from), offer.OfferID))
			if answer := p.recvJSON(); answer.PeerID != pid(to) || string(answer.OfferID) != string(offer.OfferID) {
				t.Fatalf("%s got %+v instead of an answer of %s", from, answer, to)
			}
		}
	}
	g.pass(60, 1)
	if n := g.loops(); n != 2 {
		t.Errorf("%d loops on 2 processors", n)
	}
}

// One loop it is for whoever is never busy, drains, or wants one.
func TestLoopsStayAlone(t *testing.T) {
	for name, c := range map[string]struct {
		share  float64
		fixed  int
		drains bool
	}{"never busy": {share: 0.65}, "fixed": {share: 1, fixed: 1}, "draining": {share: 1, drains: true}} {
		t.Run(name, func(t *testing.T) {
			g := startGrowing(t, 4, func(cfg *Config) { cfg.Loops = c.fixed })
			g.dial("/").join(hash, pid("a"))
			if c.drains {
				if err := g.srv.Drain(); err != nil {
					t.Fatal(err)
				}
			}
			g.pass(80, c.share)
			if n := g.loops(); n != 1 {
				t.Errorf("%d loops", n)
			}
		})
	}
}

// Places are counted over all loops.
func TestLimitsOfGrownLoops(t *testing.T) {
	g := startGrowing(t, 2, func(c *Config) { c.MaxConnsPerIP, c.AllowPrivate = 12, false })
	ask := func(want int) {
		t.Helper()
		nc, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if got := requestUpgrade(t, nc, "/").resp.StatusCode; got != want {
			t.Errorf("status %d, want %d", got, want)
		}
	}
	var old []*client
	for range 11 {
		old = append(old, g.dial("/"))
	}
	g.grow(2)
	young := g.dial("/")
	ask(http.StatusTooManyRequests)
	for _, c := range []*client{old[0], young} {
		c.nc.Close()
		g.until("there is a place", func() bool { return g.srv.Stats().Conns == 11 })
		g.dial("/")
		ask(http.StatusTooManyRequests)
	}
	if got := g.spread(); got != "[10 2]" {
		t.Errorf("clients are spread %s", got)
	}
}

// When there is one loop more, each has less of the memory for what has arrived
// in part, at once, and so have connections without a loop.
func TestIncompleteWhenLoopsGrow(t *testing.T) {
	for name, odd := range map[string][]string{"loop": nil, "portable": {"X!a: 1"}} {
		t.Run(name, func(t *testing.T) {
			const total = 12 << 20
			g := startGrowing(t, 2, func(c *Config) { c.TotalIncomplete = total })
			half := frame(fin|opText, make([]byte, 200<<10))[:100<<10]
			var crowd []*client
			for g.srv.Stats().Held < total*5/12 {
				c := g.dial("/", odd...)
				was := g.srv.Stats().Held
				c.write(half)
				g.until("it is held", func() bool { return g.srv.Stats().Held >= was+128<<10 })
				crowd = append(crowd, c)
			}
			g.grow(2)
			crowd[0].expectClose(1013)
			g.until("there is no more than a third", func() bool { return g.srv.Stats().Held <= total/3 })
			young := g.dial("/")
			young.join(hash, pid("a"))
			var part int64
			g.srv.eachLoop(func(l *loop) { part += l.dec.held.limit })
			if part != total/3*2 {
				t.Errorf("the loops may hold %d bytes of %d", part, total)
			}
			crowd[len(crowd)-1].write(half[:1]) // nobody has closed it
			for _, c := range append(crowd, young) {
				c.nc.Close()
			}
		})
	}
}

// A loop that came later serves all that the first does: TLS, PROXY headers,
// pages, echoes.
func TestGrownLoopsServeAll(t *testing.T) {
	const header = "PROXY TCP4 203.0.113.7 198.51.100.1 40000 443\r\n"
	for name, own := range map[string]bool{"crypto/tls": false, "own records": true} {
		t.Run(name, func(t *testing.T) {
			g := startGrowing(t, 2, func(c *Config) {
				c.CertFile, c.KeyFile = writeCert(t, t.TempDir(), "one")
				c.TrustedProxies, c.ProxyProtocol, c.TLSRecords = prefixes("127.0.0.0/8"), true, own
			})
			for range 12 {
				g.dial("/").join(hash, pid("old"))
			}
			g.grow(2)
			g.dial("/").join(hash, pid("plain"))
			upgradeClient(t, g.dialTLS(&tls.Config{InsecureSkipVerify: true}), "/").join(hash, pid("tls"))
			for _, secure := range []bool{false, true} {
				nc, err := net.Dial("tcp", g.addr)
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(nc, header)
				if secure {
					nc = tlsClient(t, nc)
				}
				upgradeClient(t, nc, "/").join(hash, pid("proxied"))
			}
			if got := g.spread(); got != "[12 4]" {
				t.Errorf("clients are spread %s", got)
			}
			proxied := 0
			for _, session := range g.srv.loopSessions() {
				if session.Client().Addr.String() == "203.0.113.7:40000" {
					proxied++
				}
			}
			if proxied != 2 {
				t.Errorf("%d are from behind the proxy", proxied)
			}
			if resp, _ := g.get("GET", "/health"); resp.StatusCode != 200 {
				t.Errorf("a page: %s", resp.Status)
			}
			resp, _ := request(t, g.dialTLS(&tls.Config{InsecureSkipVerify: true}), "GET", "/stats.json")
			if resp.StatusCode != 200 {
				t.Errorf("a page with TLS: %s", resp.Status)
			}
		})
	}
	echo := startGrowing(t, 2, func(c *Config) { c.Echo = true })
	echo.grow(2)
	c := echo.dial("/")
	c.send("hello")
	if got := string(c.recv()); got != "hello" || echo.spread() != "[0 1]" {
		t.Errorf("echo %q, clients are spread %s", got, echo.spread())
	}
}

// A loop that is no more is not given anybody.
func TestSocketsOfALostLoop(t *testing.T) {
	g := startGrowing(t, 2, nil)
	g.grow(2)
	g.srv.eachLoop(func(l *loop) { l.quit = l.number == 1 })
	<-g.srv.loopList()[1].stopped
	g.dial("/").join(hash, pid("a"))
}

// Who is on the way to a loop when it ends is closed and not counted any more.
func TestSocketsUnderWayAtTheEnd(t *testing.T) {
	s, err := New(Config{Echo: true})
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(s, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, _, ok := s.limits.socket(addrOf(abroadConn{}.RemoteAddr()).Addr())
	if !ok || !l.mail.hand(arrival{fd: fd, place: p}) {
		t.Fatal("it was not let in")
	}
	l.end()
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the descriptor is open still: %v", err)
	}
	if conns, sockets := s.limits.counts(); conns+sockets != 0 {
		t.Errorf("%d sockets are counted", sockets)
	}
	if l.mail.hand(arrival{fd: -1}) {
		t.Error("a loop that has ended took a socket")
	}
}

// noDescriptorMore waits until there are no more than before but for a few of
// tests' clients.
func noDescriptorMore(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(patience); descriptors(t) > before+8; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors, before it %d", descriptors(t), before)
		}
	}
}

// However many loops there are, and whenever they began, the end leaves none,
// nor a descriptor, and nobody is left out of it.
func TestGrownLoopsEnd(t *testing.T) {
	before := descriptors(t)
	for round := range 6 {
		g := startGrowing(t, 4, nil)
		var open []*client
		var silent []net.Conn
		for n := 1; n <= 4; n++ {
			g.grow(n)
			c := g.dial("/")
			c.join(hash, pid(fmt.Sprint(n)))
			open = append(open, c)
			nc, err := net.Dial("tcp", g.addr)
			if err != nil {
				t.Fatal(err)
			}
			silent = append(silent, nc)
		}
		if got := g.spread(); got != "[1 1 1 1]" {
			t.Errorf("clients are spread %s", got)
		}
		if round%2 == 0 {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			var all sync.WaitGroup
			for _, c := range open {
				all.Go(func() { c.expectCloseOnly(1001) })
			}
			if err := g.srv.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			all.Wait()
			cancel()
		}
		if err := g.stop(); err != nil {
			t.Error(err)
		}
		for _, c := range open {
			c.nc.Close()
		}
		for _, nc := range silent {
			nc.Close()
		}
	}
	noDescriptorMore(t, before)
}

// Loops that start while sockets come, others look at them, and the server ends.
func TestLoopsGrowAtAnyTime(t *testing.T) {
	before := descriptors(t)
	for range 10 {
		g := startGrowing(t, 4, nil)
		var all sync.WaitGroup
		ended := make(chan struct{})
		untilEnd := func(f func()) {
			all.Go(func() {
				for {
					select {
					case <-ended:
						return
					default:
						f()
					}
				}
			})
		}
		untilEnd(func() { g.pass(1, 1) })
		untilEnd(func() { g.srv.sessions() })
		for range 2 {
			untilEnd(func() {
				nc, err := net.Dial("tcp", g.addr)
				if err != nil {
					return // it is gone
				}
				io.WriteString(nc, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				nc.SetReadDeadline(time.Now().Add(patience))
				io.Copy(io.Discard, nc)
				nc.Close()
			})
		}
		g.until("it grows", func() bool { return g.loops() > 1 })
		if err := g.stop(); err != nil {
			t.Error(err)
		}
		close(ended)
		all.Wait()
	}
	noDescriptorMore(t, before)
}
