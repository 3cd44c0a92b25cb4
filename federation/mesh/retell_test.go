package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/registry"
)

// pass lets time go by, a second at a time, with searches that find nobody, and
// counts the frames in which node i was told something. Links that are let go end.
func (s *script) pass(d time.Duration, i int) (frames int) {
	s.t.Helper()
	for end := s.now + d; s.now < end; {
		s.to(s.now + time.Second)
		for _, a := range s.out {
			switch {
			case a.Kind == ActRegister && a.Key == key(i):
				frames++
			case a.Kind == ActSearch:
				s.m.SearchDone(s.now, a.ID, false)
			case a.Kind == ActClose:
				s.m.LinkDown(s.now, a.Key)
			}
		}
	}
	return frames
}

// A responsible node that was restarted knows nothing, and what was on its way
// over a link that ends may be lost: so all is said again soon after the next link
// is up, whoever made it, and once.
func TestAllIsSaidAgainOverANewLink(t *testing.T) {
	from := func(k Key, at int) Link {
		return Link{Dialled: true, From: netip.AddrPortFrom(netip.AddrFrom4([4]byte{30, byte(index(k)), byte(at), 1}), 4000)}
	}
	up := func(at int) func(s *script, k Key) {
		return func(s *script, k Key) { s.m.LinkUp(s.now, k, from(k, at)) }
	}
	for name, c := range map[string]struct {
		anew func(s *script, k Key)
		idle time.Duration // before that
		want int
	}{
		"the link was cut":    {func(s *script, k Key) { s.m.LinkDown(s.now, k); up(1)(s, k) }, 50 * time.Second, 1},
		"another took over":   {func(s *script, k Key) { s.m.Refresh(s.now, k) }, 50 * time.Second, 1},
		"it was let go":       {up(1), 10 * time.Minute, 1},
		"just now":            {up(1), 80 * time.Second, 0},
		"from another prefix": {up(2), 80 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLarge(t, Config{}, 30)
			ih := s.foreign(30)
			s.m.Touched(s.now, ih, SwarmState{Local: 1, Remote: 1}, true)
			s.to(s.now + enlistAfter + 100*time.Millisecond)
			var i int
			for _, a := range s.of(ActDial) {
				s.m.LinkUp(s.now, a.Key, from(a.Key, 1))
				s.m.DialDone(s.now, a.ID, DialOK, a.Key)
				i = index(a.Key)
			}
			if n := s.pass(c.idle, i); n == 0 || s.m.nodes[key(i)].up != (c.idle < errandIdle) {
				t.Fatalf("told %d times, linked %v", n, s.m.nodes[key(i)].up)
			}
			c.anew(s, key(i))
			if n := s.pass(2*retellSoon+2*time.Second, i); n != c.want {
				t.Errorf("told %d times over the new link, want %d", n, c.want)
			}
			if n := s.pass(10*time.Minute, i); n > 0 {
				t.Errorf("told %d times more", n)
			}
		})
	}
}

// Who ends its links again and again does not have all said to it each time.
func TestWhoEndsItsLinksIsNotToldEachTime(t *testing.T) {
	s, _, keepers := asked(t, Config{})
	i, frames, began := index(keepers[0]), 0, s.now
	for range 100 {
		frames += s.pass(briefLink+time.Second, i)
		s.m.LinkDown(s.now, key(i))
		s.m.LinkUp(s.now, key(i), Link{})
	}
	if most := int((s.now-began)/retellLost) + 1; frames > most || frames < most/2 {
		t.Errorf("told %d times in %v, want %d at most", frames, s.now-began, most)
	}
}

// A node that turns out to be reachable registers what it could only ask for.
func TestWhoCanBeDialledRegistersSoon(t *testing.T) {
	s, ih, keepers := asked(t, Config{Leaf: true})
	s.pass(50*time.Second, 0)
	s.m.Reachable(s.now, true, true)
	began := s.now
	var said []Key
	for s.now < began+30*time.Second {
		s.to(s.now + time.Second)
		s.dialled()
		for _, a := range s.of(ActRegister) {
			if slices.Contains(a.Say, registry.Name(s.m.cfg.BucketKey, a.Key, ih)) {
				said = append(said, a.Key)
			}
		}
	}
	if len(said) != len(keepers) {
		t.Errorf("registered with %d of %d", len(said), len(keepers))
	}
}

// Nobody is told of a leaf. So who begins its swarm later does not find it, and
// it asks again while offers wait there, whenever it searches.
func TestALeafAsksAgainWhileOffersWait(t *testing.T) {
	for _, c := range []struct {
		leaf   bool
		parked int
		again  bool
	}{{true, 3, true}, {true, 0, false}, {false, 3, false}} {
		s := newLarge(t, Config{Leaf: c.leaf}, 30)
		ih := s.foreign(30)
		s.m.Touched(s.now, ih, SwarmState{Local: 1, Parked: c.parked}, true)
		i, last := 0, s.now
		for end := s.now + 5*time.Minute; s.now < end; {
			s.to(s.now + time.Second)
			for _, k := range s.dialled() {
				i = index(k)
			}
			for _, a := range s.out {
				switch {
				case a.Kind == ActRegister && a.Key == key(i):
					if last = s.now; len(a.Ask) != 1 {
						t.Fatalf("asked for %d", len(a.Ask))
					}
				case a.Kind == ActSearch:
					s.m.SearchDone(s.now, a.ID, false)
				case a.Kind == ActClose:
					s.m.LinkDown(s.now, a.Key)
				}
			}
			if pause := s.now - last; c.again && pause > leafHungry*5/4 {
				t.Fatalf("a leaf whose offers wait has not asked for %v", pause)
			}
		}
		if !c.again && s.now-last < 4*time.Minute {
			t.Errorf("%+v: asked again", c)
		}
	}
}

// However many such swarms a leaf has, it makes few links for that.
func TestALeafAsksAgainAtARate(t *testing.T) {
	s := newLarge(t, Config{Leaf: true, MaxLinks: 1000, MaxDials: 1000}, 300)
	for i := range 300 {
		s.m.Touched(s.now, fmt.Sprint("swarm", i), SwarmState{Local: 1, Parked: 3}, true)
	}
	run := func(d time.Duration) (dials int) {
		for end := s.now + d; s.now < end; {
			s.to(s.now + time.Second)
			dials += len(s.of(ActDial))
			for _, a := range s.out {
				switch a.Kind {
				case ActSearch:
					s.m.SearchDone(s.now, a.ID, false)
				case ActClose:
					s.m.LinkDown(s.now, a.Key)
				}
			}
			s.dialled()
		}
		return dials
	}
	run(3 * time.Minute)
	const d = 5 * time.Minute
	if got, most := run(d), int(againBurst+againRate*d.Seconds())+1; got > most || got < most/4 {
		t.Errorf("%d links in %v, want %d at most", got, d, most)
	}
}
