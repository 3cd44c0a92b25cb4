package mesh

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// dialTimes fails every dial and tells when they were, until end.
func dialTimes(s *script, end time.Duration) (at []time.Duration) {
	for s.now < end {
		s.to(s.now)
		for _, a := range s.swarmSearches() {
			s.m.SearchDone(s.now, a.ID, false)
		}
		for _, a := range s.of(ActDial) {
			at = append(at, s.now)
			s.m.DialDone(s.now, a.ID, DialFailed, Key{})
		}
		s.now = max(s.m.Next(), s.now+1)
	}
	return at
}

func TestDialBacksOff(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	a := busy(s, "x")
	s.m.Sighting(s.now, a.ID, addr(1))
	s.to(s.now)
	s.m.Resolved(s.now, addr(1), recordOf(1))
	at := dialTimes(s, 20*time.Minute)
	for i := 1; i < len(at); i++ {
		want := backoffSteps[min(i-1, len(backoffSteps)-1)]
		if gap := at[i] - at[i-1]; gap < want*74/100 || gap > 2*want {
			t.Fatalf("dial %d after %v, want %v", i, gap, want)
		}
	}
	if len(at) < 8 {
		t.Fatalf("%d dials", len(at))
	}
}

// A leaf whose clients wait tries each minute, for ever.
func TestLeafGoesOnTrying(t *testing.T) {
	s := newScript(t, Config{Leaf: true, Seeds: []nodeaddr.URL{nodeURL(1)}, NoRendezvous: true})
	s.m.Touched(0, "x", alone(1), true)
	at := dialTimes(s, time.Hour)
	for i, want := range []time.Duration{1, 2, 5, 10, 20, 40, 60, 60, 60} {
		want *= time.Second
		if gap := at[i+1] - at[i]; gap < want*74/100 || gap > want*127/100+2*time.Second {
			t.Fatalf("try %d after %v, want %v", i+1, gap, want)
		}
	}
	if n := len(at); n < 45 {
		t.Fatalf("%d tries in an hour", n)
	}
}

func TestOwnKeyAndOwnSeedAreIgnored(t *testing.T) {
	s := newScript(t, Config{Seeds: []nodeaddr.URL{nodeURL(1)}})
	s.to(0)
	d := s.of(ActDial)
	if len(d) != 1 {
		t.Fatalf("%d dials", len(d))
	}
	s.m.DialDone(0, d[0].ID, DialSelf, Key{})
	s.m.Learn(0, recordOf(0)) // our own
	a := busy(s, "x")
	s.m.Sighting(s.now, a.ID, addr(1))
	s.to(s.now)
	s.m.Resolved(s.now, addr(1), recordOf(0))
	s.m.SearchDone(s.now, a.ID, false)
	if n := len(dialTimes(s, 10*time.Minute)); n != 0 {
		t.Fatalf("dialled ourselves %d times", n)
	}
}

// A thousand dead nodes that were saved do not keep the living one out.
func TestDeadSavedNodes(t *testing.T) {
	s := newScript(t, Config{})
	for i := range 900 {
		s.m.Learn(0, recordOf(100+i))
	}
	a := busy(s, "x")
	fail := func() {
		for _, d := range s.of(ActDial) {
			s.m.DialDone(s.now, d.ID, DialFailed, Key{})
		}
	}
	fail()
	s.m.Sighting(s.now, a.ID, addr(1))
	s.to(s.now)
	fail()
	s.m.Resolved(s.now, addr(1), recordOf(1))
	s.to(s.now)
	fail()
	if !slices.ContainsFunc(s.all, func(a Action) bool { return a.Kind == ActDial && a.Key == key(1) }) {
		t.Fatal("the living node is not dialled at once")
	}
	for s.now < 6*time.Hour {
		s.to(s.now)
		for _, a := range s.of(ActSearch) {
			s.m.SearchDone(s.now, a.ID, false)
		}
		fail()
		s.now = max(s.m.Next(), s.now+1)
	}
	if n := len(s.m.list); n > 700 {
		t.Fatalf("%d dead nodes are still kept", n)
	}
}

func TestBaselineIsKeptAndIdleLinksGo(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: false})
	for i := 1; i <= 10; i++ {
		s.m.Learn(0, recordOf(i))
	}
	s.to(0)
	dials := s.of(ActDial)
	if len(dials) != baselineLinks {
		t.Fatalf("%d dials for %d links", len(dials), baselineLinks)
	}
	for _, d := range dials {
		s.m.LinkUp(0, d.Key, Link{Dialled: true})
		s.m.DialDone(0, d.ID, DialOK, d.Key)
	}
	for i := 20; i < 25; i++ { // five more, that some swarm had needed
		s.m.LinkUp(0, key(i), Link{Dialled: true})
	}
	s.m.LinkUp(0, key(30), Link{Dialled: false}) // not ours to let go
	closed := 0
	for s.now < 30*time.Minute {
		s.to(s.now)
		if len(s.of(ActClose)) > 0 && s.now < idleAfter {
			t.Fatalf("closed after %v", s.now)
		}
		for _, a := range s.of(ActClose) {
			closed++
			if a.Key == key(30) || a.Reason != CloseIdle {
				t.Fatalf("closed %v, %v", a.Key, a.Reason)
			}
			s.m.LinkDown(s.now, a.Key)
		}
		for _, a := range s.of(ActDial) {
			t.Fatalf("dials %v with %d links", a.Key, s.m.links)
		}
		s.now = max(s.m.Next(), s.now+1)
	}
	if s.m.links != baselineLinks || closed != 6 {
		t.Fatalf("%d links are left, %d closed", s.m.links, closed)
	}
}

func TestUpdatesAreGathered(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.LinkUp(0, key(1), Link{Dialled: true})
	s.m.Touched(0, "x", alone(1), true)
	s.m.Joined(0, key(1), "x")
	joins := 0
	for i := range 1000 {
		s.now = time.Duration(i) * time.Millisecond
		s.m.Touched(s.now, "x", alone(2+i), true)
		s.to(s.now)
		joins += len(s.of(ActJoin))
	}
	s.to(s.now + time.Second)
	joins += len(s.of(ActJoin))
	if joins < 4 || joins > 5 {
		t.Fatalf("%d joins for 1,000 changes within a second", joins)
	}
	// What changes elsewhere is no news for others.
	s.m.Touched(s.now, "x", SwarmState{Local: 1001, Remote: 7}, false)
	if s.to(s.now + time.Second); len(s.of(ActJoin)) != 0 {
		t.Fatal("a remote change caused a join: two nodes would never stop")
	}
}

func TestAJoinForASwarmWeLackIsRemembered(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.m.LinkUp(0, key(1), Link{Dialled: false})
	s.m.Asked(0, key(1), "x")
	s.to(time.Minute)
	s.m.Touched(s.now, "x", alone(1), true)
	s.to(s.now)
	if j := s.of(ActJoin); len(j) != 1 || j[0].Key != key(1) {
		t.Fatalf("joins: %v", j)
	}
	// A leave in return is the end of it until there is news.
	s.m.Left(s.now, key(1), "x", false)
	for range 10 {
		s.m.Touched(s.now, "x", alone(2), true)
		if s.to(s.now + time.Second); len(s.of(ActJoin)) != 0 {
			t.Fatal("joined again after a leave")
		}
	}
}

func TestRendezvousSchedule(t *testing.T) {
	s := newScript(t, Config{})
	perShard := map[time.Duration]int{}
	var rounds []time.Duration
	announced := map[int]bool{}
	for s.now < 3*time.Minute {
		s.to(s.now)
		for _, a := range s.of(ActSearch) {
			if perShard[s.now]++; perShard[s.now] == 4 {
				rounds = append(rounds, s.now)
			}
			if a.Announce {
				announced[a.Shard] = true
			}
			s.m.SearchDone(s.now, a.ID, false)
		}
		s.now = max(s.m.Next(), s.now+1)
	}
	if len(announced) != 1 {
		t.Fatalf("announced on %d shards", len(announced))
	}
	want := []time.Duration{0, 2e9, 7e9, 22e9, 82e9}
	if len(rounds) != len(want) {
		t.Fatalf("all shards were read at %v", rounds)
	}
	for i := range want {
		if d := rounds[i] - want[i]; d < -want[i]/8 || d > want[i]/8 {
			t.Fatalf("all shards were read at %v", rounds)
		}
	}
}

// The same inputs give the same actions.
func TestDeterminism(t *testing.T) {
	run := func() []Action {
		r := rand.New(rand.NewPCG(5, 6))
		s := newScript(t, Config{Rand: rand.New(rand.NewPCG(3, 4)), AllowPrivate: true})
		w := newWalk(s, r)
		for range 1500 {
			w.step()
		}
		return s.all
	}
	a, b := run(), run()
	if len(a) == 0 || len(a) != len(b) {
		t.Fatalf("%d and %d actions", len(a), len(b))
	}
	for i := range a {
		if a[i].Kind != b[i].Kind || a[i].InfoHash != b[i].InfoHash || a[i].Key != b[i].Key || a[i].Addr != b[i].Addr || a[i].ID != b[i].ID {
			t.Fatalf("action %d: %+v and %+v", i, a[i], b[i])
		}
	}
}
