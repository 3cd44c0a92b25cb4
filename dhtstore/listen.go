package dhtstore

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// listenPlan says which sockets to open. An optional one may fail.
type listenPlan struct {
	addr     [families]string
	optional bool // the one for IPv6
}

func (c *Config) plan() (p listenPlan, err error) {
	if len(c.Listen) == 0 {
		return p, errors.New("dhtstore: no address to listen on")
	}
	both := ""
	for _, l := range c.Listen {
		host, port, err := net.SplitHostPort(l)
		if err != nil {
			return p, fmt.Errorf("dhtstore: listen address %q: want host:port", l)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return p, fmt.Errorf("dhtstore: listen address %q: bad port", l)
		}
		f := ipv4 // a name's, too
		if ip, err := netip.ParseAddr(host); err == nil && !ip.Unmap().Is4() {
			f = ipv6
		}
		if p.addr[f] != "" {
			return p, fmt.Errorf("dhtstore: listen addresses %q and %q: one of %v is enough", p.addr[f], l, f)
		}
		p.addr[f] = l
		if host == "" {
			both = l
		}
	}
	if both != "" && p.addr[ipv6] == "" {
		p.addr[ipv6], p.optional = both, true
	}
	return p, nil
}

func (c *Config) validateListen() error {
	if len(c.Conns) == 0 {
		_, err := c.plan()
		return err
	}
	var have [families]bool
	for _, conn := range c.Conns {
		addr, ok := addrPort(conn.LocalAddr())
		f, known := familyOf(addr.Addr())
		if !ok || !known || have[f] {
			return fmt.Errorf("dhtstore: connections: want UDP, one of each family at most")
		}
		have[f] = true
	}
	return nil
}

// open opens the sockets. The IPv6 one is of IPv6 alone (IPV6_V6ONLY, which
// package net sets for "udp6"): the two DHTs must not see each other's nodes.
func (c *Config) open() (conns []net.PacketConn, err error) {
	p, err := c.plan()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeConns(conns)
		}
	}()
	for f, addr := range p.addr {
		optional := family(f) == ipv6 && p.optional
		if addr == "" || optional && !c.hasIPv6() {
			continue
		}
		if optional && len(conns) > 0 { // the port that the other one got
			local, _ := addrPort(conns[0].LocalAddr())
			addr = ":" + strconv.Itoa(int(local.Port()))
		}
		conn, err := net.ListenPacket(family(f).network(), addr)
		if err != nil && optional && p.addr[f] == ":0" {
			conn, err = net.ListenPacket(family(f).network(), ":0")
		}
		switch {
		case err == nil:
			conns = append(conns, conn)
		case optional:
			c.Log.Info("the DHT is not spoken over IPv6", "error", err)
		default:
			return conns, fmt.Errorf("dhtstore: %w", err)
		}
	}
	return conns, nil
}

// hasIPv6 reports whether this machine has an IPv6 address that other nodes
// could use.
func (c *Config) hasIPv6() bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if p, ok := a.(*net.IPNet); ok {
			ip, _ := netip.AddrFromSlice(p.IP)
			if ip.Is6() && !ip.IsLoopback() && c.usable(netip.AddrPortFrom(ip, 1)) {
				return true
			}
		}
	}
	return false
}

func closeConns(conns []net.PacketConn) {
	for _, conn := range conns {
		_ = conn.Close() // the error that matters is another
	}
}
