package mesh

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A line against a sorted list: random arrivals, departures and changes of rank.
func TestLineIsASortedList(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var l line
		var model []*swarm
		for range 300 {
			switch n := r.IntN(10); {
			case n < 4:
				s := &swarm{rank: int32(r.IntN(6))}
				l.push(s)
				model = append(model, s)
			case len(model) == 0:
			case n < 6:
				s := model[r.IntN(len(model))]
				s.rank = int32(r.IntN(6))
				l.fix(s)
			case n < 8:
				i := r.IntN(len(model))
				l.remove(model[i])
				if model[i].place != 0 {
					t.Fatal("removed, and in line")
				}
				model = slices.Delete(model, i, i+1)
			default:
				slices.SortFunc(model, func(a, b *swarm) int {
					return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.turn, b.turn))
				})
				if l.heap[0] != model[0] {
					t.Fatalf("rank %d, turn %d is first, not rank %d, turn %d", l.heap[0].rank, l.heap[0].turn, model[0].rank, model[0].turn)
				}
				l.remove(model[0])
				model = model[1:]
			}
			if len(l.heap) != len(model) {
				t.Fatalf("%d in line of %d", len(l.heap), len(model))
			}
			for i, s := range l.heap {
				if int(s.place) != i+1 {
					t.Fatal("out of place")
				}
			}
		}
	}
}

// slowDirectory is one that serves a search in so many seconds of its budget, the
// next when the one before is done.
type slowDirectory struct {
	each time.Duration
	free time.Duration
	ends []struct {
		at time.Duration
		id uint64
	}
	published map[string]time.Duration // when each swarm was, last
}

// run lets time pass until end. touch is called each second.
func (d *slowDirectory) run(s *script, end time.Duration, touch func()) {
	for s.now < end {
		s.now += time.Second
		for len(d.ends) > 0 && d.ends[0].at <= s.now {
			q := s.m.searches[d.ends[0].id]
			if q.swarm != nil {
				d.published[q.swarm.infoHash] = s.now
			}
			s.m.SearchDone(s.now, d.ends[0].id, false)
			d.ends = d.ends[1:]
		}
		touch()
		s.out = s.m.Advance(s.now, noon, s.out[:0])
		for _, a := range s.swarmSearches() {
			d.free = max(d.free, s.now) + d.each
			d.ends = append(d.ends, struct {
				at time.Duration
				id uint64
			}{d.free, a.ID})
		}
	}
}

// Of a thousand large swarms on a node whose packets do not suffice for all, the
// largest are in the lists of others always, however the rest come and go: as
// many as the budget has searches for in urgentAfter. So it is also if the
// other classes take the share that is theirs. Guards: rankOf; the turn by size.
func TestTheLargestSwarmsNeverLapse(t *testing.T) {
	// 40 packets a second; a search sends 38 in each of two DHTs.
	const each = time.Second * 2 * 38 / 40
	for name, c := range map[string]struct {
		others bool
		share  time.Duration // of the searches: one in so many
	}{"alone": {false, 1}, "with all other classes": {true, 8}} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, Config{NoRendezvous: true})
			d := slowDirectory{each: each, published: make(map[string]time.Duration)}
			kept := int(urgentAfter / each / c.share * 9 / 10)
			size := make(map[string]int)
			for _, i := range s.m.rand.Perm(1000) {
				ih := fmt.Sprintf("large%04d", i)
				size[ih] = 10 + 5*i
				st := SwarmState{Local: size[ih]}
				if i%3 > 0 {
					st.Remote = 5
				}
				s.m.Touched(0, ih, st, true)
				s.m.swarms[ih].searched = true
			}
			if c.others {
				for i := range 4000 {
					s.m.Touched(0, fmt.Sprint("hungry", i), alone(1), true)
					s.m.Touched(0, fmt.Sprint("small", i), SwarmState{Local: 2, Remote: 1}, true)
					s.m.swarms[fmt.Sprint("hungry", i)].searched, s.m.swarms[fmt.Sprint("small", i)].searched = true, true
				}
			}
			second, lapsed, other := 0, make(map[string]time.Duration), 0
			d.run(s, 4*time.Hour, func() {
				second++
				if c.others {
					s.m.Touched(s.now, fmt.Sprint("young", second), alone(1), true)
				}
				// Peers come and go, and offers wait.
				for range 5 {
					i := s.m.rand.IntN(1000)
					ih := fmt.Sprintf("large%04d", i)
					st := SwarmState{Local: size[ih] + s.m.rand.IntN(4), Parked: s.m.rand.IntN(3)}
					if i%3 > 0 {
						st.Remote = 5
					}
					s.m.Touched(s.now, ih, st, true)
				}
				if s.now < 90*time.Minute || second%20 > 0 {
					return // they all began at once
				}
				for ih := range size {
					if s.now-d.published[ih] > 30*time.Minute {
						lapsed[ih] = s.now
					}
				}
			})
			for i := 1000 - kept; i < 1000; i++ {
				ih := fmt.Sprintf("large%04d", i)
				if at, ok := lapsed[ih]; ok {
					t.Errorf("the %dth largest of the %d that there are searches for lapses, at %v", 1000-i, kept, at)
				}
			}
			for i := range 100 {
				if _, ok := lapsed[fmt.Sprintf("large%04d", i)]; !ok {
					other++
				}
			}
			if other > 0 {
				t.Errorf("searches suffice for all: %d of the smallest are kept", other)
			}
			if err := s.m.Check(); err != nil {
				t.Error(err)
			}
			t.Logf("%d of 1000 never lapsed, %d must not", 1000-len(lapsed), kept)
		})
	}
}

// While there are searches enough for all if none is made before it must be,
// none lapses, whatever its size.
func TestNoLargeSwarmLapsesWhileSearchesSuffice(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	const each = 2 * time.Second
	n := int(urgentAfter / each * 9 / 10) // more than if each searched after refreshAfter
	if n <= int(refreshAfter/each) {
		t.Fatal("not more")
	}
	d := slowDirectory{each: each, published: make(map[string]time.Duration)}
	for i := range n {
		s.m.Touched(0, fmt.Sprint(i), SwarmState{Local: 5 + s.m.rand.IntN(1000), Remote: 5}, true)
		s.m.swarms[fmt.Sprint(i)].searched = true
	}
	d.run(s, 4*time.Hour, func() {
		if s.now < 90*time.Minute || s.now%(20*time.Second) > 0 {
			return
		}
		for ih := range s.m.swarms {
			if at := d.published[ih]; s.now-at > 30*time.Minute {
				t.Fatalf("swarm %s of %d was published at %v, now is %v", ih, n, at, s.now)
			}
		}
	})
}

// Who becomes reachable, or is no more, has other things to lose.
func TestReachableRanksThoseThatWait(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, Leaf: true, MaxSearches: 1})
	for i := range 20 {
		s.m.Touched(0, fmt.Sprint(i), SwarmState{Local: 5 + i, Remote: 1}, true)
	}
	s.to(time.Minute)
	if n := len(s.m.lines[classLarge].heap); n != 19 {
		t.Fatalf("%d wait", n)
	}
	for _, reachable := range []bool{true, false, true} {
		s.m.Reachable(s.now, reachable, reachable)
		s.to(s.now)
		largest := s.m.lines[classLarge].heap[0].state.Local == 24
		if largest != reachable {
			t.Errorf("reachable %v: first is that of %d", reachable, s.m.lines[classLarge].heap[0].state.Local)
		}
	}
}
