package load

import (
	"crypto/tls"
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"github.com/draeder/peerservers/tracker/epoll"
)

// tlsConn is a TLS client that blocks during the handshake and, once detached,
// never: what it writes collects in wire, and what it cannot read it reports
// as a temporary error, which crypto/tls passes on and survives.
type tlsConn struct {
	conn *tls.Conn
	raw  *detachable
}

type detachable struct {
	net.Conn
	detached bool
	fd       int
	wire     []byte
}

func newTLSConn(raw net.Conn, cfg *tls.Config) *tlsConn {
	d := &detachable{Conn: raw}
	return &tlsConn{conn: tls.Client(d, cfg), raw: d}
}

func (t *tlsConn) detach(fd int) { t.raw.detached, t.raw.fd = true, fd }

// read decrypts what is there; errNothing if that is nothing.
func (t *tlsConn) read(p []byte) (int, error) {
	n, err := t.conn.Read(p)
	if errors.Is(err, errNothing) {
		err = errNothing
	}
	return n, err
}

// errNothing: a read found nothing to read.
var errNothing error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

func (d *detachable) Read(p []byte) (int, error) {
	if !d.detached {
		return d.Conn.Read(p)
	}
	n, err := epoll.Read(d.fd, p)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return 0, errNothing
	case n == 0 && err == nil:
		return 0, io.EOF
	}
	return n, err
}

func (d *detachable) Write(p []byte) (int, error) {
	if !d.detached {
		return d.Conn.Write(p)
	}
	d.wire = append(d.wire, p...)
	return len(p), nil
}
