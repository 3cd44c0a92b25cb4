package mesh

import "net/netip"

// Whoever stores a swarm's list in the directory sees its target there, and so
// can list himself under it without knowing the info hash: he could have it
// told by everybody who looks the swarm up. So who was only named by a search
// is told the swarm's name, of which he learns nothing unless he knows it; if he
// does, he joins. That costs one way over the link once, and needs a node that
// understands names. One that does not is told the info hash in plain, but a
// few only: so many for each key, and for each prefix of the addresses that
// the directory named.
const (
	// plainAfter is how long a linked node has to show that it understands
	// names; it says so first of all.
	plainAfter = 2e9
	// plainRate and plainBurst are for a key; a prefix has plainPrefix times
	// that.
	plainRate   = 1.0 / 600
	plainBurst  = 8
	plainPrefix = 2
	// maxPlain is how many prefixes are remembered.
	maxPlain = 4096
)

// approach tells a linked node of a swarm that a search named it for.
func (m *Mesh) approach(sh *share) {
	n := sh.node
	if sh.hinted && sh.task.idx == 0 {
		m.at(&sh.task, m.now+hintTrial)
	}
	if !n.speaks {
		if sh.hinted {
			return // it is named once n has shown that it understands names
		}
		sh.dirty = true
		m.at(&sh.task, max(m.now, sh.free, n.upSince+plainAfter))
		return
	}
	sh.dirty = false
	if sh.naming {
		return
	}
	if len(n.hits[0])+len(n.hits[1]) >= m.cfg.MaxSwarmsPerNode {
		m.stats.Dropped[DropNames]++
		return
	}
	sh.naming = true
	m.hit(sh.swarm, n)
}

// mayJoin reports whether a join may be sent now for sh, which is the first
// that tells the node the info hash unless it knows it.
func (m *Mesh) mayJoin(sh *share) bool {
	n := sh.node
	switch {
	case sh.joined || sh.known:
		return true
	case n.speaks:
		m.approach(sh)
		return false
	}
	sh.dirty = false
	p := m.plainOf(sh.group)
	if p == nil || n.plain.when(m.now, 1) > m.now || p.when(m.now, 1) > m.now {
		m.stats.Dropped[DropPlain]++
		return false
	}
	n.plain.take(m.now, 1)
	p.take(m.now, 1)
	sh.dirty = true
	return true
}

// plainOf is the bucket of a prefix; nil if there is no room for one.
func (m *Mesh) plainOf(prefix netip.AddrPort) *bucket {
	p := m.plain[prefix]
	if p == nil {
		if len(m.plain) >= maxPlain {
			for prefix, p := range m.plain { // which ones go does not depend on the order
				if p.when(m.now, plainPrefix*plainBurst) <= m.now {
					delete(m.plain, prefix)
				}
			}
		}
		if len(m.plain) >= maxPlain {
			return nil
		}
		b := newBucket(plainPrefix*plainRate, plainPrefix*plainBurst, m.now)
		p = &b
		m.plain[prefix] = p
	}
	return p
}
