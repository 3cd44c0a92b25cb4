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
	byIP    map[netip.Prefix]*ipGroup
}

// ipGroup is what is open of one address.
type ipGroup struct {
	prefix         netip.Prefix
	sockets, conns int
}

// spare sockets are let in above the bound on WebSockets, to be told that it
// is reached and to see the pages.
func spare(n int) int { return n/16 + 16 }

// place is what one socket or WebSocket counts for. The zero place is none.
type place struct {
	ip   *ipGroup // nil: not counted by address
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sockets >= l.maxConns+spare(l.maxConns) {
		return place{}, refuseSockets, false
	}
	g := l.of(a)
	if g != nil {
		if g.sockets >= l.maxPerIP+spare(l.maxPerIP) {
			l.tidy(g)
			return place{}, refuseIPSocket, false
		}
		g.sockets++
	}
	l.sockets++
	return place{g, true}, 0, true
}

// conn takes the place of a WebSocket.
func (l *limits) conn(a netip.Addr) (place, refusal, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns >= l.maxConns {
		return place{}, refuseConns, false
	}
	g := l.of(a)
	if g != nil {
		if g.conns >= l.maxPerIP {
			l.tidy(g)
			return place{}, refuseIPConns, false
		}
		g.conns++
	}
	l.conns++
	return place{g, true}, 0, true
}

// of is the group of an address, nil if it is not counted. Caller holds mu and
// counts it, or tidies up.
func (l *limits) of(a netip.Addr) *ipGroup {
	p := l.group(a)
	if !p.IsValid() {
		return nil
	}
	g := l.byIP[p]
	if g == nil {
		g = &ipGroup{prefix: p}
		l.byIP[p] = g
	}
	return g
}

// tidy forgets a group of nothing. Caller holds mu.
func (l *limits) tidy(g *ipGroup) {
	if g.sockets == 0 && g.conns == 0 {
		delete(l.byIP, g.prefix)
	}
}

// leaveSocket and leaveConn give a place back; doing so again does nothing.
func (l *limits) leaveSocket(p *place) { l.leave(p, 1, 0) }
func (l *limits) leaveConn(p *place)   { l.leave(p, 0, 1) }

func (l *limits) leave(p *place, sockets, conns int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !p.held {
		return
	}
	p.held = false
	l.sockets -= sockets
	l.conns -= conns
	if g := p.ip; g != nil {
		g.sockets -= sockets
		g.conns -= conns
		l.tidy(g)
	}
}

func (l *limits) counts() (conns, sockets int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns, l.sockets
}
