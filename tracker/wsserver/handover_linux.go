package wsserver

import (
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/draeder/peerservers/tracker/wsserver/tlsstream"
)

// handover is a listener for the sockets that do not stay on a loop: pages,
// refusals, other protocols. The portable engine takes them as if it had
// accepted them, and reads first what the loop has read already.
type handover struct {
	s *Server

	mu     sync.Mutex
	some   sync.Cond
	queue  []handed
	closed bool
}

// handed is a socket on its way.
type handed struct {
	fd     int
	addr   netip.AddrPort   // the client's, as far as it is known
	stream tlsstream.Stream // its TLS, or nil
	unsent []byte           // to be written first, as it is
	head   []byte           // what has been read, and decrypted
	place  place
}

// drop ends a socket that nobody takes.
func (h *handed) drop(s *Server) {
	unix.Close(h.fd)
	s.limits.leaveSocket(&h.place)
}

func newHandover(s *Server) *handover {
	h := &handover{s: s}
	h.some.L = &h.mu
	return h
}

// push hands a socket over, unless nobody listens any more. There are no more
// on the way than sockets are let in.
func (l *handover) push(h handed) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.queue = append(l.queue, h)
	l.some.Signal()
	return true
}

// Accept implements net.Listener.
func (l *handover) Accept() (net.Conn, error) {
	for {
		h, err := l.pop()
		if err != nil {
			return nil, err
		}
		// The connection gets a descriptor of its own.
		f := os.NewFile(uintptr(h.fd), "")
		raw, err := net.FileConn(f)
		f.Close()
		if err != nil {
			l.s.limits.leaveSocket(&h.place)
			continue
		}
		return h.conn(l.s, raw), nil
	}
}

// conn is the socket as the portable engine knows them: TLS and a PROXY header
// are behind it.
func (h *handed) conn(s *Server, raw net.Conn) net.Conn {
	c := &sniffConn{Conn: raw, raw: raw, s: s, place: h.place, addr: h.addr}
	if h.stream != nil {
		c.secure = tlsstream.NetConn(&unsentConn{Conn: raw, unsent: h.unsent}, h.stream, nil)
		c.Conn = c.secure
		c.plain.Store(true)
	}
	if len(h.head) > 0 {
		c.Conn = &replayConn{Conn: c.Conn, head: h.head}
	}
	return c
}

// unsentConn writes first what is to be written first.
type unsentConn struct {
	net.Conn
	unsent []byte
}

func (c *unsentConn) Write(p []byte) (int, error) {
	if c.unsent != nil {
		_, err := c.Conn.Write(c.unsent)
		if c.unsent = nil; err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

func (l *handover) pop() (handed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 {
		if l.closed {
			return handed{}, net.ErrClosed
		}
		l.some.Wait()
	}
	h := l.queue[0]
	l.queue = l.queue[1:]
	return h, nil
}

// Close implements net.Listener.
func (l *handover) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for i := range l.queue {
		l.queue[i].drop(l.s)
	}
	l.queue = nil
	l.some.Broadcast()
	return nil
}

// Addr implements net.Listener.
func (l *handover) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
}
