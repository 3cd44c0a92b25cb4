package mesh

import (
	"net/netip"
	"testing"
	"time"
)

// flood links n fresh keys from different prefixes, and counts those that stay.
func (s *script) flood(first, n int, from func(i int) netip.AddrPort) (stay int) {
	for i := first; i < first+n; i++ {
		l := Link{From: from(i)}
		if !s.m.Admits(s.now, key(i), l) {
			continue
		}
		s.m.LinkUp(s.now, key(i), l)
		s.closed()
		stay++
	}
	return stay
}

// closed performs what mesh closes, and tells which.
func (s *script) closed() (list []int) {
	s.to(s.now)
	for _, a := range s.of(ActClose) {
		list = append(list, indexOf(a.Key))
		s.m.LinkDown(s.now, a.Key)
	}
	return list
}

func (s *script) linked(i int) bool { n := s.m.nodes[key(i)]; return n != nil && n.up && !n.closing }

// Links that others dial have half of the table, so that those whom we dial
// find room.
func TestStrangersHaveHalfOfTheTable(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, MaxLinks: 20})
	s.m.Touched(0, "x", alone(1), true)
	s.flood(1, 100, site)
	up := 0
	for i := 1; i <= 100; i++ {
		if s.linked(i) {
			up++
			s.m.Joined(s.now, key(i), "x") // none is idle
		}
	}
	if up != 10 {
		t.Fatalf("%d strangers have links", up)
	}
	for i := 200; i < 210; i++ {
		s.m.LinkUp(s.now, key(i), Link{Dialled: true, From: site(i)})
		if c := s.closed(); len(c) > 0 || !s.linked(i) {
			t.Fatalf("closed %v when we dialled node %d", c, i)
		}
		s.m.Touched(s.now, "y", alone(1), true)
		s.m.Joined(s.now, key(i), "y")
	}
	// One more that we dial takes the place of a stranger.
	s.now += time.Minute
	s.m.LinkUp(s.now, key(300), Link{Dialled: true, From: site(300)})
	if c := s.closed(); len(c) != 1 || c[0] > 100 || !s.linked(300) {
		t.Fatalf("closed %v", c)
	}
}

// What fresh keys displace are fresh keys: neither those known for longer, nor
// those with which something is shared, nor those that brought answers.
func TestFreshKeysDisplaceFreshKeys(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, MaxLinks: 20})
	s.m.Touched(0, "x", alone(1), true)
	for i := 1; i <= 10; i++ {
		l := Link{From: site(i)}
		if i <= 4 {
			l.Age = 24 * time.Hour // idle, but known
		}
		s.m.LinkUp(0, key(i), l)
		switch {
		case i == 5 || i == 6:
			s.m.Joined(0, key(i), "x")
		case i == 7:
			s.m.Brought(0, key(i), "y")
		}
	}
	for round := range 50 {
		s.now += 20 * time.Second
		if n := s.flood(100+10*round, 10, site); n == 0 {
			t.Fatal("nobody comes in")
		}
		for i := 1; i <= 7; i++ {
			if !s.linked(i) {
				t.Fatalf("round %d: node %d had to go", round, i)
			}
		}
	}
	if s.m.stats.Displaced == 0 {
		t.Error("nobody was displaced")
	}
}

// An old acquaintance comes in although all links are in use.
func TestOldNodesFindRoom(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, MaxLinks: 20})
	s.m.Touched(0, "x", alone(1), true)
	s.flood(1, 100, site)
	for i := 1; i <= 10; i++ {
		s.m.Joined(s.now, key(i), "x")
	}
	s.now += time.Minute
	if s.flood(200, 1, site) != 0 {
		t.Fatal("a fresh key displaced one with which a swarm is shared")
	}
	l := Link{From: site(300), Age: 24 * time.Hour}
	if !s.m.Admits(s.now, key(300), l) {
		t.Fatal("an old acquaintance is refused")
	}
	s.m.LinkUp(s.now, key(300), l)
	if c := s.closed(); len(c) != 1 || c[0] == 300 {
		t.Fatalf("closed %v", c)
	}
}

// One prefix has few links, whatever the keys, and cannot displace others.
func TestLinksOfOnePrefixAreBounded(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, MaxLinks: 40, MaxLinksGroup: 4})
	s.flood(1, 10, site)
	one := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{90, 1, 1, byte(i)}), 7000)
	}
	for range 30 {
		s.now += 20 * time.Second
		s.flood(100, 50, one)
	}
	n := 0
	for i := 1; i < 150; i++ {
		if i <= 10 && !s.linked(i) {
			t.Errorf("node %d of another prefix had to go", i)
		}
		if i >= 100 && s.linked(i) {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d links of one /24", n)
	}
}

// Links that end at once are a failure, or two nodes without room would go on
// dialling.
func TestBriefLinksBackOff(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	a := busy(s, "x")
	s.m.Sighting(s.now, a.ID, addr(1))
	s.to(s.now)
	s.m.Resolved(s.now, addr(1), recordOf(1))
	s.m.SearchDone(s.now, a.ID, false)
	dials := 0
	for s.now < 10*time.Minute {
		s.to(s.now)
		for _, a := range s.swarmSearches() {
			s.m.SearchDone(s.now, a.ID, false)
		}
		for _, a := range s.of(ActDial) {
			dials++
			s.m.LinkUp(s.now, a.Key, Link{Dialled: true})
			s.m.DialDone(s.now, a.ID, DialOK, a.Key)
			s.m.LinkDown(s.now, a.Key)
		}
		s.now = max(s.m.Next(), s.now+1)
	}
	if dials > 14 {
		t.Errorf("%d dials in ten minutes", dials)
	}
}

// Whoever comes with one new key after the other displaces those that came
// before with the like, and not all that have been known for long.
func TestFreshKeysDisplaceEachOther(t *testing.T) {
	const nodes, fresh = 200, 2000
	s := newScript(t, Config{MaxNodes: nodes, AllowPrivate: true, NoRendezvous: true})
	for i := range nodes {
		s.m.Learn(s.now, recordOf(1+i))
	}
	s.to(s.now + time.Hour)
	for i := range fresh {
		k := key(1000 + i)
		s.m.LinkUp(s.now, k, Link{})
		s.to(s.now + 100*time.Millisecond)
		s.m.LinkDown(s.now, k)
		s.to(s.now + time.Second)
	}
	left := 0
	for i := range nodes {
		if s.m.nodes[key(1+i)] != nil {
			left++
		}
	}
	if left < nodes*2/3 {
		t.Errorf("%d of %d nodes are known after %d keys came and went", left, nodes, fresh)
	}
}
