package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// site is a public address in a /24 of its own.
func site(i int) netip.AddrPort { return addr(i) }

// press links node i and lets it ask to share the swarm x, as a runner would.
// It reports whether it was accepted.
func (s *script) press(i int, from netip.AddrPort) bool {
	s.t.Helper()
	s.m.LinkUp(s.now, key(i), Link{From: from})
	if !s.m.Accepts(s.now, key(i), "x") {
		return false
	}
	s.m.Joined(s.now, key(i), "x")
	s.to(s.now)
	return true
}

// partnersOf are the indexes of x's partners: all, and those that were picked.
func (s *script) partnersOf() (all, picked []int) {
	for _, sh := range s.m.swarms["x"].shares {
		if sh.partner {
			all = append(all, indexOf(sh.node.key))
		}
		if sh.picked {
			picked = append(picked, indexOf(sh.node.key))
		}
	}
	return all, picked
}

// seek answers searches with nodes 1 to n, of which all can be dialled.
func (s *script) seek(n int, end time.Duration) {
	for s.now < end {
		s.to(s.now)
		for _, a := range s.out {
			switch a.Kind {
			case ActSearch:
				for i := 1; i <= n; i++ {
					s.m.Sighting(s.now, a.ID, addr(i))
				}
				s.m.SearchDone(s.now, a.ID, false)
			case ActResolve:
				b := a.Addr.Addr().As4()
				s.m.Resolved(s.now, a.Addr, recordOf(int(b[0]-20)<<8+int(b[1])))
			case ActDial:
				s.m.LinkUp(s.now, a.Key, Link{Dialled: true, From: addr(indexOf(a.Key))})
				s.m.DialDone(s.now, a.ID, DialOK, a.Key)
			}
		}
		s.now = min(max(s.m.Next(), s.now+1), s.now+time.Second)
	}
}

// Up to 16 nodes, all share with all, also when some of 20 have gone.
func TestUpToSixteenNodesShareWithAll(t *testing.T) {
	w := newThrong(t, 3)
	w.traffic = true
	for range 16 {
		w.add(false)
	}
	w.run(3 * time.Minute)
	whole := func(nodes int) {
		t.Helper()
		all, _, _ := w.degrees()
		if len(all) != nodes || slices.Min(all) != nodes-1 {
			t.Fatalf("%d nodes with %v partners", len(all), all)
		}
	}
	whole(16)
	for range 6 {
		w.add(false)
	}
	w.run(12 * time.Minute)
	if all, _, _ := w.degrees(); slices.Max(all) > 16 {
		t.Fatalf("%v partners", all)
	}
	for i := range 7 {
		w.members[3*i].stop()
	}
	w.run(60 * time.Minute) // they are forgotten
	whole(15)
}

// Those who come by themselves never have the picks' places, however many and
// however often they ask.
func TestStrangersDoNotTakeThePicks(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", alone(5), true)
	s.seek(40, 5*time.Minute)
	_, before := s.partnersOf()
	rotations := s.m.stats.Rotations
	for round := range 15 {
		for i := range 60 {
			s.press(100+60*round+i, site(100+60*round+i))
		}
		s.to(s.now + time.Second)
	}
	kept := 0
	for _, i := range before {
		if _, picked := s.partnersOf(); slices.Contains(picked, i) {
			kept++
		}
	}
	if gone := len(before) - kept; gone > int(s.m.stats.Rotations-rotations) || s.m.stats.Evictions == 0 {
		t.Fatalf("%d of %d picks had to go", gone, len(before))
	}
	for round := range 20 {
		for i := 100; i < 160; i++ {
			s.press(i, site(i))
		}
		s.to(s.now + 30*time.Second)
		all, picked := s.partnersOf()
		strangers := 0
		for _, i := range all {
			if i >= 100 && !slices.Contains(picked, i) {
				strangers++
			}
		}
		if len(picked) < 5 || len(all) > 16 || strangers > 10 {
			t.Fatalf("round %d: %d partners, %d of them strangers, %d picks", round, len(all), strangers, len(picked))
		}
	}
}

// Who has brought answers is not displaced by those who have not, and is
// known for longer than others is better than them.
func TestProvenPartnersStay(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", alone(5), true)
	for i := 1; i <= 16; i++ {
		s.press(i, site(i))
	}
	for round := range 60 {
		for i := 1; i <= 6; i++ {
			s.m.Brought(s.now, key(i), "x")
		}
		for i := range 10 {
			s.press(100+10*round+i, site(100+10*round+i))
		}
		s.to(s.now + 2*time.Second)
	}
	all, _ := s.partnersOf()
	for i := 1; i <= 6; i++ {
		if !slices.Contains(all, i) {
			t.Errorf("partner %d, which brings answers, had to go: %v", i, all)
		}
	}
	if s.m.stats.Evictions < 10 {
		t.Errorf("%d newcomers were tried", s.m.stats.Evictions)
	}
}

// A newcomer has its trial although nobody leaves; who was dropped rests, and
// longer the next time, so that asking again gains nothing.
func TestTrialsAndRests(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", alone(5), true)
	for i := 1; i <= 17; i++ {
		s.press(i, site(i))
	}
	s.to(time.Minute)
	if !s.press(50, site(50)) {
		t.Fatal("a newcomer had no trial")
	}
	all, _ := s.partnersOf()
	out := 0
	for i := 1; i <= 17 && out == 0; i++ {
		if !slices.Contains(all, i) {
			out = i
		}
	}
	tried := map[int]int{}
	for s.now < 30*time.Minute {
		s.to(s.now + 10*time.Second)
		for _, i := range []int{out, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72} {
			if all, _ := s.partnersOf(); !slices.Contains(all, i) && s.press(i, site(i)) {
				tried[i]++
			}
		}
	}
	most := 0
	for i, n := range tried {
		most = max(most, n)
		if n > 3 {
			t.Errorf("node %d was taken %d times within half an hour", i, n)
		}
	}
	t.Logf("%d times at most", most)
	sh := s.m.share(s.m.swarms["x"], s.m.nodes[key(out)])
	if sh == nil || sh.trials == 0 && !sh.partner {
		t.Errorf("node %d has no rest", out)
	}
}

// A crowded swarm has few partners of one prefix.
func TestFewPartnersOfOnePrefix(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", alone(5), true)
	for i := 1; i <= 17; i++ {
		s.press(i, site(i))
	}
	for round := range 10 {
		for i := range 50 {
			s.press(100+i, netip.AddrPortFrom(netip.AddrFrom4([4]byte{90, 1, 1, byte(1 + i)}), 7000))
		}
		s.to(s.now + 20*time.Second)
		all, _ := s.partnersOf()
		n := 0
		for _, i := range all {
			if i >= 100 {
				n++
			}
		}
		known := 0
		for _, sh := range s.m.swarms["x"].shares {
			if indexOf(sh.node.key) >= 100 {
				known++
			}
		}
		if n > 2 || known > 2 {
			t.Fatalf("round %d: %d partners of one /24, %d known", round, n, known)
		}
	}
}

// Whoever was there first does not have the picks: they are drawn again once
// others are known.
func TestFirstComersDoNotHaveThePicks(t *testing.T) {
	honest := 0
	for seed := range 4 {
		w := newThrong(t, uint64(100+seed))
		for i := range 40 {
			w.add(i < 18)
		}
		w.run(2 * time.Minute)
		for _, n := range w.members[18:] {
			for _, sh := range n.m.swarms["x"].shares {
				if sh.picked && indexOf(sh.node.key) >= 18 {
					honest++
				}
			}
		}
	}
	// Of 4 runs of 22 nodes with 6 picks, half of the known being hostile.
	if share := float64(honest) / (4 * 22 * 6); share < 0.35 {
		t.Errorf("%.2f of the picks are honest", share)
	} else {
		t.Logf("%.2f of the picks are honest", share)
	}
}

// One pick is exchanged every few minutes, if there are others.
func TestPartnersRotate(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", alone(5), true)
	s.seek(60, 5*time.Minute)
	_, before := s.partnersOf()
	seen := map[int]bool{}
	for _, i := range before {
		seen[i] = true
	}
	rotations := s.m.stats.Rotations
	for m := range 60 {
		all, picked := s.partnersOf()
		for _, i := range all {
			s.m.Brought(s.now, key(i), "x")
		}
		for _, i := range picked {
			seen[i] = true
		}
		s.seek(60, time.Duration(6+m)*time.Minute)
	}
	if n := s.m.stats.Rotations - rotations; n < 10 || n > 22 {
		t.Errorf("%d exchanges in an hour", n)
	}
	if len(seen) < len(before)+8 {
		t.Errorf("%d different picks in an hour", len(seen))
	}
}

// Of a crowded swarm it is said how many nodes have it, of others nothing.
func TestPopulationIsToldOfCrowdsOnly(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", alone(5), true)
	for i := 1; i <= 16; i++ {
		s.press(i, site(i))
	}
	s.to(s.now)
	told := func() (last int) {
		for _, a := range s.all {
			if a.Kind == ActPopulation {
				last = a.Count
			}
		}
		return last
	}
	if n := told(); n != 0 {
		t.Fatalf("of 16 nodes that all share: %d", n)
	}
	for i := 17; i <= 40; i++ {
		s.press(i, site(i))
	}
	s.to(s.now)
	if n := told(); n != 40 {
		t.Fatalf("%d of 40 nodes", n)
	}
	for i := 1; i <= 30; i++ {
		s.m.Left(s.now, key(i), "x", false)
	}
	s.to(s.now)
	if n := told(); n != 0 {
		t.Fatalf("%d of 10 nodes that all share", n)
	}
}

// What a swarm is crowded with does not exceed the bounds, nor hold memory of
// nodes for ever.
func TestKnownNodesAreBounded(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, MaxKnown: 30, MaxLinks: 1000, MaxLinksGroup: 1000})
	s.m.Touched(0, "x", alone(5), true)
	for i := 1; i <= 300; i++ {
		s.press(i, site(i))
	}
	if n := len(s.m.swarms["x"].shares); n > 30 {
		t.Fatalf("%d nodes are known", n)
	}
	for i := 1; i <= 300; i++ {
		s.m.LinkDown(s.now, key(i))
	}
	s.to(2 * time.Hour)
	if n := len(s.m.swarms["x"].shares); n > 16 {
		t.Fatalf("%d nodes are known after two hours without links: %s", n, fmt.Sprint(s.m.Counts()))
	}
}
