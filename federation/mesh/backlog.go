package mesh

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxBacklog is how many addresses of its last search a swarm keeps to be
	// asked later, and maxBacklogs how many all of them do.
	maxBacklog  = 64
	maxBacklogs = 16384
	// drainPause is how often a backlog is looked at, and drainAtOnce how many
	// are asked then.
	drainPause  = 2 * time.Second
	drainAtOnce = 2
	// drainBelow is how many addresses may wait already: those that searches
	// have just named come first.
	drainBelow = 8
)

// failedBefore reports whether addr was asked and did not answer.
func (m *Mesh) failedBefore(addr netip.AddrPort) bool {
	a := m.addrs[addr]
	return a != nil && a.fails > 0
}

// settled reports whether addr is not to be asked now: what it is is known,
// or it is being asked, or was silent lately.
func (m *Mesh) settled(addr netip.AddrPort) bool {
	a := m.addrs[addr]
	return a != nil && (a.state == addrPending || a.state != addrNew && a.until > m.now)
}

// rank brings what q saw into the order in which it is to be asked.
func (m *Mesh) rank(q *search) {
	m.rand.Shuffle(len(q.order), func(i, j int) { q.order[i], q.order[j] = q.order[j], q.order[i] })
	slices.SortStableFunc(q.order, func(a, b netip.AddrPort) int { return min(q.seen[b], 2) - min(q.seen[a], 2) })
	type place struct {
		addr   netip.AddrPort
		failed int
		turn   int // how many of its prefix come before it
	}
	places := make([]place, 0, len(q.order))
	turns := make(map[netip.AddrPort]int)
	for _, addr := range q.order {
		p := place{addr: addr}
		if m.settled(addr) {
			p.turn = -1
		}
		if m.failedBefore(addr) {
			p.failed = 1
		}
		g, _ := m.group(addr)
		if p.turn < 0 {
			turns[g]++
		}
		places = append(places, p)
	}
	for i := range places {
		if p := &places[i]; p.turn == 0 {
			g, _ := m.group(p.addr)
			p.turn = turns[g]
			turns[g]++
		}
	}
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.failed, b.failed), cmp.Compare(a.turn, b.turn))
	})
	for i := range places {
		q.order[i] = places[i].addr
	}
}

// keepBacklog makes those of list that may still be asked the swarm's backlog.
func (m *Mesh) keepBacklog(s *swarm, list []netip.AddrPort) {
	m.backlogged -= len(s.backlog)
	s.backlog = s.backlog[:0]
	for _, addr := range list {
		if m.settled(addr) {
			if a := m.addrs[addr]; a.state == addrPending || a.state == addrSilent {
				a.wait(&search{swarm: s})
			}
			continue
		}
		if len(s.backlog) >= maxBacklog || m.backlogged+len(s.backlog) >= maxBacklogs {
			m.stats.Dropped[DropResolves]++
			continue
		}
		s.backlog = append(s.backlog, addr)
	}
	m.backlogged += len(s.backlog)
	if len(s.backlog) == 0 {
		s.backlog = nil
		if s.drain != nil {
			m.cancel(s.drain)
			s.drain = nil
		}
		return
	}
	if s.drain == nil {
		s.drain = &task{run: func() { m.drainBacklog(s) }}
	}
	m.sooner(s.drain, m.now+m.jitter(drainPause, 0.25))
}

// drainBacklog asks the next few addresses of a swarm's backlog.
func (m *Mesh) drainBacklog(s *swarm) {
	q := &search{swarm: s}
	full := len(s.shares) >= m.cfg.MaxKnown && m.worstShare(s) == nil
	for range len(s.backlog) {
		if full || q.resolves >= drainAtOnce || len(m.resolveQueue) >= drainBelow {
			break
		}
		addr := s.backlog[0]
		s.backlog = s.backlog[1:]
		if m.room(s, addr, false) && !m.room(s, addr, true) {
			s.backlog = append(s.backlog, addr) // others of its prefix are being asked
			continue
		}
		m.backlogged--
		m.resolveFor(q, addr)
	}
	if len(s.backlog) == 0 {
		s.drain = nil
		return
	}
	m.at(s.drain, m.now+m.jitter(drainPause, 0.25))
}
