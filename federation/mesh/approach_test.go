package mesh

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// listed makes a swarm whose list names node i at an address, with a link.
func (s *script) listed(ih string, i int, at netip.AddrPort) {
	s.t.Helper()
	a := busy(s, ih)
	s.m.Sighting(s.now, a.ID, at)
	s.m.SearchDone(s.now, a.ID, false)
	s.to(s.now)
	s.m.Resolved(s.now, at, recordOf(i))
	s.m.LinkUp(s.now, key(i), Link{Dialled: true})
	s.to(s.now)
}

// Who is in a swarm's list gets the swarm's name, and the info hash once he has
// shown that he knows it.
func TestWhoIsListedIsToldAName(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.listed("x", 1, addr(1))
	s.m.Census(s.now, key(1), 1)
	s.to(s.now + plainAfter/2)
	if n := s.of(ActNames); len(n) != 1 || n[0].Names[0] != "x" || len(s.of(ActJoin)) != 0 {
		t.Fatalf("%+v", s.out)
	}
	// Whatever happens, short of an answer: nothing more.
	for range 20 {
		s.m.LinkDown(s.now, key(1))
		s.to(s.now + 5*time.Second)
		s.m.LinkUp(s.now, key(1), Link{Dialled: false})
		s.m.Census(s.now, key(1), 1)
		s.m.Refresh(s.now, key(1))
		s.m.Touched(s.now, "x", SwarmState{Local: 2}, true)
		s.m.Touched(s.now, "x", SwarmState{}, true)
		s.m.Touched(s.now, "x", SwarmState{Local: 1}, true)
		s.to(s.now + 5*time.Second)
		if len(s.of(ActJoin)) > 0 || len(s.of(ActLeave)) > 0 { // both carry it
			t.Fatal("it was told the info hash")
		}
	}
	s.m.Named(s.now, key(1), theirs(1), []uint64{s.nameOf(theirs(1), "x")})
	if s.to(s.now + time.Second); len(s.of(ActJoin)) != 1 {
		t.Fatal("it named the swarm, and was told nothing")
	}
	// It is not asked to show that again.
	s.m.LinkDown(s.now, key(1))
	s.to(s.now + time.Second)
	s.m.LinkUp(s.now, key(1), Link{Dialled: false})
	if s.to(s.now); len(s.of(ActJoin)) != 1 {
		t.Fatal("it is not told at once what it knows already")
	}
}

// Who understands no names is told a few info hashes in plain: for a key, and
// for the prefix that was listed.
func TestPlainJoinsAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		keys, want int
		at         func(i int) netip.AddrPort
	}{
		"of one key":    {1, plainBurst, func(i int) netip.AddrPort { return addr(1 + i) }},
		"of one prefix": {100, plainPrefix * plainBurst, func(i int) netip.AddrPort { return netip.AddrPortFrom(addr(1).Addr(), uint16(2000+i)) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, Config{NoRendezvous: true, ResolveRate: 1000, SearchRate: 1000, MaxSearches: 1000})
			for i := range 100 {
				s.listed(fmt.Sprint("x", i), 1+i%c.keys, c.at(i))
				s.to(s.now + plainAfter + time.Second)
			}
			joins := 0
			for _, a := range s.all {
				if a.Kind == ActJoin {
					joins++
				}
			}
			if most := c.want + int(s.now/(10*time.Minute))*c.want/plainBurst; joins < c.want || joins > most {
				t.Errorf("%d info hashes were told, want %d to %d", joins, c.want, most)
			}
			if s.m.Stats().Dropped[DropPlain] == 0 {
				t.Error("not counted")
			}
		})
	}
}

// The memory of prefixes is bounded, and full of strangers it tells nothing.
func TestPlainPrefixesAreBounded(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	for i := range 2 * maxPlain {
		p, _ := s.m.group(netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i), 1}), 6881))
		if b := s.m.plainOf(p); (b != nil) != (i < maxPlain) {
			t.Fatalf("prefix %d: %v", i, b)
		} else if b != nil {
			b.take(s.m.now, 1)
		}
	}
	s.m.now += time.Hour
	if s.m.plainOf(netip.AddrPort{}) == nil || len(s.m.plain) != 1 {
		t.Errorf("%d prefixes are remembered that are as good as new", len(s.m.plain))
	}
}
