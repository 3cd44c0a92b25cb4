package tracker

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

// A session's index is what there is to leave when it closes. Most have one
// membership, and a server has many sessions: so up to maxFew are entries of
// one string, which is replaced when they change, and more are in a map. An
// entry may be stale; tables know better.

// maxFew is up to how many memberships are kept without a map.
const maxFew = 8

// pruneEvery is how often a session that has reached its limit may have the
// stale entries of its index looked for: that asks a table about each one.
const pruneEvery = 30 * time.Second

// more is what few sessions need.
type more struct {
	members map[string]member // instead of Session.few; nil: not yet
	pruned  time.Duration     // when it was last cleared of stale entries; 0: never
	// Frames that were no JSON objects, since when.
	strikes     int
	strikesFrom time.Duration
}

// member is what the session remembers of a membership, for statistics.
type member struct {
	seeder bool
}

// appendKey appends the name of a membership in a session's index: the info
// hash, after its length, and the peer id. Both may contain any byte.
func appendKey(dst, infoHash, peerID []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(infoHash)))
	dst = append(dst, infoHash...)
	return append(dst, peerID...)
}

func splitKey(key string) (infoHash, peerID string) {
	n := int(key[0])<<8 | int(key[1])
	return key[2 : 2+n], key[2+n:]
}

// An entry of Session.few is 1 for a seeder, the length of the key in two
// bytes, and the key.
const entryHead = 3

func appendEntry(dst *strings.Builder, key string, m member) {
	seeder := byte(0)
	if m.seeder {
		seeder = 1
	}
	dst.Grow(entryHead + len(key))
	dst.Write([]byte{seeder, byte(len(key) >> 8), byte(len(key))})
	dst.WriteString(key)
}

// nextEntry takes the first entry of a list that is not empty.
func nextEntry(list string) (key string, m member, rest string) {
	n := entryHead + int(list[1])<<8 + int(list[2])
	return list[entryHead:n], member{list[0] == 1}, list[n:]
}

// each yields the index; yield must not change it. Caller holds s.mu.
func (s *Session) each(yield func(key string, m member)) {
	for list := s.few; list != ""; {
		var key string
		var m member
		key, m, list = nextEntry(list)
		yield(key, m)
	}
	if s.more != nil {
		for key, m := range s.more.members {
			yield(key, m)
		}
	}
}

// count is the number of entries. Caller holds s.mu.
func (s *Session) count() (n int) {
	for list := s.few; list != ""; n++ {
		_, _, list = nextEntry(list)
	}
	if s.more != nil {
		n += len(s.more.members)
	}
	return n
}

// known looks for an entry. Caller holds s.mu.
func (s *Session) known(key []byte) (m member, ok bool) {
	for list := s.few; list != ""; {
		var k string
		if k, m, list = nextEntry(list); k == string(key) {
			return m, true
		}
	}
	if s.more != nil {
		m, ok = s.more.members[string(key)]
		return m, ok
	}
	return member{}, false
}

// put enters a membership, or changes it. Caller holds s.mu.
func (s *Session) put(key []byte, m member) {
	if s.more == nil || s.more.members == nil {
		if _, ok := s.known(key); ok || s.count() < maxFew {
			rest := s.without(key)
			var b strings.Builder
			b.Grow(len(rest) + entryHead + len(key))
			b.WriteString(rest)
			appendEntry(&b, string(key), m)
			s.few = b.String()
			return
		}
		members := make(map[string]member, 2*maxFew)
		s.each(func(key string, m member) { members[strings.Clone(key)] = m })
		s.few = ""
		s.rare().members = members
		s.hoards(len(members))
	}
	n := len(s.more.members)
	s.more.members[string(key)] = m
	s.hoards(len(s.more.members) - n)
}

// drop forgets a membership. Caller holds s.mu.
func (s *Session) drop(key []byte) {
	if s.more != nil && s.more.members != nil {
		n := len(s.more.members)
		delete(s.more.members, string(key))
		s.hoards(len(s.more.members) - n)
		return
	}
	s.few = s.without(key)
}

// without is the entries of s.few but for one.
func (s *Session) without(key []byte) string {
	for list := s.few; list != ""; {
		k, _, rest := nextEntry(list)
		if k == string(key) {
			return s.few[:len(s.few)-len(list)] + rest
		}
		list = rest
	}
	return s.few
}

// rare is what few sessions need, from now on. Caller holds s.mu.
func (s *Session) rare() *more {
	if s.more == nil {
		s.more = new(more)
	}
	return s.more
}

// room reports whether the session may own the membership key names.
func (s *Session) room(now time.Duration, key []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known(key); ok || s.mayHave(s.count()+1) {
		return true
	}
	x := s.rare()
	if now-x.pruned < pruneEvery && x.pruned != 0 {
		return false
	}
	x.pruned = now
	s.prune()
	return s.mayHave(s.count() + 1)
}

// mayHave reports whether the session may own so many memberships, as it has
// one less. Few are always granted: an address has many sessions, and those
// that are beyond doubt are not to suffer for one that is not.
func (s *Session) mayHave(n int) bool {
	return n <= s.t.cfg.MaxMemberships && (n <= maxFew || s.t.hoards.room(s.source()))
}

// prune forgets what the session does not own any more. Caller holds s.mu.
func (s *Session) prune() {
	if s.more != nil {
		n := len(s.more.members)
		for key := range s.more.members {
			if !s.owns(key) {
				delete(s.more.members, key)
			}
		}
		s.hoards(len(s.more.members) - n)
	}
	var b strings.Builder
	for list := s.few; list != ""; {
		key, m, rest := nextEntry(list)
		if s.owns(key) {
			appendEntry(&b, key, m)
		}
		list = rest
	}
	if b.Len() < len(s.few) {
		s.few = b.String()
	}
}

// owns asks the table. Caller may hold s.mu.
func (s *Session) owns(key string) bool {
	infoHash, peerID := splitKey(key)
	ih, pid := []byte(infoHash), []byte(peerID)
	sh := s.t.shard(ih)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.table.Owns(s.owner, ih, pid)
}

// note keeps the index after an announce. It reports whether the session was
// closed meanwhile, in which case nothing else will leave the membership.
func (s *Session) note(w *work, standing swarm.Standing) (late bool) {
	r := &w.request
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return standing != swarm.StandingNone
	}
	if standing == swarm.StandingNone {
		s.drop(w.key)
		return false
	}
	old, known := s.known(w.key)
	m := old
	switch {
	case r.Event == wire.EventCompleted, r.Left == wire.LeftZero:
		m.seeder = true
	case r.Left == wire.LeftMore:
		m.seeder = false
	}
	if !known || m != old {
		s.put(w.key, m)
	}
	return false
}

// Members yields what the session owns, as far as it announced it itself:
// decoded info hash and peer id, and whether it seeds. It is for statistics
// that somebody asks for now and then; on its way it forgets what is stale.
func (s *Session) Members(yield func(infoHash, peerID string, seeder bool) bool) {
	s.mu.Lock()
	s.prune()
	var list []string
	var seeds []bool
	s.each(func(key string, m member) {
		list = append(list, key)
		seeds = append(seeds, m.seeder)
	})
	s.mu.Unlock()
	for i, key := range list {
		infoHash, peerID := splitKey(key)
		if !yield(infoHash, peerID, seeds[i]) {
			return
		}
	}
}
