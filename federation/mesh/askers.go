package mesh

import (
	"slices"
	"time"
)

const (
	// askLifetime is how long a join for a swarm that we lack is remembered,
	// so that its sender hears at once when we have it.
	askLifetime = 10 * time.Minute
	maxAskers   = 8 // per swarm
)

// asker is a node that sent a join for a swarm that we lack.
type asker struct {
	key   Key
	until time.Duration
}

// askers are the nodes that asked for one swarm. gen tells its place in the
// ring from those that it had before.
type askers struct {
	list []asker
	gen  uint64
}

type askPlace struct {
	infoHash string
	gen      uint64
}

// remember keeps an asker until the swarm appears here.
func (m *Mesh) remember(infoHash string, key Key) {
	e := m.askers[infoHash]
	if e == nil {
		e = &askers{gen: m.id()}
		m.askers[infoHash] = e
		m.askRing = append(m.askRing, askPlace{infoHash, e.gen})
	}
	for i := range e.list {
		if e.list[i].key == key {
			e.list[i].until = m.now + askLifetime
			return
		}
	}
	if len(e.list) >= maxAskers {
		m.stats.Dropped[DropAskers]++
		return
	}
	e.list = append(e.list, asker{key, m.now + askLifetime})
	m.askCount++
	for m.askCount > m.cfg.MaxAskers {
		m.stats.Dropped[DropAskers] += uint64(m.forgetAskers(m.askRing[0]))
		m.askRing = m.askRing[1:]
	}
	if len(m.askRing) > 2*m.cfg.MaxAskers {
		m.askRing = slices.DeleteFunc(m.askRing, func(p askPlace) bool {
			e := m.askers[p.infoHash]
			return e == nil || e.gen != p.gen
		})
	}
}

func (m *Mesh) forgetAskers(p askPlace) int {
	e := m.askers[p.infoHash]
	if e == nil || e.gen != p.gen {
		return 0
	}
	delete(m.askers, p.infoHash)
	m.askCount -= len(e.list)
	return len(e.list)
}

// takeAskers turns those who asked for a swarm into shares of it.
func (m *Mesh) takeAskers(s *swarm) {
	e := m.askers[s.infoHash]
	if e == nil {
		return
	}
	m.forgetAskers(askPlace{s.infoHash, e.gen})
	for _, a := range e.list {
		n := m.nodes[a.key]
		if n == nil || !n.up || a.until <= m.now {
			continue
		}
		if sh := m.addShare(s, n); sh != nil {
			sh.until, sh.known = a.until, true
		}
	}
	m.settle(s)
}
