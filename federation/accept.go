package federation

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/nodeaddr"
)

// handshakeTimeout is how long an accepted link may take to prove its key.
const handshakeTimeout = 10 * time.Second

// spokenFor is for how long one that has said hello is left in peace when
// there is no room for others: its proof is a round trip away.
const spokenFor = 2 * time.Second

// acceptances are accepted links that have proved nothing yet. There is room for
// so many, and for fewer of one prefix. Who says nothing does not keep others
// out: without room, the newest takes the place of the oldest.
type acceptances struct {
	mu      sync.Mutex
	list    []*acceptance // the oldest first
	byGroup map[string]int
}

// acceptance is one of them.
type acceptance struct {
	conn  net.Conn
	group string
	at    time.Time
	spoke bool // it has said hello
	gone  bool
}

func (a *acceptances) init() { a.byGroup = make(map[string]int) }

// enter takes one in, if there is room: nil if there is not. out, if it is not
// nil, had to go for it.
func (a *acceptances) enter(conn net.Conn, group string, now time.Time, all, perGroup int) (in, out *acceptance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.byGroup[group] >= perGroup:
		out = a.oldest(now, func(o *acceptance) bool { return o.group == group })
	case len(a.list) >= all:
		// Of the prefix that has most, so that it takes as many prefixes as there
		// are places to touch others.
		most := 0
		for _, n := range a.byGroup {
			most = max(most, n)
		}
		out = a.oldest(now, func(o *acceptance) bool { return a.byGroup[o.group] == most })
	default:
		return a.add(conn, group, now), nil
	}
	if out == nil {
		return nil, nil
	}
	a.remove(out)
	return a.add(conn, group, now), out
}

func (a *acceptances) add(conn net.Conn, group string, now time.Time) *acceptance {
	in := &acceptance{conn: conn, group: group, at: now}
	a.list = append(a.list, in)
	a.byGroup[group]++
	return in
}

// oldest is who has to go: the first that is silent, else the first whose proof
// is late. Caller holds a.mu.
func (a *acceptances) oldest(now time.Time, among func(*acceptance) bool) *acceptance {
	for _, silent := range [2]bool{true, false} {
		for _, o := range a.list {
			if among(o) && o.spoke != silent && (silent || now.Sub(o.at) >= spokenFor) {
				return o
			}
		}
	}
	return nil
}

// spoke notes that it has said hello.
func (a *acceptances) spoke(in *acceptance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in.spoke = true
}

func (a *acceptances) leave(in *acceptance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(in)
}

func (a *acceptances) remove(in *acceptance) {
	if in.gone {
		return
	}
	in.gone = true
	a.list = slices.DeleteFunc(a.list, func(o *acceptance) bool { return o == in })
	if a.byGroup[in.group]--; a.byGroup[in.group] == 0 {
		delete(a.byGroup, in.group)
	}
}

// AcceptLink takes over a connection whose WebSocket upgrade is done, with
// Subprotocol selected. br holds what was read beyond the request, if
// anything; r is the request, whose RemoteAddr, if it is set, is the other
// side's own address rather than that of a proxy. It returns at once.
func (f *Federation) AcceptLink(conn net.Conn, br *bufio.Reader, r *http.Request) {
	addr := remoteAddr(conn)
	if r != nil {
		if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			addr = a
		}
	}
	if len(f.place.Load().links) == 0 {
		f.stats.acceptsRefused.Add(1)
		conn.Close()
		return
	}
	in, out := f.accepts.enter(conn, groupOf(addr), time.Now(), f.cfg.MaxHandshakes, f.cfg.MaxHandshakesGroup)
	if out != nil {
		f.stats.acceptsEvicted.Add(1)
		out.conn.Close()
	}
	if in == nil {
		f.stats.acceptsRefused.Add(1)
		conn.Close()
		return
	}
	if !f.spawn(func() { f.accept(in, br, addr) }) {
		f.accepts.leave(in)
		conn.Close()
	}
}

func (f *Federation) accept(in *acceptance, br *bufio.Reader, addr netip.AddrPort) {
	conn := in.conn
	l, err := f.proveAccepted(in, br, addr)
	f.accepts.leave(in)
	if err != nil {
		f.stats.handshakeFault(err)
		f.log.Debug("accept failed", "group", in.group, "why", err)
		conn.Close()
		return
	}
	f.dialledAt(l)
	if !l.peer.addLink(l) {
		l.conn.Close()
	}
	f.start(l)
}

func (f *Federation) proveAccepted(in *acceptance, br *bufio.Reader, addr netip.AddrPort) (*link, error) {
	conn := in.conn
	stop := context.AfterFunc(f.ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
	car := newCarrier(conn, br, false)
	out := newOutbox(false)
	a, err := handshake.Accept(f.local, f.entropy(), f.place.Load().links)
	if err != nil {
		return nil, err
	}
	for {
		msg, err := readHandshake(car)
		if err != nil {
			return nil, err
		}
		reply, session, done, err := a.Handle(msg)
		if err != nil {
			return nil, err
		}
		if done {
			if !stop() {
				return nil, errClosed
			}
			return f.newLink(conn, car, out, session, addr)
		}
		f.accepts.spoke(in)
		out.put(ws.OpBinary, reply, false)
		if _, err := out.write(conn); err != nil {
			return nil, err
		}
	}
}

func remoteAddr(conn net.Conn) netip.AddrPort {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// groupOf is what limits per address count by: the prefix that one operator
// is likely to hold as a whole. Nodes at private addresses are each their own
// group: a LAN is one prefix.
func groupOf(a netip.AddrPort) string {
	ip := a.Addr().Unmap()
	if nodeaddr.Classify(ip) == nodeaddr.Public {
		return nodeaddr.Group(ip).String()
	}
	if !a.IsValid() {
		return ""
	}
	return netip.AddrPortFrom(ip, a.Port()).String()
}

// handshakeFault counts why a handshake failed, if its rules say so.
func (c *counters) handshakeFault(err error) {
	fault, ok := err.(handshake.Fault)
	if !ok {
		c.handshakeIO.Add(1)
		return
	}
	c.handshakeFaults[fault].Add(1)
}
