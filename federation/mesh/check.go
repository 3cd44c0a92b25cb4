package mesh

import (
	"errors"
	"fmt"
)

// Check reports the first thing in the state that must not be. It is for
// tests: it looks at everything.
func (m *Mesh) Check() error {
	if n := len(m.swarms); n > m.cfg.MaxSwarms {
		return fmt.Errorf("%d swarms", n)
	}
	hungry, later, waiting := 0, 0, 0
	for _, s := range m.swarms {
		later += len(s.backlog)
		if s.place != 0 {
			waiting++
		}
		if s.state.Remote == 0 {
			hungry++
		}
		if err := m.checkSwarm(s); err != nil {
			return fmt.Errorf("swarm %q: %w", s.infoHash, err)
		}
	}
	for c := range m.lines {
		waiting -= len(m.lines[c].heap)
	}
	if waiting != 0 {
		return fmt.Errorf("%d more swarms wait than are in lines", waiting)
	}
	if hungry != m.hungry {
		return fmt.Errorf("%d hungry swarms, counted %d", hungry, m.hungry)
	}
	if later != m.backlogged || later > maxBacklogs {
		return fmt.Errorf("%d addresses in backlogs, counted %d", later, m.backlogged)
	}
	if err := m.checkNodes(); err != nil {
		return err
	}
	pending, out := 0, 0
	for _, a := range m.addrs {
		if a.state == addrPending {
			pending++
		}
		if a.asked {
			out++
		}
	}
	switch {
	case len(m.addrs) > m.cfg.MaxAddrs || len(m.addrRing) != len(m.addrs):
		return fmt.Errorf("%d addresses, %d in the ring", len(m.addrs), len(m.addrRing))
	case pending != out+len(m.resolveQueue)+len(m.retryQueue) || out != m.resolves || out > m.cfg.MaxResolves ||
		len(m.resolveQueue) > maxResolveQueue || len(m.retryQueue) > maxResolveQueue:
		return fmt.Errorf("%d addresses pending, %d asked, %d and %d queued, %d counted", pending, out, len(m.resolveQueue), len(m.retryQueue), m.resolves)
	case len(m.searches) > m.cfg.MaxSearches || len(m.dials) > m.cfg.MaxDials || len(m.hosts) > m.cfg.MaxHosts:
		return fmt.Errorf("%d searches, %d dials, %d hosts", len(m.searches), len(m.dials), len(m.hosts))
	case m.askCount > m.cfg.MaxAskers || len(m.askRing) > 2*m.cfg.MaxAskers:
		return fmt.Errorf("%d askers, %d places", m.askCount, len(m.askRing))
	}
	if len(m.barredKeys) > maxBars || len(m.barredPrefixes) > maxBars || len(m.plain) > maxPlain {
		return fmt.Errorf("%d keys and %d prefixes barred, %d prefixes told in plain", len(m.barredKeys), len(m.barredPrefixes), len(m.plain))
	}
	if err := m.checkTalk(); err != nil {
		return err
	}
	if err := m.checkDuties(); err != nil {
		return err
	}
	for i, t := range m.tasks.heap {
		if t.idx != i+1 || i > 0 && m.tasks.less(t, m.tasks.heap[(i-1)/2]) {
			return errors.New("task heap out of order")
		}
	}
	return nil
}

func (m *Mesh) checkSwarm(s *swarm) error {
	if len(s.shares) > m.cfg.MaxKnown || s.partners > m.cfg.MaxPartners {
		return fmt.Errorf("%d nodes known, %d partners", len(s.shares), s.partners)
	}
	if err := m.checkPartners(s); err != nil {
		return err
	}
	groups := map[any]int{}
	for i, sh := range s.shares {
		if sh.swarm != s || sh.inSwarm != i || sh.inNode >= len(sh.node.shares) || sh.node.shares[sh.inNode] != sh || m.nodes[sh.node.key] != sh.node {
			return errors.New("share out of place")
		}
		if sh.joined && !sh.node.up {
			return errors.New("joined over a link that is down")
		}
		if !sh.addr.IsValid() {
			continue
		}
		g, limit := m.group(sh.addr)
		if groups[g]++; groups[g] > limit {
			return fmt.Errorf("%d nodes of %v", groups[g], g)
		}
	}
	if s.search == nil && s.place == 0 && s.task.idx == 0 {
		return errors.New("will never search again")
	}
	if s.place != 0 {
		switch l := m.lines[s.queue].heap; {
		case s.search != nil || int(s.place) > len(l) || l[s.place-1] != s || s.place > 1 && m.lines[s.queue].before(s, l[s.place/2-1]):
			return errors.New("out of place in its line")
		case s.rank != m.rankOf(s) && m.sweep.idx == 0 && (s.task.idx == 0 || s.task.due > m.now):
			return fmt.Errorf("rank %d, not %d", s.rank, m.rankOf(s))
		}
	}
	if len(s.backlog) > 0 && (s.drain == nil || s.drain.idx == 0) {
		return errors.New("backlog that nobody works off")
	}
	if s.search != nil && m.searches[s.search.id] != s.search {
		return errors.New("search lost")
	}
	return nil
}

// checkPartners looks at the overlay of one swarm.
func (m *Mesh) checkPartners(s *swarm) error {
	partners, picks := 0, 0
	for _, sh := range s.shares {
		if sh.partner {
			partners++
		}
		if sh.picked {
			picks++
		}
		if (sh.picked || sh.joined || sh.dirty) && !sh.partner {
			return errors.New("told a node that is no partner")
		}
	}
	switch {
	case partners != s.partners || picks != s.picks:
		return fmt.Errorf("%d partners, %d picks, counted %d and %d", partners, picks, s.partners, s.picks)
	case s.crowded && (s.tend == nil || s.tend.idx == 0):
		return errors.New("partners that nobody looks after")
	case !s.crowded && len(s.shares) > m.cfg.MaxPartners:
		return errors.New("crowded without knowing")
	}
	return nil
}

func (m *Mesh) checkNodes() error {
	if len(m.list) != len(m.nodes) || len(m.list) > m.cfg.MaxNodes {
		return fmt.Errorf("%d nodes listed of %d", len(m.list), len(m.nodes))
	}
	links, closing, guesses := 0, 0, 0
	for _, d := range m.dials {
		if d.guess {
			guesses++
		}
	}
	if guesses != m.guesses.dials || guesses > maxGuessDials {
		return fmt.Errorf("%d dials to unverified nodes, counted %d", guesses, m.guesses.dials)
	}
	for i, n := range m.list {
		if n.place != i || m.nodes[n.key] != n || n.key == m.cfg.Self {
			return errors.New("node out of place")
		}
		wanted := 0
		for _, sh := range n.shares {
			if sh.partner {
				wanted++
			}
		}
		if wanted != n.wanted {
			return fmt.Errorf("%d swarms shared with a node, counted %d", wanted, n.wanted)
		}
		if len(n.shares) > m.cfg.MaxSwarmsPerNode {
			return fmt.Errorf("node with %d shares", len(n.shares))
		}
		if n.up {
			links++
			if n.idleNow() && n.idle.idx == 0 && !n.closing {
				return errors.New("idle link that nobody watches")
			}
		}
		if n.closing {
			closing++
		}
	}
	if links != m.links || closing != m.closing {
		return fmt.Errorf("%d links up, %d closing, counted %d and %d", links, closing, m.links, m.closing)
	}
	return nil
}

// checkTalk looks at what linked nodes are told of our swarms.
func (m *Mesh) checkTalk() error {
	found := 0
	for i, b := range m.buckets {
		for j, e := range b {
			s := e.s
			if e.infoHash != s.infoHash || int(s.bucket) != i || int(s.inBucket) != j || m.swarms[s.infoHash] != s {
				return errors.New("swarm in the wrong place of its bucket")
			}
			found++
		}
	}
	speakers := 0
	for _, n := range m.list {
		if !n.speaks {
			if len(n.hits[0])+len(n.hits[1]) > 0 {
				return errors.New("names for a node that does not understand them")
			}
			continue
		}
		speakers++
		switch waiting := len(n.hits[0]) + len(n.hits[1]); {
		case !n.up:
			return errors.New("speaks without a link")
		case n.told < m.newsBase || n.told > m.newsEnd():
			return fmt.Errorf("told up to %d, news from %d to %d", n.told, m.newsBase, m.newsEnd())
		case waiting > m.cfg.MaxSwarmsPerNode:
			return fmt.Errorf("%d swarms to be named to one node", waiting)
		case (waiting > 0 || n.told < m.newsEnd()) && m.talk.idx == 0:
			return errors.New("names that nobody sends")
		}
	}
	if found != len(m.swarms) || speakers != m.speakers || len(m.news) > maxNews {
		return fmt.Errorf("%d of %d swarms in buckets, %d of %d speakers, %d news", found, len(m.swarms), speakers, m.speakers, len(m.news))
	}
	return nil
}

// checkDuties looks at who is responsible for what.
func (m *Mesh) checkDuties() error {
	r, duties := &m.reg, 0
	for _, n := range m.list {
		if d := n.duty; d != nil {
			duties++
			switch {
			case d.buckets == 0 || d.todo&^d.buckets != 0 || d.again.idx == 0:
				return errors.New("duty without buckets, or not repeated")
			case len(d.fresh) > maxFresh || len(d.awaited[0]) > maxAwaited || len(d.awaited[1]) > maxAwaited:
				return fmt.Errorf("%d swarms for a responsible node, %d answers awaited", len(d.fresh), len(d.awaited[0]))
			case d.busy() && d.say.idx == 0 && !n.errand && n.dial == nil && !n.queued && !n.closing:
				return errors.New("swarms that a responsible node is never told of")
			case !r.ring.Has(n.key, n.ringGroup()):
				return errors.New("responsible, and not counted in")
			}
		} else if n.errand {
			return errors.New("errand to a node that is not responsible")
		}
	}
	for b, set := range r.assigned {
		for i, n := range set {
			switch {
			case n == nil:
			case m.nodes[n.key] != n || n.duty == nil || n.duty.buckets>>b&1 == 0:
				return fmt.Errorf("bucket %d is with a node that knows nothing of it", b)
			case set[(i+1)%len(set)] == n:
				return fmt.Errorf("bucket %d is with a node twice", b)
			}
		}
	}
	if duties != r.duties || len(r.queue) > maxEnlisted || len(r.queue) > 0 && r.enlist.idx == 0 || r.dirty != 0 && r.assign.idx == 0 {
		return fmt.Errorf("%d duties, counted %d, %d swarms enlisted", duties, r.duties, len(r.queue))
	}
	return nil
}
