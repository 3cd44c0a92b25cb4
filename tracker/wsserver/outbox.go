package wsserver

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/tracker/wire"
)

// outbox is what is still to be sent to one client. Putting something in
// never blocks: it is encoded into a pooled buffer under the outbox's own
// lock, and if no writer is at work one is started, which writes batch after
// batch and ends when there is nothing left. A connection that is only
// listening has neither buffer nor writer.
//
// What does not fit is dropped by rule. Unsent bytes above the soft limit:
// offers are dropped, which clients make anew with each announce, while
// replies and answers still pass. Half way to the hard limit answers are
// dropped too: the offers that they are for are old by now. Replies are never;
// above the hard limit the client asks and does not read, and goes. Of what is
// left of the bound on all connections together no outbox takes more than a
// part: offers are dropped above three quarters of that, and whoever is to have
// more than that goes. So the more clients do not read, the less each of them
// can take up, and there is room left for those who do. An empty outbox always
// takes one frame, but no offer when the bound is reached.
type outbox struct {
	nc     net.Conn
	cfg    *Config
	pool   *buffers
	total  *atomic.Int64 // unsent bytes of all connections
	counts *counters
	// deflate is what was agreed on before the first frame.
	deflate deflation
	// flush is run as a method value made once: "go o.run()" would allocate
	// for each batch.
	flush func()

	mu      sync.Mutex
	pending *buffer // frames that no writer has taken yet
	unsent  int     // bytes in pending and in the batch being written
	// Control frames wait outside of pending once there is something in it, so
	// that a client which pings and never reads cannot fill it: one pong
	// answers all pings before it (RFC 6455, 5.5.3).
	pingDue bool
	pongDue bool
	pong    []byte
	closing []byte // close frame to end with; nothing is accepted after it
	sent    bool   // the close frame was taken by the writer
	writing bool
	dead    bool
	why     endReason     // if dead
	idle    chan struct{} // made by wait, closed when the writer ends
}

func (o *outbox) init(nc net.Conn, s *Server) {
	o.nc, o.cfg, o.pool = nc, &s.cfg, &s.pool
	o.total, o.counts = &s.backlog, &s.counts
	o.flush = o.run
}

// estimate is the size of m's frame, escapes aside.
func estimate(m *wire.Message) int {
	const overhead = 128 // member names, numbers, punctuation
	n := overhead + len(m.InfoHash) + len(m.PeerID) + len(m.OfferID) + len(m.Payload) + len(m.Reason)
	for i := range m.Files {
		n += overhead + len(m.Files[i].InfoHash)
	}
	return n
}

// deliver puts m's frame in, or drops it and counts why.
func (o *outbox) deliver(m *wire.Message) {
	o.put(m.Kind, estimate(m), func(dst []byte) []byte { return appendText(dst, m) })
}

// echo puts a message in as it is.
func (o *outbox) echo(msg []byte, text bool) {
	op := ws.OpBinary
	if text {
		op = ws.OpText
	}
	o.put(wire.KindReply, len(msg), func(dst []byte) []byte { return appendMessage(dst, op, msg) })
}

// put lets a frame of about size bytes be appended, or drops it and counts why.
func (o *outbox) put(kind wire.MessageKind, size int, frame func(dst []byte) []byte) {
	o.mu.Lock()
	if o.dead || o.closing != nil {
		o.mu.Unlock()
		o.counts.dropped[dropClosed].Add(1)
		return
	}
	switch r := o.admit(kind, size); r {
	case admitted:
	case dropHard, dropTotal:
		o.die(endOverflow)
		o.mu.Unlock()
		o.counts.dropped[r].Add(1)
		abort(o.nc)
		return
	default:
		o.mu.Unlock()
		o.counts.dropped[r].Add(1)
		return
	}
	if o.pending == nil {
		o.pending = o.pool.get(size + maxFrameHeader)
	}
	before := len(o.pending.b)
	o.pending.b = frame(o.pending.b)
	if n := len(o.pending.b) - before; o.deflate != 0 && n >= o.cfg.Compress+2 {
		o.shrink(before)
	}
	n := len(o.pending.b) - before
	o.unsent += n
	o.total.Add(int64(n))
	o.kick()
	o.mu.Unlock()
	o.counts.framesOut.Add(1)
}

// shrink compresses the frame that was put in last, from before on, if it is to
// be and gains by it. Caller holds mu.
func (o *outbox) shrink(before int) {
	b := o.pending.b
	if n := len(b) - before - frameHeader(b[before:]); n < o.cfg.Compress || !o.deflate.takes(n) {
		return
	}
	d := o.pool.deflater()
	o.pending.b = d.shrink(b, before)
	o.pool.deflaters.Put(d)
}

// admit judges a frame of about size bytes. Caller holds mu.
func (o *outbox) admit(kind wire.MessageKind, size int) dropReason {
	return admit(o.cfg, kind, size, o.unsent, o.total.Load())
}

// backlogParts is what part of the bytes that are left one outbox may have: n
// clients who take as much as they can leave 64/(64+n) of the bound.
const backlogParts = 64

// admit judges a frame of about size bytes for a connection with unsent bytes,
// of all connections' total.
func admit(cfg *Config, kind wire.MessageKind, size, unsent int, total int64) dropReason {
	left := cfg.TotalBacklog - total - int64(size)
	part := left / backlogParts
	if kind == wire.KindOffer {
		switch {
		case unsent > 0 && unsent+size > cfg.SoftBacklog:
			return dropOfferSoft
		case left < 0, unsent > 0 && int64(unsent+size) > part/4*3:
			return dropOfferTotal
		}
		return admitted
	}
	switch {
	case unsent == 0:
		return admitted
	case kind == wire.KindAnswer && unsent+size > (cfg.SoftBacklog+cfg.HardBacklog)/2:
		return dropAnswer
	case unsent+size > cfg.HardBacklog:
		return dropHard
	case int64(unsent+size) > part:
		return dropTotal
	}
	return admitted
}

// sendPing asks the client for a sign of life.
func (o *outbox) sendPing() {
	o.mu.Lock()
	o.pingDue = true
	o.kick()
	o.mu.Unlock()
}

// pongsInPlace is how much may be unsent while a pong still goes where it
// belongs between the messages.
const pongsInPlace = 4 << 10

// sendPong answers a ping: each one for a client that reads, the latest for
// one that does not.
func (o *outbox) sendPong(payload []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead || o.closing != nil {
		return
	}
	if o.pongDue || o.unsent > pongsInPlace {
		o.pongDue = true
		o.pong = append(o.pong[:0], payload...)
	} else {
		if o.pending == nil {
			o.pending = o.pool.get(2 + len(payload))
		}
		o.pending.b = appendControl(o.pending.b, ws.OpPong, payload)
		o.unsent += 2 + len(payload)
		o.total.Add(int64(2 + len(payload)))
	}
	o.kick()
}

// close ends the conversation with a close frame, after what is there already.
// Only the first call counts; code 0 sends a frame without one.
func (o *outbox) close(code ws.StatusCode, reason string) {
	frame := appendClose(nil, code, reason)
	o.mu.Lock()
	if o.closing == nil {
		o.closing = frame
		o.kick()
	}
	o.mu.Unlock()
}

// isClosing reports whether the conversation is ending from this side.
func (o *outbox) isClosing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dead || o.closing != nil
}

// kick starts a writer if there is none. Caller holds mu.
func (o *outbox) kick() {
	if !o.writing && !o.dead {
		o.writing = true
		go o.flush()
	}
}

// run writes until there is nothing to write.
func (o *outbox) run() {
	for {
		b := o.take()
		if b == nil {
			return
		}
		err := o.write(b.b)
		o.pool.put(b)
		if err != nil {
			o.fail(err)
		}
	}
}

// take is the next batch, or nil when the writer has to end.
func (o *outbox) take() *buffer {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.pending
	o.pending = nil
	if !o.dead && (o.pingDue || o.pongDue || o.closing != nil && !o.sent) {
		if b == nil {
			b = o.pool.get(3 * (2 + ws.MaxControlFramePayloadSize))
		}
		before := len(b.b)
		if o.pingDue {
			b.b = appendControl(b.b, ws.OpPing, nil)
		}
		if o.pongDue {
			b.b = appendControl(b.b, ws.OpPong, o.pong)
		}
		if o.closing != nil {
			b.b = append(b.b, o.closing...)
			o.sent = true
		}
		o.pingDue, o.pongDue = false, false
		n := len(b.b) - before
		o.unsent += n
		o.total.Add(int64(n))
	}
	if b == nil {
		o.writing = false
		if o.idle != nil {
			close(o.idle)
			o.idle = nil
		}
	}
	return b
}

// maxWrite is how much one write deadline covers: WriteTimeout is for a
// client that reads nothing, not for a slow one with a long batch.
const maxWrite = 64 << 10

func (o *outbox) write(p []byte) error {
	for len(p) > 0 {
		o.nc.SetWriteDeadline(time.Now().Add(o.cfg.WriteTimeout))
		n, err := o.nc.Write(p[:min(len(p), maxWrite)])
		p = p[n:]
		o.mu.Lock()
		if !o.dead { // otherwise all has been subtracted
			o.unsent -= n
			o.total.Add(-int64(n))
		}
		o.mu.Unlock()
		o.counts.bytesOut.Add(int64(n))
		if err != nil {
			return err
		}
	}
	return nil
}

// fail ends the connection after a write that did not succeed.
func (o *outbox) fail(err error) {
	why := endWrite
	if errors.Is(err, os.ErrDeadlineExceeded) {
		why = endOverflow
	}
	o.mu.Lock()
	if !o.dead {
		o.counts.writeFailed.Add(1)
	}
	o.die(why)
	o.mu.Unlock()
	abort(o.nc)
}

// die gives up on the client. Caller holds mu.
func (o *outbox) die(why endReason) {
	if o.dead {
		return
	}
	o.dead, o.why = true, why
	o.total.Add(-int64(o.unsent))
	o.unsent = 0
	o.pool.put(o.pending)
	o.pending = nil
	o.pong = nil
}

// wait returns once no writer is at work.
func (o *outbox) wait() {
	o.mu.Lock()
	if !o.writing {
		o.mu.Unlock()
		return
	}
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	idle := o.idle
	o.mu.Unlock()
	<-idle
}

// stop drops what is left and returns once no writer is at work. The socket
// has been closed.
func (o *outbox) stop() {
	o.mu.Lock()
	o.die(endClosed)
	o.mu.Unlock()
	o.wait()
}

// died reports whether the client was given up, and why.
func (o *outbox) died() (endReason, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why, o.dead
}
