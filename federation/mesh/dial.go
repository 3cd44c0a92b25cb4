package mesh

import "time"

// Outcome is how a dial ended.
type Outcome uint8

const (
	// DialOK: the handshake is done; LinkUp came before.
	DialOK Outcome = iota
	// DialFailed: no connection, or the handshake failed.
	DialFailed
	// DialRefused: the address may not be dialled.
	DialRefused
	// DialSelf: our own key answered.
	DialSelf
	// DialWrongKey: another key than the record's answered.
	DialWrongKey
	Outcomes
)

// DialDone ends dial id. key is whose key was proven, if DialOK.
func (m *Mesh) DialDone(now time.Duration, id uint64, o Outcome, key Key) {
	m.moveTo(now)
	d := m.dials[id]
	if d == nil {
		return
	}
	delete(m.dials, id)
	m.stats.DialOutcomes[o]++
	if d.guess {
		m.guesses.dials--
	}
	m.leaveHost(d, o)
	if d.seed != nil {
		m.seedDone(d, o, key)
	}
	if d.node != nil {
		m.nodeDone(d, o)
		m.considerProbe(d.node) // it may have linked from elsewhere meanwhile
	}
	m.sooner(&m.baseline, m.now)
}

func (m *Mesh) seedDone(d *dial, o Outcome, key Key) {
	s := d.seed
	s.dial = nil
	switch o {
	case DialOK:
		s.key, s.known, s.fails = key, true, 0
	case DialSelf:
		s.self = true
		m.stats.Self++
	default:
		s.fails++
		s.free = m.now + m.backoff(s.fails)
	}
}

func (m *Mesh) nodeDone(d *dial, o Outcome) {
	n := d.node
	n.dial = nil
	n.base = false
	if o == DialOK {
		n.fails, n.met = 0, hostOf(d.url)
		return
	}
	n.fails++
	n.failed, n.errand = m.now, false
	n.free = m.now + m.backoff(n.fails)
	m.weigh(n)
	if d.guess {
		m.guessFailed(n)
	}
	if o == DialRefused || o == DialWrongKey || o == DialSelf {
		// Not a node that is merely down: its record misleads.
		n.free = m.now + m.jitter(badLifetime, 0.1)
	}
	if n.fails%3 == 0 {
		m.fetch(n)
	}
	m.dropExpired(n)
	m.unreached(n)
	if n.fails >= maxFails && !n.held() {
		m.dropNode(n)
		return
	}
	m.wantDial(n)
}
