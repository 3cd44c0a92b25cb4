package mesh

import (
	"net/netip"
	"slices"
	"time"

	"github.com/draeder/peerservers/federation/derive"
)

const (
	// resolvesPerSearch is how many unknown addresses one search may ask for
	// their record. Half of them go to the first that come, because the first
	// answers are there long before the last; the others are kept for
	// addresses that two responders name, and given to a random sample when
	// the search ends.
	resolvesPerSearch = 4
	resolvesAtOnce    = 2
	// maxSightings is how many addresses of one search are remembered.
	maxSightings = 256
)

// search is one pass over the directory, for a swarm or for the rendezvous.
type search struct {
	id         uint64
	swarm      *swarm // nil: rendezvous, or the swarm is gone
	rendezvous bool
	began      time.Duration
	seen       map[netip.AddrPort]int // how often each address was named
	order      []netip.AddrPort       // in which they came first
	resolves   int
}

func (m *Mesh) startSearches() {
	for len(m.searches) < m.mostSearches() && m.searchesReady() {
		days, n := derive.Epochs(m.unix)
		if !m.searchTokens.take(m.now, float64(n)) {
			return
		}
		epochs := slices.Clone(days[:n])
		if m.rendezvous.waiting {
			m.searchRendezvous(epochs)
			continue
		}
		s := m.nextSwarm()
		if s.searched { // what is new was asked for already
			m.askAgain(s)
		}
		m.stats.Searches[s.class()]++
		s.search = m.newSearch(s, false)
		s.began, s.searched, s.announced = m.now, true, !m.cfg.Leaf
		m.emit(Action{Kind: ActSearch, ID: s.search.id, InfoHash: s.infoHash, Epochs: epochs, Announce: !m.cfg.Leaf})
	}
}

// mostSearches is how many may be under way. Around midnight each is two, which
// the directory's budget would let take twice as long otherwise.
func (m *Mesh) mostSearches() int {
	_, n := derive.Epochs(m.unix)
	return max(1, m.cfg.MaxSearches/n)
}

func (m *Mesh) newSearch(s *swarm, rendezvous bool) *search {
	q := &search{id: m.id(), swarm: s, rendezvous: rendezvous, began: m.now, seen: make(map[netip.AddrPort]int)}
	m.searches[q.id] = q
	return q
}

// Sighting tells of an address that a responder named in search id.
func (m *Mesh) Sighting(now time.Duration, id uint64, addr netip.AddrPort) {
	m.moveTo(now)
	q := m.searches[id]
	if q == nil || q.swarm == nil && !q.rendezvous {
		return
	}
	addr = netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
	n, known := q.seen[addr]
	if !known {
		if len(q.seen) >= maxSightings {
			m.stats.Dropped[DropSightings]++
			return
		}
		if _, limit := m.group(addr); limit == 0 {
			m.stats.Dropped[DropAddress]++
			return
		}
		q.order = append(q.order, addr)
		m.stats.Sightings++
	}
	q.seen[addr] = n + 1
	switch {
	case !known && m.useKnown(q, addr):
	case m.failedBefore(addr): // others first
	case !known && q.resolves < resolvesAtOnce, n == 1 && q.resolves < resolvesPerSearch:
		m.resolveFor(q, addr)
	}
}

// SearchDone ends search id.
func (m *Mesh) SearchDone(now time.Duration, id uint64, failed bool) {
	m.moveTo(now)
	q := m.searches[id]
	if q == nil {
		return
	}
	delete(m.searches, id)
	if failed {
		m.stats.SearchesFailed++
	}
	if q.rendezvous || q.swarm != nil {
		m.spendRest(q)
	}
	if s := q.swarm; s != nil {
		s.search = nil
		m.reschedule(s)
	}
}

// spendRest gives the resolves that a search has left to addresses that were
// not asked before, one prefix after the other, those first that were named
// more than once; chance decides the rest. What is left then waits in the
// swarm's backlog.
func (m *Mesh) spendRest(q *search) {
	m.rank(q)
	for i, addr := range q.order {
		if q.resolves >= resolvesPerSearch {
			if q.swarm != nil {
				m.keepBacklog(q.swarm, q.order[i:])
			}
			return
		}
		m.resolveFor(q, addr)
	}
	if q.swarm != nil {
		m.keepBacklog(q.swarm, nil)
	}
}
