package wsserver

import (
	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/epoll"
	"github.com/draeder/peerservers/tracker/wire"
)

// outgoing is what is still to be sent to one client. What is put in is written
// at the end of the iteration; only what the kernel does not take then stays.
// What does not fit is dropped by the rules of outbox.
type outgoing struct {
	buf  *buffer
	done int // written of buf
	// sealed: with TLS, buf is encrypted up to there.
	sealed int

	// since is when the client last took a good part of it, 0 while it takes
	// all; taken is what it took since then.
	since uint32
	taken int

	// Control frames for a client that takes nothing wait outside of buf, so
	// that one which pings and never reads cannot fill it: one pong answers
	// all pings before it (RFC 6455, 5.5.3).
	pingDue, pongDue bool
	pong             []byte
}

// left is how many bytes are unsent.
func (o *outgoing) left() int {
	if o == nil || o.buf == nil {
		return 0
	}
	return len(o.buf.b) - o.done
}

// Deliver implements tracker.Courier: to the loop's own connections without a
// lock, to those of other loops at the end of the iteration.
func (l *loop) Deliver(to tracker.Sink, m *wire.Message) {
	c, ok := to.(*loopConn)
	switch {
	case !ok, c.loop.s != l.s:
		// Another server's loops, of the same tracker, have the same numbers.
		to.Deliver(m)
	case c.loop == l:
		l.deliver(c, m)
	default:
		l.stage(c, m)
	}
}

func (l *loop) deliver(c *loopConn, m *wire.Message) {
	if b := l.room(c, m.Kind, estimate(m)); b != nil {
		from := len(b.b)
		b.b = appendText(b.b, m)
		l.put(c, from)
	}
}

// room is where to put a frame of about size bytes, or nil if it is dropped,
// which is counted then.
func (l *loop) room(c *loopConn, kind wire.MessageKind, size int) *buffer {
	counts := &l.s.counts
	if c.state != stateOpen {
		counts.dropped[dropClosed].Add(1)
		return nil
	}
	switch r := admit(&l.s.cfg, kind, size, c.out.left(), l.s.backlog.Load()+l.totals.unsent); r {
	case admitted:
	case dropHard, dropTotal:
		counts.dropped[r].Add(1)
		l.doom(c, endOverflow, true)
		return nil
	default:
		counts.dropped[r].Add(1)
		return nil
	}
	return l.space(c, size+maxFrameHeader)
}

// space is c's buffer with room for n bytes more, as a rule.
func (l *loop) space(c *loopConn, n int) *buffer {
	if c.out == nil {
		c.out = l.shelf.outgoing()
	}
	o := c.out
	switch {
	case o.buf == nil:
		o.buf = l.shelf.get(n)
	case len(o.buf.b)+n <= cap(o.buf.b):
	case len(o.buf.b)-o.done+n <= cap(o.buf.b)/2:
		// What was written takes up most of it.
		o.buf.b = o.buf.b[:copy(o.buf.b, o.buf.b[o.done:])]
		o.done, o.sealed = 0, max(o.sealed-o.done, 0)
	default:
		more := l.shelf.get(max(len(o.buf.b)-o.done+n, cap(o.buf.b)+1))
		more.b = append(more.b, o.buf.b[o.done:]...)
		o.done, o.sealed = 0, max(o.sealed-o.done, 0)
		l.shelf.put(o.buf)
		o.buf = more
	}
	return o.buf
}

// put notes that a message's frame was put in, from the given byte on. It is
// compressed if it is to be and gains by it.
func (l *loop) put(c *loopConn, from int) {
	l.totals.framesOut++
	b := c.out.buf
	if c.deflate != 0 && len(b.b)-from > l.s.cfg.Compress {
		if n := len(b.b) - from - frameHeader(b.b[from:]); n >= l.s.cfg.Compress && c.deflate.takes(n) {
			if l.deflater == nil {
				l.deflater = newDeflater()
			}
			b.b = l.deflater.shrink(b.b, from)
		}
	}
	l.note(c, len(b.b)-from)
}

// note notes that n bytes were put in.
func (l *loop) note(c *loopConn, n int) {
	l.totals.unsent += int64(n)
	l.queued += n
	l.soil(c)
}

// soil makes the next flush look at c.
func (l *loop) soil(c *loopConn) {
	if !c.is(isDirty) {
		c.flags |= isDirty
		l.dirty = append(l.dirty, c)
	}
}

// inPlace is how much may wait for a client while control frames still go
// where they belong between the messages.
const inPlace = 512

// askPing asks the client for a sign of life.
func (l *loop) askPing(c *loopConn) {
	if c.state != stateOpen {
		return
	}
	if c.out == nil {
		c.out = l.shelf.outgoing()
	}
	c.out.pingDue = true
	l.soil(c)
}

// pong answers a ping: in its place, unless the client takes nothing.
func (l *loop) pong(c *loopConn, payload []byte) {
	if c.out != nil && c.out.since != 0 && c.out.left() > inPlace {
		c.out.pongDue = true
		c.out.pong = append(c.out.pong[:0], payload...)
		return
	}
	l.putControl(c, ws.OpPong, payload)
}

func (l *loop) putControl(c *loopConn, op ws.OpCode, payload []byte) {
	b := l.space(c, 2+len(payload))
	b.b = appendControl(b.b, op, payload)
	l.note(c, 2+len(payload))
}

// putDue puts in the control frames that have waited.
func (l *loop) putDue(c *loopConn) {
	o := c.out
	if o == nil {
		return
	}
	if o.pingDue {
		o.pingDue = false
		l.putControl(c, ws.OpPing, nil)
	}
	if o.pongDue {
		o.pongDue = false
		l.putControl(c, ws.OpPong, o.pong)
	}
}

// flush writes what there is for connections that have something new, or room
// again.
func (l *loop) flush() {
	for i := 0; i < len(l.dirty); i++ {
		c := l.dirty[i]
		c.flags &^= isDirty
		if c.state != stateDead {
			l.write(c)
		}
	}
	clear(l.dirty)
	l.dirty = l.dirty[:0]
	l.queued = 0
}

// relieve flushes early, if there is much.
func (l *loop) relieve() {
	if l.queued >= flushAt || len(l.dirty) >= flushFrom {
		l.flush()
	}
}

// write writes what there is for c, as far as it takes it.
func (l *loop) write(c *loopConn) {
	for o := c.out; o != nil; {
		if c.state == stateOpen && (o.since == 0 || o.left() <= inPlace) {
			l.putDue(c)
		}
		if o.left() == 0 {
			break
		}
		if c.tls != nil && o.done >= o.sealed {
			if !l.seal(c) {
				return
			}
			o.since = 0
			continue
		}
		part := o.buf.b[o.done:]
		if c.tls != nil {
			part = o.buf.b[o.done:o.sealed]
		}
		m, ok := l.send(c, part)
		if !ok {
			return
		}
		o.done += m
		l.totals.unsent -= int64(m)
		if c.tls == nil {
			l.totals.bytesOut += int64(m)
		}
		if m < len(part) {
			l.blocked(c, m)
			return
		}
		o.since = 0
	}
	l.discard(c)
	if c.is(wantsWrite) {
		c.flags &^= wantsWrite
		l.watch(c)
	}
	if c.state == stateClosing {
		l.sentAll(c)
	}
}

// send writes as much of p as c takes; false if the connection is lost.
func (l *loop) send(c *loopConn, p []byte) (int, bool) {
	n, err := epoll.Write(int(c.fd), p)
	if err != nil && err != unix.EAGAIN {
		l.s.counts.writeFailed.Add(1)
		l.doom(c, endWrite, true)
		return 0, false
	}
	return n, true
}

// blocked: the client took m bytes and left some. WriteTimeout is for one that
// takes nothing, not for a slow one with much to take.
func (l *loop) blocked(c *loopConn, m int) {
	o := c.out
	if o.taken += m; o.since == 0 || o.taken >= maxWrite {
		o.since, o.taken = l.tick, 0
		l.remind(c, o.since+ticks(l.s.cfg.WriteTimeout))
	}
	if !c.is(wantsWrite) {
		c.flags |= wantsWrite
		l.watch(c)
	}
}

// discard lets go of what is for c.
func (l *loop) discard(c *loopConn) {
	if c.out == nil {
		return
	}
	l.totals.unsent -= int64(c.out.left())
	l.shelf.back(c.out)
	c.out = nil
}
