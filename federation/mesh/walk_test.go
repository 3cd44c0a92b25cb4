package mesh

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/registry"
)

// walk gives a Mesh random inputs, true ones and false ones, and holds its
// actions to the rules with a model that is only sets.
type walk struct {
	s        *script
	r        *rand.Rand
	searches map[uint64]string
	resolves map[int]bool
	dials    map[uint64]Action
	up       map[Key]bool
	local    map[string]bool
	// may: whom a search of the swarm named, which is worth a name, and a few
	// plain joins for those who understand none; knows: who showed that it knows
	// the info hash.
	may, knows map[string]map[Key]bool
	// named: which addresses a search of the swarm has named.
	named map[string]map[int]bool
	keys  map[int]int // who answers at an address
	// speaks: who said over its link that it understands names.
	speaks map[Key]bool
	echoes []uint64 // names that others were sent
	// asked: the last names that responsible nodes were asked for.
	asked map[Key][]uint64
	// unverified: who said so last.
	unverified map[Key]bool
}

// record is what a node says now: where it is, known or guessed.
func (w *walk) record(i int) Record {
	rec := recordOf(i)
	rec.Unverified = i%3 == 0 && w.r.IntN(4) > 0
	rec.Registers, rec.Expires = i%4 > 0, noon+1<<20
	w.unverified[rec.Key] = rec.Unverified
	return rec
}

func newWalk(s *script, r *rand.Rand) *walk {
	return &walk{
		s: s, r: r, searches: map[uint64]string{}, resolves: map[int]bool{}, dials: map[uint64]Action{}, up: map[Key]bool{},
		local: map[string]bool{}, may: map[string]map[Key]bool{}, knows: map[string]map[Key]bool{}, named: map[string]map[int]bool{}, keys: map[int]int{},
		speaks: map[Key]bool{}, unverified: map[Key]bool{}, asked: map[Key][]uint64{},
	}
}

func allow(set map[string]map[Key]bool, ih string, k Key) {
	if set[ih] == nil {
		set[ih] = map[Key]bool{}
	}
	set[ih][k] = true
}

// names lets a node name swarms: one that it knows, and others of which it has
// only what it was sent, or what another node named.
func (w *walk) names(node int) {
	s, r := w.s, w.r
	ih := fmt.Sprint("swarm", r.IntN(8))
	names := []uint64{r.Uint64()}
	for i := range 8 {
		names = append(names, s.nameOf(theirs(node+1), fmt.Sprint("swarm", i)))
	}
	names = append(names, w.echoes...)
	w.echoes = nil
	if r.IntN(2) == 0 {
		names = append(names, s.nameOf(theirs(node), ih))
		if w.up[key(node)] {
			allow(w.knows, ih, key(node))
		}
	}
	s.m.Named(s.now, key(node), theirs(node), names)
}

// told lets a node answer what it was asked, and what others were, with nodes of
// which it knows no more than that they exist.
func (w *walk) told(node int) {
	var nodes []Record
	for _, i := range []int{w.r.IntN(14), w.r.IntN(14), node} {
		r := recordOf(i)
		r.Seq, r.Registers = 0, true // an old one: what is known already stands
		nodes = append(nodes, r)
	}
	for i := range 13 {
		if i == node || w.r.IntN(4) == 0 {
			for _, name := range w.asked[key(i)] {
				w.s.m.Told(w.s.now, key(node), name, nodes)
			}
		}
	}
	w.s.m.Told(w.s.now, key(node), w.r.Uint64(), nodes)
	delete(w.asked, key(node))
}

func (w *walk) step() {
	s, r := w.s, w.r
	ih, node, at := fmt.Sprint("swarm", r.IntN(8)), 1+r.IntN(12), 1+r.IntN(30)
	switch r.IntN(19) {
	case 0, 1:
		local := r.IntN(4)
		w.local[ih] = local > 0
		s.m.Touched(s.now, ih, SwarmState{Local: local, Remote: r.IntN(2) * r.IntN(4), Parked: r.IntN(3)}, r.IntN(2) == 0)
	case 2, 3, 4:
		for _, id := range sorted(w.searches) {
			s.m.Sighting(s.now, id, private(at))
			if w.named[w.searches[id]] == nil {
				w.named[w.searches[id]] = map[int]bool{}
			}
			w.named[w.searches[id]][at] = true
			if k, ok := w.keys[at]; ok {
				allow(w.may, w.searches[id], key(k))
			}
		}
	case 5, 6:
		for _, id := range sorted(w.searches) {
			if r.IntN(2) == 0 {
				s.m.SearchDone(s.now, id, r.IntN(5) == 0)
				delete(w.searches, id)
			}
		}
	case 7:
		for i := range 31 {
			if !w.resolves[i] || r.IntN(3) == 0 {
				continue
			}
			delete(w.resolves, i)
			if k := r.IntN(16); k > 12 {
				s.m.Unresolved(s.now, private(i), k == 15)
			} else {
				w.keys[i] = k // 0 is us
				s.m.Resolved(s.now, private(i), w.record(k))
				for ih, named := range w.named {
					if named[i] {
						allow(w.may, ih, key(k))
					}
				}
			}
		}
	case 8:
		for _, id := range sorted(w.dials) {
			a := w.dials[id]
			delete(w.dials, id)
			if r.IntN(2) == 0 {
				who := a.Key
				if who == (Key{}) { // a seed
					who = key(node)
				}
				w.up[who] = true
				s.m.LinkUp(s.now, who, Link{Dialled: true})
				s.m.DialDone(s.now, id, DialOK, who)
			} else {
				s.m.DialDone(s.now, id, Outcome(1+r.IntN(4)), Key{})
			}
		}
	case 9:
		w.up[key(node)] = true
		s.m.LinkUp(s.now, key(node), Link{Dialled: false})
	case 10:
		delete(w.up, key(node))
		delete(w.speaks, key(node))
		s.m.LinkDown(s.now, key(node))
	case 11:
		if w.up[key(node)] {
			allow(w.knows, ih, key(node))
			if w.local[ih] {
				s.m.Joined(s.now, key(node), ih)
			} else {
				s.m.Asked(s.now, key(node), ih)
			}
		}
	case 12:
		s.m.Left(s.now, key(node), ih, r.IntN(3) == 0)
	case 13:
		switch r.IntN(4) {
		case 0:
			s.m.Learn(s.now, w.record(node))
		case 1:
			s.m.Misbehaved(s.now, key(node), fmt.Sprint("prefix ", node%3))
		case 2:
			s.m.Refresh(s.now, key(node))
		case 3:
			// False reports of things that were never asked for.
			s.m.SearchDone(s.now, 1<<40, false)
			s.m.DialDone(s.now, 1<<40, DialOK, key(node))
			s.m.Resolved(s.now, addr(at), recordOf(node))
		}
	case 14:
		w.speaks[key(node)] = w.speaks[key(node)] || w.up[key(node)]
		s.m.Census(s.now, key(node), r.IntN(10))
	case 15: // a filter that claims everything
		s.m.Hits(s.now, key(node), []string{ih, "swarm0", "swarm1", "swarm2", "swarm3", "swarm4", "swarm5", "swarm6", "swarm7", "none"})
	case 16:
		w.names(node)
	case 17:
		announce := r.IntN(2) == 0
		s.m.Reachable(s.now, announce, announce && r.IntN(2) == 0)
	case 18:
		w.told(node)
	}
	for _, a := range s.to(s.now + time.Duration(r.IntN(3000))*time.Millisecond) {
		w.hold(a)
	}
}

// hold notes an action, and fails if it breaks a rule.
func (w *walk) hold(a Action) {
	t := w.s.t
	switch a.Kind {
	case ActSearch:
		w.searches[a.ID] = a.InfoHash
	case ActResolve:
		w.resolves[int(a.Addr.Port())-7000] = true
	case ActDial:
		if a.Key == key(0) {
			t.Fatal("dials itself")
		}
		if w.up[a.Key] && !w.unverified[a.Key] {
			t.Fatal("dials a node that is linked and proven")
		}
		for _, other := range w.dials {
			if other.Key == a.Key && a.Key != (Key{}) {
				t.Fatal("dials a node twice at a time")
			}
		}
		w.dials[a.ID] = a
	case ActJoin:
		switch {
		case w.knows[a.InfoHash][a.Key]:
		case !w.may[a.InfoHash][a.Key]:
			t.Fatalf("told %q to a node that no search of it named and that did not ask", a.InfoHash)
		case w.speaks[a.Key]:
			t.Fatalf("told %q in plain to a node that a search named", a.InfoHash)
		}
		allow(w.knows, a.InfoHash, a.Key) // now
	case ActLeave:
		if !w.knows[a.InfoHash][a.Key] {
			t.Fatalf("told the end of %q to a node that has not shown that it knows it", a.InfoHash)
		}
	case ActNames, ActFilter:
		if !w.up[a.Key] || !w.speaks[a.Key] {
			t.Fatal("says something of swarms to a node that may not understand it")
		}
		for _, ih := range a.Names {
			if !w.local[ih] {
				t.Fatalf("names %q, which is not here", ih)
			}
			w.echoes = append(w.echoes, w.s.nameOf(theirs(0), ih)) // under our own key
		}
	case ActRegister:
		if !w.up[a.Key] || len(a.Say)+len(a.Ask) > namesAtOnce {
			t.Fatalf("registers %d names, asks for %d", len(a.Say), len(a.Ask))
		}
		for _, name := range slices.Concat(a.Say, a.Ask) {
			mine := false
			for ih, here := range w.local {
				mine = mine || here && name == registry.Name(w.s.m.cfg.BucketKey, a.Key, ih)
			}
			if !mine {
				t.Fatal("registers what is not the name of a swarm that is here, made for that node")
			}
		}
		w.asked[a.Key] = append(w.asked[a.Key], a.Ask...)
		w.echoes = append(w.echoes, a.Ask...)
	case ActClose:
		delete(w.up, a.Key)
		delete(w.speaks, a.Key)
		w.s.m.LinkDown(w.s.now, a.Key)
	}
}

func sorted[V any](m map[uint64]V) (ids []uint64) {
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Whatever comes in: Check holds after every step (script.to calls it), a
// plain info hash goes only to whom it may (invariant 6), nobody is dialled
// twice at a time, and mesh comes to rest.
func TestInvariant6RandomWalk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		cfg := Config{
			Rand: rand.New(rand.NewPCG(seed, 1)), AllowPrivate: true, Leaf: seed%3 == 0, NoRendezvous: seed%5 == 0,
			MaxSwarms: 6, MaxPartners: 4, MaxNodes: 9, MaxLinks: 5, MaxSwarmsPerNode: 4, MaxAddrs: 12, MaxHosts: 5, MaxAskers: 6,
			MaxSearches: 3, MaxResolves: 2, MaxDials: 2,
			RegistryFrom: 3, RegistryAfter: time.Second,
		}
		if seed%2 == 0 {
			cfg = Config{Rand: cfg.Rand, AllowPrivate: true, Seeds: []nodeaddr.URL{nodeURL(3), nodeURL(99)}, RegistryFrom: 4, RegistryAfter: time.Second}
		}
		s := newScript(t, cfg)
		w := newWalk(s, rand.New(rand.NewPCG(seed, 2)))
		for range 300 {
			w.step()
		}
	})
}
