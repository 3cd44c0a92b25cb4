package registry

import (
	"bytes"
	"math/bits"
	"net/netip"

	"github.com/dchest/siphash"

	"github.com/draeder/peerservers/federation/filter"
)

// Weights are the keys of weights in a network, one for each bucket.
type Weights [Buckets]filter.Key

// NewWeights derives them from the network's bucket key.
func NewWeights(network filter.Key) (w Weights) {
	for b := range w {
		w[b] = network.Generation(uint32(b))
	}
	return w
}

// Of is the weight of a node in a bucket.
func (w *Weights) Of(node *Key, bucket int) uint64 {
	k := &w[bucket]
	return siphash.Hash(binary64(k[:8]), binary64(k[8:]), node[:])
}

func binary64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// Set is who is responsible for a bucket, the heaviest first.
type Set struct {
	keys  [Replicas]Key
	seats [Replicas]seat
	n     int
}

// Keys are the nodes of the set, good until the ring changes.
func (s *Set) Keys() []Key { return s.keys[:s.n] }

type seat struct {
	weight uint64
	group  netip.AddrPort
}

// Ring keeps who is responsible for each bucket while nodes come and go. To
// add a node takes Buckets hashes. When one goes that is responsible
// somewhere, those buckets are looked through when they are asked for, one
// hash for each node: so no call takes more than the larger of the two.
type Ring struct {
	weights Weights
	places  map[Key]int
	list    []member
	sets    [Buckets]Set
	stale   uint64 // buckets to be looked through
	changed uint64 // buckets whose set may have changed
}

type member struct {
	key   Key
	group netip.AddrPort // the prefix that it is in; zero: not known
}

// NewRing makes a Ring; network is the network's bucket key.
func NewRing(network filter.Key) *Ring {
	return &Ring{weights: NewWeights(network), places: make(map[Key]int)}
}

// Len is how many nodes there are.
func (r *Ring) Len() int { return len(r.list) }

// Has reports whether key is one of them, in that prefix.
func (r *Ring) Has(key Key, group netip.AddrPort) bool {
	i, ok := r.places[key]
	return ok && r.list[i].group == group
}

// Add enters a node, or moves it to another prefix.
func (r *Ring) Add(key Key, group netip.AddrPort) {
	if r.Has(key, group) {
		return
	}
	r.Remove(key)
	r.places[key] = len(r.list)
	r.list = append(r.list, member{key, group})
	for b := range r.sets {
		if r.stale>>b&1 == 0 && r.sets[b].enter(key, seat{r.weights.Of(&key, b), group}) {
			r.changed |= 1 << b
		}
	}
}

// Remove forgets a node.
func (r *Ring) Remove(key Key) {
	i, ok := r.places[key]
	if !ok {
		return
	}
	delete(r.places, key)
	last := len(r.list) - 1
	r.list[i] = r.list[last]
	r.list = r.list[:last]
	if i < last {
		r.places[r.list[i].key] = i
	}
	for b := range r.sets {
		if r.sets[b].has(key) {
			r.stale |= 1 << b
			r.changed |= 1 << b
		}
	}
}

// Wants reports whether a node would be responsible for some bucket.
func (r *Ring) Wants(key Key) bool {
	for b := range r.sets {
		s := r.sets[b] // a copy
		if s.enter(key, seat{weight: r.weights.Of(&key, b)}) {
			return true
		}
	}
	return false
}

// Changed takes out one bucket whose set may have changed since it was taken
// out last.
func (r *Ring) Changed() (bucket int, ok bool) {
	if r.changed == 0 {
		return 0, false
	}
	bucket = bits.TrailingZeros64(r.changed)
	r.changed &^= 1 << bucket
	return bucket, true
}

// Responsible is who is responsible for a bucket.
func (r *Ring) Responsible(bucket int) *Set {
	s := &r.sets[bucket]
	if r.stale>>bucket&1 == 1 {
		r.stale &^= 1 << bucket
		s.n = 0
		for i := range r.list {
			m := &r.list[i]
			s.enter(m.key, seat{r.weights.Of(&m.key, bucket), m.group})
		}
	}
	return s
}

func (s *Set) has(key Key) bool {
	for i := range s.n {
		if s.keys[i] == key {
			return true
		}
	}
	return false
}

// enter puts a node into the set if it is heavy enough; of one prefix only the
// heaviest is in it.
func (s *Set) enter(key Key, x seat) bool {
	at := 0
	for at < s.n && !heavier(x.weight, key, s.seats[at].weight, s.keys[at]) {
		at++
	}
	out := s.n // who has to go
	for i := range s.n {
		if x.group.IsValid() && s.seats[i].group == x.group {
			if i < at {
				return false
			}
			out = i
		}
	}
	if at == Replicas {
		return false
	}
	if out == s.n {
		if s.n < Replicas {
			s.n++
		} else {
			out = Replicas - 1
		}
	}
	copy(s.keys[at+1:out+1], s.keys[at:out])
	copy(s.seats[at+1:out+1], s.seats[at:out])
	s.keys[at], s.seats[at] = key, x
	return true
}

func heavier(w uint64, k Key, v uint64, l Key) bool {
	return w > v || w == v && bytes.Compare(k[:], l[:]) > 0
}
