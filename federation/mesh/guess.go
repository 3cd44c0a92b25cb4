package mesh

import "time"

// A node that nobody gave a URL publishes what it guesses, as unverified
// (package reach). Liars may have told it the address of somebody who has no
// part in this, so that all that a guess may cost its host is a dial now and
// then: those who are verified come first, few such dials are made, and one
// that fails bars the host for long from more of them, but from no other.
// Somebody must dial all the same, or no guess would ever be proven: those who
// have a link with its node do, once.

const (
	// guessRate and guessBurst pace dials to unverified nodes, of which
	// maxGuessDials are under way.
	guessRate     = 0.1
	guessBurst    = 4
	maxGuessDials = 2
	// guessDelay is how long an unverified node waits for others that the same
	// search names.
	guessDelay = 1500 * time.Millisecond
	// guessWait is when an unverified node is looked at again whose swarms have
	// others.
	guessWait = 30 * time.Second
	// othersSeen is how many of its swarms are looked at for that.
	othersSeen = 64
	// othersSoon is how soon others must be free to count.
	othersSoon = 10 * time.Second
	// guessPause is the pause after a dial that failed; it doubles up to
	// guessPauseMax.
	guessPause    = 30 * time.Minute
	guessPauseMax = 6 * time.Hour
	// probeWithin is how soon a linked unverified node is dialled, probeEvery
	// how often, and probeChanged how often if it changes its URLs.
	probeWithin  = 10 * time.Second
	probeEvery   = 6 * time.Hour
	probeChanged = 30 * time.Second
	// sweepAtOnce is how many swarms are told at once, or some more, that the
	// node has become reachable.
	sweepAtOnce = 64
)

// guesses are the dials to unverified nodes.
type guesses struct {
	tokens bucket
	dials  int // under way
	again  task
}

func (g *guesses) init(now time.Duration) {
	g.tokens = newBucket(guessRate, guessBurst, now)
	g.again.run = func() {} // Advance starts dials in any case
}

// mayGuess reports whether an unverified node may be dialled now; otherwise it
// sees to it that dials are started when one may.
func (m *Mesh) mayGuess() bool {
	if m.guesses.dials >= maxGuessDials {
		return false // the end of one of them is an input
	}
	at := m.guesses.tokens.when(m.now, 1)
	if at > m.now {
		m.sooner(&m.guesses.again, at)
	}
	return at <= m.now
}

// before orders those that wait to be dialled: the verified first, then those
// that failed less often. The dead of a poisoned list may keep every dial busy
// until it times out.
func (n *node) before(o *node) bool {
	if n.record.Unverified != o.record.Unverified {
		return o.record.Unverified
	}
	return n.fails < o.fails
}

// others reports whether each swarm for which n would be dialled has a verified
// node that is linked or may be soon.
func (m *Mesh) others(n *node) bool {
	for _, sh := range n.shares[:min(len(n.shares), othersSeen)] {
		found := false
		for _, o := range sh.swarm.shares {
			v := o.node
			if o.partner && !v.record.Unverified && (v.up || v.dial != nil || v.queued || len(v.record.URLs) > 0 && max(v.free, m.barredUntil(v.key)) <= m.now+othersSoon) {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return n.wanted > 0
}

// guessBackoff is the pause after the fails-th dial in a row that failed.
func (m *Mesh) guessBackoff(fails int) time.Duration {
	pause := guessPause
	for ; fails > 1 && pause < guessPauseMax; fails-- {
		pause *= 2
	}
	return m.jitter(min(pause, guessPauseMax), 0.1)
}

// considerProbe has a linked node's guess tried, unless the link proves it or
// it was tried lately.
func (m *Mesh) considerProbe(n *node) {
	if !n.up || !n.record.Unverified || n.provesGuess() {
		return
	}
	wait := time.Duration(m.rand.Int64N(int64(probeWithin - time.Second)))
	m.sooner(&n.probe, max(m.now+time.Second+wait, n.probeFree))
}

// provesGuess reports whether the link is one that we dialled at a place where
// the node believes to be.
func (n *node) provesGuess() bool {
	for _, u := range n.record.URLs {
		if n.dialled && hostOf(u) == n.met {
			return true
		}
	}
	return false
}

// tryGuess dials a linked node at the place where it believes to be.
func (m *Mesh) tryGuess(n *node) {
	switch {
	case !n.up || !n.record.Unverified || n.dial != nil || n.provesGuess():
	case len(m.dials) >= m.cfg.MaxDials || !m.mayGuess():
		m.at(&n.probe, m.now+m.jitter(probeWithin, 0.5))
	default:
		n.probed, n.probeFree = m.now, m.now+probeEvery
		m.stats.Probes++
		m.startDial(n)
	}
}

// guessFailed notes that a dial to an unverified node ended without a link.
func (m *Mesh) guessFailed(n *node) {
	n.free = m.now + m.guessBackoff(n.fails)
	if n.up && m.nodeFree(n) <= m.now+hostBusy {
		m.at(&n.probe, m.now+time.Second) // it has another URL
	}
}

// Reachable tells what has become of this node's own address: whether it is
// to be announced, and whether others have proven that they can dial it. Until
// then swarms are searched as often as a leaf does, for it may be one.
func (m *Mesh) Reachable(now time.Duration, announce, proven bool) {
	m.moveTo(now)
	leaf, listed := m.cfg.Leaf, m.listed()
	m.unproven, m.cfg.Leaf = !proven, !announce
	if m.listed() && !listed {
		m.registerAll()
	}
	if leaf == m.cfg.Leaf {
		return
	}
	m.cancel(&m.rendezvous.publish)
	if announce && !m.cfg.NoRendezvous {
		m.at(&m.rendezvous.publish, m.now)
	}
	m.swept = 0
	m.at(&m.sweep, m.now)
}

// sweepSome tells some of the swarms, and plans the rest, that others can find
// this node there from now on, or no more.
func (m *Mesh) sweepSome() {
	for n := 0; n < sweepAtOnce && m.swept < len(m.buckets); m.swept++ {
		for _, e := range m.buckets[m.swept] {
			s := e.s
			s.announced = s.announced && !m.cfg.Leaf
			switch {
			case s.place != 0:
				m.enqueue(s) // it has something to lose now, or no more
			case s.searched && s.search == nil:
				m.publishFirst(s)
			}
			n++
			m.done++
		}
	}
	if m.swept < len(m.buckets) {
		m.at(&m.sweep, m.now)
	}
}

// publishFirst makes a swarm search at once if others cannot find us there yet
// and could.
func (m *Mesh) publishFirst(s *swarm) bool {
	if s.announced || m.cfg.Leaf {
		return false
	}
	s.extra = false
	m.at(&s.task, m.now)
	return true
}
