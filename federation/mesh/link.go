package mesh

import "time"

// LinkUp tells that a link with key is up, its key proven. A second link with
// the same key is the runner's business.
func (m *Mesh) LinkUp(now time.Duration, key Key, l Link) {
	m.moveTo(now)
	n := m.nodes[key]
	if n == nil {
		// A node that others cannot dial is known by its link alone.
		if n = m.addNode(key, true); n == nil {
			m.emit(Action{Kind: ActClose, Key: key, Reason: CloseFull})
			return
		}
	}
	n.dialled = l.Dialled
	was, known := n.group, n.groupLimit > 0
	n.group, n.groupLimit = m.group(l.From)
	if n.duty != nil && known && n.group != was {
		n.duty.lost = true // it may see us elsewhere as well, and then forgets what we said from there
	}
	if n.up {
		m.weigh(n)
		return
	}
	n.firstSeen = m.now - l.Age
	out, room := m.linkRoom(n)
	n.up, n.upSince, n.fails, n.errand = true, m.now, 0, false
	m.links++
	m.cancel(&n.task)
	if !room {
		m.stats.Dropped[DropLinks]++
		m.close(n, CloseFull)
		return
	}
	if out != nil {
		m.stats.Displaced++
		m.close(out, CloseFull)
	}
	m.considerProbe(n)
	n.briefly = l.Dialled && n.dial != nil && !n.base && n.onlyHints()
	m.weigh(n)
	if n.duty.busy() {
		m.at(&n.duty.say, m.now+namePause) // our record is sent first
	}
	if n.duty != nil {
		m.retell(n.duty)
	}
	n.joins = newBucket(m.cfg.JoinRate, m.cfg.JoinBurst, m.now)
	m.sayCensus(n)
	m.idle(n)
	for _, sh := range n.shares {
		sh.left = false
		m.refresh(sh)
	}
}

// LinkDown tells that no link with key is left.
func (m *Mesh) LinkDown(now time.Duration, key Key) {
	m.moveTo(now)
	n := m.nodes[key]
	if n == nil || !n.up {
		return
	}
	n.up = false
	m.links--
	if n.duty != nil && !n.closing {
		n.duty.lost = true
	}
	if n.closing {
		n.closing = false
		m.closing--
	}
	m.cancel(&n.idle)
	m.cancel(&n.probe)
	m.silenced(n)
	m.dropJoins(n)
	// Both sides may redial; not in the same instant, if it can be helped.
	n.free = m.now + m.jitter(time.Second, 0.5)
	if m.now-n.upSince < briefLink {
		n.brief++
		n.failed = m.now
		n.free = m.now + m.backoff(n.brief)
	} else {
		n.brief = 0
	}
	var lost []*swarm
	for i := len(n.shares) - 1; i >= 0; i-- {
		sh, s := n.shares[i], n.shares[i].swarm
		sh.joined, sh.dirty, sh.naming = false, false, false
		m.cancel(&sh.task)
		if sh.until <= m.now {
			m.dropShare(sh)
			lost = append(lost, s)
		}
	}
	for _, s := range lost {
		m.settle(s)
	}
	m.unreached(n)
	m.weigh(n)
	if n.duty != nil {
		n.duty.awaited = [2]map[uint64]*swarm{}
		m.sooner(&n.duty.say, n.free)
	}
	m.wantDial(n)
	m.sooner(&m.baseline, m.now+time.Second)
	if m.links == 0 && m.rendezvous.task.idx != 0 {
		m.rendezvous.fails = 0
		m.sooner(&m.rendezvous.task, m.now+m.jitter(rendezvousSteps[0], 0.25))
	}
}

// idle starts the clock of a link over which nothing is shared. The side
// that dialled lets it go: the other one cannot know what it is kept for.
func (m *Mesh) idle(n *node) {
	if n.up && n.idleNow() && n.idle.idx == 0 {
		pause := idleAfter
		if n.briefly {
			pause = errandIdle
		}
		m.at(&n.idle, m.now+pause)
	}
}

// onlyHints reports whether nothing speaks for a link with n but errands, and
// the word of responsible nodes.
func (n *node) onlyHints() bool {
	for _, sh := range n.shares {
		if !sh.hinted {
			return false
		}
	}
	return true
}

func (n *node) idleNow() bool {
	for _, sh := range n.shares {
		if sh.joined {
			return false
		}
	}
	return true
}

func (m *Mesh) closeIdle(n *node) {
	if !n.up || !n.idleNow() {
		return
	}
	if n.duty.busy() {
		m.at(&n.idle, m.now+errandIdle/4)
		return
	}
	if !n.dialled || m.links-m.closing <= baselineLinks {
		m.at(&n.idle, m.now+m.jitter(idleAfter, 0.25))
		return
	}
	m.close(n, CloseIdle)
}

func (m *Mesh) close(n *node, why CloseReason) {
	if !n.closing {
		n.closing = true
		m.closing++
	}
	m.emit(Action{Kind: ActClose, Key: n.key, Reason: why})
}

// keepBaseline dials until enough links are up: seeds first, then nodes that
// have not failed, then the others, at random among equals.
func (m *Mesh) keepBaseline() {
	under := 0
	for _, d := range m.dials {
		if d.base {
			under++
		}
	}
	next := never
	for m.links+under < baselineLinks && len(m.dials) < m.cfg.MaxDials {
		if at := m.baseTokens.when(m.now, 1); at > m.now {
			m.at(&m.baseline, at)
			return
		}
		if s := m.pickSeed(&next); s != nil {
			m.baseTokens.take(m.now, 1)
			if !m.enterHost(s.url) {
				next = min(next, m.now+time.Minute)
				break
			}
			s.dial = m.dial(&dial{seed: s, url: s.url, base: true})
			under++
			continue
		}
		n := m.pickNode(&next)
		if n == nil {
			break
		}
		n.base = true
		m.baseTokens.take(m.now, 1)
		m.startDial(n)
		if n.dial != nil {
			under++
		}
	}
	if m.links < baselineLinks {
		m.at(&m.baseline, max(min(next, m.now+time.Minute), m.now+time.Second))
	}
}

func (m *Mesh) pickSeed(next *time.Duration) *seed {
	for _, s := range m.seeds {
		if s.self || s.dial != nil {
			continue
		}
		if n := m.nodes[s.key]; s.known && n != nil && n.up {
			continue
		}
		free := max(s.free, m.hostFree(nil, s.url))
		if free <= m.now {
			return s
		}
		*next = min(*next, free)
	}
	return nil
}

func (m *Mesh) pickNode(next *time.Duration) *node {
	if m.cfg.NoRendezvous && len(m.seeds) == 0 {
		return nil // only the lists of swarms count
	}
	var best *node
	ties := 0
	for _, n := range m.list {
		if n.up || n.dial != nil || n.queued || len(n.record.URLs) == 0 {
			continue
		}
		free := max(n.free, m.barredUntil(n.key), m.nodeFree(n))
		switch {
		case free > m.now:
			*next = min(*next, free)
		case n.record.Unverified && !m.mayGuess():
			*next = min(*next, m.guesses.tokens.when(m.now, 1))
		case best == nil || n.before(best):
			best, ties = n, 1
		case !best.before(n):
			if ties++; m.rand.IntN(ties) == 0 {
				best = n
			}
		}
	}
	return best
}
