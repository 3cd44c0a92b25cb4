package federation

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/draeder/peerservers/federation/mesh"
)

// A join for a swarm that is not here is a stray one, whatever the reason: the
// other side may have been told by a list that is out of date, or remember what
// we had before a restart, or try all the info hashes that it ever heard of. Each
// is looked up and remembered for a while (mesh.Asked), so there may be so many
// from one key and from one address prefix. Beyond, joins for anything that is
// not shared yet are answered as if it were not here. An honest node loses
// nothing by that for long: what begins here is named to it.
const (
	strayRate, straySeconds = 5.0, 400 // for a key: 2,000 at once
	strayPrefix             = 2        // a prefix has as many times that
	straySlots              = 2048
)

// strays are the buckets, in constant memory: keys share them by a keyed hash,
// so that nobody can choose with whom.
type strays struct {
	seed maphash.Seed

	mu       sync.Mutex
	keys     [straySlots]rate
	prefixes [straySlots]rate
}

func (s *strays) init(now time.Duration) {
	s.seed = maphash.MakeSeed()
	for i := range s.keys {
		s.keys[i] = newRate(strayRate, straySeconds, now)
		s.prefixes[i] = newRate(strayPrefix*strayRate, straySeconds, now)
	}
}

// of are the buckets of a key and a prefix. Caller holds s.mu.
func (s *strays) of(key mesh.Key, prefix string) [2]*rate {
	return [2]*rate{
		&s.keys[maphash.Comparable(s.seed, key)%straySlots],
		&s.prefixes[maphash.String(s.seed, prefix)%straySlots],
	}
}

// left reports whether another may come.
func (s *strays) left(now time.Duration, key mesh.Key, prefix string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.of(key, prefix)
	return b[0].has(now, 1) && b[1].has(now, 1)
}

// came notes one.
func (s *strays) came(now time.Duration, key mesh.Key, prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.of(key, prefix) {
		r.take(now, 1)
	}
}
