package dhtstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/draeder/peerservers/federation"
)

// v4Addr and v6Addr are public addresses, each in a network of its own.
func v4Addr(i int) string { return fmt.Sprintf("5.%d.%d.1:7000", 1+i/250, i%250) }
func v6Addr(i int) string { return fmt.Sprintf("[2a00:1:%x::1]:7000", i) }

// dual starts a node in both DHTs of the network.
func (f *fakeNet) dual(t testing.TB, addr4, addr6 string, change func(*Config), boot ...string) *Node {
	t.Helper()
	return f.node(t, addr4, func(c *Config) {
		c.Conns = append(c.Conns, f.listen(addr6))
		if change != nil {
			change(c)
		}
	}, boot...)
}

// TestMixedNetwork: nodes of IPv4, of IPv6 and of both. Those of one family
// find each other, those of both find all.
func TestMixedNetwork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		var four, six, both []*Node
		all := func() []*Node { return append(append(append([]*Node{}, four...), six...), both...) }
		defer func() { closeAll(t, all()...) }()
		both = append(both, f.dual(t, v4Addr(0), v6Addr(0), nil))
		boot := []string{v4Addr(0), v6Addr(0)}
		for i := 1; i < 6; i++ {
			four = append(four, f.node(t, v4Addr(i), nil, boot...))
			six = append(six, f.node(t, v6Addr(i), nil, boot...))
			both = append(both, f.dual(t, v4Addr(10+i), v6Addr(10+i), nil, boot...))
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Minute)

		target := testTarget(1)
		item := testRecord(t, testKey(1), 5, "six")
		found(t, four[1], target, true)
		found(t, six[1], target, true)
		found(t, both[1], target, true)
		if err := six[1].Publish(testContext(t), item); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			who  *Node
			want []netip.AddrPort
		}{
			{four[3], []netip.AddrPort{four[1].LocalAddr(), both[1].LocalAddrs()[0]}},
			{six[3], []netip.AddrPort{six[1].LocalAddr(), both[1].LocalAddrs()[1]}},
			{both[3], append(both[1].LocalAddrs(), four[1].LocalAddr(), six[1].LocalAddr())},
		} {
			got := found(t, c.who, target, false)
			for _, a := range c.want {
				if got[a] == 0 {
					t.Errorf("%v does not find %v", c.who.LocalAddrs(), a)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("%v finds %v, want %v", c.who.LocalAddrs(), got, c.want)
			}
		}
		for _, n := range []*Node{six[3], both[3]} {
			if got, err := n.Resolve(testContext(t), six[1].LocalAddr()); err != nil || got.Seq != 5 {
				t.Errorf("resolve: %v %v", got.Seq, err)
			}
			if got, err := n.Fetch(testContext(t), item.Key); err != nil || got.Seq != 5 {
				t.Errorf("fetch: %v %v", got.Seq, err)
			}
		}
		if _, err := four[3].Resolve(testContext(t), six[1].LocalAddr()); !errors.Is(err, errAddress) {
			t.Errorf("resolve without a way: %v", err)
		}
		if _, err := four[3].Fetch(testContext(t), item.Key); !errors.Is(err, ErrNotFound) {
			t.Errorf("fetch from the other DHT: %v", err)
		}
		for _, n := range all() {
			for _, s := range n.stacks {
				n.mu.Lock()
				s.table.each(func(e *entry) {
					if !s.sameFamily(e.addr) {
						t.Errorf("the %v table has %v", s.family, e.addr)
					}
				})
				if wrong := s.table.check(); wrong != "" {
					t.Error(wrong)
				}
				n.mu.Unlock()
			}
		}
	})
}

// TestOtherDHTLeadsIn: with bootstrap addresses of one family only, the other
// DHT is found through nodes that are in both (BEP 32's "want").
func TestOtherDHTLeadsIn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		var nodes []*Node
		for i := range 6 {
			nodes = append(nodes, f.dual(t, v4Addr(i), v6Addr(i), nil, v4Addr(0), v6Addr(0)))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		for i, boot := range []string{v4Addr(0), v6Addr(0)} {
			n := f.dual(t, v4Addr(20+i), v6Addr(20+i), nil, boot)
			time.Sleep(10 * time.Second)
			for _, s := range n.stacks {
				if s.goodNodes(time.Now()) == 0 {
					t.Errorf("started from %s, it knows nobody in the %v DHT", boot, s.family)
				}
			}
			nodes = append(nodes, n)
		}
		closeAll(t, nodes...)
	})
}

// TestDeadFamilyCostsNothing: a machine with addresses that lead nowhere is
// served by its other DHT as if it were alone, in time and in packets.
func TestDeadFamilyCostsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		dead := netip.MustParseAddrPort(v6Addr(9))
		boot := f.node(t, v4Addr(0), nil)
		n := f.dual(t, v4Addr(1), v6Addr(1), nil, v4Addr(0), dead.String())
		defer closeAll(t, n, boot)
		time.Sleep(time.Minute)
		before := f.packetsTo(dead)
		start := time.Now()
		for i := range 20 {
			found(t, n, testTarget(i), true)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("20 lookups took %v", took)
		}
		if got := f.packetsTo(dead) - before; got > 4 {
			t.Errorf("%d packets into the void", got)
		}
		if s := n.Stats(); s.DHTs[1].SinceAnswer >= 0 || s.GoodNodes != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestNeitherWaitsForTheOther: answers of one DHT are reported while the
// other has not answered yet.
func TestNeitherWaitsForTheOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		a := f.dual(t, v4Addr(0), v6Addr(0), nil)
		b := f.dual(t, v4Addr(1), v6Addr(1), nil, v4Addr(0), v6Addr(0))
		defer closeAll(t, a, b)
		time.Sleep(20 * time.Second)
		found(t, a, testTarget(1), true)
		f.mu.Lock() // IPv6 falls silent; nobody knows yet
		f.lose = func(_, to netip.AddrPort) bool { return to.Addr().Is6() }
		f.mu.Unlock()
		start := time.Now()
		var at time.Duration
		err := b.Lookup(testContext(t), testTarget(1), true, func(addr netip.AddrPort) {
			if addr == a.LocalAddr() {
				at = time.Since(start)
			}
		})
		if err != nil || at > queryTimeout/2 {
			t.Errorf("found after %v, %v", at, err)
		}
	})
}

// TestMappedAddressesDoNotCross: nobody gets an IPv4 address into the IPv6 DHT
// by writing it as an IPv6 one, nor are its nodes named twice.
func TestMappedAddressesDoNotCross(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		n := f.dual(t, v4Addr(0), v6Addr(0), nil)
		defer closeAll(t, n)
		liar := f.listen(v6Addr(1))
		mapped := netip.MustParseAddrPort("[::ffff:5.9.9.9]:7000")
		four := netip.MustParseAddrPort("5.9.9.9:7000")
		good := netip.MustParseAddrPort(v6Addr(7))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			var m message
			for {
				select {
				case p := <-liar.in:
					if m.parse(p.b) != faultNone || m.kind != 'q' {
						continue
					}
					r := body{id: nodeID{66}, token: []byte("t"), values: []netip.AddrPort{mapped, four, good}}
					r.nodes[ipv6] = []contact{{nodeID{67}, mapped}, {nodeID{68}, good}}
					_, _ = liar.WriteTo(appendReply(nil, m.tid, mapped, &r), net.UDPAddrFromAddrPort(p.from))
				case <-ctx.Done():
					return
				}
			}
		}()
		s := n.stacks[1]
		if _, err := s.query(ctx, liar.addr, methodPing, krpc.MsgArgs{}, false); err != nil {
			t.Fatal(err)
		}
		got := found(t, n, testTarget(1), false)
		if len(got) != 1 || got[good] == 0 {
			t.Errorf("found %v", got)
		}
		if f.packetsTo(mapped) != 0 || f.packetsTo(good) == 0 {
			t.Errorf("packets: %d to the mapped address, %d to the good one", f.packetsTo(mapped), f.packetsTo(good))
		}
		if got := n.External(); len(got) != 0 {
			t.Errorf("believes to be at %v", got)
		}
	})
}

// TestWant: a node answers with nodes of its own family unless asked for
// others, of both if asked, and peers of its own only.
func TestWant(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		n := f.dual(t, v4Addr(0), v6Addr(0), nil)
		defer closeAll(t, n)
		now := time.Now()
		n.mu.Lock()
		for i := range 100 {
			n.stacks[0].table.answered(now, contact{nodeID(testTarget(i)), netip.MustParseAddrPort(v4Addr(100 + i))})
			n.stacks[1].table.answered(now, contact{nodeID(testTarget(i)), netip.MustParseAddrPort(v6Addr(100 + i))})
		}
		n.mu.Unlock()
		r := rawClient{id: nodeID{1}}
		for i, addr := range []string{v4Addr(1), v6Addr(1)} {
			c := f.listen(addr)
			for want, count := range map[string][2]int{
				"": {8 * (1 - i), 8 * i}, "4:wantl2:n4e": {8, 0}, "4:wantl2:n6e": {0, 8},
				"4:wantl2:n42:n6e": {8, 8}, "4:wantle": {}, "4:wantl2:n9e": {},
			} {
				n.mu.Lock()
				token := n.tokens.make(time.Now(), c.addr.Addr()) // so that all fits
				n.mu.Unlock()
				q := r.query("get_peers", fmt.Sprintf("%s5:token%d:%s%s", infoHash(testTarget(1)), len(token), token, want))
				if _, err := c.WriteTo([]byte(q), n.stacks[i].guard.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				p := <-c.in
				var m message
				if m.parse(p.b) != faultNone || len(p.b) > maxReply {
					t.Fatalf("%d bytes: %q", len(p.b), p.b)
				}
				got := [2]int{len(m.nodes[ipv4]) / ipv4.compactNode(), len(m.nodes[ipv6]) / ipv6.compactNode()}
				if got != count || m.external != c.addr {
					t.Errorf("%s asking %q gets %v, is seen at %v", addr, want, got, m.external)
				}
			}
		}
	})
}

// TestLimitsCountNetworks of IPv6 as they do addresses of IPv4: a /64 is one
// host, a /48 one network.
func TestLimitsCountNetworks(t *testing.T) {
	now := time.Unix(1e9, 0)
	addr := func(net, sub, host int) netip.AddrPort {
		return netip.MustParseAddrPort(fmt.Sprintf("[2a00:1:%x:%x::%x]:7000", net, sub, host))
	}
	tab := newTable(nodeID{})
	for i := range 1000 {
		tab.answered(now, contact{nodeID(testTarget(i)), addr(1, 1, i)})
	}
	if _, all := tab.counts(now); all != 1 {
		t.Errorf("a /64 has %d places", all)
	}
	tab = newTable(nodeID{})
	for i := range 1000 {
		id := nodeID(testTarget(i))
		id[0] |= 0x80
		tab.answered(now, contact{id, addr(1, i, 1)})
	}
	if _, all := tab.counts(now); all != perSubnet {
		t.Errorf("a /48 has %d places in a bucket", all)
	}
	peers := newPeerStore()
	for i := range 50 {
		peers.announce(now, nodeID{1}, addr(1, 1, i))
	}
	if _, all := peers.counts(); all != maxHostHash {
		t.Errorf("a /64 has %d announcements of one hash", all)
	}
	limit := newPerHost(rateLimit{1, 1}, rateLimit{1, 1})
	allowed := 0
	for i := range 100 {
		if limit.allow(now, addr(1, 1, i)) {
			allowed++
		}
	}
	if allowed != 1 {
		t.Errorf("a /64 was allowed %d times", allowed)
	}
	l := newLookup(nodeID{}, nodeID{9}, anyAddr)
	for i := range 20 {
		l.add(contact{nodeID(testTarget(i)), addr(1, i, 1)})
	}
	closest := 0
	l.closest(func(*candidate) bool { closest++; return true })
	if closest != 1 {
		t.Errorf("a /48 has %d of the closest", closest)
	}
}

// needIPv6 skips what needs real IPv6 sockets, which some containers forbid.
// The fake network has tests of the same.
func needIPv6(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skipf("NOT TESTED: IPv6 on real sockets; this machine has no IPv6 loopback: %v", err)
	}
	_ = conn.Close() // it was for trying only
}

// TestIPv6OnLoopback is a private IPv6 DHT on real sockets. Loopback has one
// address there, so that nodes differ by port.
func TestIPv6OnLoopback(t *testing.T) {
	needIPv6(t)
	nodes := []*Node{startNode(t, "::1", nil)}
	for range 9 {
		nodes = append(nodes, startNode(t, "::1", nil, nodes[0].LocalAddr().String()))
	}
	for _, n := range nodes {
		eventually(t, func() bool { return n.GoodNodes() > 0 })
	}
	testDirectory(t, nodes)
}

// TestTwoShareIPv6Only: on real sockets, in both DHTs, with nothing but IPv6
// in common.
func TestTwoShareIPv6Only(t *testing.T) {
	needIPv6(t)
	four, six := startNode(t, "127.0.1.1", nil), startNode(t, "::1", nil)
	boot := []string{four.LocalAddr().String(), six.LocalAddr().String()}
	dual := startNode(t, "127.0.1.2", func(c *Config) { c.Listen = append(c.Listen, "[::1]:0") }, boot...)
	alone := startNode(t, "::1", nil, boot...)
	for _, s := range append(dual.stacks, alone.stacks...) {
		eventually(t, func() bool { return s.goodNodes(time.Now()) > 0 })
	}
	testDirectory(t, []*Node{dual, alone})
}

// testDirectory has all nodes find each other, by IPv6.
func testDirectory(t *testing.T, nodes []*Node) {
	t.Helper()
	target := testTarget(1)
	for i, n := range nodes {
		lookupAll(t, n, target, true)
		if err := n.Publish(testContext(t), testRecord(t, testKey(byte(i)), 3, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	six := func(n *Node) netip.AddrPort { return n.stack(netip.IPv6Loopback()).local }
	for i, n := range nodes {
		got := lookupAll(t, n, target, false)
		for j, other := range nodes {
			if j == i {
				continue
			}
			if got[six(other)] == 0 {
				t.Errorf("%d does not find %d", i, j)
			}
			key := testRecord(t, testKey(byte(j)), 3, "").Key
			for what, get := range map[string]func() (federation.Item, error){
				"resolve": func() (federation.Item, error) { return n.Resolve(testContext(t), six(other)) },
				"fetch":   func() (federation.Item, error) { return n.Fetch(testContext(t), key) },
			} {
				if item, err := get(); err != nil || !item.Key.Equal(key) || string(item.Value) != fmt.Sprintf("d1:t1:%de", j) {
					t.Errorf("%d %ss %d: %v %v", i, what, j, item, err)
				}
			}
		}
	}
}
