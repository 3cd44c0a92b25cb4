package mesh

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A swarm that waits for its search keeps its place while its members come
// and go: a large one changes every second, and would never have its turn.
func TestATouchDoesNotCostASwarmItsTurn(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, SearchRate: 1, SearchBurst: 1, MaxSearches: 1})
	for i := range 40 {
		s.m.Touched(0, fmt.Sprint("small", i), alone(1), true)
	}
	s.m.Touched(0, "large", alone(400), true)
	last := time.Duration(0)
	for n := 0; s.now < 2*time.Hour; n++ {
		s.to(s.now + time.Second)
		for _, a := range s.swarmSearches() {
			if a.InfoHash == "large" {
				last = s.now
			}
			s.m.SearchDone(s.now, a.ID, false)
		}
		for i := range 40 { // clients that announce again have offers to park
			s.m.Touched(s.now, fmt.Sprint("small", i), SwarmState{Local: 1, Parked: (n + i) % 2}, true)
		}
		s.m.Touched(s.now, "large", alone(400+n%2), true)
		if gap := s.now - last; gap > 30*time.Minute {
			t.Fatalf("at %v the large swarm has not been searched for %v: what it published is gone", s.now, gap)
		}
	}
}

// Nor do thousands of lone clients keep a large swarm waiting, which is alone
// as well but lost to everybody once what it published has expired.
func TestALargeSwarmAloneHasItsShare(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, SearchRate: 1, SearchBurst: 1, MaxSearches: 1})
	for i := range 3000 {
		s.m.Touched(0, fmt.Sprint("small", i), alone(1), true)
		s.m.swarms[fmt.Sprint("small", i)].searched = true
	}
	s.m.Touched(0, "large", alone(400), true)
	s.m.swarms["large"].searched = true
	last := time.Duration(0)
	for s.now < 2*time.Hour {
		s.to(s.now + time.Second)
		for _, a := range s.swarmSearches() {
			if a.InfoHash == "large" {
				last = s.now
			}
			s.m.SearchDone(s.now, a.ID, false)
		}
		if gap := s.now - last; gap > 30*time.Minute {
			t.Fatalf("at %v the large swarm has not been searched for %v: what it published is gone", s.now, gap)
		}
	}
}

// What is beyond the bound is served as by a tracker alone, and counted; what
// ends makes room.
func TestSwarmsBeyondTheBoundAreCounted(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, MaxSwarms: 100})
	for i := range 150 {
		s.m.Touched(0, fmt.Sprint("swarm", i), alone(1), true)
	}
	if got := s.m.Stats().Dropped[DropSwarms]; len(s.m.swarms) != 100 || got != 50 {
		t.Errorf("%d swarms known, %d counted", len(s.m.swarms), got)
	}
	s.m.Touched(0, "swarm0", SwarmState{}, true)
	s.m.Touched(0, "swarm149", alone(1), true)
	if s.m.swarms["swarm149"] == nil {
		t.Error("no room where a swarm has ended")
	}
}

// Around midnight, when each search is two, half as many are under way.
func TestSearchesAroundMidnight(t *testing.T) {
	for hours, want := range map[int64]int{0: 6, 11: 3} {
		m := New(Config{NoRendezvous: true, Rand: rand.New(rand.NewPCG(1, 2))}, 0, noon+hours*3600)
		for i := range 100 {
			m.Touched(0, fmt.Sprint(i), alone(1), true)
		}
		if got := len(m.Advance(time.Second, noon+hours*3600, nil)); got != want {
			t.Errorf("%d h after noon: %d searches at once, want %d", hours, got, want)
		}
	}
}

// However many swarms are due in one instant, one step does a bounded part of
// that, what is left is due at once, and each keeps its place. Guard: the bound
// in Advance.
func TestManySwarmsAreDueAtOnce(t *testing.T) {
	const n = 20*tasksAtOnce + 7
	m := New(Config{NoRendezvous: true, SearchBurst: 1e9, Rand: rand.New(rand.NewPCG(1, 2))}, 0, noon)
	m.Advance(0, noon, nil)
	for i := range n {
		m.Touched(time.Second, fmt.Sprint(i), alone(1), true)
	}
	now, steps, searched := time.Second, 0, 0
	for m.Next() <= now {
		before := len(m.tasks.heap)
		for _, a := range m.Advance(now, noon, nil) {
			if a.Kind == ActSearch {
				if a.InfoHash != fmt.Sprint(searched) {
					t.Fatalf("search %d is for %s", searched, a.InfoHash)
				}
				searched++
				m.SearchDone(now, a.ID, false) // which plans another one for later
			}
		}
		if done := before - len(m.tasks.heap); done > tasksAtOnce {
			t.Fatalf("%d tasks in one step", done)
		}
		if steps++; steps == 30 {
			break // from here on it is one search after the other
		}
	}
	if waiting := len(m.lines[classYoung].heap); steps < 21 || waiting != n-searched {
		t.Errorf("after %d steps %d of %d wait, %d were searched for", steps, waiting, n, searched)
	}
	if err := m.Check(); err != nil {
		t.Error(err)
	}
}

// Nor does a node that becomes reachable tell all its swarms so in one step.
// Guards: the bound in sweepSome, and what it adds to done.
func TestManySwarmsAreToldThatTheNodeIsReachable(t *testing.T) {
	const n = 20 * tasksAtOnce
	m := New(Config{NoRendezvous: true, Leaf: true, Rand: rand.New(rand.NewPCG(1, 2))}, 0, noon)
	for i := range n {
		ih := fmt.Sprint(i)
		m.Touched(0, ih, SwarmState{Local: 1, Remote: 1}, true)
		m.swarms[ih].searched = true
		m.at(&m.swarms[ih].task, time.Hour)
	}
	m.Advance(0, noon, nil)
	now, steps := time.Minute, 0
	m.Reachable(now, true, true)
	for ; m.tasks.next() <= now; steps++ {
		swept, work := m.swept, len(m.lines[classSmall].heap)
		m.Advance(now, noon, nil)
		work = len(m.lines[classSmall].heap) + len(m.searches) - work
		for _, b := range m.buckets[swept:m.swept] {
			work += len(b)
		}
		if work > 2*tasksAtOnce {
			t.Fatalf("%d swarms told or made to wait in one step", work)
		}
	}
	for _, s := range m.swarms {
		if s.place == 0 && s.search == nil {
			t.Fatal("one does not know")
		}
	}
	if steps < 20 {
		t.Errorf("%d steps", steps)
	}
}
