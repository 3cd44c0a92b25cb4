package tlsstream

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readSize = 16 << 10
	// closeWait is how long Close waits for a peer that reads nothing.
	closeWait = 5 * time.Second
)

// NetConn returns the connection that s encrypts over raw, for those that leave
// the loops. rest is what was read from raw and not opened yet; what Open
// returned already is the caller's business. Reads and writes may be concurrent,
// Close sends a close_notify, and CloseWrite only that.
func NetConn(raw net.Conn, s Stream, rest []byte) net.Conn {
	c := &netConn{Conn: raw, stream: s, rest: rest}
	c.plain, c.end = s.Open(nil, nil) // the end may have been seen already
	return c
}

// netConn has three locks, taken in this order.
type netConn struct {
	net.Conn // raw; deadlines and addresses are its own

	// Guarded by readMu: one reader at a time.
	readMu sync.Mutex
	rest   []byte // not opened yet
	plain  []byte // opened, from the front of buf
	buf    []byte
	input  []byte

	// Guarded by writeMu: one writer at a time. A record goes out as a whole
	// and in its turn, or none does any more.
	writeMu  sync.Mutex
	out      []byte
	writeErr error

	due atomic.Bool // there may be something to say

	mu     sync.Mutex
	stream Stream
	end    error // what Read returns when plain is empty
}

var errClosedWrite = errors.New("tlsstream: write after close_notify or a fault")

// NetConn is the connection below, as tls.Conn's.
func (c *netConn) NetConn() net.Conn { return c.Conn }

func (c *netConn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.plain) == 0 {
		in := c.rest
		c.rest = nil
		if len(in) == 0 {
			if err := c.ended(); err != nil {
				return 0, err
			}
			if c.input == nil {
				c.input = make([]byte, readSize)
			}
			n, err := c.Conn.Read(c.input)
			if n == 0 && err != nil {
				if err == io.EOF {
					// Whoever cuts a connection cannot be told from a peer
					// that ends it without this alert.
					err = io.ErrUnexpectedEOF
				}
				return 0, err
			}
			in = c.input[:n] // an error comes again
		}
		c.mu.Lock()
		if c.end == nil {
			c.buf, c.end = c.stream.Open(c.buf[:0], in)
			c.plain = c.buf
		}
		c.mu.Unlock()
		c.say()
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

func (c *netConn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end
}

// say sends what TLS itself has to say. If a writer is busy, it does so when it
// is done: a reader must not wait for a peer that does not read.
func (c *netConn) say() {
	c.due.Store(true)
	c.sayDue()
}

func (c *netConn) sayDue() {
	for c.due.Load() && c.writeMu.TryLock() {
		c.due.Store(false)
		c.send(Stream.Control)
		c.writeMu.Unlock()
	}
}

// send makes bytes with the stream and writes them, under writeMu.
func (c *netConn) send(add func(s Stream, dst []byte) []byte) error {
	if c.writeErr != nil {
		return c.writeErr
	}
	c.mu.Lock()
	c.out = add(c.stream, c.out[:0])
	c.mu.Unlock()
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.out)
	// A record may be out in part: nothing that follows would be understood.
	c.writeErr = err
	return err
}

func (c *netConn) Write(p []byte) (int, error) {
	defer c.sayDue() // after unlocking: whoever found it locked relies on it
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	sent := 0
	for len(p) > 0 {
		part := p[:min(len(p), readSize)]
		empty := false
		err := c.send(func(s Stream, dst []byte) []byte {
			dst = s.Control(dst) // Seal would say it too, but not how much it was
			said := len(dst)
			dst = s.Seal(dst, part)
			empty = len(dst) == said
			return dst
		})
		switch {
		case err != nil:
			return sent, err
		case empty:
			return sent, errClosedWrite
		}
		sent += len(part)
		p = p[len(part):]
	}
	return sent, nil
}

// CloseWrite says that nothing more will be sent.
func (c *netConn) CloseWrite() error {
	defer c.sayDue()
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.send(Stream.CloseNotify)
}

// Close says so too, unless a writer is stuck, and closes the connection.
func (c *netConn) Close() error {
	if c.writeMu.TryLock() {
		c.Conn.SetWriteDeadline(time.Now().Add(closeWait))
		c.send(Stream.CloseNotify)
		c.writeMu.Unlock()
	}
	return c.Conn.Close()
}
