package wsserver

import (
	"io"
	"net/netip"

	"github.com/draeder/peerservers/tracker/epoll"
)

const (
	// sealAtOnce is how much is encrypted before it is written, so that it is
	// in the cache still.
	sealAtOnce = 64 << 10
	// coolAfter is how many ticks a connection has to be silent until its
	// ciphers are given up, which are made anew when there is something: 14 us
	// for 1.5 KiB. Less than the time between two pings.
	coolAfter = 40
	// coolRound is how many ticks it takes to look at all connections.
	coolRound = 16
)

// beginTLS makes a handshake of what has arrived.
func (l *loop) beginTLS(c *loopConn, in []byte) {
	// A proxy may have said who the client is, or does so in the request.
	var group netip.Prefix
	if a := c.request.addr.Addr(); !l.s.trusted(a) {
		group = l.s.limits.group(a)
	}
	c.request.handshake = l.s.handshakes.Begin(group, c.handshakeNews)
	l.feedTLS(c, in)
}

// feedTLS gives a handshake what has arrived. What comes after more than it
// takes for now stays in the kernel.
func (l *loop) feedTLS(c *loopConn, in []byte) {
	h := c.request.handshake
	if err := h.Feed(in); err != nil {
		l.doom(c, endClosed, false)
		return
	}
	if h.Full() {
		c.flags |= deaf
		l.watch(c)
	}
	l.holdTLS(c)
}

// holdTLS counts what c's handshake holds of what has arrived.
func (l *loop) holdTLS(c *loopConn) {
	r := c.request
	if n := r.handshake.Held(); n > 0 {
		l.dec.held.hold(&r.holding, c, n)
	} else {
		l.dec.held.free(&r.holding)
	}
}

// handshakeNews tells the loop, from another goroutine, to look at a handshake.
func (c *loopConn) handshakeNews() {
	if c.mailed.Or(handshakeAsked)&handshakeAsked == 0 {
		c.loop.mail.post(letter{to: c, kind: letterHandshake}, nil)
	}
}

// shake goes on with a handshake.
func (l *loop) shake(c *loopConn) {
	r := c.request
	if c.state != stateRequest || r == nil || r.handshake == nil {
		return
	}
	l.sealed = r.handshake.Output(l.sealed[:0])
	l.putSealed(c, l.sealed)
	if c.is(deaf) && !r.handshake.Full() {
		c.flags &^= deaf
		l.watch(c)
	}
	done, stream, rest, info, err := r.handshake.Done()
	l.holdTLS(c)
	if !done {
		return
	}
	r.handshake = nil
	if err != nil {
		l.leave(c) // after the alert
		return
	}
	c.tls = &secured{stream}
	if c.out != nil && c.out.buf != nil {
		c.out.sealed = len(c.out.buf.b)
	}
	if info.Protocol != "" && info.Protocol != "http/1.1" {
		// An ACME challenge (RFC 8737, 3) is over with the handshake.
		l.sealed = stream.CloseNotify(l.sealed[:0])
		l.putSealed(c, l.sealed)
		l.leave(c)
		return
	}
	l.arrived(c, rest)
}

// leave ends a connection before its upgrade, after what it is sent still.
func (l *loop) leave(c *loopConn) {
	c.state, c.why = stateClosing, endClosed
	l.soil(c)
}

// arrivedTLS takes what was read from a connection with TLS.
func (l *loop) arrivedTLS(c *loopConn, in []byte) {
	var err error
	l.plain, err = c.tls.Open(l.plain[:0], in)
	l.warmed(c)
	l.sealed = c.tls.Control(l.sealed[:0])
	l.putSealed(c, l.sealed)
	if len(l.plain) > 0 {
		l.arrivedPlain(c, l.plain)
	}
	switch {
	case err == nil, c.state == stateDead:
	case err == io.EOF:
		l.hungUp(c)
	default:
		l.write(c) // the alert
		l.doom(c, endRead, false)
	}
}

// putSealed puts in what is encrypted already, in front of what is not.
func (l *loop) putSealed(c *loopConn, p []byte) {
	if len(p) == 0 {
		return
	}
	b := l.space(c, len(p))
	o := c.out
	at := len(b.b)
	if c.tls != nil {
		at = max(o.sealed, o.done)
		o.sealed = at + len(p)
	}
	b.b = append(b.b, p...)
	copy(b.b[at+len(p):], b.b[at:])
	copy(b.b[at:], p)
	l.note(c, len(p))
}

// seal encrypts and writes a part of what there is for c; false if that is all
// that it takes for now.
func (l *loop) seal(c *loopConn) bool {
	o := c.out
	b := o.buf.b
	to := min(o.done+sealAtOnce, len(b))
	l.sealed = c.tls.Seal(l.sealed[:0], b[o.done:to])
	l.warmed(c)
	if to == len(b) && c.state == stateClosing {
		l.sealed = c.tls.CloseNotify(l.sealed)
	}
	n := to - o.done
	l.totals.unsent -= int64(n)
	l.totals.bytesOut += int64(n)
	o.done, o.sealed = to, to
	m, ok := l.send(c, l.sealed)
	if !ok {
		return false
	}
	if m < len(l.sealed) {
		l.keep(o, l.sealed[m:])
		l.blocked(c, m)
		return false
	}
	return true
}

// keep puts what is encrypted, and was not taken, in front of what is left.
func (l *loop) keep(o *outgoing, p []byte) {
	l.totals.unsent += int64(len(p))
	if len(p) <= o.done {
		o.done -= len(p)
		copy(o.buf.b[o.done:], p)
		return
	}
	more := l.shelf.get(len(p) + len(o.buf.b) - o.done)
	more.b = append(append(more.b, p...), o.buf.b[o.done:]...)
	l.shelf.put(o.buf)
	o.buf, o.done, o.sealed = more, 0, len(p)
}

// sayGoodbye says at the end that it is one, if that is possible at once.
func (l *loop) sayGoodbye(c *loopConn) {
	if c.tls != nil && !c.is(wantsReset) && c.out.left() == 0 {
		l.sealed = c.tls.CloseNotify(l.sealed[:0])
		epoll.Write(int(c.fd), l.sealed)
	}
	c.tls = nil
	l.cooled(c)
}

// warmed notes that c has ciphers.
func (l *loop) warmed(c *loopConn) {
	if !c.is(isWarm) && l.s.cfg.TLSRecords {
		c.flags |= isWarm
		l.warm++
	}
}

func (l *loop) cooled(c *loopConn) {
	if c.is(isWarm) {
		c.flags &^= isWarm
		l.warm--
	}
}

// cool looks at a part of the connections, for those that have been silent.
func (l *loop) cool() {
	for range len(l.conns)/coolRound + 1 {
		if l.warm == 0 {
			return
		}
		if l.cooling++; l.cooling >= len(l.conns) {
			l.cooling = 0
		}
		if c := l.conns[l.cooling]; c != nil && c.is(isWarm) && l.tick-c.heard >= coolAfter {
			c.tls.Idle()
			l.cooled(c)
		}
	}
}
