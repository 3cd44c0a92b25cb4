package swarm

import "time"

// NodeOffers hands the offers of one announce, relayed by a node, to distinct
// local members: never to the offerer's own peer id, never to those who are
// that node's members too, and never on to another node. What cannot be
// placed goes back.
func (t *Table[O]) NodeOffers(now time.Duration, owner O, infoHash, peerID []byte, offers []Offer, out []Effect[O]) ([]Effect[O], Outcome) {
	t.ledger.turn(now)
	t.stats.OffersFromNodes += uint64(len(offers))
	var (
		oc     Outcome
		refuse RefuseReason
		nd     *node[O]
	)
	s := t.swarms[string(infoHash)]
	switch {
	case s == nil:
		refuse, oc.Drop = RefuseNotJoined, DropNoSwarm
	case s.node(owner) == nil:
		refuse, oc.Drop = RefuseNotJoined, DropNotJoined
	case s.find(peerID) >= 0:
		refuse, oc.Drop = RefuseLocalPeer, DropLocalPeer
	default:
		nd = s.node(owner)
		t.refill(now, s, nd)
	}
	var h hand[O]
	if refuse == RefuseNone {
		var nobody O
		h = t.hand(s, peerID, nobody, nd)
	}
	for i := range offers {
		why, drop := refuse, oc.Drop
		switch {
		case why != RefuseNone:
		case i >= t.cfg.MaxOffers || nd.tokens < 1:
			why, drop = RefuseLimit, DropNodeLimit
		default:
			nd.tokens--
			if out, drop = t.toLocal(now, s, &h, owner, peerID, offers[i], out); drop == DropNone {
				oc.Offers++
				continue
			}
			why = RefuseNoPeer
			if drop == DropLedgerFull {
				why = RefuseLimit
			}
		}
		oc.Drop = t.drop(drop)
		out = append(out, Effect[O]{To: owner, Kind: EffectNodeRefused, InfoHash: infoHash, PeerID: peerID, Offer: offers[i], Reason: why})
	}
	return out, oc
}

// toLocal hands a node's offer to the next member of a hand.
func (t *Table[O]) toLocal(now time.Duration, s *swarm[O], h *hand[O], owner O, peerID []byte, offer Offer, out []Effect[O]) ([]Effect[O], Drop) {
	slot := s.draw(t.rng, h)
	if slot < 0 {
		return out, DropNoPeer
	}
	to := s.members[slot].owner
	k := t.key(to, s.hash, peerID, offer.Key)
	// The same offer in the same hands through another node: the first keeps
	// its answer, or a node could draw answers to itself by repeating others'
	// offers.
	if e, gen := t.ledger.find(now, k); gen >= 0 && e.origin != owner {
		return out, DropNoPeer
	}
	if !t.ledger.put(now, k, sent[O]{origin: owner}) {
		return out, DropLedgerFull
	}
	if b := s.members[slot].batch; b != nil {
		b.meet(owner, 1)
	}
	t.stats.OffersLocal++
	return append(out, Effect[O]{To: to, Kind: EffectOffer, InfoHash: s.hash, PeerID: peerID, Offer: offer}), DropNone
}

// NodeAnswer brings an answer back through a node: only for an offer that
// was relayed to this very node, once, and not in the name of a local member.
// It goes to whichever connection has the offerer now.
func (t *Table[O]) NodeAnswer(now time.Duration, owner O, a *Answer, out []Effect[O]) ([]Effect[O], Outcome) {
	t.ledger.turn(now)
	s := t.swarms[string(a.InfoHash)]
	if s == nil {
		return out, Outcome{Drop: t.drop(DropNoSwarm)}
	}
	if s.find(a.PeerID) >= 0 || string(a.PeerID) == string(a.ToPeerID) {
		return out, Outcome{Drop: t.drop(DropLocalPeer)}
	}
	if _, ok := t.ledger.take(now, t.key(owner, a.InfoHash, a.ToPeerID, a.OfferKey)); !ok {
		return out, Outcome{Drop: t.drop(DropUnmatched)}
	}
	to := s.find(a.ToPeerID)
	if to < 0 {
		return out, Outcome{Drop: t.drop(DropGone)}
	}
	if nd := s.node(owner); nd != nil {
		s.answered(nd)
	}
	t.stats.AnswersFromNodes++
	return append(out, Effect[O]{To: s.members[to].owner, Kind: EffectAnswer, InfoHash: a.InfoHash,
		PeerID: a.PeerID, ToPeerID: a.ToPeerID, OfferID: a.OfferID, Payload: a.Payload}), Outcome{}
}

// NodeRefused takes back an offer that a node could not place and draws once
// more, among all others. The offer comes from the node, so it must be the
// one that went to it, to the byte.
func (t *Table[O]) NodeRefused(now time.Duration, owner O, infoHash, peerID []byte, offer Offer, reason RefuseReason, out []Effect[O]) ([]Effect[O], Outcome) {
	t.ledger.turn(now)
	k := t.key(owner, infoHash, peerID, offer.Key)
	e, gen := t.ledger.find(now, k)
	if gen < 0 || e.digest != t.digest(offer.Payload) {
		return out, Outcome{Drop: t.drop(DropUnmatched)}
	}
	t.ledger.spend(k, e, gen)
	s := t.swarms[string(infoHash)]
	if s == nil {
		return out, Outcome{Drop: t.drop(DropNoSwarm)}
	}
	if nd := s.node(owner); nd != nil && reason == RefuseLocalPeer && nd.proven && e.paid {
		s.trust(nd, 1) // neutral: no answer is owed
	}
	slot := s.find(peerID)
	if slot < 0 {
		return out, Outcome{Drop: t.drop(DropGone)}
	}
	if e.redrawn {
		return out, Outcome{Drop: t.drop(DropRedrawn)}
	}
	t.stats.OffersRedrawn++
	one := [1]Offer{offer}
	var oc Outcome
	out, oc.Offers = t.place(now, s, s.members[slot].owner, peerID, one[:], owner, true, out)
	if oc.Offers == 0 {
		oc.Drop = t.drop(DropRedrawn)
	}
	return out, oc
}
