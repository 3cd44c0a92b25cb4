package dhtstore

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// FuzzNode throws datagrams at a whole node: it answers or drops them, and is
// there afterwards.
func FuzzNode(f *testing.F) {
	for _, c := range faultCases {
		f.Add([]byte(c.datagram), []byte("d1:q4:ping1:t2:aa1:y1:qe"))
	}
	r := rawClient{id: nodeID{'r'}}
	target := testTarget(1)
	f.Add([]byte(r.query("ping", "")), []byte(r.query("find_node", "6:target20:"+id20[7:])))
	f.Add([]byte(r.query("get_peers", infoHash(target))), []byte(r.query("announce_peer", announceArgs(target, 1, []byte("token")))))
	f.Add([]byte(r.query("put", putArgs(signedPut(1, 1, "1:a")))), []byte(r.query("wt_rec", "")))
	f.Add([]byte(r.query("get_peers", infoHash(target)+"4:wantl2:n42:n6e")), []byte(r.query("find_node", "6:target20:"+id20[7:]+"4:wantl2:n6e")))
	net := newFakeNet()
	n := net.dual(f, "127.0.0.1:7000", "[::1]:7000", func(c *Config) { c.AllowPrivate = true })
	f.Cleanup(func() { closeAll(f, n) })
	if err := n.Publish(testContext(f), testRecord(f, testKey(1), 1, "x")); err == nil {
		f.Error("published to nobody")
	}
	fillTable(n, 50)
	for i := range 50 {
		n.stacks[1].table.answered(time.Now(), contact{nodeID(testTarget(i)), netip.AddrPortFrom(netip.IPv6Loopback(), uint16(8000+i))})
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		fuzzNode(t, net, n.stacks[0], netip.MustParseAddrPort("127.0.0.9:9"), a, b)
		fuzzNode(t, net, n.stacks[1], netip.MustParseAddrPort("[::1]:9"), a, b)
	})
}

func fuzzNode(t *testing.T, net *fakeNet, s *stack, from netip.AddrPort, a, b []byte) {
	n := s.node
	n.mu.Lock() // fuzzing is faster than anybody may ask
	unlimited := rateLimit{1e9, 1e9}
	n.incoming = perHost{&slots{limit: unlimited, seed: n.incoming.public.seed}, &slots{limit: unlimited, seed: n.incoming.public.seed}}
	n.replies.tokens = 1000
	n.mu.Unlock()
	for _, datagram := range [][]byte{a, b} {
		var m message
		if m.parse(datagram) != faultNone || m.kind != 'q' {
			continue
		}
		// With a good token as well, to get further.
		for range 2 {
			n.mu.Lock()
			reply := s.respond(time.Now(), &m, len(datagram), from)
			if len(reply) > 1400 {
				t.Errorf("%d bytes for %q", len(reply), datagram)
			}
			var again message
			if reply != nil && again.parse(reply) != faultNone {
				t.Errorf("malformed reply %q", reply)
			}
			m.token = n.tokens.make(time.Now(), from.Addr())
			n.mu.Unlock()
		}
	}
	n.mu.Lock()
	hashes, _ := s.peers.counts()
	if s.items.recent.Len() > maxItems || hashes > maxHashes || s.table.check() != "" {
		t.Error("out of bounds")
	}
	n.mu.Unlock()
	// And through the connection, library and all.
	raw := net.listen(from.String())
	for _, datagram := range [][]byte{a, b, []byte("d1:ad" + id20 + "e1:q4:ping1:t4:last1:y1:qe")} {
		if _, err := raw.WriteTo(datagram, s.guard.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.After(10 * time.Second)
	for {
		select {
		case p := <-raw.in:
			if bytes.Contains(p.b, []byte("4:last")) {
				return
			}
		case <-deadline:
			t.Fatal("the node does not answer any more")
		}
	}
}

// FuzzReply answers every query of a node, under its own transaction, with a
// reply of any content: no caller falls for it, whatever it calls.
func FuzzReply(f *testing.F) {
	f.Add([]byte("d" + id20 + "5:token3:toke"))
	f.Add([]byte("d" + id20 + "5:nodes26:abcdefghij0123456789abcdef5:token3:tok6:valuesl6:abcdefee"))
	f.Add([]byte("d" + id20 + "6:nodes638:abcdefghij0123456789abcdefghij0123456712345:token3:tok6:valuesl18:abcdefghij01234567ee"))
	f.Add([]byte("d" + id20 + "1:k32:abcdefghijklmnopqrstuvwxyz0123453:sig64:" + strings.Repeat("s", 64) + "5:token3:tok1:vd1:ai1eee"))
	it := signedAs(1, 5, "d1:ai1ee")
	f.Add(fmt.Appendf(nil, "d%s1:k32:%s3:seqi5e3:sig64:%s5:token3:tok1:v%se", id20, it.key, it.sig, it.value))
	f.Fuzz(func(t *testing.T, content []byte) {
		bubble(t, func(t *testing.T) { fuzzReply(t, content, it, "127.0.0.1:7000", "127.0.0.2:7000") })
		bubble(t, func(t *testing.T) { fuzzReply(t, content, it, "[::1]:7000", "[::1]:7001") })
	})
}

func fuzzReply(t *testing.T, content []byte, it *storedItem, ours, theirs string) {
	network := newFakeNet()
	peer := network.listen(theirs)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		var m message
		for {
			select {
			case p := <-peer.in:
				if m.parse(p.b) != faultNone || m.kind != 'q' {
					continue
				}
				network.mu.Lock()
				to := network.conns[p.from]
				network.mu.Unlock()
				if to == nil {
					continue // closed
				}
				head := []byte("d1:r")
				tail := appendTail(nil, m.tid, 'r')
				to.in <- fakePacket{append(append(head, content...), tail...), peer.addr}
				// So that nobody has to wait when that was no reply at all.
				to.in <- fakePacket{appendReply(nil, m.tid, p.from, &body{id: nodeID{7}, token: []byte("t")}), peer.addr}
			case <-peer.closed:
				return
			}
		}
	}()
	n := network.node(t, ours, func(c *Config) { c.AllowPrivate, c.PacketRate = true, MaxPacketRate }, peer.addr.String())
	ctx := testContext(t)
	if err := n.Lookup(ctx, testTarget(1), true, func(netip.AddrPort) {}); err != nil {
		t.Logf("lookup: %v", err)
	}
	for _, get := range []func() ([]byte, error){
		func() ([]byte, error) {
			item, err := n.Fetch(ctx, it.key)
			return item.Value, err
		},
		func() ([]byte, error) {
			item, err := n.Resolve(ctx, peer.addr)
			return item.Value, err
		},
	} {
		if v, err := get(); err == nil && !canonical(v) {
			t.Errorf("got %q", v)
		}
	}
	n.mu.Lock()
	if wrong := n.first().table.check(); wrong != "" {
		t.Error(wrong)
	}
	n.mu.Unlock()
	closeAll(t, n)
	if err := peer.Close(); err != nil {
		t.Error(err)
	}
	<-answered
}
