package swarm

import "time"

// NodeOffers hands the offers of one announce, relayed by a node, to distinct
// local members: never to the offerer's own peer id, never to those who are
// that node's members too, and never on to another node. What cannot be
// placed goes back.
func (t *Table) NodeOffers(now time.Duration, owner Owner, infoHash, peerID []byte, offers []Offer, out []Effect) ([]Effect, Outcome) {
	t.ledger.turn(now)
	t.stats.OffersFromNodes += uint64(len(offers))
	var (
		oc     Outcome
		refuse RefuseReason
		nd     *node
	)
	p := t.party(infoHash, peerID)
	s := t.lookup(&p.in)
	switch {
	case s == nil:
		refuse, oc.Drop = RefuseNotJoined, DropNoSwarm
	case t.ext(s).node(owner) == nil:
		refuse, oc.Drop = RefuseNotJoined, DropNotJoined
	case t.find(s, &p.key) != nil:
		refuse, oc.Drop = RefuseLocalPeer, DropLocalPeer
	default:
		nd = t.ext(s).node(owner)
		t.assess(now, t.ext(s), nd)
		t.refill(now, t.ext(s), nd)
	}
	var h hand
	if refuse == RefuseNone {
		h = t.hand(s, &p.key, 0, nd)
	}
	for i := range offers {
		why, drop := refuse, oc.Drop
		switch {
		case why != RefuseNone:
		case i >= t.cfg.MaxOffers || nd.tokens < 1:
			why, drop = RefuseLimit, DropNodeLimit
		default:
			nd.tokens--
			if out, drop = t.toLocal(now, s, &h, owner, &p, offers[i], out); drop == DropNone {
				oc.Offers++
				continue
			}
			why = RefuseNoPeer
			if drop == DropLedgerFull {
				why = RefuseLimit
			}
		}
		oc.Drop = t.drop(drop)
		out = append(out, Effect{To: owner, Kind: EffectNodeRefused, InfoHash: infoHash, PeerID: peerID, Offer: offers[i], Reason: why})
	}
	return out, oc
}

// toLocal hands a node's offer to the next member of a hand.
func (t *Table) toLocal(now time.Duration, s *swarm, h *hand, owner Owner, p *party, offer Offer, out []Effect) ([]Effect, Drop) {
	m := t.draw(s, h)
	if m == nil {
		return out, DropNoPeer
	}
	k := t.key(m.owner, p, offer.Key)
	// The same offer in the same hands through another node: the first keeps
	// its answer, or a node could draw answers to itself by repeating others'
	// offers.
	if e, gen := t.ledger.find(now, k); gen >= 0 && e.origin() != owner {
		return out, DropNoPeer
	}
	if !t.ledger.put(now, k, sent{ref: uint32(owner)}, t.source(owner)) {
		return out, DropLedgerFull
	}
	if b := t.batchOf(s, m); b != nil {
		b.meet(owner, 1)
	}
	t.stats.OffersLocal++
	return append(out, Effect{To: m.owner, Kind: EffectOffer, InfoHash: p.hash, PeerID: p.peer, Offer: offer}), DropNone
}

// NodeAnswer brings an answer back through a node: only for an offer that
// was relayed to this very node, once, and not in the name of a local member.
// It goes to whichever connection has the offerer now.
func (t *Table) NodeAnswer(now time.Duration, owner Owner, a *Answer, out []Effect) ([]Effect, Outcome) {
	t.ledger.turn(now)
	p := t.party(a.InfoHash, a.ToPeerID)
	s := t.lookup(&p.in)
	if s == nil {
		return out, Outcome{Drop: t.drop(DropNoSwarm)}
	}
	if t.peer(s, a.PeerID) != nil || string(a.PeerID) == string(a.ToPeerID) {
		return out, Outcome{Drop: t.drop(DropLocalPeer)}
	}
	k := t.key(owner, &p, a.OfferKey)
	e, gen := t.ledger.find(now, k)
	if gen < 0 {
		return out, Outcome{Drop: t.drop(DropUnmatched)}
	}
	to := t.find(s, &p.key)
	t.ledger.spend(k, e, gen, t.behind(to))
	if to == nil {
		return out, Outcome{Drop: t.drop(DropGone)}
	}
	if nd := t.ext(s).node(owner); nd != nil {
		var by id
		t.pack(&by, a.PeerID)
		t.noted(now, t.ext(s), nd, DeedAnswered, t.pair(&p.in, &p.key, &by), to.owner)
	}
	t.stats.AnswersFromNodes++
	return append(out, Effect{To: to.owner, Kind: EffectAnswer, InfoHash: a.InfoHash,
		PeerID: a.PeerID, ToPeerID: a.ToPeerID, OfferID: a.OfferID, Payload: a.Payload}), Outcome{}
}

// NodeRefused takes back an offer that a node could not place and draws once
// more, among all who got no other offer of the same announce. The offer comes from the node, so it must be the
// one that went to it, to the byte.
func (t *Table) NodeRefused(now time.Duration, owner Owner, infoHash, peerID []byte, offer Offer, reason RefuseReason, out []Effect) ([]Effect, Outcome) {
	t.ledger.turn(now)
	p := t.party(infoHash, peerID)
	k := t.key(owner, &p, offer.Key)
	e, gen := t.ledger.find(now, k)
	if gen < 0 || e.digest != t.digest(offer.Payload) {
		return out, Outcome{Drop: t.drop(DropUnmatched)}
	}
	s := t.lookup(&p.in)
	if s == nil {
		t.ledger.spend(k, e, gen, 0)
		return out, Outcome{Drop: t.drop(DropNoSwarm)}
	}
	m := t.find(s, &p.key)
	t.ledger.spend(k, e, gen, t.behind(m))
	if nd := t.ext(s).node(owner); nd != nil && reason == RefuseLocalPeer && e.owed {
		var by Owner // if he is still there
		if m != nil {
			by = m.owner
		}
		t.noted(now, t.ext(s), nd, DeedExcused, 0, by)
	}
	if m == nil {
		return out, Outcome{Drop: t.drop(DropGone)}
	}
	if e.redrawn {
		return out, Outcome{Drop: t.drop(DropRedrawn)}
	}
	t.stats.OffersRedrawn++
	one := [1]Offer{offer}
	marks := t.drawn.of(e.ref)
	change(marks, nodeMark(owner), 0)
	var oc Outcome
	out, oc.Offers = t.serve(now, s, m.owner, &p, one[:], placing{except: owner, at: e.ref, marks: marks}, out)
	if oc.Offers == 0 {
		oc.Drop = t.drop(DropRedrawn)
	}
	return out, oc
}
