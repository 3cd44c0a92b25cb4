package tracker

import (
	"net/netip"
	"testing"
)

// Clients of one address prefix are one source; those whose address says nothing are
// told apart by their connections.
func TestSourceIsAnAddressPrefix(t *testing.T) {
	trk := newTracker(t, nil)
	of := func(addr string) uint64 {
		var a netip.AddrPort
		if addr != "" {
			a = netip.AddrPortFrom(netip.MustParseAddr(addr), 1000)
		}
		return trk.owners.Source(open(trk, Client{Addr: a}).owner)
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"93.184.216.34", "93.184.216.99", true},
		{"93.184.216.34", "::ffff:93.184.216.99", true},
		{"93.184.216.34", "93.184.217.34", false},
		{"2a00:1450:4001:1::1", "2a00:1450:4001:ffff::2", true},
		{"2a00:1450:4001::1", "2a00:1450:4002::1", false},
	} {
		if a, b := of(c.a), of(c.b); a == 0 || b == 0 || (a == b) != c.same {
			t.Errorf("%s and %s: %x, %x", c.a, c.b, a, b)
		}
	}
	for _, a := range []string{"", "127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "fd00::1", "fe80::1"} {
		if s := of(a); s != 0 {
			t.Errorf("%q: %x", a, s)
		}
	}
	if trk.owners.Source(12345) != 0 || trk.owners.Source(nodeBit|1) != 0 {
		t.Error("who is nobody's session is a source")
	}
}
