package swarm

// The members of a swarm are a deck of cards, in the order of their slots:
// the first swarm.dealt of them were dealt in this round, the others not yet.
// A draw takes a random card of those not dealt; when none is left that will
// do, the next round begins. So a receiver is random, yet offers spread
// evenly: clients that silently drop offers above the number they asked for
// lose fewer than they would to a uniform draw, and nobody waits long. A draw
// costs no search, however large the swarm.

// hand is the receivers of one announce, or of one frame of a node: distinct
// members that will do. It is made by Table.hand.
type hand struct {
	self  *id      // the offerer, who never gets its own offer
	avoid Owner    // passed over; zero: nobody
	node  *node    // members that are this node's as well are passed over
	drawn []uint32 // marks of members that are passed over; see drawn.go
	// Slots from first to swarm.dealt, and from top on, are in this hand;
	// those from end to top are known not to do.
	first, end, top int
	anew            bool // the next round has begun within this hand
	deck            deck
}

func (t *Table) hand(s *swarm, self *id, avoid Owner, nd *node) hand {
	return hand{deck: t.deck(s), self: self, avoid: avoid, node: nd, first: int(s.dealt), end: s.len(), top: s.len()}
}

func (t *Table) takes(h *hand, m *member) bool {
	if m.owner == h.avoid || m.is(h.self) {
		return false
	}
	if h.drawn != nil && count(h.drawn, t.markOf(m)) > 0 {
		return false
	}
	if h.node == nil || len(h.node.tags) == 0 {
		return true
	}
	var buf [256]byte
	return !h.node.has(t.text(buf[:0], &m.id, m.has(odd)))
}

// draw deals one card to the hand, or returns nil if nobody will do. Cards that
// will not do are put behind h.end, so that a hand looks at each of them at
// most twice. The member is in its place until the next draw.
func (t *Table) draw(s *swarm, h *hand) *member {
	for {
		for int(s.dealt) < h.end {
			next := int(s.dealt)
			i := next + t.rng.IntN(h.end-next)
			if t.takes(h, h.deck.at(i)) {
				t.swap(s, &h.deck, i, next)
				s.dealt++
				return h.deck.at(next)
			}
			h.end--
			t.swap(s, &h.deck, i, h.end)
		}
		if h.anew {
			return nil
		}
		t.reshuffle(s, h)
	}
}

// reshuffle begins the next round: all cards but those in the hand, which go
// behind the others.
func (t *Table) reshuffle(s *swarm, h *hand) {
	dealt := int(s.dealt)
	held := dealt - h.first
	for k := range min(held, h.top-dealt) {
		t.swap(s, &h.deck, h.first+k, h.top-1-k)
	}
	h.top -= held
	h.first, h.end, h.anew = 0, h.top, true
	s.dealt = 0
}

// again lets the hand go on with everybody who is not in it yet, by other
// standards.
func (h *hand) again(avoid Owner) {
	h.avoid, h.end, h.anew = avoid, h.top, false
}
