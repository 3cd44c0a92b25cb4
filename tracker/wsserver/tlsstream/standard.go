package tlsstream

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"time"
)

// standard is a Stream made of crypto/tls. A few things are relied upon:
//   - after an error of its Conn that says Temporary, reading goes on where it
//     was. crypto/tls keeps what it has of a record in its own buffer, and
//     makes only other errors permanent (Conn.readRecordOrCCS);
//   - Conn.Write hands each record over as a whole, before it returns.
type standard struct {
	conn   *tls.Conn
	wire   wire
	err    error // what Open returns for ever
	closed bool  // nothing may be sealed
}

// minSpare is how much room for plaintext crypto/tls is given at least. What
// does not fit stays inside it until the next read.
const minSpare = 512

func (s *standard) Open(dst, in []byte) ([]byte, error) {
	if s.err != nil {
		return dst, s.err
	}
	s.wire.in = in
	for s.err == nil {
		if cap(dst)-len(dst) < minSpare {
			dst = slices.Grow(dst, max(minSpare, len(s.wire.in)))
		}
		n, err := s.conn.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if n > 0 {
			s.wire.debt = max(0, s.wire.debt-debtPerRecord-int32(n))
		}
		if err == errAgain || err == nil && len(s.wire.in) == 0 && len(dst) < cap(dst) {
			break // the next Read would be for nothing
		}
		s.err = err
	}
	if s.err != nil && s.err != io.EOF {
		s.closed = true
	}
	s.wire.in = nil
	return dst, s.err
}

func (s *standard) Seal(dst, plain []byte) []byte {
	dst = s.Control(dst)
	if s.closed || len(plain) == 0 {
		return dst
	}
	// Some 30 bytes for each record, which holds 1 KiB at least.
	dst = slices.Grow(dst, len(plain)+len(plain)/32+64)
	s.wire.out, s.wire.sealing = dst, true
	s.conn.Write(plain) // fails only after an alert
	dst = s.wire.out
	s.wire.out, s.wire.sealing = nil, false
	return dst
}

func (s *standard) Control(dst []byte) []byte {
	if s.wire.said == nil {
		return dst
	}
	dst = append(dst, s.wire.said...)
	s.wire.said = nil
	return dst
}

func (s *standard) CloseNotify(dst []byte) []byte {
	if !s.closed {
		s.closed = true
		s.conn.CloseWrite()
	}
	return s.Control(dst)
}

func (s *standard) Idle() {}

// errAgain is what crypto/tls reads when nothing is left of what was fed.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "tlsstream: nothing to read yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// wire is the connection that crypto/tls believes to have: that of a handshake
// under way, which waits, and then that of a stream, which does not.
type wire struct {
	handshake *Handshake

	in      []byte // of the caller of Open
	out     []byte // of the caller of Seal, while sealing
	said    []byte // what was written without being asked
	sealing bool
	// What is missing of the current record; and its header, as far as it is
	// there while left is zero.
	left   int
	header [headerLen]byte
	have   uint8
	// debt is own.debt, but counts a record before it is known what is in it.
	// crypto/tls has a bound of its own for records without data, but a byte now
	// and then gets around it; and it answers each request for new keys.
	debt int32
}

// Read gives crypto/tls what it asks for but nothing beyond the current record:
// its buffer is empty between two records then, and does not grow beyond one.
func (w *wire) Read(p []byte) (int, error) {
	if w.handshake != nil {
		return w.handshake.read(p, &w.left)
	}
	if len(w.in) == 0 {
		return 0, errAgain
	}
	n := 0
	if w.left == 0 {
		// p has room for a header at least: crypto/tls asks for so much.
		n = copy(w.header[w.have:], w.in)
		n = copy(p, w.in[:n])
		if w.have += uint8(n); w.have < headerLen {
			w.in = w.in[n:]
			return n, nil
		}
		w.have = 0
		if w.debt += debtPerRecord; w.debt > maxDebt+debtPerRecord {
			return 0, &net.OpError{Op: "local error", Err: alertUnexpectedMessage}
		}
		w.left = int(w.header[3])<<8 | int(w.header[4])
	}
	m := copy(p[n:], w.in[n:min(len(w.in), n+w.left)])
	w.left -= m
	w.in = w.in[n+m:]
	return n + m, nil
}

func (w *wire) Write(p []byte) (int, error) {
	switch {
	case w.handshake != nil:
		return w.handshake.write(p)
	case w.sealing:
		w.out = append(w.out, p...)
	default:
		w.said = append(w.said, p...)
	}
	return len(p), nil
}

// The rest of net.Conn. Callbacks of a tls.Config may ask for the addresses,
// which nobody knows here.

func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return new(net.TCPAddr) }
func (w *wire) RemoteAddr() net.Addr             { return new(net.TCPAddr) }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
