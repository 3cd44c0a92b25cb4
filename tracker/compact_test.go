package tracker

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/draeder/peerservers/tracker/swarm"
)

// The index is a map, however few or many entries there are.
func TestSessionIndexIsAMap(t *testing.T) {
	trk := newTracker(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		s := Session{t: trk}
		want := map[string]member{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := rapid.IntRange(0, 14).Draw(t, "n")
			key := appendKey(nil, fmt.Appendf(nil, "hash%0*d", n, n), []byte("peer"))
			if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
				s.drop(key)
				delete(want, string(key))
			} else {
				m := member{rapid.Bool().Draw(t, "seeder")}
				s.put(key, m)
				want[string(key)] = m
			}
			got := map[string]member{}
			s.each(func(key string, m member) { got[key] = m })
			if s.count() != len(want) || len(got) != len(want) {
				t.Fatalf("%d entries, want %d", s.count(), len(want))
			}
			for key, m := range want {
				if k, ok := s.known([]byte(key)); got[key] != m || !ok || k != m {
					t.Fatalf("%q is %v, %v, want %v", key, k, ok, m)
				}
			}
			if _, ok := s.known([]byte("\x00\x01xy")); ok {
				t.Fatal("something is known that was never there")
			}
			if s.more != nil && s.more.members != nil && s.few != "" {
				t.Fatal("entries in two places")
			}
		}
	})
}

func TestClientIsKeptWhole(t *testing.T) {
	for _, addr := range []string{"", "192.0.2.1:80", "[2001:db8::1]:65535", "[::ffff:192.0.2.1]:1", "[fe80::1%eth0]:443", "[::]:0"} {
		var who Client
		if addr != "" {
			who.Addr = netip.MustParseAddrPort(addr)
		}
		for _, who.Origin = range []string{"", "https://example.org"} {
			who.Path, who.Token = "/announce", "t"
			c := newClient(who)
			if got := c.unpack(); got != who {
				t.Errorf("%+v became %+v", who, got)
			}
		}
	}
}

// There are very many sessions.
func TestSessionIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n > 112 {
		t.Errorf("a session is %d bytes", n)
	}
}

// A number means somebody else only after a rest, and however many come and go
// at once, few entries are in use.
func TestNumbersRest(t *testing.T) {
	var o owners
	o.init(leastRest)
	now := time.Hour
	last := map[swarm.Owner]time.Duration{} // when it was given up
	var open []*Session
	for i := range 200_000 {
		now += 2 * time.Millisecond
		s := new(Session)
		o.enter(s, now)
		if at, again := last[s.owner]; s.owner == 0 || again && now-at < leastRest {
			t.Fatalf("number %d after %v", s.owner, now-at)
		}
		if o.session(s.owner) != s {
			t.Fatal("a session is not found by its number")
		}
		open = append(open, s)
		if len(open) < 20+i/50_000 {
			continue
		}
		k := i * 7 % len(open)
		gone := open[k]
		open = append(open[:k], open[k+1:]...)
		o.leave(gone)
		last[gone.owner] = now
		if o.session(gone.owner) != nil || o.LastSeen(gone.owner) != never || o.LastPing(gone.owner) != never {
			t.Fatal("a closed session is found by its number")
		}
	}
	// 200,000 in 400 s, each entry for 256 of them at least.
	if o.used > 200_000/halfRound+100 {
		t.Fatalf("%d entries were in use", o.used)
	}
	// In the end they come again.
	for range 3 {
		now += 2 * leastRest
		before := o.used
		for range 10_000 {
			s := new(Session)
			o.enter(s, now)
			o.leave(s)
		}
		if o.used != before {
			t.Fatalf("%d entries more, though the others had rested", o.used-before)
		}
	}
}

// When all numbers are taken, a client is told so, and another can come when
// one leaves.
func TestSessionsAreBounded(t *testing.T) {
	trk := newTracker(t, nil)
	trk.owners.used = slots
	a := open(trk, Client{})
	a.announce(hash, pid("a"))
	if m := a.one(t); m["failure reason"] != reasonSessions {
		t.Fatal(m)
	}
	a.answer(hash, pid("a"), pid("b"), "1")
	a.Close()
	if n := trk.Stats(); n.MembershipLimit != 1 || n.Sessions != 0 || n.Swarm.Members != 0 {
		t.Fatalf("%+v", n)
	}
	trk.owners.used = 1
	open(trk, Client{}).join(t, hash, pid("a"))
}

// nobody is a sink of no size.
type nobody struct{ countSink }

// BenchmarkSessionMemory prints what a client with one membership takes that
// is idle: its session, its index and number, and its place in a swarm of ten
// or of its own.
func BenchmarkSessionMemory(b *testing.B) {
	const clients = 100_000
	for _, size := range []int{10, 1} {
		b.Run(fmt.Sprint("swarms of ", size), func(b *testing.B) {
			for b.Loop() {
				trk := newTracker(b, func(c *Config) { c.Shards = 16 })
				sink := new(nobody)
				heap := func() uint64 {
					runtime.GC()
					runtime.GC()
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					return m.HeapAlloc
				}
				list := make([]*Session, clients)
				who := Client{Origin: "https://example.org", Path: "/"}
				base := heap()
				for i := range list {
					who.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), uint16(i))
					list[i] = trk.Open(sink, who)
				}
				opened := heap()
				for i, s := range list {
					s.Handle(fmt.Appendf(nil, `{"action":"announce","info_hash":"%020d","peer_id":"-WW0208-%012d"}`, i/size, i))
				}
				b.ReportMetric(float64(opened-base)/clients, "B/session")
				b.ReportMetric(float64(heap()-base)/clients, "B/client")
				runtime.KeepAlive(list)
			}
		})
	}
}
