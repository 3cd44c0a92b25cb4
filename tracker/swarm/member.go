package swarm

import (
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

// join adds a member, and the swarm if there is none.
func (t *Table) join(s *swarm, from Owner, p *party) (*swarm, *member, Drop) {
	switch {
	case t.stats.Members >= t.cfg.MaxMembers:
		return s, nil, DropMembersFull
	case s == nil && int(t.swarms.rows) >= t.cfg.MaxSwarms:
		return s, nil, DropSwarmsFull
	case s != nil && t.ownedBy(s, from) >= t.cfg.MaxPerOwnerSwarm:
		return s, nil, DropOwnerFull
	}
	if s == nil {
		s = t.begin(&p.in, p.hash)
	}
	m := member{id: t.keep(&p.key, p.peer), owner: from}
	m.set(odd, p.key.odd)
	added := t.add(s, m)
	t.stats.Members++
	t.noteDuplicate(s, p.peer, true)
	return s, added, DropNone
}

// refresh takes an announce's news of its member, and says whether its role
// changed. Only an explicit number of bytes left demotes a seeder.
func (t *Table) refresh(now time.Duration, s *swarm, m *member, a *Announce) bool {
	m.see(now)
	was := m.has(seeder)
	switch {
	case a.Event == wire.EventCompleted:
		m.set(seeder, true)
		if !m.has(downloaded) {
			m.set(downloaded, true)
			s.downloaded++
		}
	case a.Left == wire.LeftZero:
		m.set(seeder, true)
	case a.Left == wire.LeftMore:
		m.set(seeder, false)
	}
	if m.has(seeder) == was {
		return false
	}
	if was {
		s.complete--
		t.stats.Complete--
	} else {
		s.complete++
		t.stats.Complete++
	}
	return true
}

// rebind gives a member to another owner: the same peer on a new connection.
// Its role and its place in the deck stay. What the former connection parked
// is dropped, as the announce that brings the new one has offers of its own.
func (t *Table) rebind(s *swarm, m *member, to Owner) Drop {
	if t.claimTo(s, m) != nil {
		t.forget(s, m)
	}
	if t.ownedBy(s, to) >= t.cfg.MaxPerOwnerSwarm {
		return DropOwnerFull
	}
	t.unpark(t.batchOf(s, m))
	t.disown(s, m.owner)
	t.own(s, to)
	m.owner = to
	t.stats.Rebinds++
	return DropNone
}

// remove ends a membership; with the last one the swarm goes, and what its
// nodes said with it. t.left says what counts would say of it afterwards.
func (t *Table) remove(s *swarm, m *member) {
	if t.claimTo(s, m) != nil {
		t.forget(s, m)
	}
	t.unpark(t.batchOf(s, m))
	if m.has(seeder) {
		s.complete--
		t.stats.Complete--
	}
	t.stats.Members--
	if x := t.ext(s); x != nil && len(x.nodes) > 0 {
		var buf [256]byte
		t.noteDuplicate(s, t.text(buf[:0], &m.id, m.has(odd)), false)
	}
	t.left[0], t.left[1] = t.counts(s)
	t.left[1]-- // whose seeding has been taken off, so that it counts as one of these
	t.take(s, m)
}
