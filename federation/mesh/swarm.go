package mesh

import (
	"net/netip"
	"time"
)

// class is why a swarm wants a search. Each class has a share of the
// searches, so that a flood of new swarms cannot let what a large one
// published expire, nor the other way round.
type class uint8

const (
	classYoung  class = iota // alone here, never searched
	classHungry              // alone here, up to 3 local members
	classSmall               // refresh, up to 3 local members
	classLarge               // refresh, or alone with more
	classes
)

// weights are the shares of the classes while all of them wait.
var weights = [classes]float64{4, 2, 1, 1}

// followSteps are the pauses between the searches that a swarm makes once it
// has found company for the first time: 2, 8 and 30 s after. Of nodes that
// start a swarm together, each may have looked before the others had published.
var followSteps = [...]time.Duration{2e9, 6e9, 22e9}

// hungrySteps are the pauses between the searches of a swarm that found
// nobody: soon, then less and less often.
var hungrySteps = [...]time.Duration{1e9, 25e8, 5e9, 10e9, 20e9, 40e9, 80e9, 160e9, 320e9, 640e9, 1200e9}

const (
	// refreshAfter keeps what was published alive: it expires after 30 min.
	refreshAfter = 20 * time.Minute
	// leafHungry is a leaf's longest pause while it is hungry. A leaf is in
	// nobody's list, so only its own search can find the other side, and
	// offers that wait there are parked for 45 s: searching a little more
	// often than that meets them for certain.
	leafHungry = 40 * time.Second
	// touchPause is how soon after the last search a new member may cause
	// the next.
	touchPause = 5 * time.Second
	// touchStep is the place in hungrySteps from which a swarm goes on then,
	// so that even the pauses after it are no shorter than touchPause.
	touchStep = 3
)

// swarm is one swarm of the local tracker.
type swarm struct {
	infoHash  string
	state     SwarmState
	task      task   // when it wants the next search
	turn      uint64 // of arrival in the line of queue
	rank      int32  // in it: see rankOf
	place     int32  // in it, plus one; 0: it waits for no search
	queue     class
	extra     bool // the next search is one of followSteps
	searched  bool
	announced bool // the last search published us
	gone      bool
	crowded   bool  // not all nodes known to have it can be partners
	fails     uint8 // searches in a row that found nobody, no more than there are steps
	follow    uint8 // place in followSteps; it never goes back
	began     time.Duration
	search    *search
	shares    []*share
	partners  int              // of them
	picks     int              // of those
	tend      *tending         // nil while there are no partners to look after
	evicted   time.Duration    // when one had to go last
	asking    []*address       // its last addresses, some of them still pending
	backlog   []netip.AddrPort // to be asked later
	drain     *task            // nil without a backlog
	bucket    int32
	inBucket  int32 // place in it
}

// Touched tells what has become of a swarm of the local tracker. Calls are
// level-triggered: only the last one counts. local: our own members may have
// changed, so that those who share the swarm are to be told; otherwise only
// theirs have.
func (m *Mesh) Touched(now time.Duration, infoHash string, st SwarmState, local bool) {
	m.moveTo(now)
	s := m.swarms[infoHash]
	switch {
	case st.Local <= 0:
		if s != nil {
			m.dropSwarm(s)
		}
		return
	case s == nil:
		if len(m.swarms) >= m.cfg.MaxSwarms {
			m.stats.Dropped[DropSwarms]++
			return
		}
		s = m.addSwarm(infoHash, st)
	default:
		m.changeSwarm(s, st)
		if !local {
			return
		}
	}
	for i := 0; i < len(s.shares); i++ {
		m.refresh(s.shares[i])
	}
}

func (m *Mesh) addSwarm(infoHash string, st SwarmState) *swarm {
	s := &swarm{infoHash: infoHash, state: st, evicted: m.now - evictPause}
	s.task.run = func() { m.searchDue(s) }
	m.swarms[infoHash] = s
	m.countHungry(s, +1)
	due := m.now
	if m.searchTokens.refill(m.now); m.searchTokens.tokens < 1 {
		// Busy: a visit shorter than this costs nothing.
		due += m.jitter(10*time.Second, 0.5)
	}
	if m.speakers > 0 {
		due = max(due, m.now+linksFirst)
	}
	m.at(&s.task, due)
	m.takeAskers(s)
	m.enterBucket(s)
	m.enlistSoon(s, true)
	return s
}

func (m *Mesh) changeSwarm(s *swarm, st SwarmState) {
	was := s.state
	m.countHungry(s, -1)
	s.state = st
	m.countHungry(s, +1)
	if s.searched && st.Remote > 0 && was.Remote == 0 && s.search == nil && s.place == 0 {
		m.inCompany(s)
	}
	if st.Remote == 0 && was.Remote > 0 {
		m.enlistSoon(s, false)
	}
	if s.searched && st.Remote == 0 {
		switch {
		case was.Remote > 0:
			s.fails = 0
			m.soon(s, hungrySteps[0])
		case st.Local > was.Local || st.Parked > was.Parked:
			s.fails = min(s.fails, touchStep)
			m.soon(s, touchPause)
		}
	}
	if s.place != 0 && (s.class() != s.queue || m.rankOf(s) != s.rank) {
		m.enqueue(s)
	}
}

func (m *Mesh) countHungry(s *swarm, by int) {
	if s.state.Remote == 0 {
		m.hungry += by
	}
}

// soon makes s search no later than pause after its last search began.
func (m *Mesh) soon(s *swarm, pause time.Duration) {
	if s.search == nil && s.place == 0 {
		m.sooner(&s.task, max(m.now, s.began+pause))
	}
}

func (m *Mesh) dropSwarm(s *swarm) {
	s.gone = true
	m.unqueue(s)
	m.cancel(&s.task)
	m.stopTending(s)
	m.keepBacklog(s, nil)
	m.countHungry(s, -1)
	delete(m.swarms, s.infoHash)
	m.leaveBucket(s)
	if s.search != nil {
		s.search.swarm = nil
	}
	for len(s.shares) > 0 {
		sh := s.shares[len(s.shares)-1]
		if sh.node.up && (sh.joined || sh.node.speaks && sh.known) {
			// Those that only know of us count us no more. Who was told no
			// more than the name does not learn the info hash by its end.
			m.emit(Action{Kind: ActLeave, Key: sh.node.key, InfoHash: s.infoHash})
		}
		if sh.node.up && sh.known {
			// Should the swarm come back, this node still may be told.
			m.remember(s.infoHash, sh.node.key)
		}
		m.dropShare(sh)
	}
}

func (s *swarm) class() class {
	switch {
	case !s.searched && s.state.Remote == 0:
		return classYoung
	case s.state.Local > 3:
		// Alone or not: its members have each other, and those who come
		// elsewhere are to find it.
		return classLarge
	case s.state.Remote == 0:
		return classHungry
	}
	return classSmall
}

// searchDue makes s wait for its turn to search, unless it can do without and
// others wait. One that waits already has become urgent.
func (m *Mesh) searchDue(s *swarm) {
	if s.place == 0 && s.extra && s.state.Remote > 0 {
		if m.searchTokens.refill(m.now); m.searchTokens.tokens < m.searchTokens.burst/4 || m.searchesReady() {
			m.inCompany(s)
			return
		}
	}
	m.enqueue(s)
}

func (m *Mesh) enqueue(s *swarm) {
	if s.search != nil {
		return
	}
	m.cancel(&s.task)
	c := s.class()
	if c != s.queue {
		m.unqueue(s)
	}
	l := &m.lines[c]
	if len(l.heap) == 0 {
		// A class that was idle has not saved its share up.
		m.pass[c] = max(m.pass[c], m.leastPass())
	}
	s.queue = c
	if s.rank = m.rankOf(s); s.place == 0 {
		l.push(s)
	} else {
		l.fix(s)
	}
	if c == classLarge && !m.urgent(s) {
		m.at(&s.task, s.began+urgentAfter)
	}
}

// unqueue makes s wait no more.
func (m *Mesh) unqueue(s *swarm) {
	if s.place != 0 {
		m.lines[s.queue].remove(s)
	}
}

func (m *Mesh) leastPass() float64 {
	least := -1.0
	for c := range m.lines {
		if len(m.lines[c].heap) > 0 && (least < 0 || m.pass[c] < least) {
			least = m.pass[c]
		}
	}
	return max(least, 0)
}

// searchesReady reports whether anything waits for a search.
func (m *Mesh) searchesReady() bool {
	if m.rendezvous.waiting {
		return true
	}
	for c := range m.lines {
		if len(m.lines[c].heap) > 0 {
			return true
		}
	}
	return false
}

// nextSwarm takes the swarm whose turn it is: of the classes that wait, the
// one that has had least for its weight.
func (m *Mesh) nextSwarm() *swarm {
	best := -1
	for c := range m.lines {
		if len(m.lines[c].heap) > 0 && (best < 0 || m.pass[c] < m.pass[best]) {
			best = c
		}
	}
	if best < 0 {
		return nil
	}
	s := m.lines[best].heap[0]
	m.unqueue(s)
	m.cancel(&s.task) // which was to make it urgent
	m.pass[best] += 1 / weights[best]
	return s
}

// inCompany sets the time of the next search of a swarm that has found
// others: soon, if that is news, and later to keep what it published alive.
func (m *Mesh) inCompany(s *swarm) {
	s.fails = 0
	if m.publishFirst(s) {
		return
	}
	if s.extra = int(s.follow) < len(followSteps); s.extra {
		m.at(&s.task, m.now+m.jitter(followSteps[s.follow], 0.25))
		s.follow++
		return
	}
	m.at(&s.task, max(m.now, s.began+m.jitter(refreshAfter, 0.25)))
}

// reschedule sets the time of the next search after one ended.
func (m *Mesh) reschedule(s *swarm) {
	if s.state.Remote > 0 {
		m.inCompany(s)
		return
	}
	if m.publishFirst(s) {
		return
	}
	step := hungrySteps[s.fails]
	s.fails = min(s.fails+1, uint8(len(hungrySteps)-1))
	if m.unproven && step >= leafHungry {
		m.at(&s.task, m.now+m.jitter(leafHungry, 0.1))
		return
	}
	m.at(&s.task, m.now+m.jitter(step, 0.25))
}
