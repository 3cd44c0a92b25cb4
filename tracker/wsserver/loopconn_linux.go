package wsserver

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/epoll"
	"github.com/draeder/peerservers/tracker/wire"
	"github.com/draeder/peerservers/tracker/wsserver/tlsstream"
)

// loopConn is one socket of a loop. There may be a great many, most of which
// are silent: what is not needed while silent is behind pointers that are nil
// then.
type loopConn struct {
	loop    *loop
	session *tracker.Session // nil before the upgrade, and with Config.Echo
	request *loopRequest     // nil after the upgrade
	out     *outgoing        // nil while nothing is unsent
	in      *partial         // nil while nothing has arrived in part
	group   *ipGroup         // what its places in the limits count for; nil: no address
	tls     *secured         // nil without TLS, and until the handshake is over
	pace    pace

	fd     int32
	number uint32 // in the loop's table
	serial uint32 // of all that had the number
	// heard is when anything last arrived; before the upgrade, when the
	// socket was accepted, and after the last thing sent, when that was.
	heard     uint32
	lingered  uint32        // bytes read after the close
	mailed    atomic.Uint32 // what others have asked of it: pingAsked, closeAsked
	state     connState
	flags     connFlags
	missed    uint8
	pingAfter uint8 // ticks
	why       endReason
	deflate   deflation
}

type connState uint8

const (
	stateRequest connState = iota // before the upgrade
	stateOpen
	stateClosing // the close frame has been put in
	stateLinger  // and sent
	stateDead    // to be buried
)

type connFlags uint16

const (
	holdsSocket connFlags = 1 << iota // has a place in the limits
	holdsClient
	isDirty    // is in loop.dirty
	wantsWrite // is watched for room to write
	deaf       // is not watched for what arrives: it has all arrived, or a handshake is full
	wantsReset // is to be aborted
	wasOpen    // has been a client
	isWarm     // has ciphers, in loop.warm
	viaProxy   // its socket is a trusted proxy's, which no address counts for
)

// secured is the TLS of a connection, in one word where an interface takes two.
type secured struct{ tlsstream.Stream }

// socketPlace is what c's socket counts for in the limits.
func (c *loopConn) socketPlace() place {
	if c.is(viaProxy) {
		return place{nil, c.is(holdsSocket)}
	}
	return place{c.group, c.is(holdsSocket)}
}

func (c *loopConn) is(f connFlags) bool { return c.flags&f != 0 }

// data is what comes back with the events of c.
func (c *loopConn) data() uint64 { return uint64(c.number) | uint64(c.serial)<<32 }

// watch tells the poller what c waits for by now.
func (l *loop) watch(c *loopConn) {
	var events uint32
	if !c.is(deaf) {
		events = epoll.Readable
	}
	if c.is(wantsWrite) {
		events |= epoll.Writable
	}
	if err := l.poller.Modify(int(c.fd), c.data(), events); err != nil {
		l.doom(c, endWrite, true)
	}
}

// readable reads what has arrived at c.
func (l *loop) readable(c *loopConn) {
	if c.state == stateDead {
		return
	}
	if c.is(deaf) {
		// It hung up altogether: writing says so, if there is anything to write.
		if l.soil(c); c.state == stateRequest {
			l.doom(c, endEOF, true)
		}
		return
	}
	n, err := epoll.Read(int(c.fd), l.read)
	switch {
	case err == unix.EAGAIN:
	case err != nil:
		l.doom(c, endRead, false)
	case n == 0:
		l.hungUp(c)
	default:
		l.arrived(c, l.read[:n])
	}
}

// hungUp: nothing more will arrive.
func (l *loop) hungUp(c *loopConn) {
	if c.state == stateClosing {
		// It may still read what was sent before the close frame.
		c.flags |= deaf
		l.watch(c)
		return
	}
	l.doom(c, endEOF, false)
}

// arrived takes what was read from c, in memory that is used again.
func (l *loop) arrived(c *loopConn, in []byte) {
	if c.tls != nil && c.state <= stateOpen {
		l.arrivedTLS(c, in)
	} else {
		l.arrivedPlain(c, in)
	}
	l.press()
}

// yield implements holder.
func (c *loopConn) yield() {
	l := c.loop
	if c.request != nil {
		l.s.counts.refused[refusePressed].Add(1)
		l.doom(c, endClosed, true)
		l.letGo(c.request)
		return
	}
	l.fault(c, errPressed)
}

func (l *loop) arrivedPlain(c *loopConn, in []byte) {
	switch c.state {
	case stateRequest:
		l.requested(c, in)
	case stateOpen:
		l.decode(c, in)
	case stateClosing, stateLinger:
		// Closing a socket with unread input would reset it, and the client
		// would never see the close frame.
		if c.lingered += uint32(len(in)); c.lingered >= maxLinger {
			l.doom(c, c.why, false)
		}
	}
}

// decode serves the frames of a client.
func (l *loop) decode(c *loopConn, in []byte) {
	c.heard, c.missed = l.tick, 0
	l.totals.bytesIn += int64(len(in))
	before := l.totals.framesIn
	err := l.dec.feed(&c.in, in, c, c.deflate)
	if err != nil {
		l.fault(c, err)
		return
	}
	if c.session != nil && l.totals.framesIn == before {
		c.session.Seen() // otherwise its messages said so
	}
	if c.in != nil {
		l.remind(c, c.slowAt())
	}
}

// fault ends a conversation that cannot go on.
func (l *loop) fault(c *loopConn, err error) {
	var fault *closeError
	var peer *peerClosed
	switch {
	case errors.As(err, &fault):
		l.close(c, fault.code, fault.reason, fault.why)
	case errors.As(err, &peer):
		l.close(c, peer.code, "", endPeer)
	}
	l.dec.drop(&c.in)
}

// message implements frames.
func (c *loopConn) message(msg []byte, op ws.OpCode, deflated bool) error {
	l := c.loop
	if deflated {
		b, err := inflate(&l.s.pool, msg, l.s.cfg.MaxMessage)
		if err != nil {
			return err
		}
		defer l.s.pool.put(b)
		msg = b.b
	}
	l.totals.framesIn++
	text := op == ws.OpText
	if c.session == nil {
		if text && !utf8.Valid(msg) {
			return errNotUTF8()
		}
		l.echo(c, op, msg)
	} else if !c.session.HandleVia(l, msg, text) {
		return errNotUTF8()
	}
	l.relieve()
	if c.state != stateOpen || c.mailed.Load()&closeAsked != 0 {
		return errClosing
	}
	return nil
}

// ping implements controls.
func (c *loopConn) ping(payload []byte) {
	c.loop.s.counts.pingsIn.Add(1)
	if c.session != nil {
		c.session.Ping()
	}
	c.loop.pong(c, payload)
}

// pong implements controls. That something arrived has been noted.
func (c *loopConn) pong() {}

// spend implements controls.
func (c *loopConn) spend() bool { return c.pace.spend(ticksTime(c.loop.tick)) }

// due is when c is to be looked at, having done what is due by now; 0 if it
// is not to be looked at any more.
func (c *loopConn) due() uint32 {
	l := c.loop
	next := uint32(0)
	until := func(at uint32) bool {
		if at > l.tick && (next == 0 || at < next) {
			next = at
		}
		return at <= l.tick
	}
	switch c.state {
	case stateRequest:
		if until(c.heard + ticks(l.s.cfg.HeaderTimeout)) {
			l.doom(c, endClosed, false)
		}
	case stateOpen:
		if c.in != nil && until(c.slowAt()) {
			l.close(c, ws.StatusPolicyViolation, "message too slow", endSlowMessage)
		} else if until(c.silentAt()) {
			if c.missed == maxMissed {
				l.doom(c, endSilent, false)
				break
			}
			c.missed++
			l.askPing(c)
			c.drawPing()
			if until(c.silentAt()) {
				// Time jumped, as it does for a process that was stopped. The
				// client has as long as any other to answer this ping.
				c.heard = l.tick - uint32(c.missed)*uint32(c.pingAfter)
				until(c.silentAt())
			}
		}
	case stateLinger:
		if until(c.heard + ticks(closeTimeout)) {
			l.doom(c, c.why, false)
		}
	}
	if o := c.out; o != nil && o.since != 0 && until(o.since+ticks(l.s.cfg.WriteTimeout)) {
		l.s.counts.writeFailed.Add(1)
		l.doom(c, endOverflow, true)
	}
	if c.state == stateDead {
		return 0
	}
	return next
}

// slowAt is when the message under way has taken too long.
func (c *loopConn) slowAt() uint32 {
	return c.in.since + ticks(c.loop.s.cfg.MessageTimeout) + 1
}

// silentAt is when a client that stays silent is pinged, again, or given up.
func (c *loopConn) silentAt() uint32 {
	return c.heard + uint32(c.missed+1)*uint32(c.pingAfter)
}

// drawPing draws how long to wait for the next sign of life, so that
// connections that came together are not pinged together.
func (c *loopConn) drawPing() {
	c.pingAfter = uint8(pingMin/tickLength) + uint8(rand.N(pingSpread/tickLength))
}

// close begins to end the conversation, with a close frame after what is there
// already. Only the first call counts.
func (l *loop) close(c *loopConn, code ws.StatusCode, reason string, why endReason) {
	var frame [2 + ws.MaxControlFramePayloadSize]byte
	if l.closeWith(c, appendClose(frame[:0], code, reason)) {
		c.why = why
	}
}

// closeWith is close with a frame that is there.
func (l *loop) closeWith(c *loopConn, frame []byte) bool {
	if c.state != stateOpen {
		return false
	}
	// Leave the swarms first: nothing more is to be sent here.
	if c.session != nil {
		c.session.Close()
	}
	l.putDue(c)
	b := l.space(c, len(frame))
	b.b = append(b.b, frame...)
	l.note(c, len(frame))
	c.state, c.why = stateClosing, endClosed
	return true
}

// sentAll is called when all that there was for a closing client was sent.
func (l *loop) sentAll(c *loopConn) {
	if c.is(deaf) || unix.Shutdown(int(c.fd), unix.SHUT_WR) != nil {
		l.doom(c, c.why, false)
		return
	}
	c.state, c.heard = stateLinger, l.tick
	l.remind(c, c.heard+ticks(closeTimeout))
}

// doom ends a connection at the end of the iteration: its session may be at
// work just now. reset drops it at once, with nothing left to the kernel to go
// on sending.
func (l *loop) doom(c *loopConn, why endReason, reset bool) {
	if c.state == stateDead {
		return
	}
	if c.state != stateClosing && c.state != stateLinger {
		c.why = why
	}
	c.state = stateDead
	if reset {
		c.flags |= wantsReset
	}
	l.doomed = append(l.doomed, c)
}

// finish ends c, which nothing uses any more but mail under way.
func (l *loop) finish(c *loopConn) {
	if c.session != nil {
		c.session.Close()
	}
	l.dec.drop(&c.in)
	l.sayGoodbye(c)
	l.discard(c)
	l.forget(c)
	l.remove(c)
	if c.is(wantsReset) {
		unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	unix.Close(int(c.fd))
	p := c.socketPlace()
	l.s.limits.leaveSocket(&p)
	if c.is(wasOpen) {
		l.s.limits.leaveConn(&place{c.group, c.is(holdsClient)})
		l.s.counts.ended[c.why].Add(1)
		l.s.live.Done()
	}
}

// echo puts a message in as it is.
func (l *loop) echo(c *loopConn, op ws.OpCode, msg []byte) {
	if b := l.room(c, wire.KindReply, len(msg)); b != nil {
		from := len(b.b)
		b.b = appendMessage(b.b, op, msg)
		l.put(c, from)
	}
}
