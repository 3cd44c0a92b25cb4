// Package dialguard connects to nodes that strangers have named, and to
// nothing else.
//
// A name that resolved to a public address when it was checked may resolve to
// 127.0.0.1 when it is dialled. So the guard judges the address that the
// socket is about to be connected to, after resolution, at each attempt, in
// the dialer's control hook. Own addresses are refused always: a node that
// dials itself learns nothing, and one that is made to can be used against
// itself.
//
// A Guard does not follow redirects and knows no proxy, as it knows only
// addresses; whoever speaks HTTP over its connections must not either.
package dialguard

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// Config says what a Guard lets through.
type Config struct {
	// AllowPrivate admits loopback, private, link-local, shared NAT, unique
	// local and benchmark addresses.
	AllowPrivate bool
	// Own are the addresses that this node listens on. An unspecified IP
	// stands for every address of this machine.
	Own []netip.AddrPort
	// Resolver answers for names; nil is the system's.
	Resolver *net.Resolver
	// Timeout bounds one attempt, resolution included; 0 is 10 s.
	Timeout time.Duration
}

// Guard dials. It is safe for concurrent use.
type Guard struct {
	allowPrivate bool
	own          []netip.AddrPort
	dialer       net.Dialer
	// addrs lists this machine's addresses.
	addrs   func() ([]net.Addr, error)
	refused [nodeaddr.Classes]atomic.Uint64
	ownHits atomic.Uint64
}

// New returns a Guard.
func New(c Config) *Guard {
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	g := &Guard{allowPrivate: c.AllowPrivate, own: c.Own, addrs: net.InterfaceAddrs}
	g.dialer = net.Dialer{Timeout: c.Timeout, Resolver: c.Resolver, ControlContext: g.control}
	return g
}

// DialContext connects to a TCP address, as net.Dialer does. A refusal is a
// *RefusedError somewhere in the error's chain.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
		return g.dialer.DialContext(ctx, network, address)
	}
	return nil, net.UnknownNetworkError(network)
}

// control runs between the making of a socket and its connecting.
func (g *Guard) control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		g.refused[nodeaddr.Invalid].Add(1)
		return &RefusedError{Class: nodeaddr.Invalid}
	}
	if err := g.Check(a); err != nil {
		return err
	}
	return attempt(ctx, a)
}

// Check judges one address, as is done at each attempt to connect. The error
// is a *RefusedError.
func (g *Guard) Check(a netip.AddrPort) error {
	class := nodeaddr.Classify(a.Addr())
	if !class.Allowed(g.allowPrivate) {
		g.refused[class].Add(1)
		return &RefusedError{Addr: a, Class: class}
	}
	if g.isOwn(a) {
		g.ownHits.Add(1)
		return &RefusedError{Addr: a, Class: class, Own: true}
	}
	return nil
}

func (g *Guard) isOwn(a netip.AddrPort) bool {
	ip := a.Addr().WithZone("").Unmap()
	for _, o := range g.own {
		if o.Port() != a.Port() {
			continue
		}
		own := o.Addr().WithZone("").Unmap()
		if own == ip || own.IsUnspecified() && g.isLocal(ip) {
			return true
		}
	}
	return false
}

// isLocal reports whether ip is an address of this machine.
func (g *Guard) isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	addrs, err := g.addrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if x, ok := netip.AddrFromSlice(n.IP); ok && x.Unmap() == ip {
				return true
			}
		}
	}
	return false
}

// Stats counts refusals.
type Stats struct {
	// Refused is indexed by nodeaddr.Class.
	Refused [nodeaddr.Classes]uint64
	// Own are refusals of this node's own addresses.
	Own uint64
}

// Stats returns the counts so far.
func (g *Guard) Stats() (s Stats) {
	for i := range g.refused {
		s.Refused[i] = g.refused[i].Load()
	}
	s.Own = g.ownHits.Load()
	return s
}

// RefusedError says that an address was not dialled.
type RefusedError struct {
	Addr  netip.AddrPort
	Class nodeaddr.Class
	Own   bool
}

func (e *RefusedError) Error() string {
	if e.Own {
		return fmt.Sprintf("%v is this node's own address", e.Addr)
	}
	return fmt.Sprintf("%v is not dialled: %s address", e.Addr, e.Class)
}
