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

// Links to responsible nodes are made at a rate, however many swarms begin.
func TestErrandsHaveARate(t *testing.T) {
	s := newLarge(t, Config{MaxLinks: 1000, MaxDials: 1000}, 300)
	for i := range 2000 {
		s.m.Touched(s.now, fmt.Sprint("swarm", i), SwarmState{Local: 1, Remote: 1}, true)
	}
	began, dials := s.now, 0
	for range 20 {
		s.to(s.now + time.Second)
		dials += len(s.dialled())
	}
	if most := errandBurst + int(errandRate*(s.now-began).Seconds()) + 1; dials > most || dials < 50 {
		t.Errorf("%d links in 20 s, want %d at most", dials, most)
	}
}

// More new swarms than may wait for a node are told with the others of their
// bucket.
func TestManyNewSwarmsAtOnce(t *testing.T) {
	s := newLarge(t, Config{}, 30)
	count, bucket := 0, registry.Bucket(s.m.cfg.BucketKey.Bucket(s.foreign(30)))
	for i := 0; count < maxFresh+500; i++ {
		ih := fmt.Sprint("swarm", i)
		if registry.Bucket(s.m.cfg.BucketKey.Bucket(ih)) == bucket {
			s.m.Touched(s.now, ih, SwarmState{Local: 1, Remote: 1}, true)
			count++
		}
	}
	said := map[uint64]bool{}
	for range 30 {
		s.to(s.now + time.Second)
		s.dialled()
		for _, a := range s.of(ActRegister) {
			for _, name := range a.Say {
				said[name] = true
			}
		}
	}
	if len(said) != registry.Replicas*count || s.m.stats.Dropped[DropRegister] == 0 {
		t.Errorf("%d names of %d swarms, %d dropped", len(said), count, s.m.stats.Dropped[DropRegister])
	}
}
