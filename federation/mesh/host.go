package mesh

import (
	"time"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

const (
	// hostBusy is when a host is looked at again that is being dialled.
	hostBusy = time.Second
	// hostMemory is for how long failures count that nothing was added to.
	hostMemory = 30 * time.Minute
)

// crowdSteps are the delays after the first, second, ... failure at a host
// where different keys have failed. A crowd that comes at once has at most four
// dials in the first minute.
var crowdSteps = [...]time.Duration{15e9, 30e9, 60e9, 120e9, 240e9, 480e9, 600e9}

// host remembers failures, because records may name somebody else's host.
type host struct {
	fails int
	crowd bool // more than one key has failed here
	key   Key  // of the node that failed first; zero: none yet
	free  time.Duration
	busy  bool // a dial is under way
	// Of dials to unverified nodes, which count for no others.
	guesses   int
	guessFree time.Duration
}

// hostFree is when u may be dialled for n (nil: for a seed, whose URL is the
// operator's word). Failures of other keys do not count for the node that
// proved its key there before: liars cannot part those who have met.
func (m *Mesh) hostFree(n *node, u nodeaddr.URL) time.Duration {
	name := hostOf(u)
	switch h := m.hosts[name]; {
	case h == nil:
		return 0
	case h.busy:
		return m.now + hostBusy
	case n != nil && n.record.Unverified && h.guessFree > m.now:
		return max(h.guessFree, h.free)
	case n == nil || n.met == name:
		return 0
	default:
		return h.free
	}
}

// nodeFree is when the first of n's hosts may be dialled.
func (m *Mesh) nodeFree(n *node) time.Duration {
	soonest := never
	for _, u := range n.record.URLs {
		soonest = min(soonest, m.hostFree(n, u))
	}
	return soonest
}

// enterHost notes that a dial to u is under way; false if there is no memory
// for that, so that it must not be.
func (m *Mesh) enterHost(u nodeaddr.URL) bool {
	name := hostOf(u)
	h := m.hosts[name]
	if h == nil {
		if len(m.hosts) >= m.cfg.MaxHosts {
			m.forgetHosts()
		}
		if len(m.hosts) >= m.cfg.MaxHosts {
			m.stats.Dropped[DropHosts]++
			return false
		}
		h = &host{}
		m.hosts[name] = h
	}
	h.busy = true
	return true
}

// leaveHost notes how the dial d ended.
func (m *Mesh) leaveHost(d *dial, o Outcome) {
	name := hostOf(d.url)
	h := m.hosts[name]
	if h == nil {
		return
	}
	h.busy = false
	if o == DialOK || o == DialSelf && d.node == nil {
		delete(m.hosts, name)
		return
	}
	if d.guess {
		h.guesses++
		h.guessFree = m.now + m.guessBackoff(h.guesses)
		return
	}
	if h.free+hostMemory < m.now {
		h.fails, h.crowd, h.key = 0, false, Key{}
	}
	h.fails++
	if d.node != nil {
		if h.key == (Key{}) {
			h.key = d.node.key
		}
		h.crowd = h.crowd || h.key != d.node.key
	}
	pause := m.backoff(h.fails)
	if h.crowd {
		pause = max(pause, m.jitter(crowdSteps[min(h.fails, len(crowdSteps))-1], 0.25))
	}
	h.free = m.now + pause
}

// forgetHosts drops hosts whose time is over. Which ones go does not depend
// on the map's order.
func (m *Mesh) forgetHosts() {
	for name, h := range m.hosts {
		if !h.busy && h.free <= m.now && h.guessFree <= m.now {
			delete(m.hosts, name)
		}
	}
}
