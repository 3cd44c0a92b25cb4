package mesh

import (
	"net/netip"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// group names the prefix that addr shares with others of one owner, and how
// many nodes of one swarm may come from it: 2 per IPv4 /24, 1 per IPv6 /48.
// With private addresses allowed, each of them is a group of its own, by
// IP:port: a whole test network lives on one address. What may not be dialled
// is nobody's (0).
func (m *Mesh) group(addr netip.AddrPort) (netip.AddrPort, int) {
	ip := addr.Addr().Unmap().WithZone("")
	class := nodeaddr.Classify(ip)
	switch {
	case addr.Port() == 0 || !class.Allowed(m.cfg.AllowPrivate):
		return netip.AddrPort{}, 0
	case class != nodeaddr.Public:
		return netip.AddrPortFrom(ip, addr.Port()), 1
	case ip.Is4():
		p, _ := ip.Prefix(24)
		return netip.AddrPortFrom(p.Addr(), 0), 2
	default:
		p, _ := ip.Prefix(48)
		return netip.AddrPortFrom(p.Addr(), 0), 1
	}
}

// hostOf is what failures to dial u are remembered under: the host, or for a
// private address IP:port.
func hostOf(u nodeaddr.URL) string {
	if ip, err := netip.ParseAddr(u.Host); err == nil && nodeaddr.Classify(ip) != nodeaddr.Public {
		return u.HostPort()
	}
	return u.Host
}
