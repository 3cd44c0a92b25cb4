package mesh

import (
	"cmp"
	"slices"
	"time"
)

// What follows is the overlay of one swarm: which of the nodes that have it
// share it with this one. Up to MaxPartners others, all of them do, so that up
// to 16 nodes know exactly who is there. Beyond that the swarm is crowded, and
// each node has 8 to 16 partners, as a random graph wants it:
//
//   - six are its own picks, uniformly at random out of all that are known, by a
//     random source that nobody else sees: no key is better than another. One
//     pick is replaced every few minutes. Those that have brought an answer lately
//     stay longer than those that have not;
//   - the others came by themselves. They never take the places of the picks. When
//     there is no place left, a newcomer takes that of one that has brought nothing,
//     after a trial of ten seconds at least; where more than twelve have, that of one
//     of those. So the proven keep twelve places, and four are for exploration;
//   - who was dropped without having brought anything rests, each time longer. So
//     asking again and again gains nothing, and however many ask everybody, an
//     honest node has its trial;
//   - above twelve partners one is dropped every few minutes, so that there are places
//     for newcomers, and below eight more are picked.
//
// A partner that is dropped keeps its link, and its ledger entries live on in
// the tracker: answers to offers on their way still come through.
const (
	// minStay is for how long a new pick, and one who is proven, stays at least,
	// and trial that of any other.
	minStay = 2 * time.Minute
	trial   = 10 * time.Second
	// restFor is for how long a node that was dropped, or dropped us, is not
	// picked again, ±25 %; twice that the second time, and so on to restLongest.
	// A node that had no place to begin with is asked again after restRefused.
	restFor     = 5 * time.Minute
	restLongest = 40 * time.Minute
	restRefused = 45 * time.Second
	// evictPause is the least time between two newcomers of a swarm who take
	// somebody's place.
	evictPause = time.Second
	// provenFor is for how long an answer that came through a partner counts.
	provenFor = 10 * time.Minute
	// hopeFor is for how long a partner is counted on that has no link yet, or has
	// not shown that it knows the swarm.
	hopeFor = 3 * time.Second
)

// fewPartners, wantPicks and manyPartners are the marks between which the
// number of partners of a crowded swarm moves: 8, 6 and 12 of 16. trialPlaces are
// for exploration: 4.
func (m *Mesh) fewPartners() int  { return max(1, m.cfg.MaxPartners/2) }
func (m *Mesh) wantPicks() int    { return max(1, m.cfg.MaxPartners*3/8) }
func (m *Mesh) manyPartners() int { return max(1, m.cfg.MaxPartners*3/4) }
func (m *Mesh) trialPlaces() int  { return max(1, m.cfg.MaxPartners/4) }

// proven reports whether an answer came through this partner lately, in this
// swarm.
func (m *Mesh) proven(sh *share) bool {
	return sh.brought != never && m.now-sh.brought < provenFor
}

// merit is smaller for those who are better: who has brought an answer lately,
// here or elsewhere.
func (m *Mesh) merit(sh *share) int {
	switch {
	case m.proven(sh):
		return 0
	case m.useful(sh.node):
		return 1
	}
	return 2
}

// befriend makes a share's node a partner.
func (m *Mesh) befriend(sh *share, picked bool) {
	if picked && !sh.picked {
		sh.picked = true
		sh.swarm.picks++
	}
	if !sh.partner {
		sh.partner, sh.since = true, m.now
		sh.swarm.partners++
		sh.node.wanted++
	}
}

// unfriend ends that; the node stays known. tell: it is told.
func (m *Mesh) unfriend(sh *share, tell bool) {
	if !sh.partner {
		return
	}
	s := sh.swarm
	if sh.picked {
		sh.picked = false
		s.picks--
	}
	sh.partner = false
	s.partners--
	sh.node.wanted--
	m.cancel(&sh.task)
	sh.dirty = false
	sh.rest = m.now + m.jitter(min(restFor<<sh.trials, restLongest), 0.25)
	if tell && sh.joined {
		if !m.proven(sh) && sh.trials < 3 {
			sh.trials++
		}
		m.emit(Action{Kind: ActLeave, Key: sh.node.key, InfoHash: s.infoHash, Full: true})
	}
	sh.joined = false
	m.idle(sh.node)
}

// settle brings the partners of a swarm to their number, as far as there are
// nodes for it.
func (m *Mesh) settle(s *swarm) {
	if s.gone {
		return
	}
	m.measure(s)
	m.populate(s, false)
	if !s.crowded {
		m.shareWithAll(s)
		return
	}
	for m.short(s) && m.pick(s) {
	}
	m.tendSoon(s, m.nextTend(s))
}

// measure finds out whether a swarm is crowded.
func (m *Mesh) measure(s *swarm) {
	switch known := len(s.shares); {
	case known > m.cfg.MaxPartners && !s.crowded:
		// Those of before are partners because there were no others: they are
		// as good as those that came by themselves.
		s.crowded = true
		m.tendSoon(s, m.now)
		s.tend.rotated = m.now + m.jitter(hastySteps[0], 0.5) - rotateEvery
		s.tend.hasty = 0
		s.tend.redraws, s.tend.redrawn = 0, m.now
		m.unpick(s, func(*share) bool { return true })
	case known < m.cfg.MaxPartners && s.crowded:
		s.crowded = false
		for _, sh := range s.shares {
			sh.rest = m.now
		}
	}
}

// unpick makes picks of a swarm partners like any other.
func (m *Mesh) unpick(s *swarm, which func(*share) bool) {
	for _, sh := range s.shares {
		if sh.picked && which(sh) {
			sh.picked = false
			s.picks--
		}
	}
}

// shareWithAll makes partners of all that are known.
func (m *Mesh) shareWithAll(s *swarm) {
	m.stopTending(s)
	var fresh []*share
	for _, sh := range s.shares {
		switch {
		case sh.partner || sh.left || sh.until <= m.now:
		case sh.rest > m.now: // it is full: perhaps it knows more nodes than we do
			m.tendSoon(s, sh.rest)
		case s.partners < m.cfg.MaxPartners:
			m.befriend(sh, true)
			fresh = append(fresh, sh)
		}
	}
	for _, sh := range fresh {
		if sh.partner { // a dial may drop what has expired
			m.want(sh)
		}
	}
}

// short reports whether a crowded swarm is to pick another partner. Those
// that cannot be reached do not count for long.
func (m *Mesh) short(s *swarm) bool {
	live, picks := 0, 0
	for _, sh := range s.shares {
		if sh.joined || sh.partner && sh.node.fails == 0 && m.now-sh.since < hopeFor {
			live++
			if sh.picked {
				picks++
			}
		}
	}
	return live < m.fewPartners() || picks < m.wantPicks()
}

// makePlace makes room for a pick: at the cost of a partner that cannot be
// reached, or else of one that came by itself.
func (m *Mesh) makePlace(s *swarm, fresh *share) bool {
	if s.partners < m.cfg.MaxPartners {
		return true
	}
	var down *share
	for _, sh := range s.shares {
		if sh.partner && !sh.joined && m.now-sh.since >= hopeFor && (down == nil || sh.node.fails > down.node.fails) {
			down = sh
		}
	}
	if down == nil {
		if fresh.node.fails > 0 {
			return false // nobody goes for one who may be dead
		}
		if down = m.weakest(s, fresh); down == nil {
			return false
		}
	}
	m.unfriend(down, true)
	return true
}

// weakest is who has to go for another, if anybody: of those that came by
// themselves the one that has been there longest, but for the better ones. Better
// is who has brought an answer lately, here or in another swarm, and then whose
// key has been known for longer. All but the places for exploration are theirs.
func (m *Mesh) weakest(s *swarm, fresh *share) (out *share) {
	var list []*share
	for _, sh := range s.shares {
		if sh.partner && !sh.picked {
			list = append(list, sh)
		}
	}
	m.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b *share) int {
		return cmp.Or(cmp.Compare(m.merit(a), m.merit(b)), cmp.Compare(a.node.seniority(), b.node.seniority()))
	})
	for _, sh := range list[min(len(list), m.cfg.MaxPartners-m.wantPicks()-m.trialPlaces()):] {
		if (m.now-sh.since >= trial || fresh != nil && m.merit(fresh) < m.merit(sh)) && (out == nil || sh.since < out.since) {
			out = sh
		}
	}
	return out
}

// admit decides about a node that asks to share a swarm; evict: if need be in
// the place of another.
func (m *Mesh) admit(s *swarm, sh *share, evict bool) bool {
	m.measure(s)
	switch {
	case sh.partner:
		return true
	case !s.crowded:
		// Whoever dropped us changed its mind.
	case sh.rest > m.now && s.partners >= m.fewPartners(), !m.groupFree(sh):
		return false
	case s.partners < m.cfg.MaxPartners:
	default:
		if !evict || m.now < s.evicted+evictPause {
			return false
		}
		out := m.weakest(s, sh)
		if out == nil {
			return false
		}
		s.evicted = m.now
		m.stats.Evictions++
		m.unfriend(out, true)
	}
	m.befriend(sh, false)
	return true
}

// want does for a partner what makes it one: a join, or a dial before.
func (m *Mesh) want(sh *share) {
	if !sh.joined {
		m.refresh(sh)
	}
	m.wantDial(sh.node)
}

// Brought tells that an answer came through key in a swarm, and reached who
// had made the offer. Once in a while is enough.
func (m *Mesh) Brought(now time.Duration, key Key, infoHash string) {
	m.moveTo(now)
	n, s := m.nodes[key], m.swarms[infoHash]
	if n == nil {
		return
	}
	n.brought = m.now
	if s == nil {
		return
	}
	if sh := m.share(s, n); sh != nil {
		sh.brought = m.now
	}
}
