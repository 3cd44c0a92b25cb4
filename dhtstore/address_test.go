package dhtstore

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2"
)

// TestUsableAddresses: what may be a node, and what of it may be asked when
// somebody names it, alone and with private addresses allowed.
func TestUsableAddresses(t *testing.T) {
	strict, lax := Config{}, Config{AllowPrivate: true}
	for addr, want := range map[string][2]bool{
		"5.1.1.1:7000": {true, true}, "223.255.255.1:7000": {true, true},
		"5.1.1.1:53": {false, false}, "5.1.1.1:0": {false, false},
		"127.0.0.1:7000": {false, true}, "10.1.1.1:53": {false, true}, "172.16.0.1:7000": {false, true},
		"192.168.0.1:7000": {false, true}, "169.254.1.1:7000": {false, true}, "100.64.0.1:7000": {false, true},
		"0.0.0.0:7000": {false, false}, "0.1.2.3:7000": {false, false}, "192.0.2.1:7000": {false, false},
		"203.0.113.1:7000": {false, false}, "224.0.0.1:7000": {false, false}, "240.0.0.1:7000": {false, false},
		"255.255.255.255:7000": {false, false},

		"[2a00:1::1]:7000": {true, true}, "[2a00:1::1]:53": {false, false}, "[2a00:1::1]:0": {false, false},
		"[::1]:7000": {false, true}, "[fd00::1]:7000": {false, true},
		"[fe80::1]:7000": {false, false}, "[fe80::1%lo]:7000": {false, false}, "[2a00:1::1%lo]:7000": {false, false},
		"[::ffff:5.1.1.1]:7000": {false, false}, "[::ffff:127.0.0.1]:7000": {false, false}, "[::5.1.1.1]:7000": {false, false},
		"[64:ff9b::501:101]:7000": {false, false}, "[2002:501:101::1]:7000": {false, false}, "[2001:0:501:101::1]:7000": {false, false},
		"[2001:db8::1]:7000": {false, false}, "[ff02::1]:7000": {false, false}, "[::]:7000": {false, false}, "[4000::1]:7000": {false, false},
	} {
		a := netip.MustParseAddrPort(addr)
		if got := [2]bool{strict.named(a), lax.named(a)}; got != want {
			t.Errorf("named(%s) = %v, want %v", addr, got, want)
		}
	}
}

func TestGroups(t *testing.T) {
	for addr, want := range map[string][2]string{
		"5.1.2.3:7000":         {"5.1.2.3:0", "5.1.2.0:0"},
		"127.0.0.1:7000":       {"127.0.0.1:7000", "127.0.0.1:7000"},
		"[2a00:1:2:3::4]:7000": {"[2a00:1:2:3::]:0", "[2a00:1:2::]:0"},
		"[::1]:7000":           {"[::1]:7000", "[::1]:7000"},
		"[fd00::1]:7000":       {"[fd00::1]:7000", "[fd00::1]:7000"},
	} {
		a := netip.MustParseAddrPort(addr)
		if got := [2]string{host(a).String(), subnet(a).String()}; got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}

// TestSecureIDs against the table in BEP 42, and against the library, which
// agrees on IPv6 as well, of which the BEP has no examples.
func TestSecureIDs(t *testing.T) {
	for _, c := range []struct {
		ip   string
		last byte
		want [3]byte // the third but for its last 3 bits
	}{
		{"124.31.75.21", 1, [3]byte{0x5f, 0xbf, 0xb8}},
		{"21.75.31.124", 86, [3]byte{0x5a, 0x3c, 0xe8}},
		{"65.23.51.170", 22, [3]byte{0xa5, 0xd4, 0x30}},
		{"84.124.73.14", 65, [3]byte{0x1b, 0x03, 0x20}},
		{"43.213.53.83", 90, [3]byte{0xe5, 0x6f, 0x68}},
	} {
		if got := secureBits(netip.MustParseAddr(c.ip), c.last); got != c.want {
			t.Errorf("%s: %x, want %x", c.ip, got, c.want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		addrs := []netip.AddrPort{publicAddr(r), publicAddr6(r)}
		for _, a := range addrs {
			id := randomID(r, 0)
			was := id
			id.fit(a.Addr())
			if !secureID(contact{id, a}) || !dht.NodeIdSecure(id, net.IP(a.Addr().AsSlice())) {
				t.Fatalf("%v: %x does not fit", a, id)
			}
			if was[2]&7 != id[2]&7 || [17]byte(was[3:]) != [17]byte(id[3:]) {
				t.Fatalf("%x became %x", was, id)
			}
			if other := randomID(r, 0); secureID(contact{other, a}) != dht.NodeIdSecure(other, net.IP(a.Addr().AsSlice())) {
				t.Fatalf("%v: the library disagrees on %x", a, other)
			}
		}
		// Whoever has a /64 has all its addresses.
		ip := addrs[1].Addr().As16()
		id := randomID(r, 0)
		id.fit(addrs[1].Addr())
		ip[15]++
		if !secureID(contact{id, netip.AddrPortFrom(netip.AddrFrom16(ip), 1)}) {
			t.Fatal("another address of the same /64 does not fit")
		}
		ip[7]++
		if secureID(contact{id, netip.AddrPortFrom(netip.AddrFrom16(ip), 1)}) {
			t.Fatal("an address of another /64 fits")
		}
	}
	for _, a := range []string{"127.0.0.1:1", "10.0.0.1:1", "[::1]:1", "[fd00::1]:1"} {
		if !secureID(contact{nodeID{1}, netip.MustParseAddrPort(a)}) {
			t.Errorf("%s is not exempt", a)
		}
	}
}

// publicAddr6 returns an address of one of 64 networks of the Internet.
func publicAddr6(r *rand.Rand) netip.AddrPort {
	ip := [16]byte{0x2a, 0, 1, 2, 3, byte(r.IntN(64)), byte(r.IntN(4)), byte(r.IntN(4)), 15: byte(r.IntN(4))}
	return netip.AddrPortFrom(netip.AddrFrom16(ip), uint16(1024+r.IntN(3)))
}

// TestIDFollowsTheAddress: once most networks agree on where we are, our id
// fits it, in the table and in what we say; and liars do not keep us moving.
func TestIDFollowsTheAddress(t *testing.T) {
	for _, net := range []func(i int) string{v4Addr, v6Addr} {
		bubble(t, func(t *testing.T) {
			f := newFakeNet()
			var nodes []*Node
			for i := range 10 {
				nodes = append(nodes, f.node(t, net(i), nil, net(0)))
				time.Sleep(time.Second)
			}
			defer closeAll(t, nodes...)
			time.Sleep(5 * time.Minute)
			for i, n := range nodes {
				s := n.first()
				n.mu.Lock()
				if !secureID(contact{s.table.self, s.local}) {
					t.Errorf("node %d at %v has the id %x", i, s.local, s.table.self)
				}
				if wrong := s.table.check(); wrong != "" {
					t.Error(wrong)
				}
				n.mu.Unlock()
			}
			// All know each other by the new ids.
			n := nodes[3].first()
			n.node.mu.Lock()
			n.table.each(func(e *entry) {
				if now := nodes[nodeAt(nodes, e.addr)].first().table.self; e.isGood(time.Now()) && e.id != now {
					t.Errorf("%v is known as %x and is %x", e.addr, e.id, now)
				}
			})
			n.node.mu.Unlock()
			id, lie := n.self(), netip.MustParseAddr("6.6.6.6")
			if n.family == ipv6 {
				lie = netip.MustParseAddr("2a06::6")
			}
			n.node.mu.Lock()
			for i := range 30 {
				n.external.note(time.Now(), netip.MustParseAddrPort(net(100+i)), netip.AddrPortFrom(lie, 1))
			}
			n.node.mu.Unlock()
			if n.moveID(time.Now()) || n.self() != id {
				t.Error("moved again at once")
			}
		})
	}
}

func nodeAt(nodes []*Node, addr netip.AddrPort) int {
	for i, n := range nodes {
		if n.LocalAddr() == addr {
			return i
		}
	}
	return -1
}
