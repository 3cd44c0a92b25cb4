package federation

import (
	"math/rand/v2"
	"net"
	"sync"
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
)

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
	buf   []byte
	spare []byte
	ended bool // no more frames
	over  bool // full: the link is to be cut
	busy  int  // bytes that the writer has taken and not yet written
}

func newOutbox(client bool) *outbox {
	return &outbox{client: client, wake: make(chan struct{}, 1)}
}

// put appends one message. droppable ones are refused earlier.
func (o *outbox) put(op ws.OpCode, payload []byte, droppable bool) sent {
	o.mu.Lock()
	waiting := len(o.buf) + o.busy
	switch {
	case o.ended:
		o.mu.Unlock()
		return sentEnded
	case droppable && waiting+len(payload) > offersLimit:
		o.mu.Unlock()
		return sentDropped
	case waiting+len(payload) > outboxLimit:
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

func (o *outbox) append(op ws.OpCode, payload []byte) {
	if !o.client {
		o.buf = appendFrame(o.buf, op, payload, nil)
		return
	}
	var mask [4]byte
	m := rand.Uint32()
	mask[0], mask[1], mask[2], mask[3] = byte(m), byte(m>>8), byte(m>>16), byte(m>>24)
	o.buf = appendFrame(o.buf, op, payload, &mask)
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

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// write writes what has gathered; done when nothing will follow.
func (o *outbox) write(conn net.Conn) (done bool, err error) {
	for {
		o.mu.Lock()
		b := o.buf
		if o.over || len(b) == 0 {
			done = o.ended
			over := o.over
			o.mu.Unlock()
			if over {
				return true, errTooBig
			}
			return done, nil
		}
		o.buf, o.spare = o.spare[:0], nil
		o.busy = len(b)
		o.mu.Unlock()

		if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return true, err
		}
		_, err := conn.Write(b)

		o.mu.Lock()
		o.busy = 0
		if cap(b) <= keptBuffer {
			o.spare = b
		}
		o.mu.Unlock()
		if err != nil {
			return true, err
		}
	}
}
