package dhtstore

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	"pgregory.net/rapid"
)

func publicAddr(r *rand.Rand) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, byte(r.IntN(4)), byte(r.IntN(8)), byte(r.IntN(6))}), uint16(1024+r.IntN(3)))
}

func randomID(r *rand.Rand, bits int) (id nodeID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	// Crowd some of them near the table's own id, zero.
	for i := range bits {
		id[i/8] &^= 0x80 >> (i % 8)
	}
	return id
}

// TestTableProperties: whatever answers and fails, the limits hold, only who
// answered is listed, and closest is what a full sort says.
func TestTableProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		tab := newTable(nodeID{})
		now := time.Unix(1e9, 0)
		answered := make(map[contact]bool)
		var addrs []netip.AddrPort
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now = now.Add(time.Duration(r.IntN(60)) * time.Second)
			if len(addrs) > 0 && r.IntN(3) == 0 {
				tab.failed(addrs[r.IntN(len(addrs))])
			} else {
				c := contact{randomID(r, r.IntN(20)), publicAddr(r)}
				if r.IntN(4) == 0 {
					c.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(r.IntN(3))}), uint16(1024+r.IntN(50)))
				}
				wanted := tab.wants(now, c)
				_, known := tab.byAddr[c.addr]
				if tab.answered(now, c) != wanted && !known {
					t.Fatal("wants and answered disagree")
				}
				answered[c] = true
				addrs = append(addrs, c.addr)
			}
			if wrong := tab.check(); wrong != "" {
				t.Fatal(wrong)
			}
		}
		var all []contact
		tab.each(func(e *entry) {
			if !answered[e.contact] {
				t.Fatal("listed without an answer")
			}
			if e.isGood(now) {
				all = append(all, e.contact)
			}
		})
		target := randomID(r, 0)
		slices.SortFunc(all, func(a, b contact) int { return compareDistance(&target, &a.id, &b.id) })
		if got := tab.closest(now, target, 8, true); !slices.Equal(got, all[:min(8, len(all))]) {
			t.Fatalf("closest: %v, want %v", got, all)
		}
	})
}

func TestTableForgetsTheDead(t *testing.T) {
	now := time.Unix(1e9, 0)
	tab := newTable(nodeID{})
	c := contact{nodeID{0x80}, netip.MustParseAddrPort("5.1.1.1:7000")}
	tab.answered(now, c)
	if !tab.verified(now, c.addr) {
		t.Error("not verified after an answer")
	}
	tab.failed(c.addr)
	if tab.verified(now, c.addr) || len(tab.closest(now, nodeID{}, 8, true)) != 0 {
		t.Error("named to others after a failure")
	}
	if len(tab.closest(now, nodeID{}, 8, false)) != 1 {
		t.Error("one lost packet removed it")
	}
	tab.answered(now, c)
	if good, all := tab.counts(now.Add(goodFor + 1)); good != 0 || all != 1 {
		t.Errorf("long after: %d good of %d", good, all)
	}
	for range maxFails {
		tab.failed(c.addr)
	}
	if _, all := tab.counts(now); all != 0 {
		t.Error("not removed after failures")
	}
}

// TestSecureNodesComeFirst in a full bucket, and 5,000 invented ids from one
// address take one place; the library gave them 81.
func TestTableUnderAttack(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := rand.New(rand.NewPCG(1, 2))
	tab := newTable(nodeID{})
	for i := range 5000 {
		tab.answered(now, contact{randomID(r, 0), netip.AddrPortFrom(netip.MustParseAddr("5.1.1.1"), uint16(1024+i))})
	}
	if _, all := tab.counts(now); all != 1 {
		t.Errorf("one address has %d places", all)
	}
	tab = newTable(nodeID{})
	for i := range 100 {
		c := contact{randomID(r, 0), netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, 1, byte(i), 1}), 7000)}
		c.id[0] |= 0x80 // one bucket
		if !secureID(c) {
			tab.answered(now, c)
		}
	}
	added := 0
	for i := 0; added < 3; i++ {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{6, 1, byte(i), 1}), 7000)
		id := krpc.ID(randomID(r, 0))
		dht.SecureNodeId(&id, net.IP(addr.Addr().AsSlice()))
		if id[0]&0x80 != 0 {
			added++
			if !tab.answered(now, contact{nodeID(id), addr}) {
				t.Error("a node with a secure id finds no place")
			}
		}
	}
	if wrong := tab.check(); wrong != "" {
		t.Error(wrong)
	}
}

func TestRandomIn(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tab := newTable(randomID(r, 0))
	for n := range 160 {
		id := tab.randomIn(r, n)
		if got := sharedBits(&tab.self, &id); got != n {
			t.Errorf("key for bucket %d falls into %d", n, got)
		}
	}
}
