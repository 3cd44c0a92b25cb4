package mesh

import (
	"net/netip"
	"slices"
	"time"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

const (
	// baselineLinks is how many links a node keeps whatever its swarms, so
	// that the directory is not the only way in.
	baselineLinks = 3
	// idleAfter is when a link over which nothing is shared is let go. It is
	// far longer than a ledger entry lives.
	idleAfter = 10 * time.Minute
	// fetchPause is how often a node's newest record is looked up while none
	// of its URLs works.
	fetchPause = 10 * time.Minute
	// maxFails is after how many failures in a row a node that nothing else
	// speaks for is forgotten: a saved table may be full of the dead.
	maxFails = 6
)

// node is another node, known by its record or its link.
type node struct {
	key        Key
	record     Record
	place      int // in Mesh.list
	up         bool
	upSince    time.Duration
	dialled    bool           // the link is one that we dialled
	closing    bool           // ActClose is out
	group      netip.AddrPort // prefix that its link comes from
	groupLimit int            // 0: not known
	brief      int            // links in a row that ended at once

	firstSeen time.Duration // when its key was met first
	brought   time.Duration // when an answer came from it last; never: none did

	shares []*share
	wanted int // of them, those of partners
	joins  bucket
	plain  bucket // joins for swarms that only a search named it for
	idle   task
	talker

	joinQueue [joinClasses][]*share // those that wait for joins
	pump      task

	fails   int
	failed  time.Duration // when it could not be reached last
	free    time.Duration // not dialled before
	dial    *dial
	task    task // the next attempt
	queued  bool
	base    bool // wanted as a baseline link
	errand  bool // wanted as a responsible node
	nextURL int
	met     string        // the host where it proved its key to us last
	fetched time.Duration // when its record was last asked for

	duty    *duty // nil: it is responsible for nothing
	briefly bool  // the link was made for an errand, or a hint

	probe     task // its guess is to be tried
	probed    time.Duration
	probeFree time.Duration // not before
}

// seed is a configured URL; who is behind it turns out at the handshake.
type seed struct {
	url   nodeaddr.URL
	key   Key
	known bool
	self  bool
	fails int
	free  time.Duration
	dial  *dial
}

// dial is one attempt under way.
type dial struct {
	id   uint64
	node *node
	seed *seed
	url  nodeaddr.URL
	base bool
	// guess: the node was unverified when the dial began.
	guess bool
}

// Learn takes a record that was verified: gossip, a saved one, one that came
// over a link, or the answer to ActFetch.
func (m *Mesh) Learn(now time.Duration, r Record) {
	m.moveTo(now)
	if m.learn(r, false) != nil {
		m.sooner(&m.baseline, m.now)
	}
}

// learn enters r; wanted ones may displace others.
func (m *Mesh) learn(r Record, wanted bool) *node {
	if r.Key == m.cfg.Self {
		return nil
	}
	n := m.nodes[r.Key]
	if n == nil {
		if n = m.addNode(r.Key, wanted || m.reg.on && r.Registers && m.reg.ring.Wants(r.Key)); n == nil {
			return nil
		}
	} else if r.Seq < n.record.Seq {
		return n
	}
	changed := len(r.URLs) != len(n.record.URLs)
	for i := 0; !changed && i < len(r.URLs); i++ {
		changed = r.URLs[i] != n.record.URLs[i]
	}
	proven := n.record.Unverified && !r.Unverified
	n.record = r
	if (changed || proven) && n.fails > 0 {
		n.fails, n.free = 0, m.now
	}
	if changed && r.Unverified {
		n.free = max(n.free, m.now+guessDelay)
		n.probeFree = min(n.probeFree, n.probed+probeChanged)
	}
	if n.wanted > 0 {
		m.wantDial(n)
	}
	m.considerProbe(n)
	m.weigh(n)
	return n
}

func (m *Mesh) addNode(key Key, wanted bool) *node {
	if len(m.list) >= m.cfg.MaxNodes && !m.evictNode(wanted) {
		m.stats.Dropped[DropNodes]++
		return nil
	}
	n := &node{key: key, place: len(m.list), fetched: -fetchPause, probed: -probeEvery, firstSeen: m.now, brought: never}
	n.joins = newBucket(m.cfg.JoinRate, m.cfg.JoinBurst, m.now)
	n.plain = newBucket(plainRate, plainBurst, m.now)
	n.task.run = func() { m.wantDial(n) }
	n.idle.run = func() { m.closeIdle(n) }
	n.probe.run = func() { m.tryGuess(n) }
	n.pump.run = func() { m.pumpJoins(n) }
	m.newTalker(n)
	m.nodes[key] = n
	m.list = append(m.list, n)
	return n
}

// evictNode forgets a node that nothing holds: one that failed, or for a
// wanted newcomer any, the one first seen last in a sample, so that its cost is
// bounded. Keys are free, and whoever comes is wanted: so new ones displace each
// other, and few of those before them.
func (m *Mesh) evictNode(wanted bool) bool {
	var worst *node
	for range 32 {
		n := m.list[m.rand.IntN(len(m.list))]
		if n.held() || !wanted && n.fails == 0 && !n.record.Unverified {
			continue
		}
		if worst == nil || n.fails > worst.fails || n.fails == worst.fails && n.firstSeen > worst.firstSeen {
			worst = n
		}
	}
	if worst == nil {
		return false
	}
	m.dropNode(worst)
	return true
}

func (n *node) held() bool {
	return n.up || n.dial != nil || n.queued || n.wanted > 0 || n.duty != nil
}

func (m *Mesh) dropNode(n *node) {
	for len(n.shares) > 0 {
		m.dropShare(n.shares[len(n.shares)-1])
	}
	m.cancel(&n.task)
	m.cancel(&n.idle)
	m.cancel(&n.probe)
	m.silenced(n)
	m.dropJoins(n)
	m.unweigh(n)
	last := len(m.list) - 1
	m.list[n.place] = m.list[last]
	m.list[n.place].place = n.place
	m.list[last] = nil
	m.list = m.list[:last]
	delete(m.nodes, n.key)
}

// Forget ends what is known of key, with which this node is not to deal any
// more. A link is the runner's to end.
func (m *Mesh) Forget(now time.Duration, key Key) {
	m.moveTo(now)
	n := m.nodes[key]
	if n == nil {
		return
	}
	n.record, n.base = Record{Key: key}, false // not dialled without a URL
	m.unweigh(n)
	for i := len(n.shares) - 1; i >= 0 && !n.up; i-- {
		m.dropShare(n.shares[i])
	}
	if !n.held() {
		m.dropNode(n)
	}
}

// wantDial dials n if something is to be gained, now or when it may be.
func (m *Mesh) wantDial(n *node) {
	m.dropExpired(n)
	if n.up || n.dial != nil || n.queued || len(n.record.URLs) == 0 || n.wanted == 0 && !n.base && !n.errand {
		return
	}
	if free := max(n.free, m.barredUntil(n.key)); free > m.now {
		m.at(&n.task, free)
		return
	}
	if n.record.Unverified && !n.base && m.others(n) {
		m.at(&n.task, m.now+guessWait)
		return
	}
	n.queued = true
	m.dialQueue = append(m.dialQueue, n)
}

// dropExpired ends permissions that have run out, so that a node is not
// dialled for ever for what a search said long ago.
func (m *Mesh) dropExpired(n *node) {
	for i := len(n.shares) - 1; i >= 0 && !n.up; i-- {
		if n.shares[i].until <= m.now {
			m.dropShare(n.shares[i])
		}
	}
}

// unreached lets swarms try another partner than n, whom a dial has just
// failed to reach.
func (m *Mesh) unreached(n *node) {
	var list []*swarm // settling may drop shares
	for _, sh := range n.shares {
		if sh.swarm.crowded {
			list = append(list, sh.swarm)
		}
	}
	for _, s := range list {
		m.settle(s)
	}
}

func (m *Mesh) startDials() {
	for len(m.dialQueue) > 0 && len(m.dials) < m.cfg.MaxDials && m.links+len(m.dials) < m.cfg.MaxLinks {
		first := 0
		for i, n := range m.dialQueue {
			o := m.dialQueue[first]
			if n.before(o) || !o.before(n) && n.sought() && !o.sought() {
				first = i
			}
		}
		n := m.dialQueue[first]
		if n.record.Unverified && !m.mayGuess() {
			return // and so are the others
		}
		m.dialQueue = slices.Delete(m.dialQueue, first, first+1)
		n.queued = false
		if !n.up && (n.wanted > 0 || n.base || n.errand) {
			m.startDial(n)
		}
	}
}

// sought reports whether more speaks for a dial to n than errands, and the word
// of responsible nodes, of which liars may bring more than there are dials.
func (n *node) sought() bool { return n.base || !n.onlyHints() }

func (m *Mesh) startDial(n *node) {
	if n.record.Expires <= m.unix {
		m.fetch(n)
	}
	soonest := never
	for i := range n.record.URLs {
		u := n.record.URLs[(n.nextURL+i)%len(n.record.URLs)]
		if free := m.hostFree(n, u); free > m.now {
			soonest = min(soonest, free)
			continue
		}
		if !m.enterHost(u) {
			soonest = min(soonest, m.now+time.Minute)
			continue
		}
		n.nextURL = (n.nextURL + i + 1) % len(n.record.URLs)
		n.dial = m.dial(&dial{node: n, url: u, base: n.base, guess: n.record.Unverified})
		return
	}
	n.base = false
	m.at(&n.task, soonest)
}

func (m *Mesh) dial(d *dial) *dial {
	d.id = m.id()
	m.dials[d.id] = d
	m.stats.Dials++
	if d.guess {
		m.guesses.tokens.take(m.now, 1)
		m.guesses.dials++
		m.stats.Guesses++
	}
	a := Action{Kind: ActDial, ID: d.id, URL: d.url}
	if d.node != nil {
		a.Key = d.node.key
	}
	m.emit(a)
	return d
}

// fetch asks the directory for n's newest record.
func (m *Mesh) fetch(n *node) {
	if m.now-n.fetched >= fetchPause {
		n.fetched = m.now
		m.stats.Fetches++
		m.emit(Action{Kind: ActFetch, Key: n.key})
	}
}
