package mesh

import (
	"fmt"
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
