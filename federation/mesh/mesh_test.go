package mesh

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

const noon = 20_000*86400 + 43200

// script drives a Mesh on virtual time.
type script struct {
	t   *testing.T
	m   *Mesh
	now time.Duration
	out []Action // of the last advance
	all []Action
}

func newScript(t *testing.T, cfg Config) *script {
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(1, 2))
	}
	cfg.Self = key(0)
	return &script{t: t, m: New(cfg, 0, noon)}
}

func key(i int) (k Key) {
	binary.BigEndian.PutUint64(k[24:], uint64(i)+1)
	return k
}

func addr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(20 + i>>8), byte(i), 1, 1}), 6881)
}

func nodeURL(i int) nodeaddr.URL {
	return nodeaddr.URL{Scheme: "wss", Host: fmt.Sprintf("n%d.example.org", i), Port: 443}
}

func recordOf(i int) Record {
	return Record{Key: key(i), URLs: []nodeaddr.URL{nodeURL(i)}, Seq: 1, Expires: noon + 7200}
}

// to lets time pass until at, doing what is due, and gathers actions.
func (s *script) to(at time.Duration) []Action {
	s.t.Helper()
	s.out = s.out[:0]
	for range 100_000 {
		s.out = s.m.Advance(s.now, noon+int64(s.now/time.Second), s.out)
		if err := s.m.Check(); err != nil {
			s.t.Fatalf("at %v: %v", s.now, err)
		}
		next := s.m.Next()
		if next > at {
			s.now = at
			s.all = append(s.all, s.out...)
			return s.out
		}
		s.now = max(s.now, next)
	}
	s.t.Fatal("mesh never rests")
	return nil
}

func (s *script) of(kind ActionKind) (list []Action) {
	for _, a := range s.out {
		if a.Kind == kind {
			list = append(list, a)
		}
	}
	return list
}

// swarmSearches are the searches among the last actions that are for swarms.
func (s *script) swarmSearches() (list []Action) {
	for _, a := range s.of(ActSearch) {
		if a.InfoHash != "" {
			list = append(list, a)
		}
	}
	return list
}

func alone(n int) SwarmState { return SwarmState{Local: n} }

// The schedule of a swarm that finds nobody: at once, soon, then less often.
func TestHungrySwarmSearchesSoonThenLessOften(t *testing.T) {
	for _, leaf := range []bool{false, true} {
		s := newScript(t, Config{NoRendezvous: true, Leaf: leaf})
		s.m.Touched(0, "x", alone(1), true)
		var at []time.Duration
		for s.now < 2*time.Hour {
			s.to(s.now)
			for _, a := range s.swarmSearches() {
				at = append(at, s.now)
				if a.Announce == leaf {
					t.Fatalf("leaf %v announces %v", leaf, a.Announce)
				}
				s.m.SearchDone(s.now, a.ID, false)
			}
			s.to(s.now)
			s.now = max(s.m.Next(), s.now+1)
		}
		if at[0] != 0 {
			t.Fatalf("first search at %v", at[0])
		}
		for i := 1; i < len(at); i++ {
			gap := at[i] - at[i-1]
			want := hungrySteps[min(i-1, len(hungrySteps)-1)]
			if leaf && want >= leafHungry {
				if gap > 45*time.Second*98/100 {
					t.Fatalf("a leaf pauses for %v: offers that wait elsewhere are gone after 45 s", gap)
				}
				continue
			}
			if gap < want*74/100 || gap > want*126/100 {
				t.Fatalf("search %d after %v, want %v ±25 %%", i, gap, want)
			}
		}
	}
}

func TestANewMemberHurriesAHungrySwarmALittle(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", alone(1), true)
	for s.now < 30*time.Minute {
		s.to(s.now)
		for _, a := range s.swarmSearches() {
			s.m.SearchDone(s.now, a.ID, false)
		}
		s.now = max(s.m.Next(), s.now+1)
	}
	// Just after a search, one member after the other comes.
	start := s.m.swarms["x"].began
	n := 0
	for i := range 100 {
		s.now += 100 * time.Millisecond
		s.m.Touched(s.now, "x", alone(2+i), true)
		s.to(s.now)
		for _, a := range s.swarmSearches() {
			n++
			if s.now-start < touchPause && n > 1 {
				t.Fatal("members make it search again within 5 s")
			}
			start = s.now
			s.m.SearchDone(s.now, a.ID, false)
		}
	}
	if n == 0 || n > 3 {
		t.Fatalf("%d searches in 10 s of new members", n)
	}
}

func TestASwarmInCompanyIsOnlyRefreshed(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", SwarmState{Local: 2, Remote: 3}, true)
	last, n := time.Duration(0), 0
	for s.now < 5*time.Hour {
		s.to(s.now)
		for _, a := range s.swarmSearches() {
			want := refreshAfter
			if n > 0 && n <= len(followSteps) { // those who began when it did
				want = followSteps[n-1]
			}
			if gap := s.now - last; n > 0 && (gap < want*3/4 || gap > want*5/4) {
				t.Fatalf("search %d after %v, want %v", n, gap, want)
			}
			last = s.now
			n++
			s.m.SearchDone(s.now, a.ID, false)
		}
		s.now = max(s.m.Next(), s.now+1)
	}
	if n < 12 {
		t.Fatalf("%d refreshes in 5 hours: what was published expires after 30 min", n)
	}
}

func TestBothEpochsNearMidnight(t *testing.T) {
	for _, c := range []struct {
		unix int64
		want []uint32
	}{{20_000 * 86400, []uint32{20_000, 19_999}}, {noon, []uint32{20_000}}, {20_001*86400 - 60, []uint32{20_000, 20_001}}} {
		m := New(Config{NoRendezvous: true, Rand: rand.New(rand.NewPCG(1, 1))}, 0, c.unix)
		m.Touched(0, "x", alone(1), true)
		out := m.Advance(0, c.unix, nil)
		if len(out) != 1 || !slices.Equal(out[0].Epochs, c.want) {
			t.Errorf("at %d: %+v", c.unix, out)
		}
	}
}

// While all classes wait, each gets its share; while one waits, it gets all.
func TestEachClassHasItsShare(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, SearchBurst: 1, MaxSearches: 1})
	for i := range 3000 {
		s.m.Touched(0, fmt.Sprint("large", i), SwarmState{Local: 10, Remote: 5}, true)
		s.m.Touched(0, fmt.Sprint("small", i), SwarmState{Local: 2, Remote: 5}, true)
		s.m.Touched(0, fmt.Sprint("hungry", i), alone(1), true)
		for _, n := range []string{"large", "small", "hungry"} {
			s.m.swarms[fmt.Sprint(n, i)].searched = true
		}
		s.m.Touched(0, fmt.Sprint("young", i), alone(1), true)
	}
	counts := [classes]int{}
	for range 800 {
		s.to(s.now + time.Second)
		for _, a := range s.swarmSearches() {
			s.m.SearchDone(s.now, a.ID, false)
		}
	}
	for c, n := range s.m.stats.Searches {
		counts[c] = int(n)
	}
	total := counts[0] + counts[1] + counts[2] + counts[3]
	if total < 700 || total > 810 {
		t.Fatalf("%d searches in 800 s at 1 a second", total)
	}
	for c, n := range counts {
		want := float64(total-15) * weights[c] / 8
		if float64(n) < 0.8*want-3 {
			t.Errorf("class %d had %d of %d searches, its share is %.0f", c, n, total, want)
		}
	}
}

// busy is a swarm whose search is under way.
func busy(s *script, ih string) Action {
	s.t.Helper()
	s.m.Touched(s.now, ih, alone(1), true)
	s.to(s.now)
	for _, a := range s.swarmSearches() {
		if a.InfoHash == ih {
			return a
		}
	}
	s.t.Fatal("no search")
	return Action{}
}

func TestASearchResolvesFew(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	a := busy(s, "x")
	for i := range 100 {
		s.m.Sighting(s.now, a.ID, addr(i))
	}
	s.to(s.now)
	if n := len(s.of(ActResolve)); n != resolvesAtOnce {
		t.Fatalf("%d resolves at once", n)
	}
	s.m.Sighting(s.now, a.ID, addr(50)) // named twice: preferred
	s.to(s.now)
	if r := s.of(ActResolve); len(r) != 1 || r[0].Addr != addr(50) {
		t.Fatalf("an address that two named: %v", r)
	}
	s.m.SearchDone(s.now, a.ID, false)
	s.to(s.now)
	if n := len(s.of(ActResolve)); n != 1 {
		t.Fatalf("%d resolves at the end", n)
	}
}

func TestKnownAddressesCostNothing(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	a := busy(s, "x")
	s.m.Sighting(s.now, a.ID, addr(1))
	s.to(s.now)
	s.m.Resolved(s.now, addr(1), recordOf(1))
	s.m.LinkUp(s.now, key(1), Link{Dialled: true})
	b := busy(s, "y")
	s.m.Census(s.now, key(1), 1)
	s.to(s.now + time.Second)
	s.m.Sighting(s.now, b.ID, addr(1))
	s.to(s.now)
	if j := s.of(ActNames); len(j) != 1 || j[0].Key != key(1) || j[0].Names[0] != "y" || len(s.of(ActResolve)) != 0 {
		t.Fatalf("%+v", s.out)
	}
}

// A node that is just starting answers a little later.
func TestSilentAddressesAreAskedAgainSoon(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	a := busy(s, "x")
	s.m.Sighting(s.now, a.ID, addr(1))
	s.to(s.now)
	s.m.SearchDone(s.now, a.ID, false)
	for i, want := range []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second, 60 * time.Second} {
		s.m.Unresolved(s.now, addr(1), false)
		from := s.now
		for s.to(s.now); len(s.of(ActResolve)) == 0; s.to(s.now) {
			for _, a := range s.swarmSearches() {
				s.m.SearchDone(s.now, a.ID, false)
			}
			s.now = max(s.m.Next(), s.now+1)
			if s.now-from > 2*want {
				t.Fatalf("try %d: not asked again within %v", i, 2*want)
			}
		}
		if gap := s.now - from; gap < want*89/100 || gap > want*111/100 {
			t.Fatalf("try %d after %v, want %v", i, gap, want)
		}
	}
}

func TestBadRecordsAreLeftAlone(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	a := busy(s, "x")
	s.m.Sighting(s.now, a.ID, addr(1))
	s.to(s.now)
	s.m.Unresolved(s.now, addr(1), true)
	s.m.SearchDone(s.now, a.ID, false)
	for s.now < 29*time.Minute {
		s.to(s.now)
		if len(s.of(ActResolve)) > 0 {
			t.Fatalf("asked again after %v", s.now)
		}
		for _, a := range s.swarmSearches() {
			s.m.Sighting(s.now, a.ID, addr(1))
			s.m.SearchDone(s.now, a.ID, false)
		}
		s.now = max(s.m.Next(), s.now+1)
	}
}

func TestFewNodesOfOnePrefix(t *testing.T) {
	for _, c := range []struct {
		name    string
		private bool
		addr    func(i int) netip.AddrPort
		want    int
	}{
		{"/24", false, func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, 1, 1, byte(i + 1)}), 6881)
		}, 2},
		{"/48", false, func(i int) netip.AddrPort {
			a := netip.MustParseAddr("2a01:4f8:1::").As16()
			a[7] = byte(i + 1)
			return netip.AddrPortFrom(netip.AddrFrom16(a), 6881)
		}, 1},
		{"distinct", false, addr, 17},
		{"private, not allowed", false, private, 0},
		{"private", true, private, 17},
	} {
		s := newScript(t, Config{NoRendezvous: true, AllowPrivate: c.private, ResolveRate: 1000, ResolveBurst: 1000})
		s.m.Touched(0, "x", alone(1), true)
		next := 0
		for next < 60 {
			s.to(s.now)
			for _, a := range s.of(ActResolve) {
				i := slices.IndexFunc(addrs(c.addr, 60), func(x netip.AddrPort) bool { return x == a.Addr })
				s.m.Resolved(s.now, a.Addr, recordOf(1+i))
			}
			for _, a := range s.swarmSearches() {
				for range 4 {
					s.m.Sighting(s.now, a.ID, c.addr(next))
					next++
				}
				s.m.SearchDone(s.now, a.ID, false)
			}
			s.now = max(min(s.m.Next(), s.now+time.Minute), s.now+1)
		}
		s.to(s.now)
		for _, a := range s.of(ActResolve) {
			i := slices.IndexFunc(addrs(c.addr, 60), func(x netip.AddrPort) bool { return x == a.Addr })
			s.m.Resolved(s.now, a.Addr, recordOf(1+i))
		}
		if n := len(s.m.swarms["x"].shares); n != c.want && !(c.want > 2 && n > c.want) {
			t.Errorf("%s: %d nodes, want %d", c.name, n, c.want)
		}
	}
}

func private(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(7000+i))
}

func addrs(f func(int) netip.AddrPort, n int) (list []netip.AddrPort) {
	for i := range n {
		list = append(list, f(i))
	}
	return list
}
