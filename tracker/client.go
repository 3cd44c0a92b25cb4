package tracker

import (
	"net/netip"
	"unique"
)

// client is a Client in little room: what many connections have in common is
// kept once.
type client struct {
	addr  [16]byte
	about unique.Handle[about]
	port  uint16
	kind  addrKind
}

// about is what connections have in common, the rare zone of an address
// included.
type about struct{ origin, path, token, zone string }

type addrKind uint8

const (
	addrNone addrKind = iota
	addr4
	addr6
)

func newClient(who Client) client {
	a := who.Addr.Addr()
	c := client{
		about: unique.Make(about{who.Origin, who.Path, who.Token, a.Zone()}),
		port:  who.Addr.Port(),
	}
	switch {
	case a.Is4():
		c.addr, c.kind = a.As16(), addr4
	case a.Is6():
		c.addr, c.kind = a.As16(), addr6
	}
	return c
}

// unpack is what newClient was given.
func (c *client) unpack() Client {
	v := c.about.Value()
	who := Client{Origin: v.origin, Path: v.path, Token: v.token}
	a := netip.AddrFrom16(c.addr)
	switch c.kind {
	case addrNone:
		a = netip.Addr{}
	case addr4:
		a = a.Unmap()
	case addr6:
		a = a.WithZone(v.zone)
	}
	who.Addr = netip.AddrPortFrom(a, c.port)
	return who
}

// Client is what the transport said of the connection.
func (s *Session) Client() Client { return s.who.unpack() }
