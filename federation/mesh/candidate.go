package mesh

import (
	"net/netip"
	"slices"
	"time"
)

// addrState is what is known of who is behind an address.
type addrState uint8

const (
	addrNew     addrState = iota
	addrPending           // queued, or being asked
	addrKnown             // key is there, until the state expires
	addrSilent            // no answer: asked again at until, while a swarm wants it
	addrBad               // a bad record, or ourselves: left alone until then
)

const (
	// addrLifetime is for how long an address keeps standing for a key.
	addrLifetime = time.Hour
	// badLifetime is the negative cache.
	badLifetime = 30 * time.Minute
	// maxWaiters is how many swarms wait for one address.
	maxWaiters = 8
	// followTries is how often an address that does not answer is asked for a
	// swarm that has company already. It may be a node that is just starting,
	// and nothing else would lead to it before the next refresh.
	followTries = 4
)

// silentSteps are the pauses before an address that did not answer is asked
// again: it may belong to a node that is just starting. The first is short
// enough that two nodes which start in the same instant, each of which asks the
// other too soon, introduce their clients within 5 s.
var silentSteps = [...]time.Duration{2e9, 5e9, 15e9, 60e9, 300e9, badLifetime}

// address is what mesh remembers of an IP:port.
type address struct {
	addr    netip.AddrPort
	state   addrState
	key     Key
	until   time.Duration
	fails   int
	waiters []*swarm // which it was named for
	link    bool     // or named by the rendezvous
	task    task
	asked   bool // the action is out
}

func (m *Mesh) address(addr netip.AddrPort) *address {
	a := m.addrs[addr]
	if a == nil {
		if len(m.addrs) >= m.cfg.MaxAddrs && !m.evictAddress() {
			m.stats.Dropped[DropAddrs]++
			return nil
		}
		a = &address{addr: addr}
		a.task.run = func() { m.retry(a) }
		m.addrs[addr] = a
		m.addrRing = append(m.addrRing, addr)
	}
	if a.state != addrPending && a.state != addrNew && a.until <= m.now {
		a.state = addrNew
	}
	return a
}

// evictAddress forgets the oldest address that nothing is under way for. It
// looks at a few only, so that its cost is bounded.
func (m *Mesh) evictAddress() bool {
	for range min(len(m.addrRing), 64) {
		addr := m.addrRing[0]
		m.addrRing = m.addrRing[1:]
		a := m.addrs[addr]
		if a.state == addrPending {
			m.addrRing = append(m.addrRing, addr)
			continue
		}
		m.cancel(&a.task)
		delete(m.addrs, addr)
		return true
	}
	return false
}

// wait notes on whose behalf a is of interest.
func (a *address) wait(q *search) {
	if q.rendezvous {
		a.link = true
		return
	}
	a.waiters = slices.DeleteFunc(a.waiters, func(s *swarm) bool { return s.gone })
	if q.swarm != nil && len(a.waiters) < maxWaiters && !slices.Contains(a.waiters, q.swarm) {
		a.waiters = append(a.waiters, q.swarm)
	}
}

// useKnown settles a sighting without asking anybody; false if it cannot.
func (m *Mesh) useKnown(q *search, addr netip.AddrPort) bool {
	a := m.addrs[addr]
	if a == nil || a.state != addrKnown || a.until <= m.now {
		return false
	}
	if n := m.nodes[a.key]; n != nil {
		if q.swarm != nil {
			m.name(q.swarm, n, addr)
		}
		return true
	}
	return false
}

// resolveFor asks addr for its record on behalf of q, if that is worth it.
// Dropping it is no loss for long: what a search of a swarm did not get to ask
// stays in the swarm's backlog.
func (m *Mesh) resolveFor(q *search, addr netip.AddrPort) {
	if q.rendezvous && len(m.list) >= m.cfg.MaxNodes/2 && m.links >= baselineLinks {
		return
	}
	if q.swarm != nil && !m.room(q.swarm, addr, true) {
		m.stats.Dropped[DropGroup]++
		return
	}
	a := m.address(addr)
	if a == nil {
		return
	}
	switch a.state {
	case addrKnown:
		if !m.useKnown(q, addr) {
			a.state = addrNew // its node was forgotten
			m.resolveFor(q, addr)
		}
	case addrBad:
		m.stats.Dropped[DropBad]++
	case addrPending, addrSilent:
		a.wait(q)
	case addrNew:
		if len(m.resolveQueue) >= maxResolveQueue {
			m.stats.Dropped[DropResolves]++
			return
		}
		q.resolves++
		a.wait(q)
		a.state = addrPending
		m.resolveQueue = append(m.resolveQueue, a)
		if s := q.swarm; s != nil {
			s.asking = slices.DeleteFunc(s.asking, func(b *address) bool { return b.state != addrPending })
			s.asking = append(s.asking, a)
		}
	}
}

// maxResolveQueue is how many addresses wait to be asked.
const maxResolveQueue = 256

// room reports whether the swarm's limits leave a place for a node at addr;
// asking: counting those that are being asked as well.
func (m *Mesh) room(s *swarm, addr netip.AddrPort, asking bool) bool {
	g, limit := m.group(addr)
	n := 0
	for _, sh := range s.shares {
		if sh.addr == addr {
			return true
		}
		if sh.group == g {
			n++
		}
	}
	if asking {
		for _, a := range s.asking {
			if a.addr != addr && a.state == addrPending {
				if other, _ := m.group(a.addr); other == g {
					n++
				}
			}
		}
	}
	return n < limit
}

// startResolves asks addresses that nobody asked before first, so that the
// silent ones of a poisoned list cannot use the rate up.
func (m *Mesh) startResolves() {
	for m.resolvesReady() && m.resolves < m.cfg.MaxResolves {
		queue := &m.resolveQueue
		if len(*queue) == 0 {
			queue = &m.retryQueue
		}
		a := (*queue)[0]
		if !m.wantedAddress(a) {
			*queue = (*queue)[1:]
			a.state = addrNew
			continue
		}
		if !m.resolveTokens.take(m.now, 1) {
			return
		}
		*queue = (*queue)[1:]
		m.resolves++
		m.stats.Resolves++
		a.asked = true
		m.emit(Action{Kind: ActResolve, Addr: a.addr})
	}
}

func (m *Mesh) resolvesReady() bool { return len(m.resolveQueue)+len(m.retryQueue) > 0 }

func (m *Mesh) wantedAddress(a *address) bool {
	a.waiters = slices.DeleteFunc(a.waiters, func(s *swarm) bool { return s.gone })
	return len(a.waiters) > 0 || a.link
}

// retry asks an address again that did not answer: while somebody is alone,
// and a few times even if nobody is.
func (m *Mesh) retry(a *address) {
	if a.state != addrSilent {
		return
	}
	wanted := a.link && m.links == 0
	for _, s := range a.waiters {
		wanted = wanted || !s.gone && (s.state.Remote == 0 || a.fails <= followTries)
	}
	if wanted && len(m.retryQueue) < maxResolveQueue {
		a.state = addrPending
		m.retryQueue = append(m.retryQueue, a)
	}
}

// asked ends the resolve of addr that is under way.
func (m *Mesh) answered(addr netip.AddrPort) *address {
	a := m.addrs[addr]
	if a == nil || !a.asked {
		return nil
	}
	a.asked = false
	m.resolves--
	return a
}

// Resolved gives the record of the node at addr.
func (m *Mesh) Resolved(now time.Duration, addr netip.AddrPort, r Record) {
	m.moveTo(now)
	a := m.answered(addr)
	if a == nil {
		return
	}
	waiters := a.waiters
	a.waiters, a.link, a.fails = nil, false, 0
	if r.Key == m.cfg.Self {
		a.state, a.until = addrBad, m.now+badLifetime
		m.stats.Self++
		return
	}
	n := m.learn(r, len(waiters) > 0)
	if n == nil {
		a.state = addrNew
		return
	}
	a.state, a.key, a.until = addrKnown, r.Key, m.now+addrLifetime
	for _, s := range waiters {
		if !s.gone {
			m.name(s, n, addr)
		}
	}
	m.sooner(&m.baseline, m.now)
}

// Unresolved tells that addr gave no answer, or (bad) one that is no good.
func (m *Mesh) Unresolved(now time.Duration, addr netip.AddrPort, bad bool) {
	m.moveTo(now)
	a := m.answered(addr)
	if a == nil {
		return
	}
	if bad {
		m.stats.ResolvesBad++
		a.state, a.until, a.waiters, a.link = addrBad, m.now+badLifetime, nil, false
		return
	}
	m.stats.ResolvesSilent++
	pause := m.jitter(silentSteps[min(a.fails, len(silentSteps)-1)], 0.1)
	a.fails++
	a.state, a.until = addrSilent, m.now+pause
	m.at(&a.task, a.until)
}
