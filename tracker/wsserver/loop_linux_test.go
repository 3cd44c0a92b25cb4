package wsserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

// clock is time that passes by order.
type clock struct {
	in     *instance
	passed atomic.Int64
}

// timed starts loops whose time passes by order.
func timed(t *testing.T, change func(*Config)) (*instance, *clock) {
	k := new(clock)
	began := time.Now()
	k.in = engine(EngineLoops).start(t, func(c *Config, _ *tracker.Config) {
		c.Now = func() time.Time { return began.Add(time.Duration(k.passed.Load())) }
		if change != nil {
			change(c)
		}
	})
	return k.in, k
}

// pass lets time pass, second by second; the loops have noticed each.
func (k *clock) pass(d time.Duration) {
	for ; d > 0; d -= time.Second {
		k.passed.Add(int64(min(d, time.Second)))
		k.in.srv.eachLoop(func(*loop) {})
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Whatever becomes of connections, no descriptor is left.
func TestLoopsLeaveNoDescriptor(t *testing.T) {
	cert, key := writeCert(t, t.TempDir(), "one")
	before := descriptors(t)
	for range 3 {
		in := engine(EngineLoops).start(t, func(c *Config, _ *tracker.Config) {
			c.CertFile, c.KeyFile = cert, key
			c.Paths = []string{"/"}
		})
		a, b := in.dial("/"), in.dial("/")
		a.join(hash, pid("a"))
		b.write(frame(fin|opClose, nil))
		b.expectClose(1005)
		in.get("GET", "/health")
		conf := &tls.Config{InsecureSkipVerify: true}
		upgradeClient(t, in.dialTLS(conf), "/").join(hash, pid("c"))
		secure := in.dialTLS(conf)
		request(t, secure, "GET", "/health")
		var ncs []net.Conn
		for _, begin := range []string{"", "G", "\x16", "\x16\x03\x01\x02\x00\x01", "GET / HTTP/1.1\r\nHost: x\r\n"} {
			nc, err := net.Dial("tcp", in.addr)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(nc, begin)
			ncs = append(ncs, nc)
		}
		in.until("all sockets are there", func() bool { return in.srv.Stats().Sockets >= len(ncs) })
		if err := in.stop(); err != nil {
			t.Error(err)
		}
		for _, nc := range append(ncs, a.nc, b.nc, secure) {
			nc.Close()
		}
	}
	noDescriptorMore(t, before)
}

// An idle loop waits without end, and one with clients until the next of them
// is to be pinged.
func TestIdleLoopsSleep(t *testing.T) {
	in, k := timed(t, nil)
	timeout := func() (ms int) {
		in.srv.eachLoop(func(l *loop) { ms = l.timeout() })
		return ms
	}
	in.get("GET", "/health") // it runs by then
	in.until("that is over", func() bool { return in.srv.Stats().Sockets == 0 })
	if ms := timeout(); ms != -1 {
		t.Errorf("without anybody: %d ms", ms)
	}
	c := in.dial("/")
	k.pass(11 * time.Second) // HeaderTimeout was armed, and is over
	if ms := timeout(); ms < 10_000 || ms > 30_000 {
		t.Errorf("with one who is silent: %d ms", ms)
	}
	c.nc.Close()
	in.until("it is gone", func() bool { return in.srv.Stats().Conns == 0 })
	if ms := timeout(); ms != -1 {
		t.Errorf("after it went: %d ms", ms)
	}
}

// The portable engine's tests of time, as far as talks do not have them: a
// message that trickles, a reader that stalls, a request that does not come.
func TestLoopTimers(t *testing.T) {
	in, k := timed(t, func(c *Config) { c.Echo, c.HardBacklog = true, 64<<20 })
	slow, stalled := in.dial("/"), in.dial("/")
	nc, err := net.Dial("tcp", in.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "GET / HTTP/1.1\r\n")
	in.until("the third is there", func() bool { return in.srv.Stats().Sockets == 3 })

	big := frame(fin|opBinary, make([]byte, 200<<10))
	for in.srv.Stats().Backlog == 0 {
		stalled.write(big)
	}
	b := frame(fin|opText, make([]byte, 1000))
	for i := 0; i < 59; i++ {
		slow.write(b[i : i+1])
		in.until("it has arrived", func() bool { return in.srv.Stats().BytesIn%int64(len(big)) == int64(i+1) })
		k.pass(time.Second)
	}
	if n := in.srv.Stats().Ended["slow_message"]; n != 0 {
		t.Error("too early")
	}
	k.pass(2 * time.Second)
	slow.expectClose(1008)
	st := in.srv.Stats()
	if st.Ended["overflow"] != 1 || st.WriteFailed != 1 {
		t.Errorf("%d writes failed, ended: %v", st.WriteFailed, st.Ended)
	}
	nc.SetReadDeadline(time.Now().Add(patience))
	if n, err := nc.Read(make([]byte, 1)); n != 0 || isTimeout(err) {
		t.Errorf("the request that never ended: %d, %v", n, err)
	}
}

// Clients of different loops meet, and everything between them arrives once
// and in its order.
func TestLoopsDeliverToEachOther(t *testing.T) {
	trk, err := tracker.New(tracker.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(Config{Tracker: trk, Loops: 3, Engine: EngineLoops})
	if err != nil {
		t.Fatal(err)
	}
	list, err := Listen("127.0.0.1:0", 3)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, list...) }()
	in := &instance{t: t, srv: srv, trk: trk, addr: list[0].Addr().String()}
	var peers []*client
	used := map[*loop]int{}
	for i := 0; i < 40 || len(used) < 3; i++ {
		c := in.dial("/")
		c.join(hash, pid(fmt.Sprint(i)))
		peers = append(peers, c)
		clear(used)
		srv.eachLoopConn(func(l *loop, _ *loopConn) { used[l]++ })
	}
	sender := peers[0]
	const rounds = 50
	var wg sync.WaitGroup
	var got atomic.Int64
	for _, p := range peers[1:] {
		wg.Go(func() {
			last := -1
			for {
				op, payload, err := p.readFrame()
				if err != nil || op == opClose {
					return
				}
				var round int
				at := strings.Index(string(payload), `"sdp":"`)
				if _, err := fmt.Sscanf(string(payload[at+7:]), "%d", &round); at < 0 || err != nil || round < last {
					t.Errorf("after round %d: %q", last, payload)
				}
				last = round
				got.Add(1)
			}
		})
	}
	for round := range rounds {
		sdps := make([]string, 10)
		for i := range sdps {
			sdps[i] = fmt.Sprint(round)
		}
		sender.send(announce(hash, pid("0"), sdps...))
		sender.recvJSON()
	}
	in.until("all offers are there", func() bool { return got.Load() == rounds*10 })
	stopping, done := context.WithTimeout(context.Background(), patience)
	defer done()
	go srv.Shutdown(stopping)
	sender.expectCloseOnly(1001)
	wg.Wait()
	for _, p := range peers {
		p.nc.Close()
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := srv.backlog.Load(); n != 0 {
		t.Errorf("%d bytes of backlog are left over", n)
	}
}

// Sinks are called from everywhere, and after the end too.
func TestLoopSinks(t *testing.T) {
	in := engine(EngineLoops).start(t, nil)
	var sinks []*loopConn
	var clients []*client
	for i := range 8 {
		c := in.dial("/")
		c.join(hash, pid(fmt.Sprint(i)))
		clients = append(clients, c)
	}
	in.srv.eachLoopConn(func(_ *loop, c *loopConn) { sinks = append(sinks, c) })
	m := &wire.Message{Kind: wire.KindOffer, InfoHash: []byte(hash), PeerID: []byte(pid("x")), OfferID: []byte(`"o"`), Payload: []byte(`{}`)}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				s := sinks[(g+i)%len(sinks)]
				s.Deliver(m)
				s.Ping()
				if i == 150 {
					s.Close(1008, "enough")
				}
			}
		})
	}
	for i, c := range clients {
		if i%2 == 0 {
			c.nc.Close()
		}
	}
	wg.Wait()
	for _, s := range sinks {
		s.Close(1008, "enough")
	}
	for i, c := range clients {
		if i%2 != 0 {
			c.expectClose(1008)
			c.nc.Close()
		}
	}
	in.until("all are gone", func() bool { return in.srv.Stats().Conns == 0 })
	if err := in.stop(); err != nil {
		t.Error(err)
	}
	sinks[0].Deliver(m)
	sinks[0].Ping()
	sinks[0].Close(1000, "")
	if in.srv.Stats().Dropped["closed"] == 0 {
		t.Error("nothing was dropped")
	}
}

// A mailbox is bounded: offers find room in three quarters of it.
func TestMailboxIsBounded(t *testing.T) {
	var b mailbox
	b.in.bytes = make([]byte, maxMail/4*3)
	for kind, want := range map[wire.MessageKind]dropReason{wire.KindOffer: dropOfferTotal, wire.KindAnswer: admitted} {
		if got := b.fits(kind, 100); got != want {
			t.Errorf("kind %d: %s, want %s", kind, got, want)
		}
	}
	if got := b.fits(wire.KindAnswer, maxMail/4+1); got != dropTotal {
		t.Errorf("an answer too many: %s", got)
	}
	b.close()
	if got := b.fits(wire.KindAnswer, 1); got != dropClosed {
		t.Errorf("after the end: %s", got)
	}
}

// With no descriptor left the loop rests, and takes the connection later.
func TestNoDescriptorLeft(t *testing.T) {
	in := engine(EngineLoops).start(t, nil)
	was := in.dial("/")
	was.join(hash, pid("a"))
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "")
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max})
	restore := func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }
	defer restore()
	addr := netip.MustParseAddrPort(in.addr)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		t.Fatal(err)
	}
	in.until("the loop rests", func() (rests bool) {
		in.srv.eachLoop(func(l *loop) { rests = l.resume != 0 })
		return rests
	})
	was.join(hash, pid("a"))
	restore()
	nc, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	upgradeClient(t, nc, "/").join(hash, pid("b"))
}

// A busy loop lets events gather as long as they do.
func TestPacer(t *testing.T) {
	var p pacer
	now := time.Now()
	pauses := func(every time.Duration, n, rounds int) (paused int) {
		for range rounds {
			if left := p.left(now); left > 0 {
				paused++
				now = now.Add(left)
				p.begin(now, n*int(gather/every)/n)
				continue
			}
			now = now.Add(every)
			p.begin(now, n)
		}
		return paused
	}
	if n := pauses(10*time.Millisecond, 1, 100); n != 0 {
		t.Errorf("%d pauses at 100 events a second", n)
	}
	if n := pauses(50*time.Microsecond, 1, 100); n < 95 {
		t.Errorf("%d pauses at 20,000 events a second", n)
	}
	// One client that waits for each answer: as if busy, until it is waited for.
	paused := 0
	for range 1000 {
		if left := p.left(now); left > 0 {
			paused++
			now = now.Add(left)
		}
		now = now.Add(100 * time.Microsecond)
		p.begin(now, 1)
	}
	if paused > 20 {
		t.Errorf("%d pauses of 1000 for a client that waits", paused)
	}
}
