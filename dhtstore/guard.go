package dhtstore

import (
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// guard is the connection that the library gets in place of the socket.
//
// Nothing reaches the library but replies to queries that it sent, and these
// not as they came but encoded anew from what parse accepted: it decodes only
// what we wrote. Queries end in onQuery, everything else is counted and gone.
// On the way out the library's transaction ids, a counter that anybody can
// guess, are replaced by random ones, so that a reply is from who saw the
// query; and our id, and "ro" while we answer nobody (BEP 43), are put in, as
// the library could be told both only once.
//
// The library panics when reading fails, so that ReadFrom returns no error
// but net.ErrClosed, and that only after Close, which the library itself
// calls when it has marked itself closed.
type guard struct {
	// Static.
	conn    net.PacketConn
	counts  *counters
	onQuery func(m *message, size int, from netip.AddrPort) // by the reader
	usable  func(netip.AddrPort) bool
	// identity is the id that queries carry, and whether they carry "ro".
	identity func() (self nodeID, readOnly bool)
	ready    chan struct{} // closed when the node is complete; reads wait
	closed   chan struct{}

	// Owned by the reader, the one goroutine in ReadFrom.
	in      message
	scratch []byte

	mu     sync.Mutex
	asked  map[question]inFlight
	oldest []expiring // in the order of their deadlines
	once   sync.Once
}

// question identifies an outstanding query.
type question struct {
	to  netip.AddrPort
	tid [tidSize]byte
}

type inFlight struct {
	tid string // the library's
}

type expiring struct {
	question
	deadline time.Time
}

const (
	tidSize = 4
	// maxAsked bounds outstanding queries; the budget keeps far below it.
	maxAsked = 4096
	// replyWait is how long a reply is let through: the library's own timeout
	// has passed by then.
	replyWait = 2 * queryTimeout
)

func newGuard(conn net.PacketConn, c *counters, usable func(netip.AddrPort) bool) *guard {
	return &guard{
		conn: conn, counts: c, usable: usable,
		ready:  make(chan struct{}),
		closed: make(chan struct{}),
		asked:  make(map[question]inFlight),
	}
}

// ReadFrom returns the next reply for the library.
func (g *guard) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case <-g.ready:
	case <-g.closed:
		return 0, nil, net.ErrClosed
	}
	backoff := time.Millisecond
	for {
		size, addr, err := g.conn.ReadFrom(b)
		if err != nil {
			select {
			case <-g.closed:
				return 0, nil, net.ErrClosed
			default:
			}
			// Windows reports others' closed ports here; a socket that is gone
			// for good just becomes slow.
			g.counts.inc(countReadErrors)
			if errors.Is(err, net.ErrClosed) {
				backoff = time.Second
			}
			t := time.NewTimer(backoff)
			select {
			case <-t.C:
			case <-g.closed:
				t.Stop()
				return 0, nil, net.ErrClosed
			}
			backoff = min(2*backoff, time.Second)
			continue
		}
		backoff = time.Millisecond
		g.counts.inc(countPacketsIn)
		g.counts.add(countBytesIn, size)
		from, ok := addrPort(addr)
		if !ok || !g.usable(from) {
			g.counts.inc(countDropAddress)
			continue
		}
		if f := g.in.parse(b[:size]); f != faultNone {
			g.counts.fault(f)
			continue
		}
		if g.in.kind == 'q' {
			g.onQuery(&g.in, size, from)
			continue
		}
		flight, ok := g.claim(from)
		if !ok {
			g.counts.inc(countDropUnasked)
			continue
		}
		g.scratch = appendRebuilt(g.scratch[:0], &g.in, []byte(flight.tid))
		return copy(b, g.scratch), net.UDPAddrFromAddrPort(from), nil
	}
}

// claim finds and ends the query that the message read last replies to.
func (g *guard) claim(from netip.AddrPort) (inFlight, bool) {
	if len(g.in.tid) != tidSize {
		return inFlight{}, false
	}
	q := question{from, [tidSize]byte(g.in.tid)}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire(time.Now())
	f, ok := g.asked[q]
	delete(g.asked, q)
	return f, ok
}

func (g *guard) expire(now time.Time) {
	n := 0
	for n < len(g.oldest) && now.After(g.oldest[n].deadline) {
		delete(g.asked, g.oldest[n].question)
		n++
	}
	if n > 0 {
		g.oldest = append(g.oldest[:0], g.oldest[n:]...)
	}
}

// waiting is the number of outstanding queries.
func (g *guard) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire(time.Now())
	return len(g.asked)
}

var (
	errNotQuery  = errors.New("dhtstore: the library may only send queries")
	errTooManyQs = errors.New("dhtstore: too many outstanding queries")
)

// WriteTo sends a query of the library.
func (g *guard) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addrPort(addr)
	if !ok {
		return 0, errAddress
	}
	var m message
	if m.parse(b) != faultNone || m.kind != 'q' || m.method == methodUnknown {
		return 0, errNotQuery
	}
	q := question{to: to}
	if _, err := rand.Read(q.tid[:]); err != nil {
		return 0, err
	}
	encoded := len(strconv.Itoa(len(m.tid))) + 1 + len(m.tid)
	self, readOnly := g.identity()
	const key, ro = "1:t", "2:roi1e"
	out := make([]byte, 0, len(b)+len(ro)+tidSize+2)
	out = append(out, b[:m.tidAt-len(key)]...)
	copy(out[m.idAt:], self[:])
	if readOnly {
		out = append(out, ro...)
	}
	out = append(out, key...)
	out = appendString(out, q.tid[:])
	out = append(out, b[m.tidAt+encoded:]...)

	now := time.Now()
	g.mu.Lock()
	g.expire(now)
	if len(g.asked) >= maxAsked {
		g.mu.Unlock()
		return 0, errTooManyQs
	}
	g.asked[q] = inFlight{tid: string(m.tid)}
	g.oldest = append(g.oldest, expiring{q, now.Add(replyWait)})
	g.mu.Unlock()

	if err := g.send(out, to); err != nil {
		return 0, err
	}
	return len(b), nil
}

// send writes a datagram of our own.
func (g *guard) send(b []byte, to netip.AddrPort) error {
	if _, err := g.conn.WriteTo(b, net.UDPAddrFromAddrPort(to)); err != nil {
		g.counts.inc(countWriteErrors)
		return err
	}
	g.counts.inc(countPacketsOut)
	g.counts.add(countBytesOut, len(b))
	return nil
}

// Close ends ReadFrom.
func (g *guard) Close() error {
	var err error
	g.once.Do(func() {
		close(g.closed)
		err = g.conn.Close()
	})
	return err
}

// LocalAddr and the deadlines make up net.PacketConn.
func (g *guard) LocalAddr() net.Addr                { return g.conn.LocalAddr() }
func (g *guard) SetDeadline(t time.Time) error      { return g.conn.SetDeadline(t) }
func (g *guard) SetReadDeadline(t time.Time) error  { return g.conn.SetReadDeadline(t) }
func (g *guard) SetWriteDeadline(t time.Time) error { return g.conn.SetWriteDeadline(t) }

func addrPort(addr net.Addr) (netip.AddrPort, bool) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	ap := udp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), ap.IsValid()
}
