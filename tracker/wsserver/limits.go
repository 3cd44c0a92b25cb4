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

// ipGroup is what is open of one address, or of the prefix that it is in.
type ipGroup struct {
	prefix         netip.Prefix
	in             *ipGroup // nil: it is a prefix
	sockets, conns int
}

// maxPerPrefix is how many there may be of a prefix, /24 or /48: a hundred of its
// addresses would be all that there may be, and one line has more than that.
func (l *limits) maxPerPrefix() int { return max(l.maxConns/8, 4*l.maxPerIP) }

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
		all := l.maxPerPrefix()
		if g.sockets >= l.maxPerIP+spare(l.maxPerIP) || g.in.sockets >= all+spare(all) {
			l.tidy(g)
			return place{}, refuseIPSocket, false
		}
		g.sockets++
		g.in.sockets++
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
		if g.conns >= l.maxPerIP || g.in.conns >= l.maxPerPrefix() {
			l.tidy(g)
			return place{}, refuseIPConns, false
		}
		g.conns++
		g.in.conns++
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
	if g := l.byIP[p]; g != nil {
		return g
	}
	bits := 24
	if p.Addr().Is6() {
		bits = 48
	}
	wide := netip.PrefixFrom(p.Addr(), bits).Masked()
	in := l.byIP[wide]
	if in == nil {
		in = &ipGroup{prefix: wide}
		l.byIP[wide] = in
	}
	g := &ipGroup{prefix: p, in: in}
	l.byIP[p] = g
	return g
}

// tidy forgets groups of nothing. Caller holds mu.
func (l *limits) tidy(g *ipGroup) {
	for ; g != nil && g.sockets == 0 && g.conns == 0; g = g.in {
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
		g.in.sockets -= sockets
		g.in.conns -= conns
		l.tidy(g)
	}
}

func (l *limits) counts() (conns, sockets int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns, l.sockets
}
