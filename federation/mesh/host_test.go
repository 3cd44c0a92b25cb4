package mesh

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// crowd feeds s a list of n records that all name one victim, through
// searches, and performs dials, each of which takes a while and fails with o.
// It tells when they were.
func crowd(s *script, n int, took time.Duration, o Outcome, end time.Duration) (at []time.Duration) {
	type running struct {
		id   uint64
		over time.Duration
	}
	var dials []running
	index := make(map[string]int)
	for i := range n {
		index[addr(i).String()] = i
	}
	s.m.Touched(s.now, "x", alone(1), true)
	for s.now < end {
		s.to(s.now)
		for _, a := range s.out {
			switch a.Kind {
			case ActSearch:
				for i := range n {
					s.m.Sighting(s.now, a.ID, addr(i))
				}
				s.m.SearchDone(s.now, a.ID, false)
			case ActResolve:
				i := index[a.Addr.String()]
				r := recordOf(i + 1)
				victim := nodeURL(7)
				victim.Path = fmt.Sprint("/", i)
				victim.Port = uint16(2000 + i%3)
				r.URLs = []nodeaddr.URL{victim}
				s.m.Resolved(s.now, a.Addr, r)
			case ActDial:
				at = append(at, s.now)
				dials = append(dials, running{a.ID, s.now + took})
				if len(dials) > 1 {
					s.t.Fatalf("%d dials to one host under way", len(dials))
				}
			}
		}
		next := max(s.m.Next(), s.now+1)
		if len(dials) > 0 {
			next = min(next, dials[0].over)
		}
		s.now = next
		if len(dials) > 0 && dials[0].over <= s.now {
			s.m.DialDone(s.now, dials[0].id, o, Key{})
			dials = nil
		}
	}
	return at
}

func TestManyRecordsNamingOneHost(t *testing.T) {
	for seed := range uint64(2) {
		for _, took := range []time.Duration{0, 200 * time.Millisecond, 15 * time.Second} {
			for _, o := range []Outcome{DialFailed, DialWrongKey, DialRefused, DialSelf} {
				for _, leaf := range []bool{false, true} {
					s := newScript(t, Config{NoRendezvous: true, Leaf: leaf, Rand: rand.New(rand.NewPCG(seed, 1))})
					at := crowd(s, 100, took, o, 10*time.Minute)
					first := 0
					for _, x := range at {
						if x < at[0]+time.Minute {
							first++
						}
					}
					if first > 4 || len(at) > 10 {
						t.Fatalf("seed %d, %v, outcome %v, leaf %v: %d dials in the first minute, %d in ten", seed, took, o, leaf, first, len(at))
					}
				}
			}
		}
	}
}

// A node that we have met at a host is not kept away by what others claim of
// it, and a good link makes good for all.
func TestACrowdDoesNotPartThoseWhoMet(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	at7 := func(i int) Record {
		r := recordOf(i)
		r.URLs = []nodeaddr.URL{nodeURL(7)}
		return r
	}
	a := busy(s, "x")
	dialled := func(i int) Action {
		t.Helper()
		s.to(s.now)
		for _, d := range s.of(ActDial) {
			if d.Key == key(i) {
				return d
			}
		}
		t.Fatalf("node %d is not dialled: %+v", i, s.out)
		return Action{}
	}
	s.m.Sighting(s.now, a.ID, addr(1))
	s.to(s.now)
	s.m.Resolved(s.now, addr(1), at7(1))
	d := dialled(1)
	s.m.LinkUp(s.now, key(1), Link{Dialled: true})
	s.m.DialDone(s.now, d.ID, DialOK, key(1))
	if len(s.m.hosts) != 0 {
		t.Fatal("a good link did not clear its host")
	}
	name := hostOf(nodeURL(7))
	s.m.hosts[name] = &host{fails: 9, crowd: true, free: s.now + time.Hour}
	s.m.LinkDown(s.now, key(1))
	s.now += 2 * time.Second
	d = dialled(1)
	s.m.LinkUp(s.now, key(1), Link{Dialled: true})
	s.m.DialDone(s.now, d.ID, DialOK, key(1))
	s.m.Sighting(s.now, a.ID, addr(2))
	s.to(s.now)
	s.m.Resolved(s.now, addr(2), at7(2))
	dialled(2)
}
