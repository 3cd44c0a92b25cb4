package mesh

import "time"

// What a responsible node answers is worth no more than its word, and less than
// a search, whose sightings come from many: it is one node, perhaps one that
// made its key for the place. So
//
//   - only what was asked for over the present link is listened to, once;
//   - of each answer a few nodes are taken in, and of nodes that nothing else
//     speaks for a few in each swarm, and no more a second than hintRate in all;
//   - they are dialled like any others, with all that guards that, over links that
//     are let go soon if nothing comes of them;
//   - they are told the swarm's name, and never its info hash before they have
//     shown that they know it: not even a node that understands no names.
const (
	// hintRate and hintBurst pace the nodes that are taken in.
	hintRate  = 2.0
	hintBurst = 64
	// hintsOfOne is how many nodes of one answer are taken in, and hintsInAll how
	// many a swarm has at a time that have shown nothing yet: half its partners.
	hintsOfOne = 4
	hintsInAll = 8
	// hintTrial is how long such a node has to show that it knows the swarm once it
	// is linked, and hintLifetime how long it is tried in all.
	hintTrial    = 10 * time.Second
	hintLifetime = 10 * time.Minute
)

// Told gives the answer of a responsible node: the verified records of nodes
// which, by its word, have the swarm that it was asked for by that name.
func (m *Mesh) Told(now time.Duration, key Key, name uint64, nodes []Record) {
	m.moveTo(now)
	var s *swarm
	n := m.nodes[key]
	if n != nil && n.up && n.duty != nil {
		s = n.duty.answered(name)
	}
	if s == nil || s.gone {
		m.stats.Dropped[DropTold] += uint64(len(nodes))
		return
	}
	taken := 0
	for _, r := range nodes {
		switch {
		case r.Key == m.cfg.Self || r.Key == key:
		case taken < hintsOfOne && r.Registers && !r.Unverified && len(r.URLs) > 0 && m.takeHint(s, r):
			taken++
		default:
			m.stats.Dropped[DropTold]++
		}
	}
	m.stats.Told += uint64(taken)
	m.settle(s)
	for i := len(s.shares) - 1; i >= 0; i-- { // a dial may drop one
		if i < len(s.shares) && s.shares[i].hinted && s.shares[i].partner {
			m.want(s.shares[i])
		}
	}
}

// endHint forgets a node that showed nothing: its place is for others.
func (m *Mesh) endHint(sh *share) {
	s := sh.swarm
	m.dropShare(sh)
	m.settle(s)
}

// takeHint notes that r's node may have s; false if that is too much.
func (m *Mesh) takeHint(s *swarm, r Record) bool {
	idle := 0
	for _, x := range s.shares {
		switch {
		case x.node.key == r.Key && !x.hinted:
			return true // it is known better
		case x.node.key != r.Key && x.hinted:
			idle++
		}
	}
	if idle >= hintsInAll || !m.reg.hints.take(m.now, 1) {
		return false
	}
	n := m.learn(r, true)
	if n == nil {
		return false
	}
	sh := m.share(s, n)
	if sh == nil {
		if sh = m.addShare(s, n); sh == nil {
			return false
		}
		sh.hinted = true
	}
	sh.until, sh.left = m.now+hintLifetime, false
	return true
}
