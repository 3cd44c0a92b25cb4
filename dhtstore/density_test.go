package dhtstore

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

// swallower is a DHT node that takes announcements and forgets them, and names
// nobody but its own kind.
type swallower struct {
	contact
	conn net.PacketConn
	kind []contact // set before the first query
}

func (w *swallower) serve() {
	buf := make([]byte, 2048)
	var out []byte
	for {
		n, addr, err := w.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m message
		from, _ := addrPort(addr)
		if m.parse(buf[:n]) != faultNone || m.kind != 'q' {
			continue
		}
		r := body{id: w.id, token: []byte("tokens")}
		r.nodes[ipv4] = w.kind
		out = appendReply(out[:0], m.tid, from, &r)
		w.conn.WriteTo(out, addr)
	}
}

// An attacker stands next to a target with 20 nodes and swallows what is
// announced there. Honest nodes find who announced himself all the same.
// Guards: the additional nodes in closest.
func TestSwallowersNextToATarget(t *testing.T) {
	nodes := startNetwork(t, 40)
	for i, n := range nodes {
		for j := range minEstimates + 2 {
			lookupAll(t, n, testTarget(1000+100*i+j), false)
		}
	}
	target := testTarget(7)
	var crowd []*swallower
	for i := range 20 {
		w := &swallower{conn: listenRaw(t, fmt.Sprintf("127.66.%d.1", i))}
		w.id = nodeID(target)
		w.id[19] ^= byte(i + 1)
		w.addr, _ = addrPort(w.conn.LocalAddr())
		crowd = append(crowd, w)
	}
	for i, w := range crowd {
		for j := range 8 {
			w.kind = append(w.kind, crowd[(i+j)%len(crowd)].contact)
		}
	}
	for _, w := range crowd {
		go w.serve()
		for _, n := range nodes { // which ping it, and know it then
			q := fmt.Sprintf("d1:ad2:id20:%s6:target20:%se1:q9:find_node1:t2:aa1:y1:qe", w.id[:], target[:])
			w.conn.WriteTo([]byte(q), net.UDPAddrFromAddrPort(n.LocalAddr()))
		}
	}
	// Full buckets keep them out of most tables; somebody knows eight, and these
	// name the rest.
	eventually(t, func() bool {
		known := 0
		for _, n := range nodes {
			n.mu.Lock()
			for _, c := range n.first().table.closest(time.Now(), nodeID(target), bucketSize, true) {
				if sharedBits(&c.id, (*nodeID)(&target)) > 100 {
					known++
				}
			}
			n.mu.Unlock()
		}
		return known >= len(nodes)
	})

	announcer := nodes[3]
	asked := announcer.Stats().Counts["asked"]
	lookupAll(t, announcer, target, true)
	if n := announcer.Stats().Counts["asked"] - asked; n > 2*maxAsk {
		t.Errorf("%d queries", n)
	}
	missed := 0
	for _, n := range nodes[20:] {
		if lookupAll(t, n, target, false)[announcer.LocalAddr()] == 0 {
			missed++
		}
	}
	if missed > 0 {
		t.Errorf("%d of 20 do not find the announcer", missed)
	}
}

// Elsewhere lookups ask and write as before: by chance few targets are crowded.
// And who crowds a tenth of all targets does not move the estimate.
func TestEstimates(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{40, 500, 4000} {
		nodes := make([]contact, size)
		for i := range nodes {
			nodes[i] = contact{randomID(r, 0), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 7000)}
		}
		var e estimates
		wide, lookups := 0, 200
		for i := range lookups {
			target := randomID(r, 0)
			l := newLookup(target, nodeID{}, anyAddr)
			l.size = e.size()
			for _, c := range nodes {
				if sharedBits(&c.id, &target) > 0 { // the rest is never among the closest
					l.add(c)
				}
			}
			if i%10 == 9 {
				for j := range 20 {
					id := target
					id[19] ^= byte(j + 1)
					l.add(contact{id, netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, byte(i), byte(j), 1}), 7000)})
				}
			}
			n, crowd := 0, 0
			l.closest(func(c *candidate) bool {
				c.state, c.token = answered, "x"
				if c.addr.Addr().As4()[0] == 11 {
					crowd++
				}
				n++
				return true
			})
			if size > 100 && i > minEstimates {
				switch {
				case i%10 != 9 && n > bucketSize:
					wide++
				case i%10 == 9 && n-crowd < bucketSize:
					t.Errorf("of %d next to a crowded target %d are honest", n, n-crowd)
				}
			}
			if len(l.writable()) != n {
				t.Errorf("%d are read from, %d written to", n, len(l.writable()))
			}
			e.note(l.estimate())
		}
		if got := e.size(); got < float64(size)/2 || got > float64(size)*2 {
			t.Errorf("%.0f nodes estimated of %d", got, size)
		}
		if wide > lookups/20 {
			t.Errorf("of %d lookups among %d nodes %d went further", lookups, size, wide)
		}
	}
	var e estimates
	for range minEstimates - 1 {
		e.note(5)
	}
	if e.size() != 0 || crowded(e.size(), 0, 8) {
		t.Error("estimates by too few lookups")
	}
}
