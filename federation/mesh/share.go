package mesh

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// nameLifetime is how long a search's word that a node has a swarm
	// counts: a little longer than what the node published lives.
	nameLifetime = 40 * time.Minute
	// updatePause is the least time between two joins for one swarm on one
	// link: the first goes out at once, what follows is gathered.
	updatePause = 250 * time.Millisecond
	// askLifetime is how long a join for a swarm that we lack is remembered,
	// so that its sender hears at once when we have it.
	askLifetime = 10 * time.Minute
	maxAskers   = 8 // per swarm
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
	group           netip.AddrPort
	until           time.Duration // when the permission ends unless joined
	joined          bool          // our join was sent over the present link
	left            bool          // it answered with a leave: only news makes us try again
	task            task          // the next update
	dirty           bool
	queued          bool          // waits in the node's joinQueue
	named           bool          // the first join is for a name that it sent
	known           bool          // it has shown that it knows the info hash
	naming          bool          // waits to be named to it
	free            time.Duration // before then, updates are gathered
}

// asker is a node that sent a join for a swarm that we lack.
type asker struct {
	key   Key
	until time.Duration
}

func (m *Mesh) share(s *swarm, n *node) *share {
	for _, sh := range s.shares {
		if sh.node == n {
			return sh
		}
	}
	return nil
}

// addShare makes a share, if the bounds leave room for it.
func (m *Mesh) addShare(s *swarm, n *node) *share {
	if len(s.shares) >= m.cfg.MaxPartners && !m.dropWorst(s) {
		m.stats.Dropped[DropPartners]++
		return nil
	}
	if len(n.shares) >= m.cfg.MaxSwarmsPerNode {
		m.stats.Dropped[DropShares]++
		return nil
	}
	sh := &share{swarm: s, node: n, inSwarm: len(s.shares), inNode: len(n.shares)}
	sh.task.run = func() { m.update(sh) }
	s.shares = append(s.shares, sh)
	n.shares = append(n.shares, sh)
	return sh
}

// dropWorst makes room in a full swarm.
func (m *Mesh) dropWorst(s *swarm) bool {
	worst := m.worstShare(s)
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
		sh.group, _ = m.group(sh.addr)
	}
	sh.until, sh.left = m.now+nameLifetime, false
	if !sh.joined {
		m.refresh(sh)
	}
	m.wantDial(n)
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
	if !sh.node.up || !sh.joined && (sh.left || sh.until <= m.now) {
		return
	}
	if !sh.joined && !sh.known {
		m.approach(sh)
		return
	}
	sh.dirty = true
	m.at(&sh.task, max(m.now, sh.free))
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
	sh := m.share(s, n)
	if sh == nil {
		if sh = m.addShare(s, n); sh == nil {
			return
		}
	}
	sh.until = max(sh.until, m.now+askLifetime)
	sh.joined, sh.left, sh.known = true, false, true
	sh.free = max(sh.free, m.now+updatePause)
	m.cancel(&n.idle)
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
	sh := m.share(s, n)
	if sh == nil {
		sh = m.addShare(s, n)
	}
	if sh != nil {
		sh.joined, sh.left, sh.known = false, false, true
		sh.until = max(sh.until, m.now+askLifetime)
		m.refresh(sh)
	}
}

// Left tells that key sent a leave: it lacks the swarm, or lost it.
func (m *Mesh) Left(now time.Duration, key Key, infoHash string) {
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
	sh.joined, sh.dirty, sh.left = false, false, true
	m.cancel(&sh.task)
	if !sh.addr.IsValid() || sh.until <= m.now {
		m.dropShare(sh)
		return
	}
	m.idle(n)
}

// askers are the nodes that asked for one swarm. gen tells its place in the
// ring from those that it had before.
type askers struct {
	list []asker
	gen  uint64
}

type askPlace struct {
	infoHash string
	gen      uint64
}

// remember keeps an asker until the swarm appears here.
func (m *Mesh) remember(infoHash string, key Key) {
	e := m.askers[infoHash]
	if e == nil {
		e = &askers{gen: m.id()}
		m.askers[infoHash] = e
		m.askRing = append(m.askRing, askPlace{infoHash, e.gen})
	}
	for i := range e.list {
		if e.list[i].key == key {
			e.list[i].until = m.now + askLifetime
			return
		}
	}
	if len(e.list) >= maxAskers {
		m.stats.Dropped[DropAskers]++
		return
	}
	e.list = append(e.list, asker{key, m.now + askLifetime})
	m.askCount++
	for m.askCount > m.cfg.MaxAskers {
		m.stats.Dropped[DropAskers] += uint64(m.forgetAskers(m.askRing[0]))
		m.askRing = m.askRing[1:]
	}
	if len(m.askRing) > 2*m.cfg.MaxAskers {
		m.askRing = slices.DeleteFunc(m.askRing, func(p askPlace) bool {
			e := m.askers[p.infoHash]
			return e == nil || e.gen != p.gen
		})
	}
}

func (m *Mesh) forgetAskers(p askPlace) int {
	e := m.askers[p.infoHash]
	if e == nil || e.gen != p.gen {
		return 0
	}
	delete(m.askers, p.infoHash)
	m.askCount -= len(e.list)
	return len(e.list)
}

// takeAskers turns those who asked for a swarm into shares of it.
func (m *Mesh) takeAskers(s *swarm) {
	e := m.askers[s.infoHash]
	if e == nil {
		return
	}
	m.forgetAskers(askPlace{s.infoHash, e.gen})
	for _, a := range e.list {
		n := m.nodes[a.key]
		if n == nil || !n.up || a.until <= m.now {
			continue
		}
		if sh := m.addShare(s, n); sh != nil {
			sh.until, sh.known = a.until, true
		}
	}
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
