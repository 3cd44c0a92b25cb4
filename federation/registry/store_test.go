package registry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/draeder/peerservers/federation/filter"
)

func newStore(l Limits) *Store { return NewStore(l, rand.New(rand.NewPCG(1, 2))) }

// check reports what must not be.
func (s *Store) check() error {
	all, listed := 0, 0
	for _, list := range s.names {
		if len(list) == 0 || len(list) > s.limits.OneName {
			return fmt.Errorf("%d nodes with a name", len(list))
		}
		listed += len(list)
	}
	for i, o := range s.ring {
		if o.place != i || s.owners[o.key] != o || len(o.entries) == 0 || len(o.entries) > s.limits.Key || s.prefixes[o.prefix.name] != o.prefix {
			return fmt.Errorf("node %d out of place, with %d", i, len(o.entries))
		}
		for j, e := range o.entries {
			if int(e.place) != j || e.owner != o || !slices.Contains(s.names[e.name], e) {
				return fmt.Errorf("registration out of place")
			}
		}
		all += len(o.entries)
	}
	for i, p := range s.heap {
		n := 0
		for _, o := range p.owners {
			n += len(o.entries)
		}
		if p.place != i || n != p.count || n > s.limits.Prefix || len(p.owners) == 0 || len(p.owners) > s.limits.Nodes || i > 0 && s.heap[(i-1)/2].count < n {
			return fmt.Errorf("prefix %q with %d of %d nodes", p.name, n, len(p.owners))
		}
	}
	if all != s.all || listed != all || all > s.limits.Names || len(s.owners) != len(s.ring) || len(s.prefixes) != len(s.heap) {
		return fmt.Errorf("%d registrations, %d listed, %d counted", all, listed, s.all)
	}
	return nil
}

// Against a model that has no bounds: what the store tells was registered, in
// time, by somebody else; and within bounds, it tells all of it.
func TestStoreAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tight := rapid.Bool().Draw(rt, "tight")
		l := Limits{Names: 10_000, Key: 1000, Prefix: 5000, Nodes: 100, OneName: 64}
		if tight {
			l = Limits{Names: 12, Key: 4, Prefix: 7, Nodes: 2, OneName: 3}
		}
		s := newStore(l)
		type at struct {
			name uint64
			key  Key
		}
		model := map[at]time.Duration{}
		where := map[Key]string{}
		now := time.Duration(0)
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			now += time.Duration(rapid.IntRange(0, 600).Draw(rt, "pause")) * time.Second
			k := key(1 + rapid.IntRange(0, 6).Draw(rt, "node"))
			if rapid.Bool().Draw(rt, "ask") {
				name := rapid.Uint64Range(0, 5).Draw(rt, "name")
				most := rapid.IntRange(0, 8).Draw(rt, "most")
				got := s.Ask(now, k, name, most, nil)
				want := 0
				for x, since := range model {
					if x.name == name && x.key != k && now-since < lifetime {
						want++
					}
				}
				if len(got) > min(most, want) || !tight && len(got) != min(most, want) {
					rt.Fatalf("%d told, of %d, %d wanted", len(got), want, most)
				}
				for i, g := range got {
					if since, ok := model[at{name, g}]; !ok || now-since >= lifetime || g == k || slices.Contains(got[:i], g) {
						rt.Fatal("told of a node that did not register that, or not lately, or twice")
					}
				}
				continue
			}
			names := rapid.SliceOfN(rapid.Uint64Range(0, 5), 0, 6).Draw(rt, "names")
			prefix := fmt.Sprint(rapid.IntRange(0, 2).Draw(rt, "prefix"))
			if len(names) > 0 && where[k] != prefix {
				for x := range model {
					if x.key == k && !tight {
						delete(model, x) // it has moved
					}
				}
				where[k] = prefix
			}
			s.Register(now, k, prefix, names)
			for _, name := range names {
				model[at{name, k}] = now
			}
			if err := s.check(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// A flood of fresh nodes from a few prefixes displaces itself: what an honest
// node registered is still told.
func TestAFloodDisplacesItself(t *testing.T) {
	s := newStore(Limits{Names: 2000, Key: 500, Prefix: 1000})
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 20 {
		s.Register(0, key(i+1), fmt.Sprint("honest", i), []uint64{uint64(i), 1 << 40})
	}
	for i := range 3000 {
		names := []uint64{1 << 40}
		for range 40 {
			names = append(names, rnd.Uint64())
		}
		s.Register(time.Second, key(1000+i), fmt.Sprint("flood", i%10), names)
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
	}
	told := 0
	for i := range 20 {
		told += len(s.Ask(time.Second, Key{}, uint64(i), 8, nil))
	}
	if told != 20 || s.Len() != 2000 {
		t.Errorf("%d of 20 honest registrations are left of %d", told, s.Len())
	}
	d := s.Dropped()
	if d[DropFull] == 0 || d[DropNodes] == 0 || d[DropName] == 0 {
		t.Errorf("dropped: %v", d)
	}
	// The name that all of them have is the honest nodes' still, for two of three.
	honest := 0
	for range 1000 {
		for _, k := range s.Ask(time.Second, Key{}, 1<<40, 8, nil) {
			for i := range 20 {
				if k == key(i+1) {
					honest++
				}
			}
		}
	}
	if honest < 4000 {
		t.Errorf("%d of 8,000 told are honest", honest)
	}
}

// One node, and one prefix, have their bounds.
func TestBoundsOfOneNodeAndOnePrefix(t *testing.T) {
	s := newStore(Limits{Key: 10, Prefix: 25, Nodes: 4})
	for i := range 6 {
		for j := range 30 {
			s.Register(0, key(i+1), "here", []uint64{uint64(100*i + j)})
			if err := s.check(); err != nil {
				t.Fatal(err)
			}
		}
	}
	d := s.Dropped()
	if s.Len() != 25 || d[DropKey] == 0 || d[DropPrefix] == 0 || d[DropNodes] != 60 {
		t.Errorf("%d kept, dropped %v", s.Len(), d)
	}
	// It keeps the newest of them, more or less, and not the first.
	if got := s.Ask(0, Key{}, 0, 8, nil); len(got) > 0 {
		t.Error("the first registration outlived 29 newer ones in 10 places")
	}
}

// Silence ends a registration, and its memory.
func TestSilenceEndsARegistration(t *testing.T) {
	s := newStore(Limits{})
	for i := range 100 {
		s.Register(0, key(i+1), fmt.Sprint(i), []uint64{1, uint64(i + 10)})
	}
	s.Register(lifetime-1, key(1), "0", []uint64{1})
	if got := s.Ask(lifetime-1, key(200), 10, 8, nil); len(got) != 1 {
		t.Errorf("told of %d within the lifetime", len(got))
	}
	if got := s.Ask(lifetime, key(200), 1, 8, nil); !slices.Equal(got, []Key{key(1)}) {
		t.Errorf("told of %d, want the one that spoke again", len(got))
	}
	for range 20 {
		s.Register(lifetime, key(300), "x", []uint64{5})
	}
	if s.Len() > 2 {
		t.Errorf("%d kept of 200 that are over", s.Len())
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
}

// Who asks for many gets one of each prefix before a second of any.
func TestDifferentPrefixesFirst(t *testing.T) {
	s := newStore(Limits{})
	of := map[Key]string{}
	for i := range 24 {
		p := "crowd"
		if i < 4 {
			p = fmt.Sprint(i)
		}
		of[key(i+1)] = p
		s.Register(0, key(i+1), p, []uint64{9})
	}
	for range 50 {
		seen := map[string]int{}
		for _, k := range s.Ask(0, Key{}, 9, 8, nil) {
			seen[of[k]]++
		}
		if len(seen) != 5 || seen["crowd"] != 4 {
			t.Fatalf("told by prefix: %v", seen)
		}
	}
}

// What a responsible node was told is of no use to another, nor in another
// network.
func TestNamesAreForOneNode(t *testing.T) {
	n := filter.Key{1}
	name := Name(n, key(1), "swarm")
	if name == Name(n, key(2), "swarm") || name == Name(filter.Key{2}, key(1), "swarm") || name == Name(n, key(1), "swarn") {
		t.Error("equal names")
	}
	s := newStore(Limits{})
	s.Register(0, key(5), "a", []uint64{name}) // replayed to key(2)
	if got := s.Ask(0, key(6), Name(n, key(2), "swarm"), 8, nil); len(got) > 0 {
		t.Error("a replayed name was of use")
	}
}

func BenchmarkRegister(b *testing.B) {
	s := newStore(Limits{})
	rnd := rand.New(rand.NewPCG(3, 4))
	names := make([]uint64, 512)
	b.ReportAllocs()
	for i := range b.N {
		for j := range names {
			names[j] = rnd.Uint64()
		}
		s.Register(time.Duration(i)*time.Second, key(i%1000), fmt.Sprint(i%700), names)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/name")
}

func BenchmarkName(b *testing.B) {
	for range b.N {
		Name(filter.Key{1}, Key{2}, "aaaaaaaaaaaaaaaaaaaa")
	}
}

func BenchmarkRingAdd(b *testing.B) {
	r := NewRing(filter.Key{})
	for i := range 1024 {
		r.Add(key(i+1), group(0))
	}
	b.Run("add", func(b *testing.B) {
		for i := range b.N {
			r.Remove(key(5000))
			r.Add(key(5000), group(i%2))
		}
	})
	b.Run("bucket", func(b *testing.B) {
		for range b.N {
			r.stale = 1
			r.Responsible(0)
		}
	})
}
