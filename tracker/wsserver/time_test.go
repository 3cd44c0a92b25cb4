package wsserver

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

// world is a server on virtual time; its connections are pipes, which buffer
// nothing.
type world struct {
	t   *testing.T
	srv *Server
	trk *tracker.Tracker
}

func virtual(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		trk, err := tracker.New(tracker.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		srv, err := New(Config{Tracker: trk})
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan struct{})
		ctx := t.Context()
		go func() { trk.Run(ctx); close(ran) }()
		f(&world{t, srv, trk})
		srv.stop()
		if n := srv.backlog.Load(); n != 0 {
			t.Errorf("%d bytes of backlog are left over", n)
		}
	})
}

// latency is how long a pong takes: virtual time would let it arrive in the
// very instant of the ping.
const latency = 50 * time.Millisecond

// remote is the far end of a pipe. It answers pings unless mute, and reads
// unless stalled.
type remote struct {
	t      *testing.T
	near   net.Conn
	cl     *client
	mute   atomic.Bool
	pings  atomic.Int32
	closed chan struct{} // the server closed the pipe

	mu     sync.Mutex
	frames []message
}

func (w *world) connect(stalled bool) *remote {
	near, far := net.Pipe()
	r := &remote{t: w.t, near: near, closed: make(chan struct{})}
	r.cl = &client{t: w.t, nc: far}
	who := tracker.Client{Addr: netip.MustParseAddrPort("192.0.2.1:1")}
	if !w.srv.start(near, nil, who, place{}, 0) {
		w.t.Fatal("draining")
	}
	if stalled {
		close(r.closed)
		w.t.Cleanup(func() { far.Close() })
		return r
	}
	go r.read(far)
	w.t.Cleanup(func() { far.Close(); <-r.closed })
	return r
}

func (r *remote) read(far net.Conn) {
	defer close(r.closed)
	defer far.Close()
	br := pipeReader(far)
	for {
		op, p, err := br.readFrame()
		if err != nil {
			return
		}
		far.SetWriteDeadline(time.Time{}) // the test's own writes set one
		switch op {
		case opPing:
			r.pings.Add(1)
			if !r.mute.Load() {
				time.Sleep(latency)
				far.Write(frame(fin|opPong, p))
			}
		case opText:
			var m message
			if err := json.Unmarshal(p, &m); err != nil {
				r.t.Errorf("%v in %q", err, p)
			}
			r.mu.Lock()
			r.frames = append(r.frames, m)
			r.mu.Unlock()
		case opClose:
			far.Write(frame(fin|opClose, p))
		}
	}
}

// take returns what arrived, once the bubble has come to rest.
func (r *remote) take() []message {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.frames
	r.frames = nil
	return f
}

func (r *remote) gone() bool {
	synctest.Wait()
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

// unsent is how many bytes wait for r.
func (w *world) unsent(r *remote) int {
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	for c := range w.srv.conns {
		if c.nc == r.near {
			c.out.mu.Lock()
			defer c.out.mu.Unlock()
			return c.out.unsent
		}
	}
	return 0
}

func (w *world) members(infoHash string) int {
	synctest.Wait()
	st, _ := w.trk.State([]byte(infoHash))
	return st.LocalComplete + st.LocalIncomplete
}

// Case 4: an idle client is pinged within 30 s, stays as long as it answers,
// and goes after two pings without a sign of life.
func TestPings(t *testing.T) {
	virtual(t, func(w *world) {
		r := w.connect(false)
		time.Sleep(24 * time.Second)
		if n := r.pings.Load(); n != 0 {
			t.Errorf("%d pings within 24 s", n)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if n := r.pings.Load(); n != 1 {
			t.Errorf("%d pings within 30 s, want 1", n)
		}
		time.Sleep(10 * time.Minute)
		if r.gone() {
			t.Fatal("a client that answers was dropped")
		}
		if n := r.pings.Load(); n < 20 || n > 26 {
			t.Errorf("%d pings within 10:30", n)
		}
		r.mute.Store(true)
		before := r.pings.Load()
		time.Sleep(2 * time.Minute)
		if !r.gone() {
			t.Fatal("a silent client was kept")
		}
		if n := r.pings.Load() - before; n != maxMissed {
			t.Errorf("%d pings before the end, want %d", n, maxMissed)
		}
		if n := w.srv.Stats().Ended["silent"]; n != 1 {
			t.Errorf("ended: %v", w.srv.Stats().Ended)
		}
	})
}

// Traffic of any kind puts the ping off.
func TestBusyClientsAreNotPinged(t *testing.T) {
	virtual(t, func(w *world) {
		r := w.connect(false)
		for range 30 {
			time.Sleep(20 * time.Second)
			r.cl.write(frame(fin|opText, []byte(`{"action":"scrape","info_hash":[]}`)))
		}
		if n := r.pings.Load(); n != 0 {
			t.Errorf("%d pings", n)
		}
	})
}

// Cases 4 and 26: pings of the client's own keep its memberships for as long as
// it likes; without them it is forgotten, and stays connected (case 25).
func TestClientPingsRefresh(t *testing.T) {
	virtual(t, func(w *world) {
		a, b := w.connect(false), w.connect(false)
		a.cl.send(announce(hash, pid("a")))
		b.cl.send(announce(hash2, pid("b")))
		for range 30 {
			time.Sleep(time.Minute)
			a.cl.write(frame(fin|opPing, nil))
		}
		if n := w.members(hash); n != 1 {
			t.Errorf("the one that pings: %d members", n)
		}
		if n := w.members(hash2); n != 0 {
			t.Errorf("the one that does not: %d members", n)
		}
		if b.gone() {
			t.Error("it was disconnected for it")
		}
	})
}

// Case 23: a client is back on a new socket while the old one is half open.
func TestReconnect(t *testing.T) {
	virtual(t, func(w *world) {
		old := w.connect(false)
		old.mute.Store(true)
		old.cl.send(announce(hash, pid("a")))
		time.Sleep(3 * time.Second)
		now := w.connect(false)
		now.cl.send(announce(hash, pid("a")))
		if f := now.take(); len(f) != 1 || f[0].Interval == 0 {
			t.Fatalf("no reply at once: %+v", f)
		}
		old.take()
		time.Sleep(5 * time.Second)
		b := w.connect(false)
		b.cl.send(announce(hash, pid("b"), "sdp"))
		if f := now.take(); len(f) != 1 || f[0].PeerID != pid("b") {
			t.Errorf("the new socket got %+v", f)
		}
		if f := old.take(); len(f) != 0 {
			t.Errorf("the old one got %+v", f)
		}
		old.cl.nc.Close()
		if n := w.members(hash); n != 2 {
			t.Errorf("%d members after the old socket's close", n)
		}
	})
}

// Case 24: somebody else claims the peer id of a client that is there.
func TestHijack(t *testing.T) {
	virtual(t, func(w *world) {
		a, x := w.connect(false), w.connect(false)
		a.cl.send(announce(hash, pid("a")))
		time.Sleep(10 * time.Second)
		a.take()
		x.cl.send(announce(hash, pid("a"), "evil"))
		if f := x.take(); len(f) != 1 || f[0].Interval == 0 || *f[0].Incomplete != 1 {
			t.Errorf("the reply does not look normal: %+v", f)
		}
		time.Sleep(6 * time.Second)
		x.cl.send(`{"action":"announce","event":"stopped","info_hash":"` + hash + `","peer_id":"` + pid("a") + `"}`)
		x.take()
		x.cl.nc.Close()
		b := w.connect(false)
		b.cl.send(announce(hash, pid("b"), "sdp"))
		if f := a.take(); len(f) != 1 || f[0].PeerID != pid("b") {
			t.Errorf("the owner got %+v", f)
		}
		if n := w.members(hash); n != 2 {
			t.Errorf("%d members", n)
		}
	})
}

// Case 47: 10,000 offers for a client that does not read. Memory is bounded,
// others notice nothing, and the socket is dropped.
func TestStalledReader(t *testing.T) {
	virtual(t, func(w *world) {
		stalled := w.connect(true)
		stalled.cl.send(announce(hash, pid("s")))
		synctest.Wait()
		b := w.connect(false)
		sdp := strings.Repeat("v=0 ", 250)
		for i := range 10_000 {
			b.cl.send(announce(hash, pid("b"), sdp))
			if n := w.unsent(stalled); n > 256<<10 {
				t.Fatalf("after %d offers %d bytes wait", i, n)
			}
		}
		if f := b.take(); len(f) != 10_000 {
			t.Errorf("the offerer got %d replies", len(f))
		}
		st := w.srv.Stats()
		if st.Dropped["offer_backlog"] < 9_000 {
			t.Errorf("dropped: %v", st.Dropped)
		}
		time.Sleep(16 * time.Second)
		if n := w.members(hash); n != 1 {
			t.Errorf("%d members: the stalled one is still there", n)
		}
		if n := w.srv.Stats().Ended["overflow"]; n != 1 {
			t.Errorf("ended: %v", w.srv.Stats().Ended)
		}
		if b.gone() {
			t.Error("another connection was dropped")
		}
	})
}

// What is dropped at which backlog: offers first, then answers, and a reply
// only with its connection.
func TestBacklogSteps(t *testing.T) {
	var total atomic.Int64
	cfg := Config{}.withDefaults()
	o := outbox{cfg: &cfg, total: &total}
	answers := (cfg.SoftBacklog + cfg.HardBacklog) / 2
	for _, c := range []struct {
		unsent               int
		offer, answer, reply dropReason
	}{
		{0, admitted, admitted, admitted},
		{cfg.SoftBacklog - 100, admitted, admitted, admitted},
		{cfg.SoftBacklog, dropOfferSoft, admitted, admitted},
		{answers - 100, dropOfferSoft, admitted, admitted},
		{answers, dropOfferSoft, dropAnswer, admitted},
		{cfg.HardBacklog - 100, dropOfferSoft, dropAnswer, admitted},
		{cfg.HardBacklog, dropOfferSoft, dropAnswer, dropHard},
	} {
		o.unsent = c.unsent
		for kind, want := range map[wire.MessageKind]dropReason{wire.KindOffer: c.offer, wire.KindAnswer: c.answer, wire.KindReply: c.reply} {
			if got := o.admit(kind, 100); got != want {
				t.Errorf("kind %d with %d bytes unsent: %s, want %s", kind, c.unsent, got, want)
			}
		}
	}
}

// Replies are never dropped alone: at the hard limit the connection goes.
func TestHardBacklog(t *testing.T) {
	virtual(t, func(w *world) {
		r := w.connect(true)
		go func() {
			for range 20_000 {
				r.cl.nc.SetWriteDeadline(time.Now().Add(time.Second))
				if _, err := r.cl.nc.Write(frame(fin|opText, []byte(`{"action":"scrape","info_hash":["`+hash+`"]}`))); err != nil {
					return
				}
			}
			t.Error("20,000 replies found room")
		}()
		synctest.Wait()
		if st := w.srv.Stats(); st.Dropped["backlog"] != 1 || st.Ended["overflow"] != 1 {
			t.Errorf("dropped %v, ended %v", st.Dropped, st.Ended)
		}
	})
}

// As many pings as there may be from a client that does not read: after a
// few, one pong is due.
func TestPingFlood(t *testing.T) {
	virtual(t, func(w *world) {
		r := w.connect(true)
		for i := range paceBurst {
			r.cl.write(frame(fin|opPing, fmt.Appendf(nil, "%0125d", i)))
		}
		synctest.Wait()
		if n := w.srv.backlog.Load(); n > pongsInPlace+1024 {
			t.Errorf("a backlog of %d bytes", n)
		}
	})
}

// A message that trickles in is given up, however lively it trickles.
func TestSlowMessage(t *testing.T) {
	virtual(t, func(w *world) {
		r := w.connect(false)
		b := frame(fin|opText, make([]byte, 1000))
		for i := 0; i < 200 && !r.gone(); i++ {
			r.cl.nc.Write(b[i : i+1])
			time.Sleep(time.Second)
		}
		if !r.gone() {
			t.Fatal("the connection was kept")
		}
		if n := w.srv.Stats().Ended["slow_message"]; n != 1 {
			t.Errorf("ended: %v", w.srv.Stats().Ended)
		}
	})
}

// All connections together have a bound too: offers go first, and an empty
// outbox still takes a reply.
func TestTotalBacklog(t *testing.T) {
	virtual(t, func(w *world) {
		w.srv.cfg.TotalBacklog = 1 << 20
		for i := range 20 {
			w.connect(true).cl.send(announce(hash, pid(fmt.Sprint("s", i))))
		}
		synctest.Wait()
		b := w.connect(false)
		sdp := strings.Repeat("v=0 ", 250)
		sdps := make([]string, 20)
		for i := range sdps {
			sdps[i] = sdp
		}
		for range 50 {
			b.cl.send(announce(hash, pid("b"), sdps...))
		}
		if f := b.take(); len(f) != 50 {
			t.Errorf("the offerer got %d replies", len(f))
		}
		if n := w.srv.backlog.Load(); n > 20*(1<<20)/(20+backlogParts) {
			t.Errorf("a backlog of %d bytes", n)
		}
		if n := w.srv.Stats().Dropped["offer_total"]; n < 700 {
			t.Errorf("dropped: %v", w.srv.Stats().Dropped)
		}
	})
}
