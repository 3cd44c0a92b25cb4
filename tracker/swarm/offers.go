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
func (t *Table) deal(now time.Duration, s *swarm, m *member, p *party, a *Announce, out []Effect, oc Outcome) ([]Effect, Outcome) {
	n := min(len(a.Offers), t.cfg.MaxOffers)
	if a.NumWant >= 0 {
		n = min(n, a.NumWant)
	}
	if n == 0 {
		return out, oc
	}
	offers := a.Offers[:n]
	from, had := m.owner, m.has(rare)
	before := len(out)
	out, oc.Offers = t.serve(now, s, from, p, offers, placing{}, out)
	if oc.Offers == n && !had {
		return out, oc // the usual
	}
	// Dealing has moved the member.
	if drop, b := t.park(now, s, t.find(s, &p.key), p, offers); b != nil {
		oc.Touched = true
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

// placing is what there is to know of offers that are being placed.
type placing struct {
	from   Owner    // the offerer's
	source uint64   // and who is behind it
	except Owner    // the node that gave them back; zero: they are placed for the first time
	at     uint32   // where it is noted who got offers of their announce, and
	marks  []uint32 // the marks there; nil: it is not known
}

// serve hands each offer of a local member to a receiver of its own, drawn
// without replacement from all who could take it: the local members of other
// owners and the nodes' members (never "local first": the only seeder may be
// elsewhere). Only what remains may go to other peers behind the offerer's
// own connection. What it could not place is marked fateLeft in t.fate.
//
// The order of effects: local receivers, then one node after the other, so
// that a node's offers become one frame.
func (t *Table) serve(now time.Duration, s *swarm, from Owner, p *party, offers []Offer, pl placing, out []Effect) ([]Effect, int) {
	n := len(offers)
	pl.from, pl.source = from, t.source(from)
	x := t.ext(s)
	mine := t.ownedBy(s, from)
	local := s.len() - mine
	switch again := pl.except != 0; {
	case again && pl.marks == nil:
		local, mine = 0, 0 // whoever is here may have got another
	case again: // one at least, as those who got another may have left
		local = max(min(1, local), local-locals(pl.marks))
	}
	t.seat(now, x, p.peer, &pl, local, n)
	t.fate = t.fate[:0]
	drawn := 0 // by local members
	for range offers {
		fate := t.choose(x, local-drawn)
		if fate == fateLocal {
			drawn++
		}
		t.fate = append(t.fate, fate)
	}

	h := t.hand(s, &p.key, from, nil)
	if pl.except != 0 {
		h.drawn = pl.marks
	} else if t.relays() {
		pl.at = t.drawn.begin(n)
		pl.marks = t.drawn.of(pl.at)
	}
	for i := range offers {
		if t.fate[i] == fateLocal {
			out = t.toMember(now, t.draw(s, &h), p, offers, i, &pl, out)
			if t.fate[i] == fateLeft {
				t.fate[i] = t.choose(x, 0)
			}
		}
	}
	t.settle(x)
	if mine > 1 { // peers on the same connection, if nobody else is left
		h.again(0)
		for i := range offers {
			if t.fate[i] == fateLeft {
				out = t.toMember(now, t.draw(s, &h), p, offers, i, &pl, out)
			}
		}
	}
	for j := range t.seats {
		if t.seats[j].given == 0 {
			continue
		}
		for i := range offers {
			if t.fate[i] == int16(j) {
				out = t.toNode(now, x, t.seats[j].node, p, offers, i, &pl, out)
			}
		}
	}
	placed := 0
	for i := range offers {
		if t.fate[i] != fateLeft && t.fate[i] != fateLost {
			placed++
		}
	}
	clear(t.seats) // keep no node alive
	t.seats = t.seats[:0]
	return out, placed
}

// relays reports whether some of the offers being placed go to nodes.
func (t *Table) relays() bool {
	for i := range t.seats {
		if t.seats[i].given > 0 {
			return true
		}
	}
	return false
}

// choose draws where the next offer goes: a local member or a node, each in
// proportion to how many receivers it has left, nodes at a limit left out.
// This is the same as drawing a receiver from the whole swarm.
func (t *Table) choose(x *extension, local int) int16 {
	total := local
	for i := range t.seats {
		if c := &t.seats[i]; c.open(x) {
			total += c.weight()
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
		if !c.open(x) {
			continue
		}
		if r < c.weight() {
			c.take(x)
			return int16(i)
		}
		r -= c.weight()
	}
	return fateLeft
}

// toMember hands offers[i] to a member, if there is one and the
// ledger has room.
func (t *Table) toMember(now time.Duration, m *member, p *party, offers []Offer, i int, pl *placing, out []Effect) []Effect {
	if m == nil {
		t.fate[i] = fateLeft
		return out
	}
	if !t.ledger.put(now, t.key(m.owner, p, offers[i].Key), sent{redrawn: pl.except != 0}, pl.source) {
		t.fate[i] = fateLost
		t.drop(DropLedgerFull)
		return out
	}
	t.fate[i] = fateLocal
	t.stats.OffersLocal++
	if pl.marks != nil {
		change(pl.marks, 0, t.markOf(m))
	}
	return append(out, Effect{To: m.owner, Kind: EffectOffer, InfoHash: p.hash, PeerID: p.peer, Offer: offers[i]})
}

// toNode relays offers[i] of a local member to a node.
func (t *Table) toNode(now time.Duration, x *extension, nd *node, p *party, offers []Offer, i int, pl *placing, out []Effect) []Effect {
	k := t.key(nd.owner, p, offers[i].Key)
	if !t.ledger.put(now, k, sent{digest: t.digest(offers[i].Payload), ref: pl.at, toNode: true, redrawn: pl.except != 0, owed: p.fresh}, pl.source) {
		t.fate[i] = fateLost
		t.drop(DropLedgerFull)
		return out
	}
	t.stats.OffersRelayed++
	change(pl.marks, 0, nodeMark(nd.owner))
	if p.fresh {
		if !t.noted(now, x, nd, DeedOwed, 0, pl.from) {
			e := t.ledger.gen[0][k] // what did not count is not to be excused
			e.owed = false
			t.ledger.gen[0][k] = e
		}
	}
	return append(out, Effect{To: nd.owner, Kind: EffectNodeOffer, InfoHash: p.hash, PeerID: p.peer, Offer: offers[i]})
}
