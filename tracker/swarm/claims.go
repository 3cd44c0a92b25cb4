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
type claim struct {
	x     *extension
	key   id
	owner Owner // who claims
	at    time.Duration
	heard time.Duration // when the owner had last been seen by then
	a     Announce      // a copy
	bytes int
	place *item[*claim]
}

// contest handles an announce of a member that belongs to a live owner.
func (t *Table) contest(now time.Duration, s *swarm, m *member, from Owner, p *party, a *Announce, out []Effect) ([]Effect, Outcome) {
	out = t.reply(s, from, a.InfoHash, out)
	offers := a.Offers[:min(len(a.Offers), t.cfg.MaxOffers)]
	size := len(a.PeerID)
	for i := range offers {
		size += offerBytes(&offers[i])
	}
	old := t.claimTo(s, m)
	room := t.cfg.MaxClaimBytes - t.stats.ClaimBytes
	if old != nil {
		room += old.bytes
	}
	x := t.ext(s)
	if size > room || old == nil && (t.claims.len >= t.cfg.MaxClaims || x != nil && len(x.claims) >= t.cfg.MaxClaimsSwarm) {
		return out, Outcome{Drop: t.drop(DropClaimsFull)}
	}
	x = t.extend(s)
	c := &claim{x: x, key: p.key, owner: from, at: now, heard: t.signs.LastSeen(m.owner), a: *a, bytes: size}
	c.a.InfoHash = x.name
	c.a.PeerID, c.a.Offers = copyOffers(a.PeerID, offers, size)
	t.stats.ClaimBytes += size
	if old != nil {
		c.at, c.heard, c.place = old.at, old.heard, old.place
		c.place.value = c
		x.claims[slices.Index(x.claims, old)] = c
		t.stats.ClaimBytes -= old.bytes
		return out, Outcome{Standing: StandingClaimant}
	}
	c.place = t.claims.push(c)
	x.claims = append(x.claims, c)
	m.set(rare, true)
	out = append(out, Effect{To: m.owner, Kind: EffectPing})
	return out, Outcome{Standing: StandingClaimant}
}

// withdraw forgets the owner's claim to a member, if that is whose it is.
func (t *Table) withdraw(s *swarm, m *member, owner Owner) bool {
	c := t.claimTo(s, m)
	if c == nil || c.owner != owner {
		return false
	}
	t.forget(s, m)
	return true
}

// forget ends the claim to a member.
func (t *Table) forget(s *swarm, m *member) *claim {
	c := t.claimTo(s, m)
	t.claims.remove(c.place)
	c.x.claims = slices.Delete(c.x.claims, slices.Index(c.x.claims, c), slices.Index(c.x.claims, c)+1)
	t.settled(s, m)
	t.stats.ClaimBytes -= c.bytes
	return c
}

// honour gives a member to its claimant and carries out his announce, whose
// reply he has had. If he may not have it the member is removed: honour is
// called when the former owner has gone.
func (t *Table) honour(now time.Duration, s *swarm, m *member, out []Effect) ([]Effect, Outcome) {
	c := t.forget(s, m)
	if d := t.rebind(s, m, c.owner); d != DropNone {
		t.remove(s, m)
		return out, Outcome{Touched: true, Drop: t.drop(d)}
	}
	t.refresh(now, s, m, &c.a)
	p := party{hash: c.a.InfoHash, peer: c.a.PeerID, key: c.key, in: s.key()}
	out, oc := t.deal(now, s, m, &p, &c.a, out, Outcome{})
	t.left[0], t.left[1] = t.counts(s)
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
func (t *Table) judge(now time.Duration, budget int, out []Effect) ([]Effect, int) {
	for t.claims.head != nil && budget > 0 {
		c := t.claims.head.value
		if now < c.at+t.cfg.ClaimWait {
			break
		}
		budget--
		s := t.of(c.x)
		m := t.find(s, &c.key)
		if t.signs.LastSeen(m.owner) > min(c.at, c.heard) {
			t.forget(s, m)
			t.drop(DropClaimRefused)
			continue
		}
		out, _ = t.honour(now, s, m, out)
		out = touch(c.x.name, out)
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
