package wsserver

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/draeder/peerservers/tracker/epoll"
)

const (
	// readBuffer is what one read of a connection gets at most: more than an
	// announce with all its offers. It is one for all of a loop, so it stays in
	// the processor's cache; and it bounds for how long one connection can keep
	// the others waiting. Five that flood with frames of a byte made a round
	// trip of another's take 25 ms with 128 KiB, and 4 ms with these.
	readBuffer = 32 << 10
	// eventBatch bounds the events of one iteration.
	eventBatch = 512
	// acceptBatch bounds the sockets taken in one iteration.
	acceptBatch = 64
	// flushAt is how many unsent bytes make a loop write before the end of an
	// iteration: as many as stay in the cache.
	flushAt = 256 << 10
	// flushFrom is how many connections with something unsent do so too: each
	// has a buffer until then.
	flushFrom = 512
	// tickLength is how fine a loop's timers are.
	tickLength = 250 * time.Millisecond
	// yieldEvery is how long a loop runs at most until it lets others run, if
	// iterations are short: well below the scheduler's 10 ms.
	yieldEvery = 5 * time.Millisecond

	// An event's data is the number of a connection, and above it the serial
	// that tells it from those that had the number before; or, marked, the
	// number of a listener.
	listenerEvent = 1 << 31
)

// loop serves many connections in one goroutine. Everything in it, and in its
// connections, is that goroutine's own but for the mailbox.
type loop struct {
	s      *Server
	poller *epoll.Poller
	events []epoll.Event
	read   []byte
	dec    decoder
	tick   uint32 // by now, in tickLength since the server began, from 1
	wheel  wheel

	conns  []*loopConn // by number; nil: free
	unused []uint32    // numbers
	serial uint32

	dirty  []*loopConn // have something to be written
	doomed []*loopConn // are to be buried
	queued int         // bytes put in since the last flush
	shelf  shelf
	// deflater compresses for all of them; nil until one takes it.
	deflater *deflater

	// What was decrypted last, and encrypted.
	plain, sealed []byte
	warm          int // connections with ciphers
	cooling       int // the last one looked at for being silent

	listeners []*loopListener
	resume    uint32 // when to accept again; 0: accepting
	warnAt    uint32 // when to say so again

	src  bytes.Reader // for parsing requests
	text *bufio.Reader

	mail   mailbox
	staged []stage // by the order of s.loops
	number int     // in s.loops
	totals totals
	// heldSaid is how much of dec.held is in Server.held.
	heldSaid int64
	pacer    pacer
	// worked is pacer.worked, for others to read.
	worked  atomic.Int64
	growth  *growth   // nil: it starts no other loops
	yielded time.Time // when it let others run
	quit    bool
	stopped chan struct{} // closed at the end
	failed  chan<- error
}

// loopListener is a listening socket of a loop.
type loopListener struct {
	original net.Listener
	fd       int
}

func newLoop(s *Server, number int, failed chan<- error) (*loop, error) {
	p, err := epoll.NewPoller(eventBatch)
	if err != nil {
		return nil, err
	}
	l := &loop{
		s: s, poller: p, number: number, failed: failed,
		events: make([]epoll.Event, 0, eventBatch), read: make([]byte, readBuffer),
		dec: decoder{limit: s.cfg.MaxMessage, pool: &s.pool}, shelf: shelf{pool: &s.pool},
		text: bufio.NewReader(nil), stopped: make(chan struct{}),
		pacer: pacer{begun: time.Now()},
	}
	l.mail.poller = p
	l.clock()
	l.wheel.now = l.tick
	return l, nil
}

// listen makes the loop accept from ln, whose descriptor it duplicates.
func (l *loop) listen(ln *net.TCPListener) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if cerr := raw.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("listener %v: %w", ln.Addr(), err)
	}
	if err := l.poller.Add(fd, listenerEvent|uint64(len(l.listeners)), epoll.Readable); err != nil {
		unix.Close(fd)
		return err
	}
	l.listeners = append(l.listeners, &loopListener{ln, fd})
	return nil
}

// stopListening closes the listeners, so that who connects is refused.
func (l *loop) stopListening() {
	for _, ln := range l.listeners {
		if ln.fd >= 0 {
			// Closing does not end the watch as long as somebody else has the
			// socket, such as the process that takes over.
			l.poller.Remove(ln.fd)
			unix.Close(ln.fd)
			ln.fd = -1
			ln.original.Close()
		}
	}
}

// run is the loop's goroutine. It ends when quit was set and nobody is left.
func (l *loop) run() {
	defer l.end()
	for !l.quit {
		events, err := l.wait()
		l.clock()
		if err != nil {
			l.fail(fmt.Errorf("event loop: %w", err))
			return
		}
		if l.tick != l.wheel.now {
			l.unrest()
			l.cool()
			l.survey()
		}
		l.wheel.advance(l.tick, l.look)
		for i := range events {
			l.event(&events[i])
		}
		l.readMail()
		l.flush()
		l.handOn()
		l.bury()
		l.publish()
		l.yield()
	}
}

// yield lets others run, now and then. Go's scheduler takes a goroutine that has
// run for 10 ms for one that hogs its thread, even if it has slept in the kernel
// for most of them: it then takes the thread's place away in the midst of system
// calls, and looks 50 times at intervals of 20 us whether there is more to take.
// For a busy loop that was a tenth and more of the CPU time of the process.
func (l *loop) yield() {
	if l.pacer.begun.Sub(l.yielded) >= yieldEvery {
		l.yielded = l.pacer.begun
		runtime.Gosched()
	}
}

// fail makes Serve return with err, or whatever failed before.
func (l *loop) fail(err error) {
	select {
	case l.failed <- err:
	default:
	}
}

// wait returns when there is something to do.
func (l *loop) wait() ([]epoll.Event, error) {
	l.pacer.pause()
	timeout := 0
	if l.mail.sleep() {
		timeout = l.timeout()
	}
	events, _, err := l.poller.Wait(l.events[:0], timeout)
	l.mail.awake()
	l.pacer.begin(time.Now(), len(events)+l.mail.letters())
	return events, err
}

// timeout is how many milliseconds nothing may happen.
func (l *loop) timeout() int {
	if len(l.dirty) > 0 || len(l.doomed) > 0 {
		return 0
	}
	ticks, ok := l.wheel.wait()
	if l.warm > 0 {
		ticks, ok = 1, true
	}
	if l.resume != 0 && (!ok || ticks > l.resume-l.tick) {
		ticks, ok = max(l.resume, l.tick+1)-l.tick, true
	}
	if !ok {
		return -1
	}
	at := time.Duration(l.tick-1+ticks) * tickLength
	return int(max(at-l.s.elapsed(), 0)/time.Millisecond) + 1
}

// clock notes what time it is.
func (l *loop) clock() {
	l.tick = uint32(l.s.elapsed()/tickLength) + 1
	l.dec.now = l.tick
}

// ticksTime is when tick n began, since the server did.
func ticksTime(n uint32) time.Duration { return time.Duration(n-1) * tickLength }

// ticks is how many ticks d takes, rounded up.
func ticks(d time.Duration) uint32 { return uint32((d + tickLength - 1) / tickLength) }

// event serves one event.
func (l *loop) event(ev *epoll.Event) {
	number := uint32(ev.Data)
	if number&listenerEvent != 0 {
		l.accept(l.listeners[number&^listenerEvent])
		return
	}
	c := l.conns[number]
	if c == nil || c.serial != uint32(ev.Data>>32) {
		return // gone since this event came about
	}
	if ev.Ready&epoll.Writable != 0 {
		l.soil(c)
	}
	if ev.Ready&(epoll.Readable|epoll.HungUp) != 0 {
		l.readable(c)
	}
}

// look is a connection's timer.
func (l *loop) look(number uint32) {
	c := l.conns[number]
	if c == nil {
		return
	}
	if next := c.due(); next != 0 {
		l.wheel.set(number, next)
	}
}

// remind makes the loop look at c at the given tick, or earlier.
func (l *loop) remind(c *loopConn, at uint32) {
	if was := l.wheel.at(c.number); was == 0 || at < was {
		l.wheel.set(c.number, at)
	}
}

// add gives a descriptor a place in the table.
func (l *loop) add(fd int) (*loopConn, error) {
	var n uint32
	if k := len(l.unused); k > 0 {
		n, l.unused = l.unused[k-1], l.unused[:k-1]
	} else {
		n = uint32(len(l.conns))
		l.conns = append(l.conns, nil)
	}
	l.serial++
	c := &loopConn{loop: l, fd: int32(fd), number: n, serial: l.serial, heard: l.tick}
	if err := l.poller.Add(fd, c.data(), epoll.Readable); err != nil {
		l.unused = append(l.unused, n)
		return nil, err
	}
	l.conns[n] = c
	l.wheel.clear(n)
	return c, nil
}

// remove takes c out of the table. Its descriptor is the caller's to close.
func (l *loop) remove(c *loopConn) {
	l.wheel.clear(c.number)
	l.conns[c.number] = nil
	l.unused = append(l.unused, c.number)
}

// bury ends the connections that are doomed.
func (l *loop) bury() {
	for i := 0; i < len(l.doomed); i++ {
		c := l.doomed[i]
		l.doomed[i] = nil
		l.finish(c)
	}
	l.doomed = l.doomed[:0]
}

// publish adds up what was counted since the last time.
func (l *loop) publish() {
	l.worked.Store(int64(l.pacer.worked))
	t, c := &l.totals, &l.s.counts
	if t.unsent != 0 {
		l.s.backlog.Add(t.unsent)
	}
	if n := l.dec.held.bytes; n != l.heldSaid {
		l.s.held.Add(n - l.heldSaid)
		l.heldSaid = n
	}
	if t.bytesIn != 0 {
		c.bytesIn.Add(t.bytesIn)
	}
	if t.framesIn != 0 {
		c.framesIn.Add(t.framesIn)
	}
	if t.framesOut != 0 {
		c.framesOut.Add(t.framesOut)
	}
	if t.bytesOut != 0 {
		c.bytesOut.Add(t.bytesOut)
	}
	*t = totals{}
}

// totals is what a loop has counted since it last published. Counters that
// several threads add to cost more than what they count.
type totals struct {
	unsent, bytesIn, framesIn, framesOut, bytesOut int64
}

// end lets go of everything.
func (l *loop) end() {
	l.stopListening()
	for _, c := range l.conns {
		if c != nil {
			l.doom(c, endClosed, true)
		}
	}
	l.bury()
	l.publish()
	for _, a := range l.mail.close() {
		a.drop(l.s)
	}
	l.poller.Close()
	close(l.stopped)
}
