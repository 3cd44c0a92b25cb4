package mesh

import (
	"cmp"
	"net/netip"
	"time"
)

// pick chooses a partner at random out of all that are known, those who are
// partners of their own accord included. Half of the picks come from those
// that a search named, if there are any: whoever dials everybody is known to
// everybody, but does not fill the directory by that. It reports whether it
// found one.
func (m *Mesh) pick(s *swarm) bool {
	looked := 0
	for _, sh := range s.shares {
		if sh.picked && sh.addr.IsValid() {
			looked++
		}
	}
	best := m.draw(s, looked < (m.wantPicks()+1)/2)
	if best == nil {
		best = m.draw(s, false)
	}
	if best == nil || !best.partner && !m.makePlace(s, best) {
		return false
	}
	m.befriend(best, true)
	m.want(best)
	return true
}

// draw is one at random; of three, that which has brought answers lately and whose
// key has been known for longest, so that a flood of fresh keys has less than
// its share. Those who cannot be
// reached, as far as is known, and those who only guess where they are, come
// last.
func (m *Mesh) draw(s *swarm, found bool) *share {
	var best [3]*share
	var ties [3]int
	rank := 3
	for _, sh := range s.shares {
		r := 0
		if n := sh.node; !n.up && (n.fails > 0 || n.record.Unverified) {
			r = 1
		}
		if sh.picked || r > rank || found && (r > 0 || !sh.addr.IsValid()) || !m.eligible(sh) {
			continue
		}
		if r < rank {
			best, ties, rank = [3]*share{}, [3]int{}, r
		}
		for i := range best {
			if ties[i]++; m.rand.IntN(ties[i]) == 0 {
				best[i] = sh
			}
		}
	}
	out := best[0]
	for _, sh := range best {
		if sh != nil && cmp.Or(cmp.Compare(m.merit(sh), m.merit(out)), cmp.Compare(sh.node.seniority(), out.node.seniority())) < 0 {
			out = sh
		}
	}
	return out
}

// seniority is smaller for nodes whose key has been known for longer. Minutes
// do not count: whoever dials first is not better.
func (n *node) seniority() time.Duration { return n.firstSeen.Truncate(5 * time.Minute) }

// eligible reports whether sh may be picked.
func (m *Mesh) eligible(sh *share) bool {
	if sh.partner {
		return true
	}
	n := sh.node
	return !sh.left && sh.rest <= m.now && sh.until > m.now && m.barredUntil(n.key) <= m.now && (n.up || len(n.record.URLs) > 0) &&
		m.groupFree(sh)
}

// groupOf is the prefix of a share's node, and how many partners of a crowded
// swarm may come from there. One whose prefix is not known yet has its own.
func (sh *share) groupOf() (netip.AddrPort, int) {
	switch {
	case sh.addr.IsValid() && sh.limit > 0:
		return sh.group, sh.limit
	case sh.node.groupLimit > 0:
		return sh.node.group, sh.node.groupLimit
	}
	return netip.AddrPort{}, 1 << 20
}

// mayKnow reports whether a node that a link told of leaves its prefix a share
// like that of others, in a swarm of which many are known.
func (m *Mesh) mayKnow(sh *share) bool {
	g, limit := sh.groupOf()
	for _, o := range sh.swarm.shares {
		if other, _ := o.groupOf(); o != sh && other == g {
			limit--
		}
	}
	return limit > 0
}

// groupFree reports whether one more partner may come from sh's prefix.
func (m *Mesh) groupFree(sh *share) bool {
	g, limit := sh.groupOf()
	for _, o := range sh.swarm.shares {
		if other, _ := o.groupOf(); o.partner && o != sh && other == g {
			limit--
		}
	}
	return limit > 0
}
