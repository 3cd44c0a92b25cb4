package swarm

import (
	"bytes"
	"slices"
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

// dealt checks the offers of a local announce among effects and takes note.
func (m *model) dealt(h, p string, a *Announce, fresh bool, out []effect) {
	s := m.swms[h]
	me := s.members[p]
	n := len(a.Offers)
	if a.NumWant >= 0 {
		n = min(n, a.NumWant)
	}
	if n == 0 {
		if len(out) != 0 {
			m.fail("offers out of nothing")
		}
		return
	}
	mine := m.owned(h, me.owner)
	others := len(s.members) - mine
	room := map[*conn]int{}
	remote := 0
	for c, nd := range s.nodes {
		if _, tagged := nd.tags[p]; !tagged {
			x, y := m.weight(s, nd)
			room[c] = x + y
			remote += x + y
		}
	}
	local := map[*conn]int{} // how many offers an owner may get: its members
	for q, x := range s.members {
		if q != p {
			local[x.owner]++
		}
	}
	left := slices.Clone(a.Offers[:n])
	same := 0
	an := &mannounce{got: map[string]bool{}}
	for _, e := range out {
		i := slices.IndexFunc(left, func(o Offer) bool { return bytes.Equal(o.Key, e.Offer.Key) })
		if i < 0 || string(e.PeerID) != p || string(e.InfoHash) != h {
			m.fail("%s was not to be sent", text(&e))
		}
		left = slices.Delete(left, i, i+1)
		x := msent{to: e.To, hash: h, from: p, key: string(e.Offer.Key), payload: string(e.Offer.Payload)}
		switch e.Kind {
		case EffectOffer:
			if local[e.To]--; local[e.To] < 0 && !m.loose {
				m.fail("%s: two offers for one peer", text(&e))
			}
			if e.To == me.owner {
				same++
			}
			an.gets(s, e.To, p)
		case EffectNodeOffer:
			if room[e.To]--; room[e.To] < 0 {
				m.fail("%s: more than the node has peers", text(&e))
			}
			x.owed, x.announce = fresh, an
			m.gave(h, e.To, fresh)
			m.did["relayed"]++
		default:
			m.fail("%s instead of an offer", text(&e))
		}
		m.send(x)
	}
	placed := n - len(left)
	if m.loose {
		same = 0
	} else if placed < min(n, others+mine-1) || remote == 0 && placed != min(n, others+mine-1) {
		m.fail("%d of %d offers placed, there are %d others, %d on the same socket, %d remote", placed, n, others, mine-1, remote)
	}
	if same > max(0, n-others) {
		m.fail("%d offers to the same socket while others were free", same)
	}
	me.parked, me.fresh, me.until, me.met = left, fresh, m.now+45*time.Second, map[*conn]int{}
	for _, e := range out {
		if e.Kind == EffectNodeOffer {
			me.met[e.To]++
		}
	}
	if len(left) > 0 {
		m.did["parked"]++
	}
}

func (m *model) gave(h string, node *conn, owed bool) {
	if owed {
		nd := m.swms[h].nodes[node]
		nd.credit = max(0, nd.credit-1)
		m.noted(node, DeedOwed, "")
	}
}

// reply checks a reply; s is what is to be counted, even if it has just gone.
func (m *model) reply(e effect, to *conn, h string, s *mswarm) {
	c, i := m.counts(s)
	if e.Kind != EffectReply || e.To != to || string(e.InfoHash) != h || e.Complete != c || e.Incomplete != i {
		m.fail("got %s, want reply %d/%d", text(&e), c, i)
	}
}

// apply is what an announce does to its member.
func (m *model) apply(h, p string, a *Announce) {
	x := m.swms[h].members[p]
	x.seen = m.now
	switch {
	case a.Event == wire.EventCompleted:
		x.complete = true
		if !x.downloaded {
			x.downloaded = true
			m.swms[h].down++
		}
	case a.Left == wire.LeftZero:
		x.complete = true
	case a.Left == wire.LeftMore:
		x.complete = false
	}
}

func (m *model) announce(c *conn, h, p string, a *Announce) {
	out, oc := m.tb.Announce(m.now, c, a, nil)
	s := m.swms[h]
	var x *mmember
	if s != nil {
		x = s.members[p]
	}
	if a.Event == wire.EventStopped {
		rest := out[1:]
		switch {
		case x == nil:
		case x.owner == c:
			m.depart(h, p, &rest)
			m.did["stopped"]++
		case x.claim != nil && x.claim.owner == c:
			x.claim = nil
		}
		m.reply(out[0], c, h, s)
		if len(rest) != 0 {
			m.fail("effects of a stop: %s", text(&rest[0]))
		}
		return
	}
	standing, fresh := StandingMember, false
	switch {
	case x == nil:
		if m.owned(h, c) >= m.cfg.MaxPerOwnerSwarm {
			m.reply(out[0], c, h, s)
			if len(out) != 1 || oc.Standing != StandingNone {
				m.fail("joined over the limit")
			}
			return
		}
		if s == nil {
			s = &mswarm{members: map[string]*mmember{}, nodes: map[*conn]*mnode{}, left: map[*conn]mleft{}}
			m.swms[h] = s
		}
		s.members[p] = &mmember{owner: c}
		fresh = true
	case x.owner != c && m.now-x.owner.seen <= 30*time.Second:
		m.reply(out[0], c, h, s)
		if first := x.claim == nil; first {
			if len(out) != 2 || out[1].Kind != EffectPing || out[1].To != x.owner {
				m.fail("no ping")
			}
			x.claim = &mclaim{at: m.now, heard: x.owner.seen}
		} else if len(out) != 1 {
			m.fail("two pings")
		}
		x.claim.owner, x.claim.a = c, a
		if oc.Standing != StandingClaimant {
			m.fail("standing %d", oc.Standing)
		}
		m.did["claimed"]++
		return
	case x.owner != c:
		x.claim = nil
		if m.owned(h, c) >= m.cfg.MaxPerOwnerSwarm {
			m.reply(out[0], c, h, s)
			return
		}
		x.owner, x.parked = c, nil
		m.did["taken over"]++
	}
	if oc.Standing != standing {
		m.fail("standing %d", oc.Standing)
	}
	m.apply(h, p, a)
	m.reply(out[0], c, h, s)
	m.dealt(h, p, a, fresh, out[1:])
}

// depart takes a member from its owner; effects of a claim that is honoured
// are taken from out.
func (m *model) depart(h, p string, out *[]effect) {
	x := m.swms[h].members[p]
	cl := x.claim
	x.claim = nil
	if cl == nil || m.owned(h, cl.owner) >= m.cfg.MaxPerOwnerSwarm {
		m.remove(h, p)
		return
	}
	m.did["honoured"]++
	x.owner, x.parked = cl.owner, nil
	m.apply(h, p, cl.a)
	n := 0
	for n < len(*out) && ((*out)[n].Kind == EffectOffer || (*out)[n].Kind == EffectNodeOffer) && string((*out)[n].PeerID) == p && string((*out)[n].InfoHash) == h {
		n++
	}
	m.dealt(h, p, cl.a, false, (*out)[:n])
	*out = (*out)[n:]
}

func (m *model) answer(c *conn, h, p, to, key string) {
	out, _ := m.tb.Answer(m.now, c, &Answer{InfoHash: []byte(h), PeerID: []byte(p), ToPeerID: []byte(to), OfferKey: []byte(key)}, nil)
	s := m.swms[h]
	i := m.find(c, h, to, key)
	if s == nil || s.members[p] == nil || s.members[p].owner != c || p == to || i < 0 {
		if len(out) != 0 {
			m.fail("an answer passed: %s", text(&out[0]))
		}
		return
	}
	x := m.sent[i]
	m.spend(i)
	s.members[p].seen = m.now
	switch {
	case x.origin != nil:
		if len(out) != 1 || out[0].Kind != EffectNodeAnswer || out[0].To != x.origin {
			m.fail("no answer to the node")
		}
		if s.nodes[x.origin] != nil {
			m.noted(x.origin, DeedMet, h, p, to)
		}
		m.did["answered to node"]++
	case s.members[to] == nil:
		if len(out) != 0 {
			m.fail("an answer for nobody")
		}
	case len(out) != 1 || out[0].Kind != EffectAnswer || out[0].To != s.members[to].owner:
		m.fail("no answer to the peer")
	default:
		m.did["answered"]++
	}
}
