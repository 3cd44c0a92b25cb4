package wsserver

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/draeder/peerservers/tracker/epoll"
	"github.com/draeder/peerservers/tracker/wsserver/tlsstream"
)

// loopRequest is a socket before its upgrade.
type loopRequest struct {
	addr      netip.AddrPort       // the client's, as far as it is known
	header    bool                 // a PROXY header may come first
	handshake *tlsstream.Handshake // while it is under way
	head      *buffer              // what has arrived, if not as a whole
	holding   holding              // of head, or of the handshake
}

// accept takes sockets in.
func (l *loop) accept(ln *loopListener) {
	for range acceptBatch {
		if ln.fd < 0 {
			return
		}
		fd, sa, err := unix.Accept4(ln.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			l.accepted(fd, sockaddr(sa))
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			l.rest(err)
			return
		case unix.EBADF, unix.EINVAL, unix.ENOTSOCK, unix.EOPNOTSUPP, unix.EFAULT:
			ln.fd = -1
			l.fail(&net.OpError{Op: "accept", Net: "tcp", Addr: ln.original.Addr(), Err: err})
			return
		default:
			// The socket had an error before it was taken.
		}
	}
}

// rest accepts nobody for a tick: as long as there is no descriptor to be had
// the listener would be ready, and the loop busy with it.
func (l *loop) rest(why error) {
	if l.tick >= l.warnAt {
		l.warnAt = l.tick + ticks(time.Minute)
		l.s.cfg.Log.Warn("cannot accept connections", "err", why)
	}
	l.setListening(0)
	l.resume = l.tick + 1
}

// unrest accepts again, if it is time.
func (l *loop) unrest() {
	if l.resume != 0 && l.tick >= l.resume {
		l.resume = 0
		l.setListening(epoll.Readable)
	}
}

func (l *loop) setListening(events uint32) {
	for i, ln := range l.listeners {
		if ln.fd >= 0 {
			l.poller.Modify(ln.fd, listenerEvent|uint64(i), events)
		}
	}
}

func sockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func (l *loop) accepted(fd int, addr netip.AddrPort) {
	if l.s.cfg.pretend != nil {
		addr = l.s.cfg.pretend(addr)
	}
	trusted := l.s.trusted(addr.Addr())
	counted := addr.Addr()
	if trusted {
		// A proxy has as many connections as it has clients.
		counted = netip.Addr{}
	}
	p, why, ok := l.s.limits.socket(counted)
	if !ok {
		l.s.counts.refused[why].Add(1)
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(fd)
		return
	}
	l.assign(arrival{fd, addr, p, trusted})
}

// enter makes a socket the loop's own.
func (l *loop) enter(a arrival) {
	unix.SetsockoptInt(a.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	c, err := l.add(a.fd)
	if err != nil {
		a.drop(l.s)
		return
	}
	c.group, c.flags = a.place.ip, holdsSocket
	if a.trusted {
		c.flags |= viaProxy
	}
	c.request = &loopRequest{addr: a.addr, header: a.trusted && l.s.cfg.ProxyProtocol}
	l.remind(c, c.heard+ticks(l.s.cfg.HeaderTimeout))
}

// requested takes bytes of a request.
func (l *loop) requested(c *loopConn, in []byte) {
	r := c.request
	if r.handshake != nil {
		l.feedTLS(c, in)
		return
	}
	if r.head != nil {
		for len(r.head.b)+len(in) > cap(r.head.b) {
			r.head = l.s.pool.grow(r.head)
			l.dec.held.hold(&r.holding, c, cap(r.head.b))
		}
		r.head.b = append(r.head.b, in...)
		in = r.head.b
	}
	rest, what := l.judge(c, in)
	switch what {
	case isOpen:
		if len(rest) > 0 {
			l.decode(c, rest)
		}
	case isTLS:
		// What is held from now on is the handshake's.
		head := r.head
		r.head = nil
		l.dec.held.free(&r.holding)
		l.beginTLS(c, rest)
		l.s.pool.put(head)
		return
	case isOthers:
		l.handOver(c, rest)
		return
	case isBroken:
		l.doom(c, endClosed, false)
		return
	case isPart:
		if r.head == nil {
			r.head = l.s.pool.get(len(rest))
			l.dec.held.hold(&r.holding, c, cap(r.head.b))
		}
		r.head.b = append(r.head.b[:0], rest...) // moves it, if that
		return
	}
	l.letGo(r)
}

// letGo gives up what has arrived of a request.
func (l *loop) letGo(r *loopRequest) {
	l.dec.held.free(&r.holding)
	l.s.pool.put(r.head)
	r.head = nil
}

// outcome is what the bytes that a socket began with are.
type outcome uint8

const (
	isPart   outcome = iota // not all of it has arrived
	isOpen                  // a client's request, which has been granted
	isTLS                   // the beginning of TLS
	isOthers                // something for the portable engine
	isBroken                // a PROXY header that is none
)

// judge looks at the first bytes of a socket, and upgrades it if they are the
// request of a client that can be granted. All else, also what is to be
// refused, is the portable engine's to answer. It returns what has not been
// dealt with.
func (l *loop) judge(c *loopConn, in []byte) (rest []byte, _ outcome) {
	if c.request.header {
		n, client, what := proxied(in)
		if what != isOpen {
			return in, what
		}
		c.request.header = false
		in = in[n:]
		if client.IsValid() {
			c.request.addr = client
		}
	}
	if len(in) > 0 && in[0] == tlsHandshake && l.s.handshakes != nil && c.tls == nil {
		return in, isTLS
	}
	if !startsLike(in, "GET ") {
		return in, isOthers
	}
	n, ok := headEnd(in)
	switch {
	case !ok, n > maxHeaderBytes, n == 0 && len(in) > maxHeaderBytes:
		return in, isOthers
	case n == 0:
		return in, isPart
	}
	l.src.Reset(in[:n])
	l.text.Reset(&l.src)
	r, err := http.ReadRequest(l.text)
	if err != nil || !plain(r, in[:n]) {
		return in, isOthers
	}
	r.RemoteAddr = c.request.addr.String()
	if !l.grant(c, r) {
		return in, isOthers
	}
	return in[n:], isOpen
}

// grant makes c a client, if the request may be one's.
func (l *loop) grant(c *loopConn, r *http.Request) bool {
	s := l.s
	if !wantsWebSocket(r) || !upgradable(r) || s.protocol(r) != nil {
		return false
	}
	who, no := s.judge(r)
	if no != nil {
		return false
	}
	p, _, ok := s.limits.conn(who.Addr.Addr())
	if !ok {
		return false
	}
	if !s.enter() {
		s.limits.leaveConn(&p)
		return false
	}
	s.counts.opened.Add(1)
	c.request = nil
	c.group = p.ip // the socket's as well, unless it is a proxy's
	c.flags |= holdsClient | wasOpen
	c.state = stateOpen
	c.drawPing()
	l.remind(c, c.silentAt())
	if !s.cfg.Echo {
		c.session = s.cfg.Tracker.Open(c, who)
	}
	l.putUpgrade(c, r)
	return true
}

// putUpgrade answers a request that is granted (RFC 6455, 4.2.2).
func (l *loop) putUpgrade(c *loopConn, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	b := l.space(c, 512)
	from := len(b.b)
	b.b = append(b.b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b.b = base64.StdEncoding.AppendEncode(b.b, sum[:])
	if l.s.cfg.Compress > 0 {
		var extensions string
		if extensions, c.deflate = negotiateDeflate(r.Header["Sec-Websocket-Extensions"]); extensions != "" {
			b.b = append(b.b, "\r\nSec-WebSocket-Extensions: "...)
			b.b = append(b.b, extensions...)
		}
	}
	b.b = append(b.b, "\r\n\r\n"...)
	l.note(c, len(b.b)-from)
}

// forget lets go of what c had before the upgrade.
func (l *loop) forget(c *loopConn) {
	if r := c.request; r != nil {
		if r.handshake != nil {
			r.handshake.Abort()
		}
		l.letGo(r)
		c.request = nil
	}
}

// goingAway is what a request gets that comes in after the server has begun to
// drain: nobody is there any more to answer it at length.
const goingAway = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// handOver gives a socket to the portable engine, with what it has read.
func (l *loop) handOver(c *loopConn, in []byte) {
	h := handed{
		fd: int(c.fd), head: bytes.Clone(in), addr: c.request.addr, place: c.socketPlace(),
	}
	if c.tls != nil {
		h.stream = c.tls.Stream
	}
	if c.out.left() > 0 { // of the handshake
		h.unsent = bytes.Clone(c.out.buf.b[c.out.done:])
	}
	l.discard(c)
	l.cooled(c)
	l.poller.Remove(int(c.fd))
	l.forget(c)
	l.remove(c)
	c.state = stateDead
	if !l.s.loops.handover.push(h) {
		l.s.counts.refused[refuseDraining].Add(1)
		if h.stream == nil {
			epoll.Write(h.fd, []byte(goingAway))
		}
		h.drop(l.s)
	}
}
