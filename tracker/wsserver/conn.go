package wsserver

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

var (
	// errClosing: this side has begun to close.
	errClosing = errors.New("closing")
	// errSilent: the client answered no ping.
	errSilent = errors.New("no sign of life")
)

// conn is one client's WebSocket.
type conn struct {
	srv     *Server
	nc      net.Conn
	session *tracker.Session // nil with Config.Echo
	pressed atomic.Bool      // closed for errPressed
	out     outbox
	place   place // its part of the limits

	// Owned by the goroutine that reads.
	rd        reader
	heard     time.Time // when anything last arrived
	pingAfter time.Duration
	missed    int
	pace      pace
}

// Deliver implements tracker.Sink.
func (c *conn) Deliver(m *wire.Message) { c.out.deliver(m) }

// Ping implements tracker.Sink.
func (c *conn) Ping() { c.out.sendPing() }

// Close implements tracker.Sink.
func (c *conn) Close(code int, reason string) {
	c.out.close(ws.StatusCode(code), reason)
	c.wake()
}

// wake makes the reader look at what has changed.
func (c *conn) wake() { c.nc.SetReadDeadline(time.Unix(1, 0)) }

// run serves the connection until it ends.
func (c *conn) run() {
	err := c.read()
	// Leave the swarms first: nothing more is to be sent here.
	if c.session != nil {
		c.session.Close()
	}
	c.rd.drop()
	c.srv.counts.ended[c.finish(err)].Add(1)
	c.nc.Close()
	c.out.stop()
	c.srv.remove(c)
}

func (c *conn) read() error {
	c.heard = time.Now()
	c.rearm()
	for {
		msg, text, err := c.rd.next()
		if err != nil {
			return err
		}
		c.srv.counts.framesIn.Add(1)
		if c.session == nil {
			if text && !utf8.Valid(msg) {
				return errNotUTF8()
			}
			c.out.echo(msg, text)
		} else if !c.session.HandleVia(nil, msg, text) {
			return errNotUTF8()
		}
		if c.out.isClosing() {
			return errClosing
		}
	}
}

// Read implements io.Reader for the frame reader. It returns with bytes, or
// when the connection is to end.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.nc.Read(p)
		if n > 0 {
			c.heard = time.Now()
			c.missed = 0
			if c.rd.since.IsZero() {
				c.rd.since = c.heard
			}
			if c.session != nil {
				c.session.Seen()
			}
			c.srv.counts.bytesIn.Add(int64(n))
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, err
		}
		if err := c.tick(); err != nil {
			return 0, err
		}
	}
}

// tick runs when the read deadline fires: somebody woke the reader, or the
// client may have fallen silent. The deadline is not set again with each read,
// only here.
func (c *conn) tick() error {
	now := time.Now()
	if s := c.rd.since; !s.IsZero() && now.Sub(s) > c.srv.cfg.MessageTimeout {
		return &closeError{ws.StatusPolicyViolation, "message too slow", endSlowMessage}
	}
	if !now.Before(c.due()) {
		if c.missed == maxMissed {
			return errSilent
		}
		c.missed++
		c.out.sendPing()
		c.rearm()
		return c.unlessClosing()
	}
	c.nc.SetReadDeadline(c.due())
	return c.unlessClosing()
}

// unlessClosing is asked after the deadline was set: whoever closes does so
// first and wakes the reader second, so that one of the two is seen.
func (c *conn) unlessClosing() error {
	if c.out.isClosing() {
		return errClosing
	}
	return nil
}

// due is when a client that stays silent is pinged, again, or given up.
func (c *conn) due() time.Time {
	return c.heard.Add(time.Duration(c.missed+1) * c.pingAfter)
}

// rearm draws how long to wait for the next sign of life, so that connections
// that came together are not pinged together.
func (c *conn) rearm() {
	c.pingAfter = pingMin + rand.N(pingSpread)
	c.nc.SetReadDeadline(c.due())
}

// ping implements controls.
func (c *conn) ping(payload []byte) {
	c.srv.counts.pingsIn.Add(1)
	if c.session != nil {
		c.session.Ping()
	}
	c.out.sendPong(payload)
}

// pong implements controls. That something arrived has been noted.
func (c *conn) pong() {}

// yield implements holder.
func (c *conn) yield() {
	c.pressed.Store(true)
	c.out.close(statusTryAgainLater, errPressed.reason)
	c.wake()
}

// spend implements controls.
func (c *conn) spend() bool { return c.pace.spend(c.heard.Sub(c.srv.begun)) }

// finish does what is left of the close handshake, and says how it ended.
func (c *conn) finish(err error) endReason {
	if why, dead := c.out.died(); dead {
		return why
	}
	var fault *closeError
	var peer *peerClosed
	switch {
	case errors.As(err, &fault):
		c.out.close(fault.code, fault.reason)
		c.linger()
		return fault.why
	case errors.As(err, &peer):
		c.out.close(peer.code, "")
		c.linger()
		return endPeer
	case errors.Is(err, errClosing):
		c.linger()
		if c.pressed.Load() {
			return endPressed
		}
		return endClosed
	case errors.Is(err, errSilent):
		return endSilent
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return endEOF
	}
	return endRead
}

// linger sends what is pending, the close frame last, says that nothing more
// will come, and then reads until the client has closed too: closing at once
// could reset the connection before the client has seen the close frame.
func (c *conn) linger() {
	c.out.wait()
	if closeWrite(c.nc) != nil {
		return
	}
	c.nc.SetReadDeadline(time.Now().Add(closeTimeout))
	b := c.srv.pool.get(smallestBuffer)
	defer c.srv.pool.put(b)
	for n := 0; n < maxLinger; {
		m, err := c.nc.Read(b.b[:cap(b.b)])
		if err != nil {
			return
		}
		n += m
	}
}
