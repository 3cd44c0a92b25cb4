package federation

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

const (
	// outboxLimit is how many bytes may wait for one link; a link that does
	// not take them is cut off.
	outboxLimit = 4 << 20
	// offersLimit is from when on offers are dropped: they come first, since
	// a client whose offer is lost offers again, while joins, leaves and
	// answers have no second chance.
	offersLimit  = outboxLimit / 2
	writeTimeout = 20 * time.Second
	// keptOut is how large a buffer is kept between two writes of a busy link,
	// which would allocate as much for each; relax lets go of it.
	keptOut = 256 << 10
)

// backlog is what waits in the outboxes of all links together. With all that one
// link may have for each of a thousand, it would be gigabytes. So the more waits,
// the less may for one link, down to its share: those that read nothing leave
// room for those that are busy, and what is more than the limit is no more than a
// share for each link.
type backlog struct {
	bytes atomic.Int64
	limit int64
}

const (
	maxBacklog = 256 << 20
	fairShare  = 64 << 10
)

// part is how many bytes one link may have waiting now, which would be most if
// nothing else waited.
func (b *backlog) part(most int) int {
	free := max(0, b.limit-b.bytes.Load())
	return max(fairShare, int(free*int64(most)/b.limit))
}

// sent says what became of a frame.
type sent uint8

const (
	sentOK      sent = iota
	sentDropped      // an offer, for want of room
	sentEnded        // nothing more goes over this link
)

// outbox gathers the frames for one link. Putting never blocks; one goroutine
// writes, everything that has gathered at once.
type outbox struct {
	client bool
	wake   chan struct{} // capacity 1

	mu    sync.Mutex
	pace  *allowance // nil during the handshake
	all   *backlog   // counts buf and busy; its own during the handshake
	buf   []byte
	spare []byte
	ended bool // no more frames
	over  bool // full: the link is to be cut
	busy  int  // bytes that the writer has taken and not yet written
}

// allowance is what this side lets itself send: a little less than what the
// other allows, whose strikes would end the link of two nodes that only have
// much to say to each other. What may be dropped is, before the allowance is
// used up; answers, joins and leaves pass.
type allowance struct {
	now                   func() time.Duration
	frames, bytes, offers rate
}

// allowedShare is the part of the other side's quota that is used, and
// keptShare the part of that which is kept for what cannot be dropped.
const (
	allowedShare = 0.9
	keptShare    = 0.1
)

func newAllowance(q Quota, now func() time.Duration) *allowance {
	at := now()
	part := func(perSecond float64) rate { return newRate(allowedShare*perSecond, q.BurstSeconds, at) }
	return &allowance{now: now, frames: part(q.Frames), bytes: part(q.Bytes), offers: part(q.Offers)}
}

// spend takes what a frame costs; false if it is to be dropped.
func (a *allowance) spend(bytes, offers int, droppable bool) bool {
	now := a.now()
	if droppable {
		for _, c := range [...]struct {
			r *rate
			n int
		}{{&a.frames, 1}, {&a.bytes, bytes}, {&a.offers, offers}} {
			if !c.r.has(now, float64(c.n)+keptShare*c.r.burst) {
				return false
			}
		}
	}
	a.frames.take(now, 1)
	a.bytes.take(now, float64(bytes))
	a.offers.take(now, float64(offers))
	return true
}

func newOutbox(client bool) *outbox {
	return &outbox{client: client, wake: make(chan struct{}, 1), all: &backlog{limit: outboxLimit}}
}

// limit begins to hold this side to an allowance, and counts what waits with that
// of all links.
func (o *outbox) limit(q Quota, now func() time.Duration, all *backlog) {
	o.mu.Lock()
	o.pace = newAllowance(q, now)
	o.all = all
	all.bytes.Add(int64(len(o.buf)))
	o.mu.Unlock()
}

// put appends one message. droppable ones are refused earlier.
func (o *outbox) put(op ws.OpCode, payload []byte, droppable bool) sent {
	return o.putOffers(op, payload, droppable, 0)
}

// putOffers is put for a message that carries so many offers.
func (o *outbox) putOffers(op ws.OpCode, payload []byte, droppable bool, offers int) sent {
	o.mu.Lock()
	switch {
	case o.ended:
		o.mu.Unlock()
		return sentEnded
	case droppable && o.full(len(payload), offersLimit):
		o.mu.Unlock()
		return sentDropped
	case o.pace != nil && !o.pace.spend(len(payload), offers, droppable):
		o.mu.Unlock()
		return sentDropped
	case o.full(len(payload), outboxLimit):
		o.ended, o.over = true, true
		o.mu.Unlock()
		o.signal()
		return sentEnded
	}
	o.append(op, payload)
	o.mu.Unlock()
	o.signal()
	return sentOK
}

// full reports whether n bytes more are too many, if most may wait.
func (o *outbox) full(n, most int) bool {
	waiting := len(o.buf) + o.busy
	return waiting+n > most || waiting > o.all.part(most)
}

func (o *outbox) append(op ws.OpCode, payload []byte) {
	before := len(o.buf)
	if o.client {
		var mask [4]byte
		binary.LittleEndian.PutUint32(mask[:], rand.Uint32())
		o.buf = appendFrame(o.buf, op, payload, &mask)
	} else {
		o.buf = appendFrame(o.buf, op, payload, nil)
	}
	o.all.bytes.Add(int64(len(o.buf) - before))
}

// discard ends an outbox that nobody writes out any more.
func (o *outbox) discard() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.all.bytes.Add(-int64(len(o.buf)))
	o.buf, o.spare = nil, nil
}

// end appends last, unless it is empty, as the last message.
func (o *outbox) end(last []byte) {
	o.mu.Lock()
	if !o.ended {
		o.ended = true
		if len(last) > 0 {
			o.append(ws.OpBinary, last)
		}
	}
	o.mu.Unlock()
	o.signal()
}

// relax gives up large buffers of a link that has nothing to say just now.
func (o *outbox) relax() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf) == 0 && cap(o.buf) > keptBuffer {
		o.buf = nil
	}
	if cap(o.spare) > keptBuffer {
		o.spare = nil
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// write writes what has gathered; done when nothing will follow. What comes
// meanwhile has woken the writer again.
func (o *outbox) write(conn net.Conn) (done bool, err error) {
	o.mu.Lock()
	b := o.buf
	if o.over || len(b) == 0 {
		defer o.mu.Unlock()
		if o.over {
			return true, errTooBig
		}
		return o.ended, nil
	}
	o.buf, o.spare = o.spare[:0], nil
	o.busy = len(b)
	o.mu.Unlock()

	if err = conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err == nil {
		_, err = conn.Write(b)
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy = 0
	o.all.bytes.Add(-int64(len(b)))
	if cap(b) <= keptOut {
		o.spare = b
	}
	return err != nil || o.ended && !o.over && len(o.buf) == 0, err
}
