package wsserver

import (
	"net/netip"
	"sync"
)

// limits counts sockets and WebSockets, in all and by address. Sockets are
// counted when accepted, by the address they come from unless that is a
// trusted proxy; WebSockets when they are upgraded, by the client's address.
type limits struct {
	maxConns, maxPerIP int
	allowPrivate       bool

	mu      sync.Mutex
	sockets int
	conns   int
	byIP    map[netip.Prefix]ipCount
}

type ipCount struct{ sockets, conns int }

// spare sockets are let in above the bound on WebSockets, to be told that it
// is reached and to see the pages.
func spare(n int) int { return n/16 + 16 }

// place is what one socket or WebSocket counts for. The zero place is none.
type place struct {
	ip   netip.Prefix // invalid: not counted by address
	held bool
}

// group is what counts as one address: an IPv6 client has a /64 to itself.
// Connections without an address (embedding, Unix sockets) are not counted,
// nor is loopback, where a proxy or a tunnel stands for all of its clients,
// nor are private addresses when they are allowed.
func (l *limits) group(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() || l.allowPrivate && (a.IsPrivate() || a.IsLinkLocalUnicast()) {
		return netip.Prefix{}
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// socket takes the place of an accepted socket.
func (l *limits) socket(a netip.Addr) (place, refusal, bool) {
	p := place{ip: l.group(a), held: true}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sockets >= l.maxConns+spare(l.maxConns) {
		return place{}, refuseSockets, false
	}
	if p.ip.IsValid() {
		c := l.byIP[p.ip]
		if c.sockets >= l.maxPerIP+spare(l.maxPerIP) {
			return place{}, refuseIPSocket, false
		}
		c.sockets++
		l.byIP[p.ip] = c
	}
	l.sockets++
	return p, 0, true
}

// conn takes the place of a WebSocket.
func (l *limits) conn(a netip.Addr) (place, refusal, bool) {
	p := place{ip: l.group(a), held: true}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns >= l.maxConns {
		return place{}, refuseConns, false
	}
	if p.ip.IsValid() {
		c := l.byIP[p.ip]
		if c.conns >= l.maxPerIP {
			return place{}, refuseIPConns, false
		}
		c.conns++
		l.byIP[p.ip] = c
	}
	l.conns++
	return p, 0, true
}

// leaveSocket and leaveConn give a place back; doing so again does nothing.
func (l *limits) leaveSocket(p *place) { l.leave(p, -1, 0) }
func (l *limits) leaveConn(p *place)   { l.leave(p, 0, -1) }

func (l *limits) leave(p *place, sockets, conns int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !p.held {
		return
	}
	p.held = false
	l.sockets += sockets
	l.conns += conns
	if !p.ip.IsValid() {
		return
	}
	c := l.byIP[p.ip]
	c.sockets += sockets
	c.conns += conns
	if c == (ipCount{}) {
		delete(l.byIP, p.ip)
	} else {
		l.byIP[p.ip] = c
	}
}

func (l *limits) counts() (conns, sockets int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns, l.sockets
}
