package tracker

import (
	"encoding/binary"
	"time"

	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

// pruneEvery is how often a session that has reached its limit may have the
// stale entries of its index looked for: that asks a table about each one.
const pruneEvery = 30 * time.Second

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

// room reports whether the session may own the membership key names.
func (s *Session) room(now time.Duration, key []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.members) < s.t.cfg.MaxMemberships {
		return true
	}
	if _, ok := s.members[string(key)]; ok {
		return true
	}
	if now-s.pruned < pruneEvery && s.pruned != 0 {
		return false
	}
	s.pruned = now
	s.prune()
	return len(s.members) < s.t.cfg.MaxMemberships
}

// prune forgets what the session does not own any more. Caller holds s.mu.
func (s *Session) prune() {
	for key := range s.members {
		if !s.owns(key) {
			delete(s.members, key)
		}
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
		delete(s.members, string(w.key))
		return false
	}
	old, known := s.members[string(w.key)]
	m := old
	switch {
	case r.Event == wire.EventCompleted, r.Left == wire.LeftZero:
		m.seeder = true
	case r.Left == wire.LeftMore:
		m.seeder = false
	}
	if known && m == old {
		return false
	}
	if s.members == nil {
		s.members = make(map[string]member, 1)
	}
	s.members[string(w.key)] = m
	return false
}

// Members yields what the session owns, as far as it announced it itself:
// decoded info hash and peer id, and whether it seeds. It is for statistics
// that somebody asks for now and then; on its way it forgets what is stale.
func (s *Session) Members(yield func(infoHash, peerID string, seeder bool) bool) {
	s.mu.Lock()
	s.prune()
	list := make([]string, 0, len(s.members))
	seeds := make([]bool, 0, len(s.members))
	for key, m := range s.members {
		list = append(list, key)
		seeds = append(seeds, m.seeder)
	}
	s.mu.Unlock()
	for i, key := range list {
		infoHash, peerID := splitKey(key)
		if !yield(infoHash, peerID, seeds[i]) {
			return
		}
	}
}

// Client is what the transport said of the connection.
func (s *Session) Client() Client { return s.who }
