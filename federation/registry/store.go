package registry

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Limits bound a Store. Zeros mean the values in parentheses.
type Limits struct {
	Names   int // registrations in all, about 100 bytes each (200,000)
	Key     int // of one node (8,192)
	Prefix  int // of the nodes of one prefix (16,384)
	Nodes   int // nodes of one prefix (32)
	OneName int // nodes that registered one name (32)
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		p *int
		v int
	}{{&l.Names, 200_000}, {&l.Key, 8192}, {&l.Prefix, 16_384}, {&l.Nodes, 32}, {&l.OneName, 32}} {
		if *d.p <= 0 {
			*d.p = d.v
		}
	}
	return l
}

// Drop says which bound made a registration fall.
type Drop uint8

const (
	DropFull   Drop = iota // the store was full
	DropKey                // too many of one node
	DropPrefix             // too many of one prefix
	DropNodes              // too many nodes of one prefix: nothing of this one is kept
	DropName               // too many nodes with one name
	Drops
)

// String is a fixed label, fit for a metric.
func (d Drop) String() string {
	names := [Drops]string{"registry_full", "registry_key", "registry_prefix", "registry_nodes", "registry_name"}
	if d >= Drops {
		return "unknown"
	}
	return names[d]
}

// Store is what a node keeps that others registered with it. When it is full,
// the prefix with the most registrations loses one of its node with the most:
// so a flood displaces itself, and what a node with few registrations has said stays.
// It is not safe for concurrent use. Times are durations since an epoch of the
// caller's choice.
type Store struct {
	limits   Limits
	rand     *rand.Rand
	names    map[uint64][]*entry
	owners   map[Key]*owner
	prefixes map[string]*prefix
	heap     []*prefix // the one with the most registrations first
	all      int
	ring     []*owner // the order in which they are looked through
	hand     int      // place in it
	step     int      // and in its entries
	dropped  [Drops]uint64
}

type entry struct {
	name  uint64
	owner *owner
	place int32 // in owner.entries
	at    time.Duration
}

type owner struct {
	key     Key
	prefix  *prefix
	entries []*entry
	hand    int // which of them goes next
	place   int // in Store.ring
}

type prefix struct {
	name   string
	owners []*owner
	count  int // of their entries
	place  int // in Store.heap
}

// NewStore makes a Store.
func NewStore(limits Limits, r *rand.Rand) *Store {
	return &Store{
		limits: limits.withDefaults(), rand: r,
		names: make(map[uint64][]*entry), owners: make(map[Key]*owner), prefixes: make(map[string]*prefix),
	}
}

// Len is how many registrations there are.
func (s *Store) Len() int { return s.all }

// Dropped are the registrations that fell, by the bound.
func (s *Store) Dropped() [Drops]uint64 { return s.dropped }

// Register notes that the node with that key, in an address prefix, has the
// swarms with these names.
func (s *Store) Register(now time.Duration, key Key, at string, names []uint64) {
	// What nobody repeats has to go some time: a little of that is done with
	// each registration, since without any nothing grows.
	s.sweep(now, 2*len(names)+16)
	if len(names) == 0 {
		return
	}
	o := s.owner(key, at)
	if o == nil {
		s.dropped[DropNodes] += uint64(len(names))
		return
	}
	for _, name := range names {
		s.enter(now, o, name)
	}
	s.tidy(o)
}

// owner finds or makes the entry of a node. One that has moved to another
// prefix begins anew.
func (s *Store) owner(key Key, at string) *owner {
	o := s.owners[key]
	if o != nil && o.prefix.name == at {
		return o
	}
	p := s.prefixes[at]
	if p != nil && len(p.owners) >= s.limits.Nodes {
		return nil
	}
	if o != nil {
		for len(o.entries) > 0 {
			s.drop(o.entries[len(o.entries)-1])
		}
		s.tidy(o)
		p = s.prefixes[at]
	}
	if p == nil {
		p = &prefix{name: at, place: len(s.heap)}
		s.prefixes[at] = p
		s.heap = append(s.heap, p)
	}
	o = &owner{key: key, prefix: p, place: len(s.ring)}
	p.owners = append(p.owners, o)
	s.owners[key] = o
	s.ring = append(s.ring, o)
	return o
}

// tidy forgets a node without registrations.
func (s *Store) tidy(o *owner) {
	if len(o.entries) > 0 || s.owners[o.key] != o {
		return
	}
	delete(s.owners, o.key)
	last := len(s.ring) - 1
	s.ring[o.place] = s.ring[last]
	s.ring[o.place].place = o.place
	s.ring[last] = nil
	s.ring = s.ring[:last]
	p := o.prefix
	p.owners = slices.DeleteFunc(p.owners, func(x *owner) bool { return x == o })
	if len(p.owners) == 0 {
		delete(s.prefixes, p.name)
		hole, end := p.place, len(s.heap)-1
		s.swap(hole, end)
		s.heap[end] = nil
		s.heap = s.heap[:end]
		if hole < end {
			s.fix(s.heap[hole])
		}
	}
}

func (s *Store) enter(now time.Duration, o *owner, name uint64) {
	list := s.names[name]
	for _, e := range list {
		if e.owner == o {
			e.at = now
			return
		}
	}
	if len(list) >= s.limits.OneName {
		s.dropped[DropName]++
		s.dropAndTidy(s.crowding(list), o)
	}
	switch {
	case len(o.entries) >= s.limits.Key:
		s.dropped[DropKey]++
		s.drop(o.next())
	case o.prefix.count >= s.limits.Prefix:
		s.dropped[DropPrefix]++
		s.dropAndTidy(o.prefix.most().next(), o)
	case s.all >= s.limits.Names:
		s.dropped[DropFull]++
		s.dropAndTidy(s.heap[0].most().next(), o)
	}
	e := &entry{name: name, owner: o, place: int32(len(o.entries)), at: now}
	o.entries = append(o.entries, e)
	s.names[name] = append(s.names[name], e)
	s.all++
	s.recount(o.prefix, +1)
}

// crowding is one of those that registered a name, of a prefix that has the
// most of them.
func (s *Store) crowding(list []*entry) (out *entry) {
	most, ties := 0, 0
	for _, e := range list {
		n := 0
		for _, o := range list {
			if o.owner.prefix == e.owner.prefix {
				n++
			}
		}
		if n > most {
			most, ties = n, 0
		}
		if n == most {
			if ties++; s.rand.IntN(ties) == 0 {
				out = e
			}
		}
	}
	return out
}

// most is the node with the most registrations.
func (p *prefix) most() *owner {
	best := p.owners[0]
	for _, o := range p.owners {
		if len(o.entries) > len(best.entries) {
			best = o
		}
	}
	return best
}

// next is which of a node's registrations goes first.
func (o *owner) next() *entry {
	o.hand++
	return o.entries[o.hand%len(o.entries)]
}

// dropAndTidy drops an entry, and its node with the last; not that of keep, which
// is about to get another.
func (s *Store) dropAndTidy(e *entry, keep *owner) {
	s.drop(e)
	if e.owner != keep {
		s.tidy(e.owner)
	}
}

func (s *Store) drop(e *entry) {
	list := s.names[e.name]
	i := slices.Index(list, e)
	last := len(list) - 1
	list[i] = list[last]
	list[last] = nil
	if last == 0 {
		delete(s.names, e.name)
	} else {
		s.names[e.name] = list[:last]
	}
	o := e.owner
	last = len(o.entries) - 1
	o.entries[e.place] = o.entries[last]
	o.entries[e.place].place = e.place
	o.entries[last] = nil
	o.entries = o.entries[:last]
	s.all--
	s.recount(o.prefix, -1)
}

func (s *Store) recount(p *prefix, by int) {
	p.count += by
	s.fix(p)
}

func (s *Store) swap(i, j int) {
	s.heap[i], s.heap[j] = s.heap[j], s.heap[i]
	s.heap[i].place, s.heap[j].place = i, j
}

// fix moves a prefix whose count has changed to its place in the heap.
func (s *Store) fix(p *prefix) {
	for p.place > 0 && s.heap[(p.place-1)/2].count < p.count {
		s.swap(p.place, (p.place-1)/2)
	}
	for {
		c := 2*p.place + 1
		if c >= len(s.heap) {
			return
		}
		if c+1 < len(s.heap) && s.heap[c+1].count > s.heap[c].count {
			c++
		}
		if s.heap[c].count <= p.count {
			return
		}
		s.swap(p.place, c)
	}
}

const lifetime = Lifetime * time.Second

// sweep looks at so many registrations, and drops those that were not
// repeated.
func (s *Store) sweep(now time.Duration, count int) {
	for ; count > 0 && len(s.ring) > 0; count-- {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		o := s.ring[s.hand]
		if s.step >= len(o.entries) {
			s.hand, s.step = s.hand+1, 0
			continue
		}
		if e := o.entries[s.step]; now-e.at >= lifetime {
			s.drop(e)
			s.tidy(o)
			continue
		}
		s.step++
	}
}

// Ask appends to buf the keys of up to most nodes that registered a name, but
// not that of who asks: at random, from different prefixes first.
func (s *Store) Ask(now time.Duration, asker Key, name uint64, most int, buf []Key) []Key {
	var some [64]*entry
	list := some[:0]
	for _, e := range s.names[name] {
		if e.owner.key != asker && now-e.at < lifetime {
			list = append(list, e)
		}
	}
	s.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for from := 0; most > 0 && from < len(list); {
		// One more of each prefix, as far as there are any.
		next := from
		for i := from; most > 0 && i < len(list); i++ {
			if slices.ContainsFunc(list[from:next], func(o *entry) bool { return o.owner.prefix == list[i].owner.prefix }) {
				continue
			}
			list[next], list[i] = list[i], list[next]
			buf = append(buf, list[next].owner.key)
			next++
			most--
		}
		from = next
	}
	return buf
}
