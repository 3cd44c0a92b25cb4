package wsserver

import (
	"net/netip"
	"testing"
)

func TestLoopbackIsNotCounted(t *testing.T) {
	l := limits{maxConns: 10, maxPerIP: 1, byIP: make(map[netip.Prefix]*ipGroup)}
	for _, c := range []struct {
		addr string
		ok   bool
	}{{"127.0.0.1", true}, {"::1", true}, {"::ffff:127.0.0.1", true}, {"10.0.0.1", false}, {"203.0.113.7", false}} {
		a := netip.MustParseAddr(c.addr)
		l.conn(a)
		if _, why, ok := l.conn(a); ok != c.ok {
			t.Errorf("second connection of %s: %v %v", c.addr, ok, why)
		}
	}
}

// The addresses of one prefix have a part of all places: whoever has a /48 has
// 65,536 times what one client may take.
func TestPrefixHasAPartOfAllPlaces(t *testing.T) {
	for _, c := range []struct {
		name, other string
		addr        func(i int) netip.Addr
	}{
		{"IPv4", "203.0.114.1", func(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}) }},
		{"IPv6", "2001:db9::1", func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, byte(i), 15: 1}) }},
	} {
		l := limits{maxConns: 800, maxPerIP: 10, byIP: make(map[netip.Prefix]*ipGroup)}
		for kind, take := range map[string]func(netip.Addr) (place, refusal, bool){"WebSockets": l.conn, "sockets": l.socket} {
			most := 100
			if kind == "sockets" {
				most += spare(most)
			}
			var held []place
			for i := range 30 {
				for range 8 {
					if p, _, ok := take(c.addr(i)); ok {
						held = append(held, p)
					}
				}
			}
			if len(held) != most {
				t.Errorf("%s: %d %s of one prefix, want %d", c.name, len(held), kind, most)
			}
			p, why, ok := take(netip.MustParseAddr(c.other))
			if !ok {
				t.Errorf("%s: %s of another prefix: %v", c.name, kind, why)
			}
			for _, p := range append(held, p) {
				if kind == "sockets" {
					l.leaveSocket(&p)
				} else {
					l.leaveConn(&p)
				}
			}
			if conns, sockets := l.counts(); conns+sockets != 0 || len(l.byIP) != 0 {
				t.Errorf("%s: %d connections, %d sockets, %d groups are still counted", c.name, conns, sockets, len(l.byIP))
			}
		}
	}
}
