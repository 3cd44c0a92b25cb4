package swarm

import "time"

// What becomes of an offer that is being placed: it goes to a local member,
// to the node on seats[fate], or remains.
const (
	fateLeft  = -1 // no receiver
	fateLocal = -2
	fateLost  = -3 // the ledger is full
)

// deal hands out the offers of a local member's announce and parks those
// that found no receiver.
func (t *Table[O]) deal(now time.Duration, s *swarm[O], slot int, a *Announce, out []Effect[O], oc Outcome) ([]Effect[O], Outcome) {
	n := min(len(a.Offers), t.cfg.MaxOffers)
	if a.NumWant >= 0 {
		n = min(n, a.NumWant)
	}
	if n == 0 {
		return out, oc
	}
	offers := a.Offers[:n]
	from := s.members[slot].owner
	before := len(out)
	var nobody O
	out, oc.Offers = t.place(now, s, from, a.PeerID, offers, nobody, false, out)
	if drop, parked := t.park(now, s, slot, offers); parked > 0 {
		oc.Touched = true
		b := s.members[slot].batch
		for i := before; i < len(out); i++ {
			if out[i].Kind == EffectNodeOffer {
				b.meet(out[i].To, 1)
			}
		}
	} else if drop != DropNone {
		oc.Drop = drop
	}
	return out, oc
}

// place hands each offer of a local member to a receiver of its own, drawn
// without replacement from all who could take it: the local members of other
// owners and the nodes' members (never "local first": the only seeder may be
// elsewhere). Only what remains may go to other peers behind the offerer's
// own connection. What it could not place is marked fateLeft in t.fate.
//
// The order of effects: local receivers, then one node after the other, so
// that a node's offers become one frame.
func (t *Table[O]) place(now time.Duration, s *swarm[O], from O, self []byte, offers []Offer, except O, redrawn bool, out []Effect[O]) ([]Effect[O], int) {
	n := len(offers)
	mine := s.ownedBy(from)
	local := len(s.members) - mine
	t.seat(s, self, except, local, n)
	t.fate = t.fate[:0]
	drawn := 0 // by local members
	for range offers {
		fate := t.choose(s, local-drawn)
		if fate == fateLocal {
			drawn++
		}
		t.fate = append(t.fate, fate)
	}
	t.settle(s)

	var (
		placed int
		nobody O
	)
	h := t.hand(s, self, from, nil)
	for i := range offers {
		if t.fate[i] == fateLocal {
			out = t.toMember(now, s, s.draw(t.rng, &h), nobody, self, offers, i, redrawn, out)
		}
	}
	if mine > 1 { // peers on the same connection, if nobody else is left
		h.avoid, h.anew, h.end = nobody, false, len(s.deck)
		for i := range offers {
			if t.fate[i] == fateLeft {
				out = t.toMember(now, s, s.draw(t.rng, &h), nobody, self, offers, i, redrawn, out)
			}
		}
	}
	for j := range t.seats {
		if t.seats[j].given == 0 {
			continue
		}
		for i := range offers {
			if t.fate[i] == int16(j) {
				out = t.toNode(now, s, t.seats[j].node, self, offers, i, redrawn, out)
			}
		}
	}
	for i := range offers {
		if t.fate[i] != fateLeft && t.fate[i] != fateLost {
			placed++
		}
	}
	clear(t.seats) // keep no node alive
	t.seats = t.seats[:0]
	return out, placed
}

// choose draws where the next offer goes: a local member or a node, each in
// proportion to how many receivers it has left, nodes at a limit left out.
// This is the same as drawing a receiver from the whole swarm.
func (t *Table[O]) choose(s *swarm[O], local int) int16 {
	total := local
	for i := range t.seats {
		if c := &t.seats[i]; c.open(s) {
			total += c.left
		}
	}
	if total <= 0 {
		return fateLeft
	}
	r := t.rng.IntN(total)
	if r < local {
		return fateLocal
	}
	r -= local
	for i := range t.seats {
		c := &t.seats[i]
		if !c.open(s) {
			continue
		}
		if r < c.left {
			c.take(s)
			return int16(i)
		}
		r -= c.left
	}
	return fateLeft
}

// toMember hands offers[i] to the member in a slot, if there is one and the
// ledger has room.
func (t *Table[O]) toMember(now time.Duration, s *swarm[O], slot int, origin O, self []byte, offers []Offer, i int, redrawn bool, out []Effect[O]) []Effect[O] {
	if slot < 0 {
		t.fate[i] = fateLeft
		return out
	}
	to := s.members[slot].owner
	if !t.ledger.put(now, t.key(to, s.hash, self, offers[i].Key), sent[O]{origin: origin, redrawn: redrawn}) {
		t.fate[i] = fateLost
		t.drop(DropLedgerFull)
		return out
	}
	t.fate[i] = fateLocal
	t.stats.OffersLocal++
	return append(out, Effect[O]{To: to, Kind: EffectOffer, InfoHash: s.hash, PeerID: self, Offer: offers[i]})
}

// toNode relays offers[i] of a local member to a node.
func (t *Table[O]) toNode(now time.Duration, s *swarm[O], nd *node[O], self []byte, offers []Offer, i int, redrawn bool, out []Effect[O]) []Effect[O] {
	k := t.key(nd.owner, s.hash, self, offers[i].Key)
	if !t.ledger.put(now, k, sent[O]{digest: t.digest(offers[i].Payload), redrawn: redrawn, paid: nd.proven}) {
		t.fate[i] = fateLost
		t.drop(DropLedgerFull)
		return out
	}
	t.stats.OffersRelayed++
	s.awaits(nd)
	return append(out, Effect[O]{To: nd.owner, Kind: EffectNodeOffer, InfoHash: s.hash, PeerID: self, Offer: offers[i]})
}
