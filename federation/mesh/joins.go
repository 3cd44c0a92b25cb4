package mesh

import "slices"

// joinClass is whose turn it is when joins have to wait for the rate of a
// link.
type joinClass uint8

const (
	joinKnown  joinClass = iota // a change, or a swarm that a search or a join named
	joinHungry                  // by name: a swarm that is alone here
	joinNamed                   // by name: others
	joinClasses
)

func (sh *share) class() joinClass {
	switch {
	case sh.joined || !sh.named:
		return joinKnown
	case sh.swarm.state.Remote == 0:
		return joinHungry
	}
	return joinNamed
}

// joinsKept is how many tokens a class leaves to those before it. Names come by
// the thousand when two nodes meet, and each join is answered with one; what
// both sides send must stay within the quota of one.
func (m *Mesh) joinsKept(c joinClass) float64 {
	return max(1, [joinClasses]float64{0, 0.5, 0.75}[c]*m.cfg.JoinBurst)
}

// update sends the join that sh wants, or makes it wait for its turn.
func (m *Mesh) update(sh *share) {
	if sh.hinted { // it has shown nothing, so it is told nothing
		m.endHint(sh)
		return
	}
	n, c := sh.node, sh.class()
	if !sh.dirty || !n.up || sh.queued || !m.mayJoin(sh) {
		return
	}
	if len(n.joinQueue[c]) == 0 && n.joins.when(m.now, m.joinsKept(c)) <= m.now {
		m.sendJoin(sh)
		return
	}
	sh.queued = true
	if len(n.joinQueue[c]) >= 2*m.cfg.MaxSwarmsPerNode { // most have nothing to say any more
		n.joinQueue[c] = slices.DeleteFunc(n.joinQueue[c], func(sh *share) bool {
			sh.queued = sh.dirty
			return !sh.dirty
		})
	}
	n.joinQueue[c] = append(n.joinQueue[c], sh)
	m.sooner(&n.pump, n.joins.when(m.now, m.joinsKept(c)))
}

func (m *Mesh) sendJoin(sh *share) {
	n := sh.node
	n.joins.take(m.now, 1)
	sh.dirty, sh.joined, sh.named, sh.known, sh.free = false, true, false, true, m.now+updatePause
	m.stats.Joins++
	n.briefly = false
	m.cancel(&n.idle)
	m.emit(Action{Kind: ActJoin, Key: n.key, InfoHash: sh.swarm.infoHash})
}

// pumpJoins sends those joins that waited and whose time has come.
func (m *Mesh) pumpJoins(n *node) {
	next := never
	for c := range n.joinQueue {
		kept := m.joinsKept(joinClass(c))
		for len(n.joinQueue[c]) > 0 {
			sh := n.joinQueue[c][0]
			if sh.dirty {
				if at := n.joins.when(m.now, kept); at > m.now {
					next = min(next, at)
					break
				}
				m.sendJoin(sh)
			}
			sh.queued = false
			n.joinQueue[c] = n.joinQueue[c][1:]
		}
	}
	if next != never {
		m.at(&n.pump, next)
	}
}

// dropJoins forgets what waited for a link that is down.
func (m *Mesh) dropJoins(n *node) {
	m.cancel(&n.pump)
	for c := range n.joinQueue {
		for _, sh := range n.joinQueue[c] {
			sh.queued = false
		}
		n.joinQueue[c] = nil
	}
}
