package federation

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/nodeaddr"
)

// handshakeTimeout is how long an accepted link may take to prove its key.
const handshakeTimeout = 10 * time.Second

// acceptances counts accepted links that have proved nothing yet.
type acceptances struct {
	mu      sync.Mutex
	all     int
	byGroup map[string]int
}

func (a *acceptances) init() { a.byGroup = make(map[string]int) }

func (a *acceptances) enter(group string, all, perGroup int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all >= all || a.byGroup[group] >= perGroup {
		return false
	}
	a.all++
	a.byGroup[group]++
	return true
}

func (a *acceptances) leave(group string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	if a.byGroup[group]--; a.byGroup[group] == 0 {
		delete(a.byGroup, group)
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
	group := groupOf(addr)
	if len(f.place.Load().links) == 0 || !f.accepts.enter(group, f.cfg.MaxHandshakes, f.cfg.MaxHandshakesGroup) {
		f.stats.acceptsRefused.Add(1)
		conn.Close()
		return
	}
	if !f.spawn(func() { f.accept(conn, br, addr, group) }) {
		f.accepts.leave(group)
		conn.Close()
	}
}

func (f *Federation) accept(conn net.Conn, br *bufio.Reader, addr netip.AddrPort, group string) {
	l, err := f.proveAccepted(conn, br, addr)
	f.accepts.leave(group)
	if err != nil {
		f.stats.handshakeFault(err)
		f.log.Debug("accept failed", "group", group, "why", err)
		conn.Close()
		return
	}
	f.dialledAt(l)
	if !l.peer.addLink(l) {
		l.conn.Close()
	}
	f.start(l)
}

func (f *Federation) proveAccepted(conn net.Conn, br *bufio.Reader, addr netip.AddrPort) (*link, error) {
	stop := context.AfterFunc(f.ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
	car := newCarrier(conn, br, false)
	out := newOutbox(false)
	a, err := handshake.Accept(f.local, entropy(), f.place.Load().links)
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
