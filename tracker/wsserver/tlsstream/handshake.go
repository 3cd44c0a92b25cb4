package tlsstream

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	headerLen = 5
	// maxRecord is the longest record that crypto/tls looks at, in whatever
	// version: it refuses a longer one when it has seen the header.
	maxRecord = headerLen + 16384 + 2048
	// maxFed is how much may be fed and not be used yet, and fullAt from where on
	// nothing should be. A ClientHello is far less; but a client may begin to
	// send as soon as it has what it needs, when the server is not through yet.
	maxFed = 64 << 10
	fullAt = 32 << 10
)

var (
	// ErrFlood is Feed's when it was fed more than it holds.
	ErrFlood = errors.New("tlsstream: too much fed before the handshake was over")
	// ErrAborted is Done's after Abort.
	ErrAborted = errors.New("tlsstream: handshake aborted")
)

// Info is what a handshake agreed on.
type Info struct {
	// Protocol is ALPN's; empty if the client asked for none. A connection for
	// a protocol that the caller does not speak is to be closed: an ACME
	// challenge ("acme-tls/1", RFC 8737, 3) is over with the handshake.
	Protocol string
	// Resumed says that a session ticket was accepted.
	Resumed bool
	// Version and Suite are as in tls.ConnectionState.
	Version, Suite uint16
	// OwnRecords says that the stream has the record layer of this package.
	OwnRecords bool
}

// Handshake is one under way. Its methods are for one goroutine at a time.
type Handshake struct {
	s      *Server
	group  netip.Prefix
	notify func()

	// Guarded by the server's mutex.
	place     *list.Element // in its queue
	stalled   *list.Element // among those that wait for their clients, since
	stalledAt time.Time     // less what it has waited before, which is
	waited    time.Duration

	// The caller's.
	queued bool

	mu      sync.Mutex
	wake    chan struct{} // capacity 1: in has grown, or it is aborted
	cancel  context.CancelFunc
	in, out []byte
	full    bool // Full said so
	aborted bool
	late    bool // it has to give its place to another
	done    bool
	stream  Stream
	info    Info
	err     error

	// Owned by run.
	takeover       *takeover // nil unless an own stream may follow
	sent, received []byte    // all records, if so configured
}

// Feed adds what arrived; in is copied. After an error the handshake is to be
// aborted.
func (h *Handshake) Feed(in []byte) error {
	h.mu.Lock()
	if len(h.in)+len(in) > maxFed {
		h.mu.Unlock()
		return ErrFlood
	}
	h.in = append(h.in, in...)
	h.wakeLocked()
	start := !h.queued && !h.aborted && recordAt(h.in)
	h.mu.Unlock()
	if start {
		h.queued = true
		h.s.enqueue(h)
	}
	return nil
}

// Full reports whether nothing more should be fed until the next notice.
func (h *Handshake) Full() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.full = !h.done && !h.aborted && len(h.in) > fullAt
	return h.full
}

// Held is how much memory there is for what was fed and has not been used yet.
func (h *Handshake) Held() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return cap(h.in)
}

// recordAt reports whether p begins with a complete record, or with a header
// that crypto/tls refuses without having seen the rest.
func recordAt(p []byte) bool {
	if len(p) < headerLen {
		return false
	}
	n := headerLen + (int(p[3])<<8 | int(p[4]))
	return len(p) >= n || n > maxRecord
}

// Output appends what is to be sent now to dst.
func (h *Handshake) Output(dst []byte) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	dst = append(dst, h.out...)
	h.out = nil
	return dst
}

// Done reports whether the handshake is over: with a stream, and in rest what
// was fed to the handshake and belongs to the stream, or with an error. It is
// not over before Output has given all that is to be sent, the alert with an
// error: what is said between the two calls is not lost.
func (h *Handshake) Done() (done bool, s Stream, rest []byte, info Info, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.done || len(h.out) > 0 {
		return false, nil, nil, Info{}, nil
	}
	rest, h.in = h.in, nil
	return true, h.stream, rest, h.info, h.err
}

// Abort ends the handshake. It does not wait for the goroutine, which returns
// as soon as it is done computing.
func (h *Handshake) Abort() {
	waited := h.queued && h.s.dequeue(h)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done || h.aborted {
		return
	}
	h.aborted = true
	h.in, h.out = nil, nil
	if waited || !h.queued {
		// There is no goroutine to say so.
		h.done, h.err = true, ErrAborted
	}
	if h.cancel != nil {
		h.cancel()
	}
	h.wakeLocked()
}

func (h *Handshake) wakeLocked() {
	select {
	case h.wake <- struct{}{}:
	default: // not running yet, or told already
	}
}

// run makes the handshake, in a goroutine of its own.
func (h *Handshake) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h.mu.Lock()
	h.wake = make(chan struct{}, 1)
	h.cancel = cancel
	if h.aborted {
		cancel()
	}
	h.mu.Unlock()

	st := &standard{wire: wire{handshake: h}}
	h.s.compute <- struct{}{}
	st.conn = tls.Server(&st.wire, h.s.config())
	err := st.conn.HandshakeContext(ctx)
	var stream Stream = st
	var info Info
	if err == nil {
		info = infoOf(st.conn)
		if o := h.ownStream(info); o != nil {
			stream = o
			info.OwnRecords = true
		}
	}
	st.wire.handshake = nil
	h.takeover, h.sent, h.received = nil, nil, nil
	<-h.s.compute

	h.mu.Lock()
	switch {
	case h.aborted:
		h.err = ErrAborted
	case err != nil:
		h.err = err
	default:
		h.stream, h.info = stream, info
	}
	h.done = true
	h.cancel = nil
	quiet, failed := h.aborted, h.err != nil
	h.mu.Unlock()

	h.s.release(h, func(c *Stats) {
		if failed {
			c.Failed++
			if err == errLate {
				c.Late++
			}
			return
		}
		c.Done++
		switch {
		case info.OwnRecords:
			c.OwnRecords++
		case h.s.cfg.OwnRecords:
			c.Fallbacks++
		}
		if info.Resumed {
			c.Resumed++
		}
	})
	if !quiet {
		h.notify()
	}
}

// ownStream is nil if crypto/tls goes on with the records.
func (h *Handshake) ownStream(info Info) Stream {
	if h.takeover == nil {
		return nil
	}
	return h.takeover.stream(h.s.records, h.sent, h.received, info.Version, info.Suite)
}

func infoOf(c *tls.Conn) Info {
	state := c.ConnectionState()
	return Info{
		Protocol: state.NegotiatedProtocol,
		Resumed:  state.DidResume,
		Version:  state.Version,
		Suite:    state.CipherSuite,
	}
}

// read is the handshake's input, for crypto/tls: up to limit bytes that belong
// to the current record, of which left are missing. It waits until the record
// is there as a whole, so that crypto/tls never holds a part of one, and not
// as one of those who compute.
func (h *Handshake) read(p []byte, left *int) (int, error) {
	room := false
	defer func() {
		if room {
			h.notify()
		}
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	for !h.aborted && !h.late && *left == 0 && !recordAt(h.in) {
		h.mu.Unlock()
		h.idle(func() { h.s.await(h) })
		h.mu.Lock()
	}
	if h.aborted {
		return 0, net.ErrClosed
	}
	if h.late {
		return 0, errLate
	}
	if *left == 0 {
		*left = min(len(h.in), headerLen+(int(h.in[3])<<8|int(h.in[4])))
	}
	n := copy(p, h.in[:*left])
	*left -= n
	if h.s.cfg.OwnRecords {
		h.received = append(h.received, p[:n]...)
	}
	if h.in = h.in[n:]; len(h.in) == 0 {
		h.in = nil
	}
	if h.full && len(h.in) <= fullAt {
		h.full, room = false, true
	}
	return n, nil
}

// write is the handshake's output.
func (h *Handshake) write(p []byte) (int, error) {
	h.mu.Lock()
	if h.aborted {
		h.mu.Unlock()
		return 0, net.ErrClosed
	}
	h.out = append(h.out, p...)
	if h.s.cfg.OwnRecords {
		h.sent = append(h.sent, p...)
	}
	h.mu.Unlock()
	h.notify()
	return len(p), nil
}
