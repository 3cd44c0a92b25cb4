package mesh

import "time"

// What follows is done for the partners of a swarm (partners.go) as time goes by.

// rotateEvery is how often a crowded swarm changes one partner, ±25 %.
const rotateEvery = 4 * time.Minute

// redrawSteps are the pauses after which a swarm that has become crowded draws
// its picks again: most of those that have it are known only then.
var redrawSteps = [...]time.Duration{5e9, 15e9, 60e9}

// hastySteps are the pauses between two exchanges while hardly any partner has
// brought something.
var hastySteps = [...]time.Duration{20e9, 20e9, 30e9, 30e9, 45e9, 60e9}

// tending is what the partners of a swarm need besides, of which most swarms
// have none.
type tending struct {
	task                  // the next look at them
	rotated time.Duration // when one was exchanged last
	redraws int           // how often the picks were drawn again
	redrawn time.Duration // when
	hasty   int           // place in hastySteps

	population int // as it was told last
}

// tendSoon has a swarm's partners looked at, no later than due.
func (m *Mesh) tendSoon(s *swarm, due time.Duration) {
	if s.tend == nil {
		s.tend = &tending{task: task{run: func() { m.tendPartners(s) }}}
	}
	m.sooner(&s.tend.task, due)
}

func (m *Mesh) stopTending(s *swarm) {
	if s.tend != nil {
		m.cancel(&s.tend.task)
	}
}

// nextTend is when the partners of a crowded swarm are to be looked at next.
func (m *Mesh) nextTend(s *swarm) time.Duration {
	next := s.tend.rotated + rotateEvery
	if s.tend.redraws < len(redrawSteps) {
		next = min(next, s.tend.redrawn+redrawSteps[s.tend.redraws])
	}
	for _, sh := range s.shares {
		if sh.partner && !sh.joined {
			next = min(next, max(sh.since+hopeFor, m.now+hopeFor))
		}
	}
	if s.picks < m.wantPicks() || s.partners < m.fewPartners() {
		next = min(next, m.now+30*time.Second) // those who rest are eligible again
	}
	return max(next, m.now)
}

// tendPartners is what a crowded swarm's task does.
func (m *Mesh) tendPartners(s *swarm) {
	for i := len(s.shares) - 1; i >= 0; i-- {
		if sh := s.shares[i]; !sh.partner && sh.until <= m.now {
			m.dropShare(sh)
		}
	}
	if s.crowded && s.tend.redraws < len(redrawSteps) && m.now >= s.tend.redrawn+redrawSteps[s.tend.redraws] {
		// Who came first is not to have the picks.
		s.tend.redraws, s.tend.redrawn = s.tend.redraws+1, m.now
		m.unpick(s, func(sh *share) bool { return !m.proven(sh) })
	}
	if s.crowded && m.now >= s.tend.rotated+rotateEvery {
		s.tend.rotated = m.now + m.jitter(m.rotatePause(s), 0.25) - rotateEvery
		m.rotate(s)
	}
	m.settle(s)
}

// rotatePause is shorter while no partner has brought anything:
// they may be all of one kind.
func (m *Mesh) rotatePause(s *swarm) time.Duration {
	if m.countProven(s) > 0 {
		s.tend.hasty = 0
		return rotateEvery
	}
	pause := hastySteps[s.tend.hasty]
	s.tend.hasty = min(s.tend.hasty+1, len(hastySteps)-1)
	return pause
}

func (m *Mesh) countProven(s *swarm) (n int) {
	for _, sh := range s.shares {
		if sh.partner && m.proven(sh) {
			n++
		}
	}
	return n
}

// rotate drops a partner beyond the twelfth, and one pick for another.
func (m *Mesh) rotate(s *swarm) {
	if s.partners > m.manyPartners() {
		out := m.weakest(s, nil)
		if out == nil {
			out = m.anyPartner(s, false, func(sh *share) bool { return true })
		}
		if out != nil {
			m.stats.Trims++
			m.unfriend(out, true)
		}
	}
	others := false
	for _, sh := range s.shares {
		others = others || !sh.partner && m.eligible(sh) && (sh.node.up || sh.node.fails == 0)
	}
	if !others {
		return
	}
	out := m.anyPartner(s, true, func(sh *share) bool { return !m.proven(sh) })
	if out == nil {
		out = m.anyPartner(s, true, func(*share) bool { return true })
	}
	if out != nil {
		m.stats.Rotations++
		m.unfriend(out, true)
	}
}

// anyPartner is one at random that has stayed long enough.
func (m *Mesh) anyPartner(s *swarm, picked bool, ok func(*share) bool) (out *share) {
	ties := 0
	for _, sh := range s.shares {
		if sh.partner && sh.picked == picked && m.now-sh.since >= minStay && ok(sh) {
			if ties++; m.rand.IntN(ties) == 0 {
				out = sh
			}
		}
	}
	return out
}
