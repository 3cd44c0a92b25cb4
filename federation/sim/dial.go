package sim

import (
	"encoding/binary"
	"time"

	"github.com/draeder/peerservers/federation/mesh"
)

const (
	dialTimeout = 15 * time.Second
	// An acceptor bounds the handshakes under way, in all and by prefix.
	maxHandshakes      = 128
	maxHandshakesGroup = 8
	// roundTrips of a dial until the dialler knows: TCP, TLS 1.3, the
	// WebSocket's upgrade, the handshake's hello. The proof is half of one more.
	roundTrips = 4
)

// dial performs mesh.ActDial.
func (n *node) dial(a mesh.Action, seq uint64) {
	w := n.w
	to := w.hosts[a.URL.Host]
	rtt := 2 * w.latency(n, n)
	if to != nil {
		rtt = w.latency(n, to) + w.latency(to, n)
	}
	w.count.dials++
	fail := func(after time.Duration, o mesh.Outcome) {
		n.later(after, func() { n.dialDone(a.ID, o, mesh.Key{}) })
	}
	again := n.tried[string(a.Key[:])]
	n.tried[string(a.Key[:])] = w.cfg.Switches.NoRetries
	switch {
	case again:
		fail(time.Second, mesh.DialFailed)
		return
	case to == nil:
		fail(rtt, mesh.DialFailed) // no such host
		return
	case to == n:
		fail(rtt, mesh.DialSelf)
		return
	case !w.reach(n, to) || !to.up && to.dark || to.hostile != nil && to.hostile.mute:
		fail(dialTimeout, mesh.DialFailed)
		return
	case !to.up:
		fail(rtt, mesh.DialFailed) // refused
		return
	}
	if to.hostile == nil && (to.acceptedAll >= maxHandshakes || to.accepted[n.group] >= maxHandshakesGroup) {
		fail(2*rtt, mesh.DialFailed)
		return
	}
	to.accept(n.group, roundTrips*rtt+rtt/2)
	n.later(roundTrips*rtt, func() {
		switch {
		case !w.reach(n, to) || !to.up:
			n.dialDone(a.ID, mesh.DialFailed, mesh.Key{})
			return
		case a.Key != (mesh.Key{}) && a.Key != to.key:
			n.dialDone(a.ID, mesh.DialWrongKey, mesh.Key{})
			return
		case n.mesh.Barred(n.now(), to.key):
			n.dialDone(a.ID, mesh.DialFailed, mesh.Key{})
			return
		}
		l := w.connect(n, to, seq, rtt/2)
		l.p.addLink(l)
		n.dialDone(a.ID, mesh.DialOK, to.key)
		if !l.closed {
			l.greet()
		}
	})
}

func (n *node) dialDone(id uint64, o mesh.Outcome, key mesh.Key) {
	if o != mesh.DialOK {
		n.w.count.dialsFailed++
	}
	n.mesh.DialDone(n.now(), id, o, key)
	n.advance()
}

// accept counts a handshake under way.
func (n *node) accept(group string, for_ time.Duration) {
	if n.hostile != nil {
		return
	}
	n.acceptedAll++
	n.accepted[group]++
	n.later(for_, func() {
		n.acceptedAll--
		if n.accepted[group]--; n.accepted[group] == 0 {
			delete(n.accepted, group)
		}
	})
}

// connect makes the two ends of a link whose keys are proven. The dialler's
// is open at once, the acceptor's once the proof has come.
func (w *World) connect(from, to *node, seq uint64, proof time.Duration) *link {
	a := &link{n: from, dialled: true, sequence: seq, group: to.group}
	b := &link{n: to, sequence: seq, group: from.group, o: a}
	a.o = b
	for _, key := range [...]*[16]byte{&a.tagKey, &a.sendKey, &a.recvKey} {
		binary.LittleEndian.PutUint64(key[:8], w.rng.Uint64())
		binary.LittleEndian.PutUint64(key[8:], w.rng.Uint64())
	}
	b.tagKey, b.sendKey, b.recvKey = a.tagKey, a.recvKey, a.sendKey
	b.in.last = w.now + proof // nothing overtakes it
	a.open()
	if from.hostile == nil {
		a.p = from.pin(to.key)
	}
	run := to.runs
	w.after(proof, func() {
		if b.closed || a.closed && b.in.first == len(b.in.arrive) {
			return
		}
		if !to.up || to.runs != run || to.hostile == nil && !to.admits(from) {
			b.closed = true
			a.expectEnd()
			return
		}
		b.open()
		if to.hostile != nil {
			to.hostile.met(b)
			return
		}
		b.p = to.pin(from.key)
		b.p.addLink(b)
		if !b.closed {
			b.greet()
		}
	})
	return a
}

// admits reports whether a link that another node dialled may stay.
func (n *node) admits(from *node) bool {
	return !n.mesh.Barred(n.now(), from.key) && n.mesh.Admits(n.now(), from.key, n.linkOf(from, false))
}

// open enters the end in its node.
func (l *link) open() {
	n := l.n
	l.opened, l.meter, l.pace = n.now(), newMeter(n.now(), n.w.cfg.Switches.NoTrust), newAllowance(n.now())
	if n.w.cfg.Switches.NoTrust {
		l.group = ""
	}
	l.place = len(n.links)
	n.links = append(n.links, l)
	n.w.count.links++
}
