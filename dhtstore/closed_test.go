package dhtstore

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/bep44"
	"github.com/draeder/peerservers/federation"
)

var closedSalt = "salt of a closed"

func inClosed(key byte) func(*Config) {
	return func(c *Config) { c.QueryKey, c.RecordSalt = bytes.Repeat([]byte{key}, 32), closedSalt }
}

// closedRecord is a record in the network of inClosed.
func closedRecord(key ed25519.PrivateKey, seq int64, value string) federation.Item {
	item := federation.Item{Key: key.Public().(ed25519.PublicKey), Seq: seq, Value: fmt.Appendf(nil, "%d:%s", len(value), value)}
	copy(item.Sig[:], bep44.Sign(key, []byte(closedSalt), seq, item.Value))
	return item
}

// Members of a closed network get each other's records, from the node as well
// as from the DHT; those of other networks do not.
func TestClosedRecordsAmongMembers(t *testing.T) {
	hub := startNode(t, "127.0.0.2", nil)
	boot := hub.LocalAddr().String()
	a, b := startNode(t, "127.0.0.3", inClosed(1), boot), startNode(t, "127.0.0.4", inClosed(1), boot)
	other, open := startNode(t, "127.0.0.5", inClosed(2), boot), startNode(t, "127.0.0.6", nil, boot)
	for _, n := range []*Node{a, b, other, open} {
		eventually(t, func() bool { return n.GoodNodes() > 0 })
	}
	item := closedRecord(testKey(1), 7, strings.Repeat("x", 900))
	if err := a.Publish(testContext(t), item); err != nil {
		t.Fatal(err)
	}
	for name, get := range map[string]func(*Node) (federation.Item, error){
		"resolve": func(n *Node) (federation.Item, error) { return n.Resolve(testContext(t), a.LocalAddr()) },
		"fetch":   func(n *Node) (federation.Item, error) { return n.Fetch(testContext(t), item.Key) },
	} {
		if got, err := get(b); err != nil || got.Seq != 7 || !bytes.Equal(got.Value, item.Value) {
			t.Errorf("%s by a member: %+v, %v", name, got, err)
		}
		for _, n := range []*Node{other, open} {
			if name == "fetch" && n == other {
				continue // told apart by the salt, which here is the same
			}
			if got, err := get(n); err == nil {
				t.Errorf("%s by an outsider: %+v", name, got)
			}
		}
	}
	// Nor is a member answered by a node of an open network, or by a plain one.
	if err := open.Publish(testContext(t), testRecord(t, testKey(2), 1, "a")); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{open, hub} {
		if got, err := b.Resolve(testContext(t), n.LocalAddr()); err == nil {
			t.Errorf("an outsider's record: %+v", got)
		}
	}
	for _, n := range []*Node{a, b, open, hub} {
		if n != open && n.Stats().Counts["query_wt_rec"] != 0 {
			t.Errorf("%v was asked by name", n.LocalAddr())
		}
	}
}

// To who does not have the secret a member is a DHT node that knows no
// "wt_rec", whatever is asked under that name: same bytes, and no more of them.
func TestClosedNodeIsAPlainOneToStrangers(t *testing.T) {
	member := startNode(t, "127.0.0.3", inClosed(1))
	item := closedRecord(testKey(1), 7, strings.Repeat("x", 300))
	if err := member.Publish(testContext(t), item); err == nil {
		t.Error("publishing without a network succeeded")
	}
	r := dialRaw(t, "127.0.0.9", member.LocalAddr())
	token := r.ask("get", "6:target20:"+id20[7:]).token
	self := member.first().table.self
	asID := func(id []byte, args string) string { return fmt.Sprintf("1:ad2:id%d:%s%se", len(id), id, args) }
	for i, args := range []string{
		"", "1:ade", "1:ai1e", "1:a0:", asID(r.id[:19], ""), asID(self[:], ""), asID(r.id[:], ""), asID(r.id[:], "1:ki1e"),
		asID(r.id[:], fmt.Sprintf("5:token%d:%s", len(token), token)), asID(r.id[:], "5:token3:abc"), asID(r.id[:], "3:seqi1e5:token0:"),
	} {
		var got [2]string
		for j, name := range []string{"wt_rec", "vote"} {
			q := fmt.Sprintf("d%s1:q%d:%s1:t2:aa1:y1:qe", args, len(name), name)
			got[j] = r.raw(q)
		}
		if got[0] != got[1] || got[0] == "" {
			t.Errorf("query %d: %q, another unknown one %q", i, got[0], got[1])
		}
	}
	if n := member.Stats(); n.Counts["query_wt_rec"] != 0 || n.Outstanding != 0 {
		t.Errorf("%+v", n)
	}

	// A get is answered with the record under no target but that of this token
	// and this address.
	at := netip.MustParseAddr("127.0.0.9")
	good := MemberTarget(member.cfg.QueryKey, token, at)
	where := recordTarget(item.Key, []byte(recordSalt))
	for name, target := range map[string]federation.Target{
		"the open salt": federation.Target(where), "another key": MemberTarget(bytes.Repeat([]byte{2}, 32), token, at), "no key": MemberTarget(nil, token, at),
		"another token": MemberTarget(member.cfg.QueryKey, []byte("nonono"), at), "no token": MemberTarget(member.cfg.QueryKey, nil, at),
		"another address": MemberTarget(member.cfg.QueryKey, token, netip.MustParseAddr("127.0.0.10")),
	} {
		if m := r.ask("get", "6:target20:"+string(target[:])); m.kind != 'r' || m.key != nil || m.hasSeq || m.value != nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
	m := r.ask("get", "6:target20:"+string(good[:]))
	if m.seq != 7 || !bytes.Equal(m.value, item.Value) || !bytes.Equal(m.key, item.Key) || !bytes.Equal(m.sig, item.Sig[:]) || len(m.token) == 0 {
		t.Errorf("a member's: %+v", m)
	}
	elsewhere := dialRaw(t, "127.0.0.10", member.LocalAddr())
	if m := elsewhere.ask("get", "6:target20:"+string(good[:])); m.key != nil || m.hasSeq {
		t.Errorf("replayed from elsewhere: %+v", m)
	}
}

// raw returns the reply to a datagram, as it is.
func (r *rawClient) raw(datagram string) string {
	r.t.Helper()
	if _, err := r.conn.WriteTo([]byte(datagram), net.UDPAddrFromAddrPort(r.to)); err != nil {
		r.t.Fatal(err)
	}
	if err := r.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	b := make([]byte, 1<<16)
	size, _, err := r.conn.ReadFrom(b)
	if err != nil {
		r.t.Errorf("no reply to %q", datagram)
		return ""
	}
	return string(b[:size])
}

// A member proves itself to no one who says that its address is another than
// others do: he would pass the proof on from there.
func TestConfirms(t *testing.T) {
	now := time.Now()
	us, liar := netip.MustParseAddr("45.1.2.3"), netip.MustParseAddr("45.9.9.9")
	from := netip.MustParseAddrPort("46.1.1.1:1")
	var v votes
	check := func(when string, ip netip.Addr, want bool) {
		t.Helper()
		if v.confirms(now, from, ip) != want {
			t.Errorf("%s: %v is believed %v", when, ip, !want)
		}
	}
	check("nobody said anything", us, true)
	v.note(now, from, netip.AddrPortFrom(liar, 5))
	check("he alone said it", liar, true)
	v.note(now, netip.MustParseAddrPort("46.1.1.2:1"), netip.AddrPortFrom(liar, 5))
	check("his neighbour too", liar, true)
	v.note(now, netip.MustParseAddrPort("47.1.1.1:1"), netip.AddrPortFrom(us, 5))
	check("another says otherwise", liar, false)
	check("another says so", us, true)
	check("private", netip.MustParseAddr("192.168.1.1"), true)
	now = now.Add(voteExpiry + 1)
	check("that was long ago", liar, true)

	// Against a model, on random votes.
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		v = votes{}
		said := map[netip.AddrPort]netip.Addr{}
		for range r.IntN(6) {
			voter := netip.AddrPortFrom(netip.AddrFrom4([4]byte{46, byte(r.IntN(3)), 1, 1}), 1)
			ip := netip.AddrFrom4([4]byte{45, 1, 1, byte(r.IntN(3))})
			v.note(now, voter, netip.AddrPortFrom(ip, uint16(1+r.IntN(2))))
			said[voter] = ip
		}
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{46, byte(r.IntN(3)), 1, 7}), 9)
		ip := netip.AddrFrom4([4]byte{45, 1, 1, byte(r.IntN(3))})
		others, same := 0, 0
		for voter, s := range said {
			if voter.Addr().As4()[1] != from.Addr().As4()[1] {
				others++
				if s == ip {
					same++
				}
			}
		}
		if want := others == 0 || same > 0; v.confirms(now, from, ip) != want {
			t.Fatalf("%v from %v with %v: %v", ip, from, said, !want)
		}
	}
}

// Nobody has a member prove itself for his own use: a stranger passes on what a
// member asks him, from where he says that the member is. Guard: confirms in
// askMember.
func TestClosedProofIsNotPassedOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		nodes := []*Node{f.node(t, v4Addr(0), nil)}
		for i := 1; i < 4; i++ {
			nodes = append(nodes, f.node(t, v4Addr(i), nil, v4Addr(0)))
		}
		a, b := f.node(t, v4Addr(10), inClosed(1), v4Addr(0)), f.node(t, v4Addr(11), inClosed(1), v4Addr(0))
		nodes = append(nodes, a, b)
		defer func() { closeAll(t, nodes...) }()
		time.Sleep(time.Minute)
		item := closedRecord(testKey(1), 7, "x")
		if err := b.Publish(testContext(t), item); err != nil {
			t.Fatal(err)
		}
		if got, err := a.Resolve(testContext(t), b.LocalAddr()); err != nil || got.Seq != 7 {
			t.Fatal(got, err)
		}

		// The stranger has two addresses: at one he is asked, from the other he asks b.
		inner, outer := f.listen(v4Addr(20)), f.listen(v4Addr(21))
		defer inner.Close()
		defer outer.Close()
		self := netip.MustParseAddrPort(v4Addr(21))
		asked, learned := 0, 0
		go func() {
			buf := make([]byte, 2048)
			for {
				n, from, err := inner.ReadFrom(buf)
				if err != nil {
					return
				}
				var m, answer message
				if m.parse(buf[:n]) != faultNone || m.method != methodGet {
					continue
				}
				asked++
				q := fmt.Sprintf("d1:ad2:id20:%s6:target20:%se1:q3:get1:t2:aa1:y1:qe", m.id[:], m.target[:])
				outer.WriteTo([]byte(q), net.UDPAddrFromAddrPort(b.LocalAddr()))
				back := make([]byte, 2048)
				for {
					if n, _, err = outer.ReadFrom(back); err != nil {
						return
					}
					if answer.parse(back[:n]) == faultNone && answer.kind == 'r' {
						break // and not a query of b's
					}
				}
				if answer.key != nil {
					learned++
				}
				r := body{id: nodeID{1}, token: answer.token}
				inner.WriteTo(appendReply(nil, m.tid, self, &r), from)
			}
		}()
		if got, err := a.Resolve(testContext(t), netip.MustParseAddrPort(v4Addr(20))); err == nil {
			t.Errorf("got %+v", got)
		}
		if asked != 1 || learned != 0 {
			t.Errorf("asked %d times, and learned of the node that he passed it on to %d times", asked, learned)
		}
	})
}
