package swarm

import (
	"slices"
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

// indexAbove is the number of members above which a swarm keeps maps; below
// it a scan is as fast, and most swarms are small.
const indexAbove = 16

// swarm is the members of one info hash, and the nodes that share it.
//
// Members are values in a slice without holes: a removed member's slot is
// taken by the last one. The deck and the index refer to slots.
type swarm[O Owner] struct {
	hash []byte
	at   int // in Table.list

	members []member[O]
	index   map[string]int32 // peer id to slot; nil while small
	owned   map[O]int32      // members per owner; nil while small
	deck    []int32          // slots, in the order of dealing
	dealt   int              // so many cards of the deck are dealt

	complete   int // members that are seeders
	downloaded int

	batches []*batch[O]      // parked offers
	oldest  queue[*batch[O]] // the same, oldest first
	parked  int              // the offers in them
	claims  int

	nodes    []*node[O]
	groups   []*group
	unproven share          // of all unproven nodes together
	departed []departure[O] // nodes that left a moment ago
	// Sums over the nodes that draw, without those members that are here too.
	remoteComplete, remoteIncomplete int
}

type member[O Owner] struct {
	id         string
	owner      O
	seen       time.Duration // of the last announce or answer
	card       int32         // its place in the deck
	stamp      uint32        // of the last hand it was dealt in
	complete   bool
	downloaded bool      // its completion was counted
	batch      *batch[O] // its parked offers
	claim      *claim[O] // somebody else's claim to it
}

func (s *swarm[O]) find(id []byte) int {
	if s.index != nil {
		if slot, ok := s.index[string(id)]; ok {
			return int(slot)
		}
		return -1
	}
	for i := range s.members {
		if s.members[i].id == string(id) {
			return i
		}
	}
	return -1
}

// ownedBy counts the owner's members.
func (s *swarm[O]) ownedBy(o O) int {
	if s.owned != nil {
		return int(s.owned[o])
	}
	n := 0
	for i := range s.members {
		if s.members[i].owner == o {
			n++
		}
	}
	return n
}

func (s *swarm[O]) counts() (complete, incomplete int) {
	return s.complete + s.remoteComplete, len(s.members) - s.complete + s.remoteIncomplete
}

// disown keeps the owned map true when an owner loses a member.
func (s *swarm[O]) disown(o O) {
	if s.owned == nil {
		return
	}
	if s.owned[o]--; s.owned[o] == 0 {
		delete(s.owned, o)
	}
}

// join adds a member, and the swarm if there is none.
func (t *Table[O]) join(now time.Duration, s *swarm[O], from O, a *Announce) (*swarm[O], int, Drop) {
	switch {
	case t.stats.Members >= t.cfg.MaxMembers:
		return s, -1, DropMembersFull
	case s == nil && len(t.swarms) >= t.cfg.MaxSwarms:
		return s, -1, DropSwarmsFull
	case s != nil && s.ownedBy(from) >= t.cfg.MaxPerOwnerSwarm:
		return s, -1, DropOwnerFull
	}
	if s == nil {
		s = &swarm[O]{hash: slices.Clone(a.InfoHash), at: len(t.list)}
		t.swarms[string(s.hash)] = s
		t.list = append(t.list, s)
	}
	slot := len(s.members)
	s.members = append(s.members, member[O]{id: string(a.PeerID), owner: from, seen: now, card: int32(len(s.deck))})
	s.deck = append(s.deck, int32(slot))
	switch {
	case s.index != nil:
		s.index[s.members[slot].id] = int32(slot)
		s.owned[from]++
	case len(s.members) > indexAbove:
		s.index = make(map[string]int32, 2*indexAbove)
		s.owned = make(map[O]int32, 2*indexAbove)
		for i := range s.members {
			s.index[s.members[i].id] = int32(i)
			s.owned[s.members[i].owner]++
		}
	}
	t.stats.Members++
	t.noteDuplicate(s, a.PeerID, true)
	return s, slot, DropNone
}

// refresh takes an announce's news of its member, and says whether its role
// changed. Only an explicit number of bytes left demotes a seeder.
func (t *Table[O]) refresh(now time.Duration, s *swarm[O], slot int, a *Announce) bool {
	m := &s.members[slot]
	m.seen = now
	was := m.complete
	switch {
	case a.Event == wire.EventCompleted:
		m.complete = true
		if !m.downloaded {
			m.downloaded = true
			s.downloaded++
		}
	case a.Left == wire.LeftZero:
		m.complete = true
	case a.Left == wire.LeftMore:
		m.complete = false
	}
	if m.complete == was {
		return false
	}
	if m.complete {
		s.complete++
		t.stats.Complete++
	} else {
		s.complete--
		t.stats.Complete--
	}
	return true
}

// rebind gives a member to another owner: the same peer on a new connection.
// Its role and its place in the deck stay. What the former connection parked
// is dropped, as the announce that brings the new one has offers of its own.
func (t *Table[O]) rebind(s *swarm[O], slot int, to O) Drop {
	m := &s.members[slot]
	if m.claim != nil {
		t.forget(s, slot)
	}
	if s.ownedBy(to) >= t.cfg.MaxPerOwnerSwarm {
		return DropOwnerFull
	}
	t.unpark(m.batch)
	s.disown(m.owner)
	if s.owned != nil {
		s.owned[to]++
	}
	m.owner = to
	t.stats.Rebinds++
	return DropNone
}

// remove ends a membership; with the last one the swarm goes, and what its
// nodes said with it. The counts of s stay readable until the caller is done.
func (t *Table[O]) remove(s *swarm[O], slot int) {
	m := &s.members[slot]
	if m.claim != nil {
		t.forget(s, slot)
	}
	t.unpark(m.batch)
	if m.complete {
		s.complete--
		t.stats.Complete--
	}
	t.stats.Members--
	s.disown(m.owner)
	id := m.id
	if s.index != nil {
		delete(s.index, id)
	}
	s.discard(int(m.card))
	last := len(s.members) - 1
	if slot != last {
		s.members[slot] = s.members[last]
		moved := &s.members[slot]
		s.deck[moved.card] = int32(slot)
		if s.index != nil {
			s.index[moved.id] = int32(slot)
		}
	}
	s.members[last] = member[O]{}
	s.members = s.members[:last]
	t.scratch = append(t.scratch[:0], id...)
	t.noteDuplicate(s, t.scratch, false)

	if last > 0 {
		s.shrink()
		return
	}
	delete(t.swarms, string(s.hash))
	end := len(t.list) - 1
	t.list[s.at] = t.list[end]
	t.list[s.at].at = s.at
	t.list[end] = nil
	t.list = t.list[:end]
	t.stats.Nodes -= len(s.nodes)
}

// shrink gives memory back when a swarm has lost most of its members.
func (s *swarm[O]) shrink() {
	n := len(s.members)
	if s.index != nil && n <= indexAbove/2 {
		s.index, s.owned = nil, nil
	}
	if cap(s.members) >= 4*indexAbove && n <= cap(s.members)/4 {
		s.members = append(make([]member[O], 0, 2*n), s.members...)
		s.deck = append(make([]int32, 0, 2*n), s.deck...)
		if s.index != nil { // maps do not shrink by themselves
			s.index = make(map[string]int32, n)
			s.owned = make(map[O]int32, n)
			for i := range s.members {
				s.index[s.members[i].id] = int32(i)
				s.owned[s.members[i].owner]++
			}
		}
	}
}
