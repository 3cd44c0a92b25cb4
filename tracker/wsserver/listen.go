package wsserver

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"
)

// listener counts what it accepts and leaves everything that could wait to the
// connection's own goroutine.
type listener struct {
	net.Listener
	s *Server
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		s, addr := l.s, addrOf(raw.RemoteAddr()).Addr()
		trusted := s.trusted(addr)
		counted := addr
		if trusted {
			// A proxy has as many connections as it has clients.
			counted = netip.Addr{}
		}
		p, why, ok := s.limits.socket(counted)
		if !ok {
			s.counts.refused[why].Add(1)
			abort(raw)
			continue
		}
		c := &sniffConn{Conn: raw, raw: raw, s: s, place: p}
		if trusted && s.cfg.ProxyProtocol {
			// The header is read by the first Read or RemoteAddr, both in the
			// connection's goroutine. It is optional, because a balancer's
			// health checks come without.
			c.Conn = proxyproto.NewConn(raw, proxyproto.WithPolicy(proxyproto.USE),
				proxyproto.SetReadHeaderTimeout(s.cfg.HeaderTimeout))
		}
		return c, nil
	}
}

// tlsHandshake is the first byte of a TLS connection: the content type of its
// first record. No HTTP request begins with it.
const tlsHandshake = 0x16

// sniffConn decides with its first Read whether it is TLS.
type sniffConn struct {
	net.Conn          // the socket, or a PROXY protocol reader over it
	raw      net.Conn // the socket
	s        *Server
	place    place
	// Of a socket that comes from a loop: the client's address, and the TLS
	// that it has already.
	addr   netip.AddrPort
	secure net.Conn

	plain atomic.Bool // decided: no TLS
	tls   atomic.Pointer[tls.Conn]
}

func (c *sniffConn) Read(p []byte) (int, error) {
	if t := c.tls.Load(); t != nil {
		return t.Read(p)
	}
	if c.plain.Load() || len(p) == 0 {
		return c.Conn.Read(p)
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return n, err
	}
	if p[0] != tlsHandshake || c.s.tls == nil {
		c.plain.Store(true)
		return n, err
	}
	t := tls.Server(&replayConn{Conn: c.Conn, head: append([]byte(nil), p[:n]...)}, c.s.tls)
	c.tls.Store(t)
	// The handshake writes too, and nobody has set a deadline for that.
	c.Conn.SetWriteDeadline(time.Now().Add(c.s.cfg.HeaderTimeout))
	err = t.Handshake()
	c.Conn.SetWriteDeadline(time.Time{})
	if err != nil {
		return 0, err
	}
	if proto := t.ConnectionState().NegotiatedProtocol; proto != "" && proto != "http/1.1" {
		// An ACME challenge (RFC 8737, 3) is over with the handshake.
		return 0, io.EOF
	}
	return t.Read(p)
}

func (c *sniffConn) Write(p []byte) (int, error) {
	if t := c.tls.Load(); t != nil {
		return t.Write(p)
	}
	return c.Conn.Write(p)
}

func (c *sniffConn) Close() error {
	c.s.limits.leaveSocket(&c.place)
	if t := c.tls.Load(); t != nil {
		return t.Close()
	}
	return c.Conn.Close()
}

// RemoteAddr is the client's address.
func (c *sniffConn) RemoteAddr() net.Addr {
	if c.addr.IsValid() {
		return net.TCPAddrFromAddrPort(c.addr)
	}
	return c.Conn.RemoteAddr()
}

// isTLS reports whether what is read has been encrypted.
func (c *sniffConn) isTLS() bool { return c.secure != nil || c.tls.Load() != nil }

// CloseWrite says that nothing more will be sent.
func (c *sniffConn) CloseWrite() error {
	if c.secure != nil {
		return closeWrite(c.secure)
	}
	if t := c.tls.Load(); t != nil {
		return t.CloseWrite()
	}
	return closeWrite(c.raw)
}

// NetConn is the socket, as tls.Conn's.
func (c *sniffConn) NetConn() net.Conn { return c.raw }

// replayConn gives what has been read back first.
type replayConn struct {
	net.Conn
	head []byte
}

func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		if c.head = c.head[n:]; len(c.head) == 0 {
			c.head = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// socket is the socket below nc, which may be TLS or ours.
func socket(nc net.Conn) net.Conn {
	for {
		w, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = w.NetConn()
	}
}

// abort drops a connection at once: no TLS alert that would have to wait for a
// reader, and nothing left to the kernel to go on sending. Whoever reads or
// writes returns, and closes nc properly.
func abort(nc net.Conn) {
	raw := socket(nc)
	if t, ok := raw.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	raw.Close()
}

// closeWrite says that nothing more will be sent, where the connection can.
func closeWrite(nc net.Conn) error {
	if w, ok := nc.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// addrOf is a socket's address; invalid if it has none of the usual kind.
func addrOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}
