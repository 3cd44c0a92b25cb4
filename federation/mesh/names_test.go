package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/filter"
)

// theirs is the key of what node i names.
func theirs(i int) filter.Key { return filter.Key{byte(i), 1} }

// nameOf is the name under k of a swarm, of s's network.
func (s *script) nameOf(k filter.Key, ih string) uint64 {
	return k.Name(s.m.cfg.BucketKey.Bucket(ih), ih)
}

// speak links node i, which understands names and says that it has so many swarms.
func (s *script) speak(i, swarms int) {
	s.m.LinkUp(s.now, key(i), Link{Dialled: false})
	s.m.Census(s.now, key(i), swarms)
}

// toldOf are the swarms that were named to node i in the last actions.
func (s *script) toldOf(i int) (list []string) {
	for _, a := range s.of(ActNames) {
		if a.Key == key(i) {
			list = append(list, a.Names...)
		}
	}
	return list
}

func TestNewSwarmsAreNamedAtOnce(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.speak(1, 0)
	s.m.LinkUp(0, key(2), Link{Dialled: true}) // does not understand names
	s.to(time.Hour)
	s.m.Touched(s.now, "x", alone(1), true)
	s.to(s.now + namePause)
	if got := s.toldOf(1); !slices.Equal(got, []string{"x"}) {
		t.Fatalf("named %v", got)
	}
	if len(s.toldOf(2)) > 0 || len(s.of(ActJoin)) > 0 {
		t.Fatal("told who must not be")
	}
	// What follows is gathered, four frames a second.
	frames, named := 0, 0
	for i := range 100 {
		s.m.Touched(s.now, fmt.Sprint("y", i), alone(1), true)
		s.to(s.now + 30*time.Millisecond)
		frames += len(s.of(ActNames))
		named += len(s.toldOf(1))
	}
	s.to(s.now + 2*time.Second)
	if frames, named = frames+len(s.of(ActNames)), named+len(s.toldOf(1)); frames > 14 || named != 100 {
		t.Fatalf("%d swarms in %d frames", named, frames)
	}
	// A link that comes later is told by filter what was there before.
	s.m.LinkUp(s.now, key(3), Link{Dialled: false})
	s.m.Census(s.now, key(3), 1000)
	s.to(s.now + 5*time.Second)
	if f := s.of(ActFilter); len(s.toldOf(3)) > 0 || len(f) != 1 || f[0].Key != key(3) {
		t.Fatalf("%v", s.out)
	}
}

func TestANameIsAnsweredWithAJoin(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", alone(1), true)
	s.m.Touched(0, "y", alone(1), true)
	s.speak(1, 5)
	s.to(time.Minute)
	if n := s.m.Named(s.now, key(1), theirs(1), []uint64{s.nameOf(theirs(1), "x"), s.nameOf(theirs(1), "z")}); n > 2 {
		t.Errorf("looked at %d swarms", n)
	}
	s.to(s.now)
	if j := s.of(ActJoin); len(j) != 1 || j[0].InfoHash != "x" || j[0].Key != key(1) {
		t.Fatalf("%+v", s.out)
	}
	// It says leave, and names it again: it has it again.
	s.m.Left(s.now, key(1), "x", false)
	s.m.Named(s.now, key(1), theirs(1), []uint64{s.nameOf(theirs(1), "x")})
	s.to(s.now + time.Second)
	if len(s.of(ActJoin)) != 1 {
		t.Fatal("not joined again")
	}
}

// Only the very name of a swarm is answered: none under another key, of
// another bucket, or next to it.
func TestWhatIsNoNameIsNotAnswered(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, BucketKey: filter.Key{7}})
	for i := range 1000 {
		s.m.Touched(0, fmt.Sprint("x", i), alone(1), true)
	}
	s.speak(1, 5)
	s.to(time.Minute)
	var names []uint64
	for i := range 1000 {
		ih := fmt.Sprint("x", i)
		names = append(names, s.nameOf(theirs(2), ih), s.nameOf(theirs(1).Generation(1), ih), theirs(1).Sum(ih))
		good := s.nameOf(theirs(1), ih)
		for bit := range 64 {
			names = append(names, good^1<<bit)
		}
		names = append(names, 0, ^uint64(0), uint64(i)<<52)
	}
	s.m.Named(s.now, key(1), theirs(1), names)
	s.to(s.now + time.Minute)
	if j := s.of(ActJoin); len(j) > 0 || s.m.stats.Named > 0 {
		t.Fatalf("%d joins for what is no name", len(j))
	}
}

// A filter may claim whatever it likes: what it hits is named, and told only
// to who names it back.
func TestAHitIsNoPermission(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprint("x", i))
		s.m.Touched(0, all[i], alone(1), true)
	}
	s.speak(1, 5)
	s.to(time.Minute)
	for range 5 {
		s.m.Hits(s.now, key(1), all)
		s.to(s.now + time.Minute)
		if len(s.of(ActJoin)) > 0 {
			t.Fatal("a hit alone was answered with the info hash")
		}
		if got := s.toldOf(1); len(got) != 1000 {
			t.Fatalf("%d of 1000 hits are named", len(got))
		}
	}
	s.m.Named(s.now, key(1), theirs(1), []uint64{s.nameOf(theirs(1), "x3")})
	s.to(s.now)
	if j := s.of(ActJoin); len(j) != 1 || j[0].InfoHash != "x3" {
		t.Fatalf("%v", j)
	}
	s.m.Hits(s.now, key(1), []string{"x3", "x4", "unknown"})
	s.to(s.now + time.Minute)
	if got := s.toldOf(1); !slices.Equal(got, []string{"x4"}) {
		t.Fatalf("named %v", got)
	}
}

func TestHungrySwarmsAreNamedFirst(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, NameRate: 10, NameBurst: 10})
	var all []string
	for i := range 40 {
		all = append(all, fmt.Sprint("x", i))
		s.m.Touched(0, all[i], SwarmState{Local: 1, Remote: i % 2}, true)
	}
	s.speak(1, 5)
	s.to(time.Minute)
	s.m.Hits(s.now, key(1), all)
	var got []string
	for range 8 {
		s.to(s.now + time.Second)
		got = append(got, s.toldOf(1)...)
	}
	if len(got) != 40 {
		t.Fatalf("%d named", len(got))
	}
	for i, ih := range got {
		if hungry := s.m.swarms[ih].state.Remote == 0; hungry != (i < 20) {
			t.Fatalf("place %d: %s", i, ih)
		}
	}
}

// The side with fewer swarms sends the filter, whoever says its number first,
// and not more often than it must.
func TestWhoSendsTheFilter(t *testing.T) {
	for _, c := range []struct {
		node, swarms int
		want         bool
	}{{1, 9, false}, {1, 10, true}, {1, 11, true}, {1, 0, false}} {
		s := newScript(t, Config{NoRendezvous: true})
		for i := range 10 {
			s.m.Touched(0, fmt.Sprint("x", i), alone(1), true)
		}
		s.to(0)
		s.m.LinkUp(0, key(c.node), Link{Dialled: false})
		s.to(0)
		if a := s.of(ActCensus); len(a) != 1 || a[0].Count != 10 {
			t.Fatalf("%v", s.out)
		}
		if len(s.of(ActFilter))+len(s.of(ActNames)) > 0 {
			t.Fatal("said something to a node that may not understand it")
		}
		filters, last, census := 0, time.Duration(-1), 0
		for s.now < 3*time.Hour { // it asks each minute
			s.m.Census(s.now, key(c.node), c.swarms)
			s.to(s.now + time.Minute)
			census += len(s.of(ActCensus))
			if n := len(s.of(ActFilter)); n > 0 {
				if last >= 0 && s.now-last < filterPause-time.Minute {
					t.Fatalf("a filter %v after the last", s.now-last)
				}
				filters, last = filters+n, s.now
			}
		}
		if (filters > 0) != c.want || filters > 19 || census < 4 || census > 8 {
			t.Errorf("%+v: %d filters, %d censuses in 3 hours", c, filters, census)
		}
	}
}

// After a change of links everything is compared again.
func TestAnotherLinkComparesAgain(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", alone(1), true)
	s.speak(1, 5)
	s.to(time.Minute)
	if len(s.of(ActFilter)) != 1 {
		t.Fatal("no filter")
	}
	s.m.Refresh(s.now, key(1))
	s.to(s.now)
	if len(s.of(ActCensus)) != 1 {
		t.Fatal("no census over the other link")
	}
	s.m.Census(s.now, key(1), 5)
	s.to(s.now + time.Second)
	if len(s.of(ActFilter)) != 1 {
		t.Fatal("no filter over the other link")
	}
	s.m.LinkDown(s.now, key(1))
	s.m.Touched(s.now, "y", alone(1), true)
	s.to(s.now + time.Minute)
	if len(s.of(ActNames))+len(s.of(ActFilter)) > 0 {
		t.Fatal("said something without a link")
	}
}

// Thousands of names do not use the joins of a link up: half of them is left
// for others, and the rate is kept.
func TestJoinsByNameLeaveRoom(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, JoinRate: 10, JoinBurst: 100})
	const swarms = 1000
	var names []uint64
	for i := range swarms {
		ih := fmt.Sprint("x", i)
		s.m.Touched(0, ih, SwarmState{Local: 1, Remote: i % 2}, true)
		names = append(names, s.nameOf(theirs(1), ih))
	}
	s.m.Touched(0, "asked", alone(1), true)
	s.speak(1, 5)
	s.to(time.Minute)
	s.m.Named(s.now, key(1), theirs(1), names)
	s.to(s.now)
	if n := len(s.of(ActJoin)); n != 51 {
		t.Fatalf("%d joins at once", n)
	}
	s.m.Asked(s.now, key(1), "asked")
	s.to(s.now)
	if j := s.of(ActJoin); len(j) != 1 || j[0].InfoHash != "asked" {
		t.Fatalf("a join that others asked for waits for %d by name", swarms)
	}
	s.to(s.now + 10*time.Second)
	for _, a := range s.of(ActJoin) {
		if s.m.swarms[a.InfoHash].state.Remote > 0 {
			t.Fatal("a swarm in company comes before hungry ones")
		}
	}
	if n := len(s.of(ActJoin)); n < 95 || n > 105 {
		t.Fatalf("%d joins in 10 s at 10 a second", n)
	}
	s.to(s.now + 2*time.Minute)
	joined := 0
	for _, sh := range s.m.nodes[key(1)].shares {
		if sh.joined {
			joined++
		}
	}
	if joined != swarms+1 {
		t.Fatalf("%d of %d joined", joined, swarms+1)
	}
}

// Who cannot be told fast enough is not told everything; both compare again.
func TestTooMuchNews(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, NameRate: 1, NameBurst: 1})
	s.speak(1, 1<<30)
	s.to(20 * time.Minute)
	for i := range maxNews + 10 {
		s.m.Touched(s.now, fmt.Sprint("x", i), alone(1), true)
	}
	s.to(s.now)
	if f := s.of(ActFilter); len(f) != 1 {
		t.Fatalf("%d filters", len(f))
	}
	if n := s.m.stats.Dropped[DropNames]; n < 10 || n > maxNews {
		t.Fatalf("%d names dropped", n)
	}
}

// What is said to one node is bounded.
func TestHitsAreBounded(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, MaxSwarmsPerNode: 50})
	var all []string
	for i := range 200 {
		all = append(all, fmt.Sprint("x", i))
		s.m.Touched(0, all[i], alone(1), true)
	}
	s.speak(1, 5)
	s.to(time.Minute)
	s.m.Hits(s.now, key(1), all)
	s.m.Hits(s.now, key(1), all)
	s.to(s.now + time.Minute) // checks
	var names []uint64
	for _, ih := range all {
		names = append(names, s.nameOf(theirs(1), ih))
	}
	s.m.Named(s.now, key(1), theirs(1), names)
	if n := len(s.m.nodes[key(1)].shares); n != 47 {
		t.Fatalf("%d of 50 shares by name", n)
	}
	if n := len(s.toldOf(1)); n > 50 || s.m.stats.Dropped[DropNames] < 150 {
		t.Fatalf("%d named, %d dropped", n, s.m.stats.Dropped[DropNames])
	}
}

// A new swarm leaves it to the links first, and searches if it is still alone;
// if it is not, those that are come first.
func TestSearchesComeAfterLinks(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true, SearchRate: 1, SearchBurst: 1, MaxSearches: 1})
	s.speak(1, 0)
	s.to(time.Minute)
	for i := range 20 {
		s.m.Touched(s.now, fmt.Sprint("met", i), alone(1), true)
		s.m.Touched(s.now, fmt.Sprint("alone", i), alone(1), true)
	}
	s.to(s.now + linksFirst/2)
	if len(s.swarmSearches()) > 0 {
		t.Fatal("searches before the links had their say")
	}
	for i := range 20 {
		s.m.Touched(s.now, fmt.Sprint("met", i), SwarmState{Local: 1, Remote: 1}, false)
	}
	var order []string
	for range 60 {
		s.to(s.now + time.Second)
		for _, a := range s.swarmSearches() {
			order = append(order, a.InfoHash[:3])
			if len(order) <= 20 {
				s.m.Touched(s.now, a.InfoHash, SwarmState{Local: 1, Remote: 1}, false)
			}
			s.m.SearchDone(s.now, a.ID, false)
		}
	}
	young := 0
	for _, o := range order[:20] {
		if o == "alo" {
			young++
		}
	}
	if len(order) < 40 || young < 14 {
		t.Fatalf("of the first 20 of %d searches %d were for swarms that are alone", len(order), young)
	}
}

// Whoever comes with ever new keys, or again and again, has no more filters
// made than the rate allows.
func TestFiltersForAllHaveARate(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.Touched(0, "x", alone(1), true)
	filters, same := 0, 0
	for i := range 3000 {
		k := key(1 + i%2*(1+i%500))
		s.m.LinkUp(s.now, k, Link{Dialled: false})
		s.m.Census(s.now, k, 1<<30)
		s.to(s.now + 50*time.Millisecond)
		for _, a := range s.of(ActFilter) {
			filters++
			if a.Key == key(1) {
				same++
			}
		}
		s.m.LinkDown(s.now, k)
	}
	if seconds := s.now.Seconds(); filters > filterBurst+int(filterRate*seconds)+1 || filters < 100 {
		t.Errorf("%d filters in %.0f s", filters, seconds)
	}
	if most := int(s.now/relinkPause) + 1; same > most || same == 0 {
		t.Errorf("%d filters for one key, at most %d", same, most)
	}
}

// When a link comes back, both sides know what they share and join at the same
// time, perhaps in another order, so that each answers most joins of the other
// with one. All of them are within the other's quota: 6,000 joins at once (see
// federation.Quota), or two large nodes would end every link that they make.
func TestJoinsOfBothSidesAreWithinAQuota(t *testing.T) {
	const quota, swarms = 6000, 9000
	s := newScript(t, Config{NoRendezvous: true})
	s.m.LinkUp(0, key(1), Link{Dialled: false})
	for i := range swarms {
		s.m.Touched(0, fmt.Sprint("x", i), SwarmState{Local: 1}, true)
		s.m.Joined(0, key(1), fmt.Sprint("x", i))
	}
	s.to(time.Minute)
	s.m.LinkDown(s.now, key(1))
	s.m.LinkUp(s.now, key(1), Link{Dialled: false})
	s.to(s.now)
	own := s.of(ActJoin)
	if len(own) < 1000 {
		t.Fatalf("%d joins: shares were lost", len(own))
	}
	sent := make(map[string]bool)
	for _, a := range own {
		sent[a.InfoHash] = true
	}
	// The other side's own, as many, with the last ones first.
	for i := range len(own) {
		sent[fmt.Sprint("x", swarms-1-i)] = true
	}
	if len(sent) > quota {
		t.Fatalf("%d joins at once", len(sent))
	}
}
