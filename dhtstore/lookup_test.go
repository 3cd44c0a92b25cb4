package dhtstore

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	"pgregory.net/rapid"
)

func anyAddr(netip.AddrPort) bool { return true }

// TestLookupFindsTheClosest: in a random network in which every node knows
// some others, of which some are dead, a lookup ends with the closest living
// nodes of those that can be reached, whatever the order of answers.
func TestLookupFindsTheClosest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		count := rapid.IntRange(1, 80).Draw(t, "nodes")
		nodes := make([]contact, count)
		dead := make(map[netip.AddrPort]bool)
		byAddr := make(map[netip.AddrPort]int)
		for i := range nodes {
			nodes[i] = contact{randomID(r, 0), netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(i)}), 7000)}
			dead[nodes[i].addr] = i > 0 && r.IntN(5) == 0
			byAddr[nodes[i].addr] = i
		}
		target := randomID(r, 0)
		// Everybody knows whom a Kademlia table would have: the closest to the
		// target among others; here all of them answer with the 8 closest that
		// they know of, from a random half of the network.
		known := make([][]contact, count)
		for i := range known {
			for _, c := range nodes {
				if r.IntN(2) == 0 {
					known[i] = append(known[i], c)
				}
			}
			slices.SortFunc(known[i], func(a, b contact) int { return compareDistance(&target, &a.id, &b.id) })
			known[i] = known[i][:min(8, len(known[i]))]
		}

		l := newLookup(target, nodeID{}, anyAddr)
		l.seed(nodes[0].addr)
		reached := map[netip.AddrPort]bool{}
		var asking []contact
		for {
			if len(asking) < alpha {
				if c, ok := l.next(); ok {
					asking = append(asking, c)
					continue
				}
			}
			if len(asking) == 0 {
				break
			}
			i := r.IntN(len(asking))
			c := asking[i]
			asking = slices.Delete(asking, i, i+1)
			if reached[c.addr] {
				t.Fatal("asked twice")
			}
			reached[c.addr] = true
			if dead[c.addr] {
				l.failed(c.addr)
				continue
			}
			n := byAddr[c.addr]
			l.answered(c.addr, nodes[n].id, "token")
			for _, k := range known[n] {
				l.add(k)
			}
		}
		// Of all that were named to us, none that lives is closer than those
		// that we would write to, unless it is among them.
		got := l.writable()
		if !slices.IsSortedFunc(got, func(a, b candidate) int { return compareDistance(&target, &a.id, &b.id) }) {
			t.Fatal("not sorted")
		}
		var want []contact
		for _, c := range l.cands {
			if n := byAddr[c.addr]; !dead[c.addr] {
				want = append(want, nodes[n])
			}
		}
		slices.SortFunc(want, func(a, b contact) int { return compareDistance(&target, &a.id, &b.id) })
		want = want[:min(8, len(want))]
		if len(got) != len(want) {
			t.Fatalf("%d to write to, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i].contact != want[i] {
				t.Fatalf("number %d is %v, want %v", i, got[i].contact, want[i])
			}
		}
	})
}

// TestLookupUnderAttack: one /24 full of ids next to the target gets one
// place, and nodes whose id fits their address come before them.
func TestLookupUnderAttack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	target := randomID(r, 0)
	l := newLookup(target, nodeID{}, anyAddr)
	near := func(i int) nodeID {
		id := target
		id[19] ^= byte(i)
		return id
	}
	for i := range 200 {
		l.add(contact{near(i), netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, 6, 7, byte(i)}), 7000)})
	}
	for i := range 20 {
		l.add(contact{near(200 + i), netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, byte(i), 7, 1}), 7000)})
	}
	var honest []netip.AddrPort
	for i := range 6 {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, byte(i), 7, 1}), 7000)
		id := krpc.ID(randomID(r, 0))
		dht.SecureNodeId(&id, net.IP(addr.Addr().AsSlice()))
		l.add(contact{nodeID(id), addr})
		honest = append(honest, addr)
	}
	asked := 0
	for {
		c, ok := l.next()
		if !ok {
			break
		}
		asked++
		l.answered(c.addr, c.id, "token")
	}
	got := l.writable()
	if asked != bucketSize || len(got) != bucketSize {
		t.Fatalf("asked %d, %d to write to", asked, len(got))
	}
	nets := make(map[netip.AddrPort]int)
	for i, c := range got {
		nets[subnet(c.addr)]++
		if i < len(honest) && !slices.Contains(honest, c.addr) {
			t.Errorf("number %d is %v", i, c.addr)
		}
	}
	for net, count := range nets {
		if count > 1 {
			t.Errorf("%d of %v", count, net)
		}
	}
}

// TestLookupIsBounded: a network that invents ever closer nodes ends it.
func TestLookupIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	target := randomID(r, 0)
	l := newLookup(target, nodeID{}, anyAddr)
	next := 0
	invent := func() {
		for range 100 {
			next++
			id := target
			id[10] ^= byte(200 - next/500)
			id[18], id[19] = byte(r.Uint32()), byte(r.Uint32())
			l.add(contact{id, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(next >> 16), byte(next >> 8), byte(next)}), 7000)})
		}
	}
	invent()
	asked := 0
	for {
		c, ok := l.next()
		if !ok {
			break
		}
		asked++
		l.answered(c.addr, c.id, "")
		invent()
	}
	if asked > maxAsk || len(l.cands) > maxCandidates {
		t.Errorf("asked %d, kept %d", asked, len(l.cands))
	}
}
