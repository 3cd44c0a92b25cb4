package swarm

import "math/rand/v2"

// The members of a swarm are a deck of cards: deck[:dealt] were dealt in this
// round, deck[dealt:] not yet. A draw takes a random card of those not dealt;
// when none is left that will do, the next round begins. So a receiver is
// random, yet offers spread evenly: clients that silently drop offers above
// the number they asked for lose fewer than they would to a uniform draw, and
// nobody waits long. A draw costs no search, however large the swarm.

// hand is the receivers of one announce, or of one frame of a node: distinct
// members that will do. It is made by Table.hand.
type hand[O Owner] struct {
	stamp uint32   // marks the members in this hand
	self  []byte   // the offerer, who never gets its own offer
	avoid O        // an owner passed over; the zero owner is nobody
	node  *node[O] // members that are this node's as well are passed over
	end   int      // deck[end:] is known not to do
	anew  bool     // the next round has begun within this hand
}

func (t *Table[O]) hand(s *swarm[O], self []byte, avoid O, nd *node[O]) hand[O] {
	t.stamp++
	if t.stamp == 0 { // that of a member that was never dealt
		t.stamp = 1
	}
	return hand[O]{stamp: t.stamp, self: self, avoid: avoid, node: nd, end: len(s.deck)}
}

func (h *hand[O]) takes(m *member[O]) bool {
	return m.stamp != h.stamp && m.id != string(h.self) && m.owner != h.avoid &&
		(h.node == nil || !h.node.has(m.id))
}

// draw deals one card to the hand and returns its slot, or -1 if nobody will
// do. Cards that will not do are put behind h.end, so that a hand looks at
// each of them at most twice.
func (s *swarm[O]) draw(rng *rand.Rand, h *hand[O]) int {
	for {
		for s.dealt < h.end {
			i := s.dealt + rng.IntN(h.end-s.dealt)
			slot := s.deck[i]
			if m := &s.members[slot]; h.takes(m) {
				s.swap(i, s.dealt)
				s.dealt++
				m.stamp = h.stamp
				return int(slot)
			}
			h.end--
			s.swap(i, h.end)
		}
		if h.anew {
			return -1
		}
		h.anew = true
		h.end = len(s.deck)
		s.dealt = 0
	}
}

func (s *swarm[O]) swap(i, j int) {
	a, b := s.deck[i], s.deck[j]
	s.deck[i], s.deck[j] = b, a
	s.members[b].card, s.members[a].card = int32(i), int32(j)
}

// discard removes a card; whether the others are dealt stays as it is.
func (s *swarm[O]) discard(i int) {
	if i < s.dealt {
		s.dealt--
		s.swap(i, s.dealt)
		i = s.dealt
	}
	last := len(s.deck) - 1
	s.swap(i, last)
	s.deck = s.deck[:last]
}
