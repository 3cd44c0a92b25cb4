package wsserver

import (
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/tracker/epoll"
	"github.com/draeder/peerservers/tracker/wire"
)

const (
	// maxMail is how many bytes of frames a mailbox holds at most; offers
	// find room in three quarters of it. It is emptied once per iteration, so
	// that only a loop with far too much to do lets it fill.
	maxMail = 16 << 20
	// maxKeptMail is how much memory is kept for the next ones: what a busy
	// link brings in one iteration, or it would be allocated each time.
	maxKeptMail = 2 << 20
)

// letter is something for a connection, from another goroutine than its
// loop's. A frame's bytes are in the mail beside it.
type letter struct {
	to   *loopConn
	size int32
	kind letterKind
}

// letterKind is what a letter asks for: a frame of the wire's kinds, or else.
type letterKind uint8

const (
	letterHandshake letterKind = 0xfd
	letterPing      letterKind = 0xfe
	letterClose     letterKind = 0xff // the bytes are the frame
)

// What has been asked of a connection and need not be asked again.
const (
	pingAsked uint32 = 1 << iota
	closeAsked
	handshakeAsked
)

// mail is letters in the order that they were posted in.
type mail struct {
	letters []letter
	bytes   []byte
	sockets []arrival
	calls   []func()
}

// reset empties m for the next letters.
func (m *mail) reset() {
	clear(m.letters)
	clear(m.sockets)
	clear(m.calls)
	m.letters, m.bytes, m.sockets, m.calls = m.letters[:0], m.bytes[:0], m.sockets[:0], m.calls[:0]
	if cap(m.bytes) > maxKeptMail {
		*m = mail{}
	}
}

// mailbox is the way into a loop from other goroutines. Its lock is held for
// no longer than it takes to append a frame.
type mailbox struct {
	poller *epoll.Poller
	// some: there is something in it; asleep: the loop waits, or is about to,
	// and has to be woken.
	some, asleep atomic.Bool

	mu     sync.Mutex
	in     mail
	closed bool
	out    mail // what the loop reads; its own
}

// unlock ends a change that put something in.
func (b *mailbox) unlock() {
	b.some.Store(true)
	if b.asleep.CompareAndSwap(true, false) {
		b.poller.Wake() // with the lock: afterwards it might be closed
	}
	b.mu.Unlock()
}

// sleep announces that the loop will wait; false if it must not.
func (b *mailbox) sleep() bool {
	b.asleep.Store(true)
	if b.some.Load() {
		b.asleep.Store(false)
		return false
	}
	return true
}

// awake: the loop will look into the mailbox before it waits again.
func (b *mailbox) awake() { b.asleep.Store(false) }

// letters is how many there are. They count like events: what links bring comes
// this way, and each is a write, as those are.
func (b *mailbox) letters() int {
	if !b.some.Load() {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.in.letters)
}

// take is what has been posted. It is to be reset.
func (b *mailbox) take() *mail {
	b.mu.Lock()
	b.some.Store(false)
	b.in, b.out = b.out, b.in
	b.mu.Unlock()
	return &b.out
}

// close drops what is in it and what comes from now on, but for the sockets: it
// returns those, which are somebody's to close.
func (b *mailbox) close() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	sockets := b.in.sockets
	b.closed = true
	b.in = mail{}
	return sockets
}

// hand puts a socket in; false if the loop has ended.
func (b *mailbox) hand(a arrival) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.in.sockets = append(b.in.sockets, a)
	b.unlock()
	return true
}

// fits reports whether a frame may still be put in. Caller holds mu.
func (b *mailbox) fits(kind wire.MessageKind, size int) dropReason {
	switch total := len(b.in.bytes) + size; {
	case b.closed:
		return dropClosed
	case kind == wire.KindOffer && total > maxMail/4*3:
		return dropOfferTotal
	case total > maxMail:
		return dropTotal
	}
	return admitted
}

// Deliver implements tracker.Sink, for other goroutines than the loop's.
func (c *loopConn) Deliver(m *wire.Message) {
	b := &c.loop.mail
	b.mu.Lock()
	if r := b.fits(m.Kind, estimate(m)); r != admitted {
		b.mu.Unlock()
		c.loop.s.counts.dropped[r].Add(1)
		return
	}
	from := len(b.in.bytes)
	b.in.bytes = appendText(b.in.bytes, m)
	b.in.letters = append(b.in.letters, letter{c, int32(len(b.in.bytes) - from), letterKind(m.Kind)})
	b.unlock()
}

// Ping implements tracker.Sink. It may be called on the loop as well.
func (c *loopConn) Ping() {
	if c.mailed.Or(pingAsked)&pingAsked == 0 {
		c.loop.mail.post(letter{to: c, kind: letterPing}, nil)
	}
}

// Close implements tracker.Sink. It may be called on the loop as well.
func (c *loopConn) Close(code int, reason string) {
	if c.mailed.Or(closeAsked)&closeAsked == 0 {
		var frame [2 + ws.MaxControlFramePayloadSize]byte
		c.loop.mail.post(letter{to: c, kind: letterClose}, appendClose(frame[:0], ws.StatusCode(code), reason))
	}
}

// post puts a letter in. There are at most three for each connection at a time.
func (b *mailbox) post(m letter, bytes []byte) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	m.size = int32(len(bytes))
	b.in.bytes = append(b.in.bytes, bytes...)
	b.in.letters = append(b.in.letters, m)
	b.unlock()
}

// readMail does what was asked from elsewhere.
func (l *loop) readMail() {
	if !l.mail.some.Load() {
		return
	}
	m := l.mail.take()
	bytes := m.bytes
	for i := range m.letters {
		t := &m.letters[i]
		l.open(t, bytes[:t.size])
		bytes = bytes[t.size:]
		l.relieve()
	}
	// Before the calls: who ends all connections means these, too.
	for _, a := range m.sockets {
		l.enter(a)
	}
	for _, f := range m.calls {
		f()
	}
	m.reset()
}

func (l *loop) open(t *letter, bytes []byte) {
	switch c := t.to; t.kind {
	case letterPing:
		c.mailed.And(^pingAsked)
		l.askPing(c)
	case letterClose:
		l.closeWith(c, bytes)
	case letterHandshake:
		c.mailed.And(^handshakeAsked)
		l.shake(c)
	default:
		if b := l.room(c, wire.MessageKind(t.kind), len(bytes)); b != nil {
			from := len(b.b)
			b.b = append(b.b, bytes...)
			l.put(c, from)
		}
	}
}

// do runs f on the loop and returns when it has; false if the loop has ended.
func (l *loop) do(f func()) bool {
	done := make(chan struct{})
	if !l.mail.call(func() { f(); close(done) }) {
		return false
	}
	select {
	case <-done:
		return true
	case <-l.stopped:
		return false
	}
}

// call makes the loop run f; false if it has ended. If it ends before it comes
// to that, it does not.
func (b *mailbox) call(f func()) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.in.calls = append(b.in.calls, f)
	b.unlock()
	return true
}

// stage is what one iteration has for the connections of another loop.
type stage struct{ mail }

// stage puts a frame aside for a connection of another loop.
func (l *loop) stage(c *loopConn, m *wire.Message) {
	for len(l.staged) <= c.loop.number {
		l.staged = append(l.staged, stage{})
	}
	s := &l.staged[c.loop.number]
	from := len(s.bytes)
	s.bytes = appendText(s.bytes, m)
	s.letters = append(s.letters, letter{c, int32(len(s.bytes) - from), letterKind(m.Kind)})
	l.queued += len(s.bytes) - from
}

// handOn gives other loops what was staged for them.
func (l *loop) handOn() {
	for i := range l.staged {
		s := &l.staged[i]
		if len(s.letters) == 0 {
			continue
		}
		b := &s.letters[0].to.loop.mail
		bytes := s.bytes
		b.mu.Lock()
		for _, t := range s.letters {
			if r := b.fits(wire.MessageKind(t.kind), int(t.size)); r != admitted {
				l.s.counts.dropped[r].Add(1)
			} else {
				b.in.letters = append(b.in.letters, t)
				b.in.bytes = append(b.in.bytes, bytes[:t.size]...)
			}
			bytes = bytes[t.size:]
		}
		b.unlock()
		s.reset()
	}
}
