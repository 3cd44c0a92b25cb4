package mesh

import (
	"net/netip"
	"time"
)

const (
	// nameLifetime is how long a search's word that a node has a swarm
	// counts: a little longer than what the node published lives.
	nameLifetime = 40 * time.Minute
	// updatePause is the least time between two joins for one swarm on one
	// link: the first goes out at once, what follows is gathered.
	updatePause = 250 * time.Millisecond
)

// share is a swarm that this node has and another is said to have: by its own
// join (Joined, Asked) or the swarm's name that it sent (Named), which are the
// permission to tell it the info hash; or by a search under the swarm's target
// (name), which only is a reason to approach it.
type share struct {
	swarm           *swarm
	node            *node
	inSwarm, inNode int            // places in their lists
	addr            netip.AddrPort // where a search named it; zero: nowhere
	group           netip.AddrPort // of addr, and how many of one swarm may come from there
	limit           int
	until           time.Duration // when the permission ends unless joined
	partner         bool          // the swarm is to be shared with it
	picked          bool          // as we chose
	since           time.Duration // when it became a partner
	rest            time.Duration // neither picked nor admitted before
	trials          int           // how often it was dropped without having brought anything
	brought         time.Duration // when an answer came through it last; never: none did
	namedAt         time.Duration // when the swarm was named to it last
	joined          bool          // our join was sent over the present link
	left            bool          // it lacks the swarm: only news makes us try again
	task            task          // the next update
	dirty           bool
	queued          bool          // waits in the node's joinQueue
	named           bool          // the first join is for a name that it sent
	known           bool          // it has shown that it knows the info hash
	naming          bool          // waits to be named to it
	hinted          bool          // nothing but a responsible node's word speaks for it (told.go)
	free            time.Duration // before then, updates are gathered
}

func (m *Mesh) share(s *swarm, n *node) *share {
	for _, sh := range s.shares {
		if sh.node == n {
			return sh
		}
	}
	return nil
}

// addShare notes that n has s, if the bounds leave room for it.
func (m *Mesh) addShare(s *swarm, n *node) *share {
	switch {
	case len(n.shares) >= m.cfg.MaxSwarmsPerNode:
		m.stats.Dropped[DropShares]++
		return nil
	case len(s.shares) >= m.cfg.MaxKnown && !m.dropWorst(s):
		m.stats.Dropped[DropPartners]++
		return nil
	}
	sh := &share{swarm: s, node: n, inSwarm: len(s.shares), inNode: len(n.shares), brought: never, namedAt: m.now - tellAgain}
	sh.task.run = func() { m.update(sh) }
	s.shares = append(s.shares, sh)
	n.shares = append(n.shares, sh)
	return sh
}

// dropWorst makes room in a swarm of which too many nodes are known. Strangers
// cannot choose whom it forgets: one that cannot be reached, else any at random
// that is no partner.
func (m *Mesh) dropWorst(s *swarm) bool {
	worst := m.worstShare(s)
	for try := 0; worst == nil && try < 8; try++ {
		if sh := s.shares[m.rand.IntN(len(s.shares))]; !sh.partner {
			worst = sh
		}
	}
	if worst == nil {
		return false
	}
	m.dropShare(worst)
	return true
}

// worstShare is that of a node which cannot be reached, if there is one: it
// failed, or others that name its host did.
func (m *Mesh) worstShare(s *swarm) *share {
	var worst *share
	for _, sh := range s.shares {
		n := sh.node
		if n.up || n.dial != nil {
			continue
		}
		if (n.fails > 0 || sh.until <= m.now || m.nodeFree(n) > m.now+hostBusy) && (worst == nil || n.fails > worst.node.fails) {
			worst = sh
		}
	}
	return worst
}

func (m *Mesh) dropShare(sh *share) {
	m.unfriend(sh, false)
	m.cancel(&sh.task)
	sh.dirty = false // it may be in the joinQueue
	s, n := sh.swarm, sh.node
	last := len(s.shares) - 1
	s.shares[sh.inSwarm] = s.shares[last]
	s.shares[sh.inSwarm].inSwarm = sh.inSwarm
	s.shares[last] = nil
	s.shares = s.shares[:last]
	last = len(n.shares) - 1
	n.shares[sh.inNode] = n.shares[last]
	n.shares[sh.inNode].inNode = sh.inNode
	n.shares[last] = nil
	n.shares = n.shares[:last]
	m.idle(n)
}

// name records that a search named n, at addr, for s.
func (m *Mesh) name(s *swarm, n *node, addr netip.AddrPort) {
	m.moved(s, n, addr)
	sh := m.share(s, n)
	if room := m.room(s, addr, false); sh == nil {
		if !room {
			m.stats.Dropped[DropGroup]++
			return
		}
		if sh = m.addShare(s, n); sh == nil {
			return
		}
		sh.addr = addr
	} else if room && !sh.addr.IsValid() {
		sh.addr = addr
	}
	if sh.addr.IsValid() {
		sh.group, sh.limit = m.group(sh.addr)
	}
	sh.until, sh.left, sh.hinted = m.now+nameLifetime, false, sh.hinted && !sh.addr.IsValid()
	m.settle(s)
	if sh.partner {
		m.want(sh)
	}
}

// moved ends what addr said of whoever was there before n.
func (m *Mesh) moved(s *swarm, n *node, addr netip.AddrPort) {
	for i := len(s.shares) - 1; i >= 0; i-- {
		sh := s.shares[i]
		if sh.addr != addr || sh.node == n {
			continue
		}
		sh.addr, sh.group = netip.AddrPort{}, netip.AddrPort{}
		if !sh.joined {
			m.dropShare(sh)
		}
	}
}

// refresh sends a join for the swarm's present state, at once or soon.
func (m *Mesh) refresh(sh *share) {
	if !sh.node.up || sh.node.closing || !sh.partner || !sh.joined && (sh.left || sh.until <= m.now) {
		return
	}
	if !sh.joined && !sh.known {
		m.approach(sh)
		return
	}
	sh.dirty = true
	m.at(&sh.task, max(m.now, sh.free))
}

// Accepts reports whether a join of key, for a swarm that we have, is to be
// answered with ours. If not, it is to be told that we have it and are full.
func (m *Mesh) Accepts(now time.Duration, key Key, infoHash string) bool {
	m.moveTo(now)
	n, s := m.nodes[key], m.swarms[infoHash]
	if n == nil || !n.up || s == nil {
		return s == nil // the runner saw the swarm before we did
	}
	sh := m.has(s, n)
	if sh == nil {
		return false
	}
	sh.known = true
	if m.admit(s, sh, true) {
		return true
	}
	m.stats.Dropped[DropPartners]++
	m.settle(s)
	return false
}

// has notes that n has shown that it has s; nil if there is no room.
func (m *Mesh) has(s *swarm, n *node) *share {
	sh := m.share(s, n)
	if sh == nil {
		if sh = m.addShare(s, n); sh == nil {
			return nil
		}
		if len(s.shares) > m.cfg.MaxPartners && !m.mayKnow(sh) {
			m.stats.Dropped[DropGroup]++
			m.dropShare(sh)
			return nil
		}
	}
	sh.until, sh.left, sh.hinted = max(sh.until, m.now+nameLifetime), false, false
	return sh
}

// Joined tells that key sent a join for a swarm that we have, and got ours.
func (m *Mesh) Joined(now time.Duration, key Key, infoHash string) {
	m.moveTo(now)
	n, s := m.nodes[key], m.swarms[infoHash]
	if n == nil || !n.up {
		return
	}
	if s == nil {
		// The runner saw the swarm before we did, or after it went.
		m.remember(infoHash, key)
		return
	}
	sh := m.has(s, n)
	if sh == nil || !m.admit(s, sh, true) {
		m.stats.Dropped[DropPartners]++
		m.emit(Action{Kind: ActLeave, Key: key, InfoHash: infoHash, Full: true})
		return
	}
	sh.joined, sh.known = true, true
	sh.free = max(sh.free, m.now+updatePause)
	n.briefly = false
	m.cancel(&n.idle)
	m.settle(s)
	m.populate(s, true) // it may be the first that joined
}

// Asked tells that key sent a join for a swarm that we lack.
func (m *Mesh) Asked(now time.Duration, key Key, infoHash string) {
	m.moveTo(now)
	n, s := m.nodes[key], m.swarms[infoHash]
	if n == nil || !n.up {
		return
	}
	if s == nil {
		m.remember(infoHash, key)
		return
	}
	// We have it meanwhile: their join was answered with a leave, so ours
	// starts afresh.
	if sh := m.has(s, n); sh != nil {
		sh.joined, sh.known = false, true
		if m.admit(s, sh, true) {
			m.refresh(sh)
		}
		m.settle(s)
	}
}

// Left tells that key sent a leave. full: it has the swarm, and partners
// enough; otherwise it lacks it, or lost it.
func (m *Mesh) Left(now time.Duration, key Key, infoHash string, full bool) {
	m.moveTo(now)
	n, s := m.nodes[key], m.swarms[infoHash]
	if n == nil || s == nil {
		return
	}
	sh := m.share(s, n)
	if sh == nil {
		return
	}
	m.stats.Leaves++
	refused := sh.partner && m.now-sh.since < trial/2
	if full || s.crowded {
		m.unfriend(sh, false)
	}
	sh.joined, sh.dirty = false, false
	m.cancel(&sh.task)
	m.idle(n)
	if full {
		if sh.until = max(sh.until, m.now+nameLifetime); refused {
			sh.rest = m.now + m.jitter(restRefused, 0.5)
		}
		m.settle(s)
		return
	}
	if sh.left = true; !sh.addr.IsValid() || sh.until <= m.now {
		m.dropShare(sh)
	}
	m.settle(s)
}

// Refresh sends every swarm's state to key again: over a new link, or after
// one on which something may have been overtaken.
func (m *Mesh) Refresh(now time.Duration, key Key) {
	m.moveTo(now)
	if n := m.nodes[key]; n != nil {
		for _, sh := range n.shares {
			if sh.joined {
				m.refresh(sh)
			}
		}
		if n.up {
			m.relinked(n)
		}
	}
}

// Partners appends the nodes that our join for a swarm was sent to.
func (m *Mesh) Partners(infoHash string, buf []Key) []Key {
	if s := m.swarms[infoHash]; s != nil {
		for _, sh := range s.shares {
			if sh.joined {
				buf = append(buf, sh.node.key)
			}
		}
	}
	return buf
}
