package mesh

import (
	"math/bits"
	"time"

	"github.com/draeder/peerservers/federation/registry"
)

const (
	// tellEvery is how often a responsible node is told of all swarms that it is
	// responsible for, ±25 %. It forgets them after 45 minutes.
	tellEvery = 20 * time.Minute
	// tellFirst spreads the first time, which may be that of many nodes.
	tellFirst = 10 * time.Second
	// retellSoon is how soon, ±100 %, all is told again over a link that comes up
	// anew: its node may have been restarted, and what was on its way over the last
	// one may be lost. Not within retellLost of the last time, nor within retellPause
	// if it was us who let the last link go, which loses nothing.
	retellSoon  = 4 * time.Second
	retellLost  = 30 * time.Second
	retellPause = 5 * time.Minute
	// againRate and againBurst pace the links that are made so as to ask again for
	// swarms of a leaf: six a minute, and each is up for one.
	againRate  = 0.1
	againBurst = 12
	// tellRate and tellBurst pace names for one node: nine tenths of what
	// PROTOCOL.md lets it take.
	tellRate  = 90.0
	tellBurst = 7300
	// askFirst is how long a new swarm leaves it to the responsible nodes to find
	// others, before it searches: time for two dials, a question and a join.
	askFirst = 3 * time.Second
	// enlistAfter is how soon they are told of it: at once, but for swarms that
	// begin together, and those that are gone again.
	enlistAfter = 100 * time.Millisecond
	// maxFresh is how many new swarms wait for one responsible node, and
	// maxEnlisted how many for any; beyond, all of a bucket are told again.
	maxFresh    = 2048
	maxEnlisted = 1 << 16
	// maxAwaited is how many answers of one node are waited for, twice.
	maxAwaited = 1024
)

// duty is what a responsible node is to be told.
type duty struct {
	buckets uint64 // that it is responsible for
	todo    uint64 // those of them whose swarms are to be told
	at      int    // the one of these that is being told,
	from    int    // from this bucket of package filter in it on,
	inside  int    // and this swarm in that
	fresh   []*swarm
	again   task          // when all are told again
	told    time.Duration // when they were last
	lost    bool          // what was said may not be known there any more
	say     task
	names   bucket
	awaited [2]map[uint64]*swarm // names that were asked for, the newer ones first
}

func (d *duty) busy() bool { return d != nil && (d.todo != 0 || len(d.fresh) > 0) }

// addDuty makes n responsible for one more bucket.
func (m *Mesh) addDuty(n *node, b int) {
	d := n.duty
	if d == nil {
		d = &duty{names: newBucket(tellRate, tellBurst, m.now), told: m.now}
		d.say.run = func() { m.tellDuty(n) }
		d.again.run = func() {
			d.todo, d.told, d.lost = d.buckets, m.now, false
			m.at(&d.again, m.now+m.jitter(tellEvery, 0.25))
			m.sooner(&d.say, m.now)
		}
		n.duty = d
		m.reg.duties++
		m.at(&d.again, m.now+m.jitter(tellEvery, 0.25))
	}
	d.buckets |= 1 << b
	d.todo |= 1 << b
	m.sooner(&d.say, m.now+m.jitter(tellFirst, 1))
}

// retell has all told again soon to a node with which a link has come up anew,
// unless it was told just now.
func (m *Mesh) retell(d *duty) {
	if d.lost || m.now-d.told >= retellPause {
		m.sooner(&d.again, max(m.now+m.jitter(retellSoon, 1), d.told+retellLost))
	}
}

// registerAll has all responsible nodes told what they were only asked before:
// others may be told of this node from now on.
func (m *Mesh) registerAll() {
	for _, n := range m.list {
		if n.duty != nil {
			n.duty.lost = true
			m.retell(n.duty)
		}
	}
}

// endDuty: n is responsible for nothing any more.
func (m *Mesh) endDuty(n *node) {
	d := n.duty
	m.cancel(&d.again)
	m.cancel(&d.say)
	for b := range m.reg.assigned {
		for i, o := range m.reg.assigned[b] {
			if o == n {
				m.reg.assigned[b][i] = nil
				m.reg.dirty |= 1 << b
			}
		}
	}
	n.duty, n.errand = nil, false
	m.reg.duties--
	m.reassign()
	for _, s := range d.fresh {
		if !s.gone && s.state.Remote == 0 {
			m.enlistSoon(s, false) // with whoever takes its place
		}
	}
}

// enlisted is a swarm that the responsible nodes are to be told of.
type enlisted struct {
	s  *swarm
	at time.Duration
}

// enlistSoon has the responsible nodes told of a swarm that is new, or alone
// again. before: it searches after that only.
func (m *Mesh) enlistSoon(s *swarm, before bool) {
	r := &m.reg
	if !r.on || *m.responsible(s) == [registry.Replicas]*node{} {
		return
	}
	if before && s.task.idx != 0 {
		m.at(&s.task, max(s.task.due, m.now+m.jitter(askFirst, 0.1)))
	}
	if len(r.queue) >= maxEnlisted {
		m.stats.Dropped[DropRegister]++
		return
	}
	r.queue = append(r.queue, enlisted{s, m.now + enlistAfter})
	m.sooner(&r.enlist, m.now+enlistAfter)
}

func (m *Mesh) enlistDue() {
	r := &m.reg
	for len(r.queue) > 0 && r.queue[0].at <= m.now {
		s := r.queue[0].s
		r.queue[0] = enlisted{}
		r.queue = r.queue[1:]
		if s.gone {
			continue
		}
		for _, n := range m.responsible(s) {
			if n == nil {
				continue
			}
			m.tellOf(n, s)
		}
	}
	if len(r.queue) > 0 {
		m.at(&r.enlist, r.queue[0].at)
	}
}

// tellOf has n told of one swarm.
func (m *Mesh) tellOf(n *node, s *swarm) {
	if d := n.duty; len(d.fresh) < maxFresh {
		d.fresh = append(d.fresh, s)
	} else {
		m.stats.Dropped[DropRegister]++
		d.todo |= 1 << registry.Bucket(int(s.bucket))
	}
	m.sooner(&n.duty.say, m.now+namePause)
}

// listed reports whether others are told of this node: not if nobody could dial
// it.
func (m *Mesh) listed() bool { return !m.cfg.Leaf && !m.unproven }

// askAgain asks those responsible once more for a swarm that is about to search
// again. Who begins it later is not told of a node that is not listed, which
// has to ask for that; so it does as often as it searches, while offers wait here.
func (m *Mesh) askAgain(s *swarm) {
	if m.listed() || s.state.Remote > 0 || s.state.Parked == 0 {
		return
	}
	for _, n := range m.responsible(s) {
		if n != nil && (n.up || n.errand || m.reg.asks.take(m.now, 1)) {
			m.tellOf(n, s)
		}
	}
}

// tellDuty tells n what it is to be told, over a link that is made for it if
// there is none.
func (m *Mesh) tellDuty(n *node) {
	d := n.duty
	switch {
	case !m.toSay(d) || n.closing: // LinkDown goes on
	case !n.up:
		m.runErrand(n)
	case d.names.when(m.now, 2) > m.now:
		m.at(&d.say, d.names.when(m.now, 2))
	default:
		if a := m.registration(n); len(a.Say)+len(a.Ask) > 0 {
			d.names.take(m.now, float64(len(a.Say)+len(a.Ask)))
			m.stats.Registered += uint64(len(a.Say))
			m.stats.Asked += uint64(len(a.Ask))
			m.emit(a)
		}
		if d.busy() {
			m.at(&d.say, m.now+nameGather)
		}
	}
}

// toSay drops what there is nothing to say of.
func (m *Mesh) toSay(d *duty) bool {
	for b := d.todo; b != 0; b &= b - 1 {
		at, some := bits.TrailingZeros64(b), false
		for fine := at * registry.PerBucket; fine < (at+1)*registry.PerBucket && !some; fine++ {
			some = len(m.buckets[fine]) > 0
		}
		if !some {
			d.todo &^= 1 << at
		}
	}
	return d.busy()
}

// runErrand has n dialled, if nothing else does.
func (m *Mesh) runErrand(n *node) {
	if n.dial != nil || n.queued || n.errand {
		n.errand = true // whatever the reason was, this is one
		return
	}
	if at := m.reg.errands.when(m.now, 1); at > m.now {
		m.at(&n.duty.say, at)
		return
	}
	m.reg.errands.take(m.now, 1)
	n.errand = true
	m.wantDial(n)
}

// registration takes out of what n is to be told as much as goes into one
// frame.
func (m *Mesh) registration(n *node) Action {
	d, a := n.duty, Action{Kind: ActRegister, Key: n.key}
	room := min(namesAtOnce, int(d.names.tokens))
	listed := m.listed()
	full := func() bool { return len(a.Say)+len(a.Ask)+2 > room }
	add := func(s *swarm) {
		name := registry.Name(m.cfg.BucketKey, n.key, s.infoHash)
		if listed {
			a.Say = append(a.Say, name)
		}
		if s.state.Remote == 0 {
			a.Ask = append(a.Ask, name)
			d.await(name, s)
		}
	}
	for len(d.fresh) > 0 && !full() {
		s := d.fresh[0]
		d.fresh[0] = nil
		if d.fresh = d.fresh[1:]; !s.gone {
			add(s)
		}
	}
	for d.todo != 0 && !full() {
		if d.todo>>d.at&1 == 0 {
			d.at, d.from, d.inside = bits.TrailingZeros64(d.todo), 0, 0
		}
		switch b := m.buckets[d.at*registry.PerBucket+d.from]; {
		case d.inside < len(b):
			add(b[d.inside].s)
			d.inside++
		case d.from+1 < registry.PerBucket:
			d.from, d.inside = d.from+1, 0
		default:
			d.todo &^= 1 << d.at
			d.from, d.inside = 0, 0
		}
	}
	return a
}

// await notes that an answer to a name is welcome.
func (d *duty) await(name uint64, s *swarm) {
	if d.awaited[0] == nil || len(d.awaited[0]) >= maxAwaited {
		d.awaited = [2]map[uint64]*swarm{make(map[uint64]*swarm), d.awaited[0]}
	}
	d.awaited[0][name] = s
}

// answered is the swarm that an answer is about; each is good once.
func (d *duty) answered(name uint64) *swarm {
	for _, m := range d.awaited {
		if s := m[name]; s != nil {
			delete(m, name)
			return s
		}
	}
	return nil
}
