package swarm

import (
	"bytes"
	"maps"
	"slices"
	"time"
)

// mannounce is who got offers of an announce here: some by name, as an effect shows the
// connection only, and how many in all.
type mannounce struct {
	got   map[string]bool
	local int
}

// gets enters that one of a connection's members got an offer.
func (a *mannounce) gets(s *mswarm, c *conn, self string) (peer string) {
	a.local++
	for q, x := range s.members {
		if x.owner == c && q != self {
			if peer != "" {
				return ""
			}
			peer = q
		}
	}
	a.got[peer] = true
	return peer
}

func (m *model) join(node *conn, h string, j *NodeJoin, tags map[string]bool) {
	j.Reputation = m.deeds(node)
	out, _ := m.tb.NodeJoin(m.now, node, j, nil)
	s := m.swms[h]
	if s == nil {
		if len(out) != 0 {
			m.fail("a join to nothing did something")
		}
		return
	}
	nd := s.nodes[node]
	if nd == nil {
		nd = &mnode{credit: creditMax}
		if l, ok := s.left[node]; ok && m.now-l.at < rememberLeft {
			nd.credit = l.credit
		}
		s.nodes[node] = nd
	}
	c, i := m.weight(s, nd)
	before := c + i
	nd.complete, nd.incomplete, nd.tags = j.Complete, j.Incomplete, tags
	c, i = m.weight(s, nd)
	peers := c + i - before
	per := map[string]int{}
	for _, e := range out {
		x := s.members[string(e.PeerID)]
		if e.Kind != EffectNodeOffer || e.To != node || x == nil || !bytes.Equal(x.parked[0].Key, e.Offer.Key) {
			m.fail("%s was not parked", text(&e))
		}
		if _, here := tags[string(e.PeerID)]; here {
			m.fail("%s: its own node", text(&e))
		}
		x.parked = x.parked[1:]
		x.met[node]++
		if per[string(e.PeerID)]++; per[string(e.PeerID)] > peers {
			m.fail("more offers of one peer than there are new peers")
		}
		m.send(msent{to: node, hash: h, from: string(e.PeerID), key: string(e.Offer.Key), payload: string(e.Offer.Payload), owed: x.fresh})
		m.gave(h, node, x.fresh)
		m.did["flushed"]++
	}
	for p, x := range s.members {
		if _, here := tags[p]; peers > 0 && !here && per[p] < peers && x.met[node] < c+i && len(x.parked) > 0 && len(out) < 40*peers {
			m.fail("%s has offers parked although there are remote peers", p)
		}
	}
}

func (m *model) nodeOffers(node *conn, h, p string, offers []Offer) {
	out, _ := m.tb.NodeOffers(m.now, node, []byte(h), []byte(p), offers, nil)
	if len(out) != len(offers) {
		m.fail("%d effects of %d offers", len(out), len(offers))
	}
	s := m.swms[h]
	why := RefuseNone
	switch {
	case s == nil || s.nodes[node] == nil:
		why = RefuseNotJoined
	case s.members[p] != nil:
		why = RefuseLocalPeer
	}
	room, given := 0, 0
	local := map[*conn]int{}
	if why == RefuseNone {
		for q, x := range s.members {
			if _, dup := s.nodes[node].tags[q]; !dup {
				local[x.owner]++
				room++
			}
		}
	}
	limited := false
	for _, e := range out {
		if e.Kind == EffectNodeRefused {
			limited = limited || e.Reason == RefuseLimit
			if e.To != node || why != RefuseNone && e.Reason != why {
				m.fail("%s, want %d", text(&e), why)
			}
			continue
		}
		if local[e.To]--; e.Kind != EffectOffer || why != RefuseNone || local[e.To] < 0 {
			m.fail("%s must not be", text(&e))
		}
		given++
		for _, x := range s.members {
			if x.owner == e.To && x.met != nil {
				x.met[node]++
			}
		}
		m.send(msent{to: e.To, origin: node, hash: h, from: p, key: string(e.Offer.Key)})
		m.did["from node"]++
	}
	if why == RefuseNone && !limited && given != min(len(offers), room) {
		m.fail("%d of %d offers given to %d", given, len(offers), room)
	}
}

func (m *model) nodeAnswer(node *conn, h, p, to, key string) {
	out, _ := m.tb.NodeAnswer(m.now, node, &Answer{InfoHash: []byte(h), PeerID: []byte(p), ToPeerID: []byte(to), OfferKey: []byte(key)}, nil)
	s := m.swms[h]
	i := m.find(node, h, to, key)
	if s == nil || s.members[p] != nil || p == to || i < 0 {
		if len(out) != 0 {
			m.fail("a node's answer passed: %s", text(&out[0]))
		}
		return
	}
	m.spend(i)
	want := 0
	if s.members[to] != nil {
		want = 1
		if nd := s.nodes[node]; nd != nil {
			if m.noted(node, DeedAnswered, h, p, to) {
				nd.credit = min(64, nd.credit+16)
			}
		}
		m.did["answered by node"]++
	}
	if len(out) != want || want == 1 && (out[0].To != s.members[to].owner || out[0].Kind != EffectAnswer) {
		m.fail("%d effects of a node's answer", len(out))
	}
}

func (m *model) nodeRefused(node *conn, h, p string, o Offer, why RefuseReason) {
	out, _ := m.tb.NodeRefused(m.now, node, []byte(h), []byte(p), o, why, nil)
	i := m.find(node, h, p, string(o.Key))
	if i < 0 || m.sent[i].payload != string(o.Payload) {
		if len(out) != 0 {
			m.fail("a refusal passed")
		}
		return
	}
	x := m.sent[i]
	m.spend(i)
	s := m.swms[h]
	if s != nil && s.nodes[node] != nil && x.owed && why == RefuseLocalPeer {
		s.nodes[node].credit = min(creditMax, s.nodes[node].credit+1)
		m.noted(node, DeedExcused, "")
	}
	if s == nil || s.members[p] == nil || x.redrawn {
		if len(out) != 0 {
			m.fail("an offer was drawn again")
		}
		return
	}
	an := x.announce
	if len(out) > 1 || len(out) == 0 && an != nil && len(s.members)-1 > an.local {
		m.fail("%d effects of a refusal", len(out))
	}
	for _, e := range out {
		if e.To == node || e.Kind == EffectOffer && m.owned(h, e.To) == 0 {
			m.fail("%s is no second receiver", text(&e))
		}
		if e.Kind == EffectNodeOffer {
			m.gave(h, e.To, false)
		} else {
			if an == nil {
				m.fail("%s: a parked offer comes back to those who could have had it", text(&e))
			}
			got := maps.Clone(an.got)
			if q := an.gets(s, e.To, p); q != "" && got[q] {
				m.fail("%s: %s got another of this announce", text(&e), q)
			}
			m.did["redrawn here"]++
		}
		m.send(msent{to: e.To, hash: h, from: p, key: string(o.Key), payload: string(o.Payload), redrawn: true, announce: an})
		m.did["redrawn"]++
	}
}

// mdeeds is what is known of a node: what the table noted, and what the model
// says that it should have. What it makes of that is chance, so that nodes of all
// kinds are met with.
type mdeeds struct {
	m         *model
	got, want []mdeed
	counted   map[uint64]bool
	expected  map[mpair]bool
}

type mdeed struct {
	deed   Deed
	counts bool
}

// mpair is two peers of a swarm, in order.
type mpair struct{ hash, a, b string }

func (m *model) deeds(node *conn) *mdeeds {
	if m.known[node] == nil {
		m.known[node] = &mdeeds{m: m, counted: map[uint64]bool{}, expected: map[mpair]bool{}}
	}
	return m.known[node]
}

func (d *mdeeds) Note(_ time.Duration, deed Deed, pair, _ uint64) bool {
	counts := deed < DeedAnswered || !d.counted[pair]
	if deed >= DeedAnswered {
		d.counted[pair] = true
	}
	d.got = append(d.got, mdeed{deed, counts})
	return counts
}

func (d *mdeeds) Trust(time.Duration) Trust {
	switch d.m.rng.IntN(3) {
	case 0:
		return Trust{Receivers: 1}
	case 1:
		return Trust{Met: true, Receivers: 3}
	}
	return Trust{Met: true, Proven: true, Receivers: 100}
}

// noted says what the table is to have noted.
func (m *model) noted(node *conn, d Deed, hash string, peers ...string) bool {
	k, counts := m.deeds(node), true
	if d >= DeedAnswered {
		slices.Sort(peers)
		p := mpair{hash, peers[0], peers[1]}
		counts = !k.expected[p]
		k.expected[p] = true
		m.did[map[bool]string{true: "met", false: "met again"}[counts]]++
	}
	k.want = append(k.want, mdeed{d, counts})
	return counts
}
