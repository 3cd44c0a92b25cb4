package swarm

import (
	"slices"
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

// A peer id announced by a second owner is either the same client, back on a
// new connection while the old one is half-open, or somebody else's. The
// address tells nothing (proxies, NAT). What tells them apart is whether the
// first owner still shows signs of life: long silent, it yields at once;
// otherwise it is pinged, and has ClaimWait to show anything at all. Until
// then the claim is a copy of the announce, carried out if the member becomes
// free. The claimant sees the same reply in every case.
//
// A member has at most one claim; a newer one takes the place of the older,
// but not of its term, so that claiming again does not put off the verdict.

// claim is an announce of a peer id that another owner has.
type claim[O Owner] struct {
	swarm *swarm[O]
	owner O // who claims
	at    time.Duration
	heard time.Duration // when the owner had last been seen by then
	a     Announce      // a copy
	bytes int
	place *item[*claim[O]]
}

// contest handles an announce of a member that belongs to a live owner.
func (t *Table[O]) contest(now time.Duration, s *swarm[O], slot int, from O, a *Announce, out []Effect[O]) ([]Effect[O], Outcome) {
	out = reply(s, from, a.InfoHash, out)
	m := &s.members[slot]
	offers := a.Offers[:min(len(a.Offers), t.cfg.MaxOffers)]
	size := len(a.PeerID)
	for i := range offers {
		size += offerBytes(&offers[i])
	}
	old := m.claim
	room := t.cfg.MaxClaimBytes - t.stats.ClaimBytes
	if old != nil {
		room += old.bytes
	}
	if size > room || old == nil && (t.claims.len >= t.cfg.MaxClaims || s.claims >= t.cfg.MaxClaimsSwarm) {
		return out, Outcome{Drop: t.drop(DropClaimsFull)}
	}
	c := &claim[O]{swarm: s, owner: from, at: now, heard: m.owner.LastSeen(), a: *a, bytes: size}
	c.a.InfoHash = s.hash
	c.a.PeerID, c.a.Offers = copyOffers(a.PeerID, offers, size)
	m.claim = c
	t.stats.ClaimBytes += size
	if old != nil {
		c.at, c.heard, c.place = old.at, old.heard, old.place
		c.place.value = c
		t.stats.ClaimBytes -= old.bytes
		return out, Outcome{Standing: StandingClaimant}
	}
	c.place = t.claims.push(c)
	s.claims++
	out = append(out, Effect[O]{To: m.owner, Kind: EffectPing})
	return out, Outcome{Standing: StandingClaimant}
}

// withdraw forgets the owner's claim to a member, if that is whose it is.
func (t *Table[O]) withdraw(s *swarm[O], slot int, owner O) bool {
	c := s.members[slot].claim
	if c == nil || c.owner != owner {
		return false
	}
	t.forget(s, slot)
	return true
}

// forget ends the claim to a member.
func (t *Table[O]) forget(s *swarm[O], slot int) *claim[O] {
	c := s.members[slot].claim
	s.members[slot].claim = nil
	t.claims.remove(c.place)
	s.claims--
	t.stats.ClaimBytes -= c.bytes
	return c
}

// honour gives a member to its claimant and carries out his announce, whose
// reply he has had. If he may not have it the member is removed: honour is
// called when the former owner has gone.
func (t *Table[O]) honour(now time.Duration, s *swarm[O], slot int, out []Effect[O]) ([]Effect[O], Outcome) {
	c := t.forget(s, slot)
	if d := t.rebind(s, slot, c.owner); d != DropNone {
		t.remove(s, slot)
		return out, Outcome{Touched: true, Drop: t.drop(d)}
	}
	t.refresh(now, s, slot, &c.a)
	out, oc := t.deal(now, s, slot, &c.a, out, Outcome{})
	// The standing is the claimant's; the caller's own membership is gone.
	oc.Touched = true
	return out, oc
}

// judge decides the claims whose term is over.
//
// A sign of life is whatever came since the claim. A pong may come within the
// same tick of a coarse clock, so it counts if the owner was first seen in
// that tick afterwards; had he been seen in it before, one cannot tell, and
// what decides is whether anything came later.
func (t *Table[O]) judge(now time.Duration, budget int, out []Effect[O]) ([]Effect[O], int) {
	for t.claims.head != nil && budget > 0 {
		c := t.claims.head.value
		if now < c.at+t.cfg.ClaimWait {
			break
		}
		budget--
		s := c.swarm
		slot := s.find(c.a.PeerID)
		if s.members[slot].owner.LastSeen() > min(c.at, c.heard) {
			t.forget(s, slot)
			t.drop(DropClaimRefused)
			continue
		}
		out, _ = t.honour(now, s, slot, out)
		out = touch(s, out)
	}
	return out, budget
}

func offerBytes(o *Offer) int { return len(o.ID) + len(o.Key) + len(o.Payload) }

// copyOffers copies a peer id and offers into one piece of memory of the
// given size.
func copyOffers(peerID []byte, offers []Offer, size int) ([]byte, []Offer) {
	buf := make([]byte, 0, size)
	keep := func(b []byte) []byte {
		at := len(buf)
		buf = append(buf, b...)
		return slices.Clip(buf[at:])
	}
	id := keep(peerID)
	if len(offers) == 0 {
		return id, nil
	}
	cp := make([]Offer, len(offers))
	for i, o := range offers {
		cp[i] = wire.Offer{ID: keep(o.ID), Key: keep(o.Key), Payload: keep(o.Payload)}
	}
	return id, cp
}
