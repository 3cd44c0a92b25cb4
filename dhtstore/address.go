package dhtstore

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strconv"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// family is one of the two DHTs of BEP 32: that of IPv4 addresses and that of
// IPv6 ones. They have the same keys and methods, and nothing else in common.
type family uint8

const (
	ipv4 family = iota
	ipv6
	families
)

// familyOf returns the family of a, if it has one: an IPv4 address in the
// form of an IPv6 one belongs to neither DHT.
func familyOf(a netip.Addr) (f family, ok bool) {
	if a.Is4() {
		return ipv4, true
	}
	return ipv6, a.Is6() && !a.Is4In6()
}

func (f family) String() string  { return [families]string{"IPv4", "IPv6"}[f] }
func (f family) network() string { return [families]string{"udp4", "udp6"}[f] }

// want is how a query asks for nodes of this family.
func (f family) want() string { return [families]string{"n4", "n6"}[f] }

// nodesKey is under which a reply lists nodes.
func (f family) nodesKey() string { return [families]string{"5:nodes", "6:nodes6"}[f] }

// compactPeer is the size of an address and port, compactNode that of a node.
func (f family) compactPeer() int { return [families]int{6, 18}[f] }
func (f family) compactNode() int { return len(nodeID{}) + f.compactPeer() }

// encodedNodes is what the bencoding of up to 8 nodes adds to a reply, at most.
func (f family) encodedNodes(n int) int { return len(f.nodesKey()) + len("208:") + n*f.compactNode() }

// encodedPeer is the size of an entry of "values".
func (f family) encodedPeer() int { return len(strconv.Itoa(f.compactPeer())) + 1 + f.compactPeer() }

// appendCompact encodes an address and port.
func appendCompact(dst []byte, addr netip.AddrPort) []byte {
	if a := addr.Addr(); a.Is4() {
		ip := a.As4()
		dst = append(dst, ip[:]...)
	} else {
		ip := a.As16()
		dst = append(dst, ip[:]...)
	}
	return binary.BigEndian.AppendUint16(dst, addr.Port())
}

// addrFromCompact reads 4 or 16 bytes of address and 2 of port.
func addrFromCompact(s []byte) (netip.AddrPort, bool) {
	var ip netip.Addr
	switch len(s) {
	case ipv4.compactPeer():
		ip = netip.AddrFrom4([4]byte(s))
	case ipv6.compactPeer():
		ip = netip.AddrFrom16([16]byte(s))
	default:
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(s[len(s)-2:])), true
}

// isPublic reports whether a is a unicast address of the Internet.
func isPublic(a netip.Addr) bool { return nodeaddr.Classify(a) == nodeaddr.Public }

// usable reports whether addr may be a node or a peer. A link-local IPv6
// address means something together with a link only, which the DHT's messages
// cannot name.
func (c *Config) usable(addr netip.AddrPort) bool {
	a := addr.Addr()
	if _, ok := familyOf(a); !ok || addr.Port() == 0 || a.Zone() != "" || a.Is6() && a.IsLinkLocalUnicast() {
		return false
	}
	return nodeaddr.Classify(a).Allowed(c.AllowPrivate)
}

// named reports whether an address that somebody named may be asked. Low
// ports are other services, at which nobody shall make us aim.
func (c *Config) named(addr netip.AddrPort) bool {
	return c.usable(addr) && (addr.Port() >= 1024 || !isPublic(addr.Addr()))
}

// host is what limits per address count: the address of a public IPv4 node,
// the /64 of an IPv6 one, whose owner has all addresses in it; the address and
// port of a private one.
func host(addr netip.AddrPort) netip.AddrPort { return group(addr, 32, 64) }

// subnet is what limits per network count: the /24 or /48 of a public node,
// the address and port of a private one.
func subnet(addr netip.AddrPort) netip.AddrPort { return group(addr, 24, 48) }

func group(addr netip.AddrPort, bits4, bits6 int) netip.AddrPort {
	a := addr.Addr()
	if !isPublic(a) {
		return addr
	}
	bits := bits4
	if a.Is6() {
		bits = bits6
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return addr
	}
	return netip.AddrPortFrom(p.Addr(), 0)
}

// secureBits returns the first 21 bits that BEP 42 wants of a node's id at
// ip, for the last byte of that id.
func secureBits(ip netip.Addr, last byte) [3]byte {
	masks := [8]byte{0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff}
	var b [8]byte
	n := copy(b[:], ip.AsSlice())
	if ip.Is4() {
		masks = [8]byte{0x03, 0x0f, 0x3f, 0xff}
	}
	for i := range b {
		b[i] &= masks[i]
	}
	b[0] |= last & 7 << 5
	sum := crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli))
	return [3]byte{byte(sum >> 24), byte(sum >> 16), byte(sum>>8) & 0xf8}
}

// secureID reports whether the id fits the address by BEP 42. Private ones
// are exempt: nobody has to own them.
func secureID(c contact) bool {
	if !isPublic(c.addr.Addr()) {
		return true
	}
	want := secureBits(c.addr.Addr(), c.id[19])
	return c.id[0] == want[0] && c.id[1] == want[1] && c.id[2]&0xf8 == want[2]
}

// fit makes id fit a public address by BEP 42.
func (id *nodeID) fit(ip netip.Addr) {
	want := secureBits(ip, id[19])
	id[0], id[1], id[2] = want[0], want[1], want[2]|id[2]&7
}
