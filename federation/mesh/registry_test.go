package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/registry"
)

// keeper is the record of node i, which keeps registrations.
func keeper(i int) Record {
	r := recordOf(i)
	r.Registers, r.Expires = true, noon+1<<20
	return r
}

// newLarge is a script with nodes 1 to count that keep registrations, known for
// long enough, and links with 901 to 903, which do not.
func newLarge(t *testing.T, cfg Config, count int) *script {
	t.Helper()
	cfg.AllowPrivate = true
	if cfg.RegistryFrom == 0 {
		cfg.RegistryFrom = 10
	}
	s := newScript(t, cfg)
	for i := range 3 {
		s.speak(901+i, 0)
	}
	for i := range count {
		s.m.Learn(s.now, keeper(1+i))
	}
	s.to(s.m.cfg.RegistryAfter + 10*time.Second)
	return s
}

// told are the names that were sent to node i, to keep and to answer.
func (s *script) toldNames(i int) (say, ask []uint64) {
	for _, a := range s.of(ActRegister) {
		if a.Key == key(i) {
			say, ask = append(say, a.Say...), append(ask, a.Ask...)
		}
	}
	return say, ask
}

// dialled answers all dials of the last actions, and returns whom they reached;
// silent ones fail.
func (s *script) dialled(silent ...Key) (reached []Key) {
	for _, a := range s.of(ActDial) {
		if slices.Contains(silent, a.Key) {
			s.m.DialDone(s.now, a.ID, DialFailed, Key{})
			continue
		}
		s.m.LinkUp(s.now, a.Key, Link{Dialled: true})
		s.m.DialDone(s.now, a.ID, DialOK, a.Key)
		reached = append(reached, a.Key)
	}
	return reached
}

// keepersOf is who is responsible for a swarm out of nodes first to last.
func (s *script) keepersOf(ih string, first, last int, but ...Key) (keys []Key) {
	r := registry.NewRing(s.m.cfg.BucketKey)
	r.Add(key(0), s.m.nodes[key(1)].group) // ourselves
	for i := first; i <= last; i++ {
		if !slices.Contains(but, key(i)) {
			r.Add(key(i), s.m.nodes[key(1)].group)
		}
	}
	for _, k := range r.Responsible(registry.Bucket(s.m.cfg.BucketKey.Bucket(ih))).Keys() {
		keys = append(keys, k)
	}
	return keys
}

// foreign is a swarm that this node is not responsible for.
func (s *script) foreign(count int) string {
	for i := 0; ; i++ {
		if ih := fmt.Sprint("swarm", i); !slices.Contains(s.keepersOf(ih, 1, count), key(0)) {
			return ih
		}
	}
}

func index(k Key) int {
	for i := range 1000 {
		if key(i) == k {
			return i
		}
	}
	return -1
}

// A new swarm is registered with the three nodes that everybody would compute,
// by names that are made for each, before it searches; and it searches all the
// same if nothing comes of it.
func TestANewSwarmIsRegisteredBeforeItSearches(t *testing.T) {
	s := newLarge(t, Config{}, 30)
	ih := s.foreign(30)
	want := s.keepersOf(ih, 1, 30)
	s.m.Touched(s.now, ih, alone(1), true)
	began := s.now
	if s.to(began + enlistAfter - time.Millisecond); len(s.of(ActDial)) > 0 {
		t.Fatal("those responsible are told of a swarm that may be gone again")
	}
	s.to(began + enlistAfter + 100*time.Millisecond)
	got := s.dialled()
	slices.SortFunc(got, func(a, b Key) int { return slices.Index(want, a) - slices.Index(want, b) })
	if !slices.Equal(got, want) {
		t.Fatalf("dialled %x, responsible are %x", got, want)
	}
	s.to(s.now + 100*time.Millisecond)
	for _, k := range want {
		name := registry.Name(s.m.cfg.BucketKey, k, ih)
		if say, ask := s.toldNames(index(k)); !slices.Equal(say, []uint64{name}) || !slices.Equal(ask, say) {
			t.Errorf("told %x, asked %x, want %x", say, ask, name)
		}
	}
	if s.to(began + 2500*time.Millisecond); len(s.swarmSearches()) > 0 {
		t.Error("searched before those responsible could answer")
	}
	if s.to(began + 5*time.Second); len(s.swarmSearches()) != 1 {
		t.Error("no search although nobody was found")
	}
}

// Few nodes do without; so do more of them that do not take part, and a node
// that is to.
func TestRegistryNeedsNodesEnough(t *testing.T) {
	for _, c := range []struct {
		nodes, from int
		on          bool
	}{{8, 10, false}, {9, 10, true}, {30, -1, false}, {99, 0, false}} {
		if c.from == 0 {
			c.from = 101
		}
		s := newLarge(t, Config{RegistryFrom: c.from}, c.nodes)
		s.m.Touched(s.now, s.foreign(c.nodes), alone(1), true)
		s.to(s.now + 3*time.Second)
		if n := s.m.Counts().Responsible; n > 0 != c.on {
			t.Errorf("%+v: %d responsible nodes", c, n)
		}
	}
}

// When a responsible node cannot be reached, the next one is told in its place.
func TestTheNextOneTakesThePlace(t *testing.T) {
	s := newLarge(t, Config{}, 30)
	ih := s.foreign(30)
	want := s.keepersOf(ih, 1, 30)
	s.m.Touched(s.now, ih, alone(1), true)
	s.to(s.now + enlistAfter + 100*time.Millisecond)
	s.dialled(want[1])
	next := s.keepersOf(ih, 1, 30, want[1])
	s.to(s.now + time.Second)
	s.dialled()
	s.to(s.now + time.Second)
	if _, ask := s.toldNames(index(next[2])); len(ask) == 0 {
		t.Fatalf("the node in the place of the one that is down was asked %d times", len(ask))
	}
}

// All is said again every 20 minutes, to whom nothing else is said too; and a
// link that served for nothing else is let go after a minute.
func TestRegistrationsAreRepeated(t *testing.T) {
	s := newLarge(t, Config{}, 30)
	ih := s.foreign(30)
	want := s.keepersOf(ih, 1, 30)
	s.m.Touched(s.now, ih, SwarmState{Local: 1, Remote: 1}, true)
	began, heard, closed := s.now, map[Key][]time.Duration{}, 0
	for s.now < began+90*time.Minute {
		s.to(s.now + time.Second)
		s.dialled()
		for _, a := range s.of(ActRegister) {
			if len(a.Say) != 1 || len(a.Ask) != 0 {
				t.Fatalf("%d told, %d asked for of a swarm in company", len(a.Say), len(a.Ask))
			}
			heard[a.Key] = append(heard[a.Key], s.now-began)
		}
		for _, a := range s.of(ActClose) {
			closed++
			s.m.LinkDown(s.now, a.Key)
		}
		for _, a := range s.of(ActSearch) {
			s.m.SearchDone(s.now, a.ID, false)
		}
	}
	for _, k := range want {
		at := heard[k]
		for i := 2; i < len(at); i++ {
			if pause := at[i] - at[i-1]; pause > 25*time.Minute+10*time.Second {
				t.Errorf("not said for %v", pause)
			}
		}
		if len(at) < 4 {
			t.Errorf("said %d times in 90 minutes", len(at))
		}
	}
	if closed < 9 {
		t.Errorf("%d links let go, all of an errand", closed)
	}
}

// A leaf asks, and is not told of to others, who could not dial it.
func TestALeafOnlyAsks(t *testing.T) {
	s := newLarge(t, Config{Leaf: true}, 30)
	s.m.Touched(s.now, "x", alone(1), true)
	s.to(s.now + enlistAfter + 100*time.Millisecond)
	n := len(s.dialled())
	s.to(s.now + time.Second)
	if asked := s.of(ActRegister); len(asked) != n || n == 0 {
		t.Fatalf("%d of %d asked", len(asked), n)
	}
	for _, a := range s.of(ActRegister) {
		if len(a.Say) > 0 || len(a.Ask) != 1 {
			t.Errorf("said %d, asked %d", len(a.Say), len(a.Ask))
		}
	}
}

// asked makes a script whose new swarm was asked for; its responsible nodes are
// linked.
func asked(t *testing.T, cfg Config) (s *script, ih string, keepers []Key) {
	t.Helper()
	s = newLarge(t, cfg, 30)
	ih = s.foreign(30)
	s.m.Touched(s.now, ih, alone(1), true)
	s.to(s.now + enlistAfter + 100*time.Millisecond)
	keepers = s.dialled()
	s.to(s.now + 100*time.Millisecond)
	if len(keepers) != registry.Replicas {
		t.Fatalf("%d responsible nodes", len(keepers))
	}
	return s, ih, keepers
}

// Who was told of is dialled, told the name under the link's key, and the info
// hash only once it has shown that it knows it: never before, even if it does not
// understand names.
func TestWhoIsToldOfIsToldTheNameFirst(t *testing.T) {
	for _, speaks := range []bool{true, false} {
		s, ih, keepers := asked(t, Config{})
		s.m.Told(s.now, keepers[0], registry.Name(s.m.cfg.BucketKey, keepers[0], ih), []Record{keeper(50)})
		s.to(s.now + 10*time.Millisecond)
		if got := s.dialled(); !slices.Equal(got, []Key{key(50)}) {
			t.Fatalf("dialled %x", got)
		}
		if speaks {
			s.m.Census(s.now, key(50), 5)
		}
		s.to(s.now + 5*time.Second)
		if told := s.toldOf(50); len(told) > 0 != speaks {
			t.Errorf("named %q", told)
		}
		if joins := s.of(ActJoin); len(joins) > 0 {
			t.Fatalf("told the info hash to %x", joins[0].Key)
		}
		s.to(s.now + 30*time.Second)
		if len(s.of(ActJoin)) > 0 {
			t.Fatal("told the info hash later")
		}
		s.m.Named(s.now, key(50), theirs(50), []uint64{s.nameOf(theirs(50), ih)})
		s.to(s.now + time.Second)
		if joins := s.of(ActJoin); len(joins) != 1 || joins[0].Key != key(50) {
			t.Errorf("%d joins once it showed that it knows the swarm", len(joins))
		}
	}
}

// Answers to nothing, to what others were asked, and second ones are dropped.
func TestAnswersThatNobodyAskedFor(t *testing.T) {
	s, ih, keepers := asked(t, Config{})
	network := s.m.cfg.BucketKey
	name := registry.Name(network, keepers[0], ih)
	s.m.Told(s.now, keepers[0], name+1, []Record{keeper(51)})                                // never asked
	s.m.Told(s.now, keepers[1], name, []Record{keeper(52)})                                  // of another
	s.m.Told(s.now, key(901), registry.Name(network, key(901), ih), []Record{keeper(53)})    // not responsible
	s.m.Told(s.now, key(29), registry.Name(network, key(29), ih), []Record{keeper(54)})      // not linked
	s.m.Told(s.now, keepers[0], name, []Record{keeper(0), {Key: keepers[0]}, recordOf(902)}) // ourselves, itself, one that keeps none
	s.m.Told(s.now, keepers[0], name, []Record{keeper(55)})                                  // a second time
	unverified := keeper(56)
	unverified.Unverified = true
	s.m.Told(s.now, keepers[1], registry.Name(network, keepers[1], ih), []Record{unverified})
	s.m.LinkDown(s.now, keepers[2])
	s.m.LinkUp(s.now, keepers[2], Link{Dialled: true})
	s.m.Told(s.now, keepers[2], registry.Name(network, keepers[2], ih), []Record{keeper(57)}) // asked over another link
	s.to(s.now + time.Second)
	if dials := s.of(ActDial); len(dials) > 0 {
		t.Fatalf("dials node %d", index(dials[0].Key))
	}
	if n := s.m.stats.Dropped[DropTold]; n != 8 {
		t.Errorf("%d dropped", n)
	}
}

// Liars among the responsible can name a few nodes each, and not more than a
// few a second: what they name takes half of a swarm's places at most.
func TestHintsAreBounded(t *testing.T) {
	s, ih, keepers := asked(t, Config{})
	at := 100
	for _, k := range keepers {
		var junk []Record
		for range 8 {
			junk = append(junk, keeper(at))
			at++
		}
		s.m.Told(s.now, k, registry.Name(s.m.cfg.BucketKey, k, ih), junk)
	}
	if n := len(s.m.swarms[ih].shares); n != hintsInAll {
		t.Errorf("%d nodes of %d are taken in", n, at-100)
	}
	// Each answer of many swarms brings some, up to the rate.
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprint("more", i))
		s.m.Touched(s.now, names[i], alone(1), true)
	}
	s.to(s.now + enlistAfter + 50*time.Millisecond)
	before, linked := s.m.stats.Told, s.dialled()
	linked = append(linked, keepers...)
	s.to(s.now + time.Second)
	from := s.now
	for range 10 {
		s.to(s.now + time.Second)
		for _, k := range linked {
			for _, ih := range names {
				s.m.Told(s.now, k, registry.Name(s.m.cfg.BucketKey, k, ih), []Record{keeper(at % 900)})
				at++
			}
		}
	}
	if got, most := s.m.stats.Told-before, uint64(hintBurst+hintRate*(s.now-from).Seconds()+5); got > most || got < 30 {
		t.Errorf("%d nodes taken in, want %d at most", got, most)
	}
}

// A node that was only told of, and showed nothing, keeps neither its link nor
// its place.
func TestWhoShowsNothingIsLetGo(t *testing.T) {
	s, ih, keepers := asked(t, Config{})
	s.m.Told(s.now, keepers[0], registry.Name(s.m.cfg.BucketKey, keepers[0], ih), []Record{keeper(50)})
	s.to(s.now + 10*time.Millisecond)
	s.dialled()
	s.m.Census(s.now, key(50), 5)
	gone := false
	for range 120 {
		s.to(s.now + time.Second)
		for _, a := range s.of(ActClose) {
			gone = gone || a.Key == key(50)
			s.m.LinkDown(s.now, a.Key)
		}
		for _, a := range s.of(ActDial) {
			if gone && a.Key == key(50) {
				t.Fatal("dialled again")
			}
		}
		for _, a := range s.of(ActSearch) {
			s.m.SearchDone(s.now, a.ID, false)
		}
	}
	if n := s.m.nodes[key(50)]; !gone || n != nil && len(n.shares) > 0 {
		t.Errorf("link gone: %v", gone)
	}
}

// A heavy node finds room in a table that is full, a light one does not.
func TestTheHeaviestAreKept(t *testing.T) {
	s := newLarge(t, Config{MaxNodes: 60}, 50)
	for i := range 10 {
		s.m.Learn(s.now, keeper(200+i))
	}
	wants, kept := 0, 0
	for i := 300; i < 400; i++ {
		heavy := s.m.reg.ring.Wants(key(i))
		s.m.Learn(s.now, keeper(i))
		if has := s.m.nodes[key(i)] != nil; has && !heavy {
			t.Errorf("node %d is kept, and not wanted", i)
		} else if has {
			kept++
		}
		if heavy {
			wants++
		}
	}
	if wants == 0 || wants == 100 || kept < wants/2 {
		t.Errorf("%d of 100 are wanted, %d kept", wants, kept)
	}
	for k, n := range s.m.nodes {
		if n.duty != nil && !s.m.reg.ring.Has(k, n.ringGroup()) {
			t.Error("a responsible node is not counted in")
		}
	}
}
