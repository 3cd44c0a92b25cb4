package load

import (
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/draeder/peerservers/tracker/epoll"
)

// client is the connection of one client.
type client struct {
	fd     int
	tls    *tlsConn
	open   bool
	dirty  bool   // in runner.dirty
	full   bool   // waits to be writable
	joined bool   // has announced
	in     []byte // the beginning of a frame
	out    []byte // to be sent, as far as it is not
	parts  []byte // of a message in fragments
	text   bool   // the fragments are of a text
}

// maxFrame of a server is far more than anything that clients send.
const maxFrame = 4 << 20

var (
	errFrame  = errors.New("the server's frame is no frame")
	errClosed = errors.New("the server closed the connection")
)

// read reads once and deals with what has come.
func (r *runner) read(i int) {
	c := &r.clients[i]
	for {
		var n int
		var err error
		if c.tls != nil {
			n, err = c.tls.read(r.buf)
			if err == errNothing {
				return
			}
		} else {
			n, err = epoll.Read(c.fd, r.buf)
			if errors.Is(err, unix.EAGAIN) {
				return
			}
			if n == 0 && err == nil {
				err = io.EOF
			}
		}
		if n > 0 {
			if e := r.feed(i, r.buf[:n]); e != nil {
				err = e
			}
		}
		if err != nil {
			r.drop(i)
			return
		}
		// A loop that is level-triggered comes back; what crypto/tls has
		// decrypted or read ahead is not seen by it.
		if c.tls == nil {
			return
		}
	}
}

// feed takes bytes of the stream of frames.
func (r *runner) feed(i int, p []byte) error {
	c := &r.clients[i]
	if len(c.in) > 0 {
		c.in = append(c.in, p...)
		p = c.in
	}
	r.now = r.clock()
	done := 0
	for {
		n, err := r.frame(i, p[done:])
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		done += n
	}
	switch rest := p[done:]; {
	case len(rest) == 0:
		if c.in != nil {
			r.give(c.in)
			c.in = nil
		}
	case len(c.in) > 0:
		c.in = c.in[:copy(c.in, rest)]
	default:
		c.in = append(r.take(), rest...)
	}
	return nil
}

// frame deals with the frame that p begins with and returns its length, 0 if
// it is not all there.
func (r *runner) frame(i int, p []byte) (int, error) {
	if len(p) < 2 {
		return 0, nil
	}
	head, size := 2, uint64(p[1])
	switch {
	case p[0]&0x70 != 0 || p[1]&0x80 != 0:
		return 0, errFrame // bits of extensions; masked
	case size == 126:
		if head = 4; len(p) < head {
			return 0, nil
		}
		size = uint64(binary.BigEndian.Uint16(p[2:]))
	case size == 127:
		if head = 10; len(p) < head {
			return 0, nil
		}
		size = binary.BigEndian.Uint64(p[2:])
	}
	if size > maxFrame {
		return 0, errFrame
	}
	end := head + int(size)
	if len(p) < end {
		return 0, nil
	}
	payload, final := p[head:end], p[0]&0x80 != 0
	c := &r.clients[i]
	switch op := p[0] & 0xf; op {
	case opClose:
		return 0, errClosed
	case opPing:
		start := len(c.out)
		r.queue(i)
		c.out = r.script.seal(append(begin(c.out), payload...), start, opPong)
	case opPong:
	case 0, 1, 2:
		if op != 0 {
			if final {
				r.message(i, payload, op == opText)
				break
			}
			c.parts, c.text = c.parts[:0], op == opText
		}
		if c.parts = append(c.parts, payload...); len(c.parts) > maxFrame {
			return 0, errFrame
		}
		if final {
			r.message(i, c.parts, c.text)
			c.parts = nil
		}
	default:
		return 0, errFrame
	}
	return end, nil
}

// queue marks a client as one that has something to send.
func (r *runner) queue(i int) {
	c := &r.clients[i]
	if c.out == nil {
		c.out = r.take()
	}
	if !c.dirty {
		c.dirty = true
		r.dirty = append(r.dirty, int32(i))
	}
}

// flush sends what is queued, as far as the system takes it.
func (r *runner) flush() {
	for _, i := range r.dirty {
		r.clients[i].dirty = false
		r.send(int(i))
	}
	r.dirty = r.dirty[:0]
}

func (r *runner) send(i int) {
	c := &r.clients[i]
	if !c.open {
		return
	}
	wire := &c.out
	if c.tls != nil {
		wire = &c.tls.raw.wire
		if *wire == nil {
			*wire = r.take()
		}
		if len(c.out) > 0 {
			if _, err := c.tls.conn.Write(c.out); err != nil {
				r.drop(i)
				return
			}
			r.give(c.out)
			c.out = nil
		}
	}
	for len(*wire) > 0 {
		n, err := epoll.Write(c.fd, *wire)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			r.drop(i)
			return
		}
		*wire = (*wire)[:copy(*wire, (*wire)[n:])]
	}
	if len(*wire) == 0 {
		r.give(*wire)
		*wire = nil
	}
	if full := *wire != nil; full != c.full {
		c.full = full
		events := uint32(epoll.Readable)
		if full {
			events |= epoll.Writable
		}
		if r.poller.Modify(c.fd, uint64(i), events) != nil {
			r.drop(i)
		}
	}
}

// drop ends a connection that the server closed or spoiled.
func (r *runner) drop(i int) {
	c := &r.clients[i]
	if !c.open {
		return
	}
	c.open = false
	unix.Close(c.fd)
	r.connected--
	r.disconnected++
	if c.joined && r.referee != nil {
		r.referee.leave(i)
	}
}

// Buffers are shared by all connections: few have anything to send or an
// incomplete frame at a time.
func (r *runner) take() []byte {
	if n := len(r.pool); n > 0 {
		b := r.pool[n-1]
		r.pool = r.pool[:n-1]
		return b
	}
	return make([]byte, 0, 16<<10)
}

func (r *runner) give(b []byte) {
	if cap(b) > 0 && cap(b) <= 256<<10 {
		r.pool = append(r.pool, b[:0])
	}
}
