package mesh

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// guessOf is the record of a node that guesses where it is.
func guessOf(i int) Record {
	r := recordOf(i)
	r.Unverified = true
	return r
}

// named makes a search of ih name node i at addr(i), with record r.
func (s *script) named(a Action, i int, r Record) {
	s.t.Helper()
	s.m.Sighting(s.now, a.ID, addr(i))
	s.to(s.now)
	if len(s.of(ActResolve)) == 1 {
		s.m.Resolved(s.now, addr(i), r)
	}
	s.to(s.now)
}

// dials lets time pass, answering searches and failing dials but to those in
// up, and returns who was dialled when.
func (s *script) dials(end time.Duration, up ...Key) (list []Action, at []time.Duration) {
	s.t.Helper()
	for first := true; s.now < end; first = false {
		if !first {
			s.to(s.now)
		}
		for _, a := range s.of(ActSearch) {
			s.m.SearchDone(s.now, a.ID, false)
		}
		for _, a := range s.of(ActDial) {
			list, at = append(list, a), append(at, s.now)
			o := DialFailed
			for _, k := range up {
				if k == a.Key {
					o = DialOK
					s.m.LinkUp(s.now, k, Link{Dialled: true})
				}
			}
			s.m.DialDone(s.now, a.ID, o, a.Key)
		}
		s.now = min(max(s.m.Next(), s.now+1), end)
	}
	return list, at
}

// The verified first, whenever they come, and the unverified not at all while
// they are there.
func TestVerifiedNodesComeFirst(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	a := busy(s, "x")
	s.named(a, 1, guessOf(1))
	s.now += time.Second
	s.named(a, 2, recordOf(2))
	list, _ := s.dials(s.now+30*time.Minute, key(2))
	if len(list) != 1 || list[0].Key != key(2) {
		t.Fatalf("dialled %v", list)
	}
	// Nobody else is there any more.
	s.m.LinkDown(s.now, key(2))
	s.m.Left(s.now, key(2), "x", false)
	list, _ = s.dials(s.now + 9*time.Minute)
	for i, d := range list {
		if d.Key == key(1) {
			if i < 3 {
				t.Fatalf("dialled after %d tries of the other", i)
			}
			return
		}
	}
	t.Fatalf("the unverified node is never dialled: %v", list)
}

// Both wait for a place among the dials: the verified has it.
func TestVerifiedNodesAreDialledFirst(t *testing.T) {
	for seed := range uint64(10) {
		s := newScript(t, Config{Seeds: []nodeaddr.URL{nodeURL(9)}, MaxDials: 1, Rand: rand.New(rand.NewPCG(seed, 1))})
		s.to(0)
		d := s.of(ActDial)
		s.m.Learn(0, guessOf(1))
		s.m.Learn(0, recordOf(2))
		s.m.Learn(0, guessOf(3))
		s.to(5 * time.Second)
		s.m.DialDone(s.now, d[0].ID, DialFailed, Key{})
		s.to(s.now)
		if d = s.of(ActDial); len(d) != 1 || d[0].Key != key(2) {
			t.Fatalf("dialled %v", d)
		}
	}
}

// Alone, an unverified node is dialled soon; once, then not for long; and
// others that name its host neither, whatever the port, but that counts for
// nobody who is verified.
func TestOneTry(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	a := busy(s, "x")
	s.named(a, 1, guessOf(1))
	list, at := s.dials(s.now + 25*time.Minute)
	if len(list) != 1 || at[0] > 3*time.Second {
		t.Fatalf("%d dials at %v", len(list), at)
	}
	// With a new number its record is no news; another URL there is none either.
	r := guessOf(1)
	r.Seq++
	s.m.Learn(s.now, r)
	other := guessOf(3)
	other.URLs[0] = nodeURL(1)
	other.URLs[0].Port, other.URLs[0].Path = 8443, "/x"
	s.m.Touched(s.now, "y", alone(1), true)
	s.to(s.now)
	s.named(s.swarmSearches()[0], 3, other)
	if list, _ = s.dials(26 * time.Minute); len(list) != 0 {
		t.Fatalf("dialled again: %v", list)
	}
	// A verified node at the same host is dialled at once.
	verified := recordOf(4)
	verified.URLs = other.URLs
	s.m.Touched(s.now, "z", alone(1), true)
	s.to(s.now)
	s.named(s.swarmSearches()[0], 4, verified)
	if list := s.of(ActDial); len(list) != 1 || list[0].Key != key(4) {
		t.Fatalf("dialled %v", list)
	}
}

// A list full of guesses: two dials under way, one in ten seconds.
func TestGuessesArePaced(t *testing.T) {
	s := newScript(t, Config{})
	for i := range 200 {
		s.m.Learn(0, guessOf(1+i))
	}
	var begun []time.Duration
	type running struct {
		id   uint64
		over time.Duration
	}
	var under []running
	for s.now < time.Hour {
		for _, a := range s.to(s.now) {
			switch a.Kind {
			case ActSearch:
				s.m.SearchDone(s.now, a.ID, false)
			case ActDial:
				begun = append(begun, s.now)
				under = append(under, running{a.ID, s.now + 15*time.Second})
			}
		}
		if len(under) > maxGuessDials {
			t.Fatalf("%d dials to unverified nodes under way", len(under))
		}
		s.now = max(s.m.Next(), s.now+1)
		if len(under) > 0 && under[0].over <= s.now {
			s.now = under[0].over
			s.m.DialDone(s.now, under[0].id, DialFailed, Key{})
			under = under[1:]
		}
	}
	if n := len(begun); n < 100 || n > 3600/10+guessBurst {
		t.Fatalf("%d dials in an hour", n)
	}
}

// Somebody must try a guess. Whoever is linked does, once; not if it dialled
// there itself, nor again for each new record.
func TestProbe(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.LinkUp(0, key(1), Link{Dialled: false})
	s.m.Learn(0, guessOf(1))
	list, at := s.dials(time.Minute)
	if len(list) != 1 || list[0].Key != key(1) || at[0] < time.Second || at[0] > probeWithin {
		t.Fatalf("dialled %v at %v", list, at)
	}
	for i := range 5 {
		r := guessOf(1)
		r.Seq += int64(2 + i)
		s.m.Learn(s.now, r)
		if list, _ := s.dials(s.now + 50*time.Minute); len(list) != 0 {
			t.Fatalf("dialled again after %v", s.now)
		}
	}
	// It moves, and is tried anew.
	moved := guessOf(1)
	moved.URLs, moved.Seq = []nodeaddr.URL{nodeURL(9)}, 100
	s.m.Learn(s.now, moved)
	if list, _ = s.dials(s.now+time.Minute, key(1)); len(list) != 1 || list[0].URL != nodeURL(9) {
		t.Fatalf("dialled %v", list)
	}
	// The dial that got through proves it: no more, even if it stays unverified.
	moved.Seq++
	s.m.Learn(s.now, moved)
	if list, _ = s.dials(s.now + 7*time.Hour); len(list) != 0 {
		t.Fatalf("dialled %v", list)
	}

	// Two of which we dialled one.
	s = newScript(t, Config{})
	s.m.Learn(0, guessOf(1))
	if list, _ = s.dials(time.Hour, key(1)); len(list) != 1 {
		t.Fatalf("dialled %v", list)
	}
	// A record without the bit ends it before it begins.
	s.m.LinkUp(s.now, key(2), Link{Dialled: false})
	s.m.Learn(s.now, guessOf(2))
	proven := recordOf(2)
	proven.Seq++
	s.m.Learn(s.now, proven)
	if list, _ = s.dials(s.now + time.Hour); len(list) != 0 {
		t.Fatalf("dialled %v", list)
	}
}

// A node has moved: while it is still dialled at the old address, it has a link
// from the new one. That it is tried there waits for the end of the dial, and
// no longer.
func TestProbeDuringADial(t *testing.T) {
	for _, o := range []Outcome{DialFailed, DialOK} {
		s := newScript(t, Config{NoRendezvous: true})
		s.named(busy(s, "x"), 1, recordOf(1))
		old := s.of(ActDial)
		if len(old) != 1 {
			t.Fatalf("dialled %v", old)
		}
		s.m.LinkUp(s.now, key(1), Link{})
		moved := guessOf(1)
		moved.URLs, moved.Seq = []nodeaddr.URL{nodeURL(9)}, 100
		s.m.Learn(s.now, moved)
		s.to(s.now)
		if list, _ := s.dials(s.now + 15*time.Second); len(list) != 0 {
			t.Fatalf("%v: dialled %v", o, list)
		}
		s.m.DialDone(s.now, old[0].ID, o, key(1))
		if list, _ := s.dials(s.now+probeWithin, key(1)); len(list) != 1 || list[0].URL != nodeURL(9) {
			t.Fatalf("%v: dialled %v", o, list)
		}
	}
}

// A node with two guesses is tried at both.
func TestProbeBothURLs(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	r := guessOf(1)
	r.URLs = append(r.URLs, nodeURL(2))
	s.m.LinkUp(0, key(1), Link{Dialled: false})
	s.m.Learn(0, r)
	list, _ := s.dials(10 * time.Minute)
	if len(list) != 2 || list[0].URL == list[1].URL {
		t.Fatalf("dialled %v", list)
	}
}

// Who becomes reachable tells those who look for its swarms, without waiting
// for their next search; who is one no more tells nobody.
func TestReachable(t *testing.T) {
	s := newScript(t, Config{Leaf: true})
	for i := range 5 {
		s.m.Touched(0, fmt.Sprint(i), SwarmState{Local: 1, Remote: i % 2}, true)
	}
	announced := func(end time.Duration) (n, rendezvous, all int) {
		for s.now < end {
			for _, a := range s.to(s.now) {
				if a.Kind == ActSearch {
					s.m.SearchDone(s.now, a.ID, false)
					all++
					switch {
					case a.Announce && a.InfoHash != "":
						n++
					case a.Announce:
						rendezvous++
					}
				}
			}
			s.now = min(max(s.m.Next(), s.now+1), end)
		}
		return n, rendezvous, all
	}
	if n, r, all := announced(70 * time.Second); n+r != 0 || all < 5 {
		t.Fatalf("a leaf announced %d swarms and %d times itself in %d searches", n, r, all)
	}
	s.m.Reachable(s.now, true, false)
	if n, r, _ := announced(s.now + time.Second); n != 5 || r != 1 {
		t.Fatalf("announced %d swarms and %d times itself", n, r)
	}
	s.m.Reachable(s.now, false, false)
	if n, r, all := announced(s.now + time.Hour); n+r != 0 || all < 60 {
		t.Fatalf("a leaf announced %d swarms and %d times itself in %d searches", n, r, all)
	}
	s.m.Reachable(s.now, true, true)
	if n, r, _ := announced(s.now + time.Second); n != 5 || r != 1 {
		t.Fatalf("announced %d swarms and %d times itself", n, r)
	}
	// A search that was under way as a leaf counts for nothing.
	s = newScript(t, Config{Leaf: true, NoRendezvous: true})
	a := busy(s, "x")
	s.m.Reachable(s.now, true, true)
	s.m.Touched(s.now, "x", SwarmState{Local: 1, Remote: 1}, false)
	s.m.SearchDone(s.now, a.ID, false)
	s.to(s.now)
	if list := s.swarmSearches(); len(list) != 1 || !list[0].Announce {
		t.Fatalf("searched %v", list)
	}
}
