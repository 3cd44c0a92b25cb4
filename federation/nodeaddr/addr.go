// Package nodeaddr judges where a node may be: which IP addresses may be
// dialled, and which URLs may name a node.
//
// What other nodes publish tells this one where to connect, so a record could
// aim it at the machines of its own network. URLs are therefore held to a
// narrow, canonical form, and addresses to those that the whole Internet may
// reach. The URL is judged when a record is read; the address, which a name
// server may change in between, again at each attempt to connect (package
// dialguard).
package nodeaddr

import "net/netip"

// Class is what kind of address an IP is.
type Class uint8

const (
	// Public addresses may always be dialled.
	Public Class = iota
	Invalid
	Unspecified
	ThisNetwork // 0.0.0.0/8
	Loopback
	Private // RFC 1918
	LinkLocal
	SharedNAT // 100.64.0.0/10
	UniqueLocal
	Benchmark
	Documentation
	Multicast
	Broadcast
	Reserved // what IANA has given to nobody, or to protocols
	Mapped   // IPv4-mapped and IPv4-compatible IPv6
	NAT64
	SixToFour
	Teredo
)

// Classes is how many classes there are, for arrays of counters.
const Classes = int(Teredo) + 1

// String is a fixed label, fit for a metric.
func (c Class) String() string {
	names := [Classes]string{
		"public", "invalid", "unspecified", "this network", "loopback", "private", "link-local", "shared NAT", "unique local",
		"benchmark", "documentation", "multicast", "broadcast", "reserved", "IPv4-mapped", "NAT64", "6to4", "Teredo",
	}
	if int(c) >= Classes {
		c = Invalid
	}
	return names[c]
}

// Allowed reports whether an address of class c may be dialled. With
// allowPrivate those that a LAN or one machine uses may be as well; the rest
// never leads to a node.
func (c Class) Allowed(allowPrivate bool) bool {
	switch c {
	case Public:
		return true
	case Loopback, Private, LinkLocal, SharedNAT, UniqueLocal, Benchmark:
		return allowPrivate
	}
	return false
}

type block struct {
	prefix netip.Prefix
	class  Class
}

func v4(a, b, c, d byte, bits int, class Class) block {
	return block{netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b, c, d}), bits), class}
}

// v6 makes a block from the first 64 bits of its prefix.
func v6(a, b, c, d uint16, bits int, class Class) block {
	var x [16]byte
	for i, w := range [4]uint16{a, b, c, d} {
		x[2*i], x[2*i+1] = byte(w>>8), byte(w)
	}
	return block{netip.PrefixFrom(netip.AddrFrom16(x), bits), class}
}

// Classify says what kind of address a is; a zone is ignored. IPv4 is public
// unless a special-purpose registry of IANA has it; of IPv6 only what IANA
// gives out, 2000::/3, can be.
func Classify(a netip.Addr) Class {
	a = a.WithZone("")
	var blocks []block
	rest := Public
	switch {
	case !a.IsValid():
		return Invalid
	case a.IsUnspecified():
		return Unspecified
	case a.Is4():
		blocks = ipv4()
	default:
		blocks = ipv6()
		if !v6(0x2000, 0, 0, 0, 3, Public).prefix.Contains(a) {
			rest = Reserved
		}
	}
	for i := range blocks {
		if blocks[i].prefix.Contains(a) {
			return blocks[i].class
		}
	}
	return rest
}

func ipv4() []block {
	return []block{
		v4(0, 0, 0, 0, 8, ThisNetwork),
		v4(10, 0, 0, 0, 8, Private),
		v4(100, 64, 0, 0, 10, SharedNAT),
		v4(127, 0, 0, 0, 8, Loopback),
		v4(169, 254, 0, 0, 16, LinkLocal),
		v4(172, 16, 0, 0, 12, Private),
		v4(192, 0, 0, 0, 24, Reserved),
		v4(192, 0, 2, 0, 24, Documentation),
		v4(192, 88, 99, 0, 24, SixToFour), // relay anycast
		v4(192, 168, 0, 0, 16, Private),
		v4(198, 18, 0, 0, 15, Benchmark),
		v4(198, 51, 100, 0, 24, Documentation),
		v4(203, 0, 113, 0, 24, Documentation),
		v4(224, 0, 0, 0, 4, Multicast),
		v4(255, 255, 255, 255, 32, Broadcast),
		v4(240, 0, 0, 0, 4, Reserved),
	}
}

func ipv6() []block {
	loopback := netip.PrefixFrom(netip.IPv6Loopback(), 128)
	mapped := netip.PrefixFrom(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff}), 96)
	compatible := netip.PrefixFrom(netip.AddrFrom16([16]byte{}), 96)
	return []block{
		{loopback, Loopback},
		{mapped, Mapped},
		{compatible, Mapped},
		v6(0x64, 0xff9b, 0, 0, 96, NAT64),
		v6(0x64, 0xff9b, 1, 0, 48, NAT64),
		v6(0x2001, 0, 0, 0, 32, Teredo),
		v6(0x2001, 2, 0, 0, 48, Benchmark),
		v6(0x2001, 0, 0, 0, 23, Reserved), // protocol assignments
		v6(0x2001, 0xdb8, 0, 0, 32, Documentation),
		v6(0x2002, 0, 0, 0, 16, SixToFour),
		v6(0x3fff, 0, 0, 0, 20, Documentation),
		v6(0xfc00, 0, 0, 0, 7, UniqueLocal),
		v6(0xfe80, 0, 0, 0, 10, LinkLocal),
		v6(0xff00, 0, 0, 0, 8, Multicast),
	}
}

// Group is the prefix that one operator is likely to hold as a whole: the
// /24 of an IPv4 address, the /48 of an IPv6 one.
func Group(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
