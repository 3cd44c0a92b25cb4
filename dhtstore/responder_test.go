package dhtstore

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/bep44"
)

func infoHash(target [20]byte) string { return fmt.Sprintf("9:info_hash20:%s", target[:]) }

// announceArgs are sorted after "id".
func announceArgs(target [20]byte, port int, token []byte) string {
	return fmt.Sprintf("%s4:porti%de5:token%d:%s", infoHash(target), port, len(token), token)
}

func putArgs(m *message) string {
	out := ""
	if m.hasCAS {
		out += fmt.Sprintf("3:casi%de", m.cas)
	}
	out += fmt.Sprintf("1:k32:%s4:salt%d:%s3:seqi%de3:sig64:%s5:token%d:%s1:v%s",
		m.key, len(m.salt), m.salt, m.seq, m.sig, len(m.token), m.token, m.value)
	return out
}

// signedPut is a put message of key.
func signedPut(seed byte, seq int64, value string) *message {
	key := testKey(seed)
	m := &message{key: testRecordKey(seed), salt: []byte("s"), seq: seq, hasSeq: true, value: []byte(value)}
	m.sig = bep44.Sign(key, m.salt, seq, m.value)
	return m
}

func testRecordKey(seed byte) []byte { return testKey(seed)[32:] }

// TestPeersAreReturned: the library's own store never returned a peer, and
// knew one port of an address only.
func TestPeersAreReturned(t *testing.T) {
	n := startNode(t, "127.0.0.2", nil)
	r := dialRaw(t, "127.0.0.9", n.LocalAddr())
	target := testTarget(1)
	token := r.ask("get_peers", infoHash(target)).token
	for _, port := range []int{1000, 2000, 3000} {
		if m := r.ask("announce_peer", announceArgs(target, port, token)); m.kind != 'r' {
			t.Fatalf("announce: %d %s", m.code, m.text)
		}
	}
	if m := r.ask("announce_peer", "12:implied_porti1e"+announceArgs(target, 4000, token)); m.kind != 'r' {
		t.Fatalf("announce: %d %s", m.code, m.text)
	}
	got := make(map[netip.AddrPort]bool)
	for _, a := range r.ask("get_peers", infoHash(target)).values {
		got[a] = true
	}
	if len(got) != 4 || !got[r.addr()] || !got[netip.MustParseAddrPort("127.0.0.9:2000")] {
		t.Errorf("returned %v", got)
	}
}

// TestBadTokenIsAnError: the library drops it silently.
func TestBadTokenIsAnError(t *testing.T) {
	n := startNode(t, "127.0.0.2", nil)
	r := dialRaw(t, "127.0.0.9", n.LocalAddr())
	target := testTarget(1)
	if m := r.ask("announce_peer", announceArgs(target, 1000, []byte("nonono"))); m.kind != 'e' || m.code != codeProtocol {
		t.Errorf("bad token: %c %d", m.kind, m.code)
	}
	token := r.ask("get_peers", infoHash(target)).token
	other := dialRaw(t, "127.0.0.10", n.LocalAddr())
	if m := other.ask("announce_peer", announceArgs(target, 1000, token)); m.kind != 'e' || m.code != codeProtocol {
		t.Errorf("another's token: %c %d", m.kind, m.code)
	}
	put := signedPut(1, 1, "1:a")
	put.token = []byte("nonono")
	if m := r.ask("put", putArgs(put)); m.kind != 'e' || m.code != codeProtocol {
		t.Errorf("put with a bad token: %c %d", m.kind, m.code)
	}
}

// fillTable gives n a table of random verified nodes.
func fillTable(n *Node, count int) []contact {
	r := rand.New(rand.NewPCG(3, 4))
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range count {
		c := contact{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 9, byte(i >> 8), byte(i)}), 7000)}
		for j := range c.id {
			c.id[j] = byte(r.Uint32())
		}
		n.first().table.answered(time.Now(), c)
	}
	var out []contact
	n.first().table.each(func(e *entry) { out = append(out, e.contact) })
	return out
}

// TestNodesAreTheClosestToTheTarget: the library answers find_node and get
// for the id 0, unsorted, and lists every IPv4 node again as an IPv6 one.
func TestNodesAreTheClosestToTheTarget(t *testing.T) {
	n := startNode(t, "127.0.0.2", nil)
	all := fillTable(n, 400)
	r := dialRaw(t, "127.0.0.9", n.LocalAddr())
	token := r.ask("get", "6:target20:"+string(make([]byte, 20))).token
	for i := range 20 {
		target := nodeID(testTarget(i))
		want := newLookup(target, nodeID{}, func(netip.AddrPort) bool { return true })
		for _, c := range all {
			want.cands = append(want.cands, candidate{contact: c})
		}
		for _, method := range []string{"find_node", "get", "get_peers"} {
			name := "6:target"
			if method == "get_peers" {
				name = "9:info_hash"
			}
			// A token shows that we are who we say, so that all 8 fit.
			m := r.ask(method, fmt.Sprintf("%s20:%s5:token%d:%s4:wantl2:n42:n6e", name, target[:], len(token), token))
			if len(m.nodes[ipv4]) != 8*ipv4.compactNode() {
				t.Fatalf("%s returned %d bytes of nodes", method, len(m.nodes[ipv4]))
			}
			last := nodeID{}
			for j := 0; j < len(m.nodes[ipv4]); j += ipv4.compactNode() {
				id := nodeID(m.nodes[ipv4][j:])
				if j > 0 && compareDistance(&target, &last, &id) >= 0 {
					t.Errorf("%s is not sorted", method)
				}
				last = id
			}
			closer := 0
			for _, c := range all {
				if compareDistance(&target, &c.id, &last) < 0 {
					closer++
				}
			}
			if closer != 7 {
				t.Errorf("%s: %d nodes are closer than the last of 8 returned", method, closer)
			}
		}
	}
	b, err := r.conn.WriteTo([]byte(r.query("find_node", "6:target20:"+id20[7:]+"4:wantl2:n6e")), net.UDPAddrFromAddrPort(n.LocalAddr()))
	if err != nil || b == 0 {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	size, _, err := r.conn.ReadFrom(buf)
	if err != nil || bytes.Contains(buf[:size], []byte("5:nodes")) || bytes.Contains(buf[:size], []byte("nodes6")) {
		t.Errorf("n6 alone returns %q, %v", buf[:size], err)
	}
}

// TestPopularHash: the library returns all peers in one datagram, and no
// nodes then.
func TestPopularHash(t *testing.T) {
	n := startNode(t, "127.0.0.2", nil)
	fillTable(n, 100)
	target := testTarget(1)
	n.mu.Lock()
	for i := range 150 {
		n.first().peers.announce(time.Now(), nodeID(target), netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 8, 0, byte(i)}), 5000))
	}
	n.mu.Unlock()
	r := dialRaw(t, "127.0.0.9", n.LocalAddr())
	m := r.ask("get_peers", infoHash(target))
	if len(m.values) < 2 || len(m.nodes[ipv4]) < 3*ipv4.compactNode() {
		t.Errorf("a stranger gets %d peers, %d nodes", len(m.values), len(m.nodes[ipv4])/ipv4.compactNode())
	}
	seen := make(map[netip.AddrPort]bool)
	for range 40 {
		m = r.ask("get_peers", infoHash(target)+fmt.Sprintf("5:token%d:%s", len(m.token), m.token))
		if len(m.values) != maxSample || len(m.nodes[ipv4]) != 8*ipv4.compactNode() {
			t.Fatalf("one with a token gets %d peers, %d nodes", len(m.values), len(m.nodes[ipv4])/ipv4.compactNode())
		}
		for _, a := range m.values {
			seen[a] = true
		}
	}
	if len(seen) < maxPeers*9/10 {
		t.Errorf("samples showed %d of %d peers", len(seen), maxPeers)
	}
}

// TestGain: a stranger's query is not answered with more than three times its
// size, and a record only after the token.
func TestGain(t *testing.T) {
	n := startNode(t, "127.0.0.2", nil)
	item := testRecord(t, testKey(1), 1, strings.Repeat("x", 900))
	if err := n.Publish(testContext(t), item); err == nil {
		t.Error("publishing without a network succeeded")
	}
	fillTable(n, 100)
	r := dialRaw(t, "127.0.0.9", n.LocalAddr())
	where := recordTarget(item.Key, []byte(recordSalt))
	for method, args := range map[string]string{
		"ping": "", "find_node": "6:target20:" + id20[7:], "get": "6:target20:" + string(where[:]),
		"get_peers": infoHash(where), "wt_rec": "", "vote": "",
	} {
		q := r.query(method, args)
		m := r.exchange(q)
		if r.size > maxGain*len(q) {
			t.Errorf("%s: %d bytes for %d", method, r.size, len(q))
		}
		if m.value != nil {
			t.Errorf("%s gave the value without a token", method)
		}
		if method != "wt_rec" && method != "get" {
			continue
		}
		if len(m.token) == 0 {
			t.Fatalf("%s gave no token", method)
		}
		m = r.ask(method, args+fmt.Sprintf("5:token%d:%s", len(m.token), m.token))
		if !bytes.Equal(m.value, item.Value) || m.seq != 1 || !bytes.Equal(m.sig, item.Sig[:]) || !bytes.Equal(m.key, item.Key) {
			t.Errorf("%s with a token: %+v", method, m)
		}
	}
}

// TestUnknownMethod: error 204, whatever it carries; a plain DHT node has no
// records either.
func TestUnknownMethod(t *testing.T) {
	n := startNode(t, "127.0.0.2", nil)
	r := dialRaw(t, "127.0.0.9", n.LocalAddr())
	for _, method := range []string{"vote", "sample_infohashes", "wt_rec", strings.Repeat("x", 500)} {
		if m := r.ask(method, ""); m.kind != 'e' || m.code != codeUnknown {
			t.Errorf("%.20s: %c %d", method, m.kind, m.code)
		}
	}
	if m := r.exchange("d1:q4:vote1:t2:aa1:y1:qe"); m.kind != 'e' || m.code != codeUnknown {
		t.Errorf("without arguments: %c %d", m.kind, m.code)
	}
	for m, want := range map[method]uint64{methodUnknown: 4, methodRecord: 1} {
		if got := n.Stats().Counts["query_"+m.String()]; got != want {
			t.Errorf("counted %d of %v, want %d", got, m, want)
		}
	}
}

// TestPutRules, and the library's broken compare-and-swap among them.
func TestPutRules(t *testing.T) {
	n := startNode(t, "127.0.0.2", nil)
	r := dialRaw(t, "127.0.0.9", n.LocalAddr())
	where := sha1.Sum(append(testRecordKey(1), 's'))
	token := r.ask("get", "6:target20:"+string(where[:])).token
	for i, c := range []struct {
		seq  int64
		cas  int64 // -1: none
		v    string
		code int64
	}{
		{5, -1, "1:a", 0},
		{5, -1, "1:a", 0}, // the same again renews it
		{5, -1, "1:b", codeSeq},
		{4, -1, "1:b", codeSeq},
		{6, 4, "1:b", codeCAS},
		{6, 5, "1:b", 0},
		{7, -1, "1:c", 0}, // cas is optional, each time
		{8, 6, "1:d", codeCAS},
		{8, 7, "1:d", 0},
		{9, -1, "d1:b0:1:a0:e", codeProtocol}, // not canonical
		{9, -1, "1001:" + strings.Repeat("x", 1001), codeTooBig},
	} {
		m := signedPut(1, c.seq, c.v)
		m.cas, m.hasCAS, m.token = c.cas, c.cas >= 0, token
		if got := r.ask("put", putArgs(m)); got.code != c.code {
			t.Errorf("%d: code %d %s, want %d", i, got.code, got.text, c.code)
		}
	}
	bad := signedPut(1, 10, "1:z")
	bad.value, bad.token = []byte("1:y"), token
	if got := r.ask("put", putArgs(bad)); got.code != codeBadSig {
		t.Errorf("wrong signature: code %d", got.code)
	}
	salted := signedPut(1, 10, "1:z")
	salted.salt, salted.token = bytes.Repeat([]byte("s"), 65), token
	if got := r.ask("put", putArgs(salted)); got.code != codeSalt {
		t.Errorf("long salt: code %d", got.code)
	}
	got := r.ask("get", fmt.Sprintf("6:target20:%s5:token%d:%s", where[:], len(token), token))
	if string(got.value) != "1:d" || got.seq != 8 {
		t.Errorf("stored %q %d", got.value, got.seq)
	}
	// Who has it already gets the number only.
	got = r.ask("get", fmt.Sprintf("3:seqi8e6:target20:%s5:token%d:%s", where[:], len(token), token))
	if got.value != nil || got.seq != 8 {
		t.Errorf("get with seq: %q %d", got.value, got.seq)
	}
}

// TestPublisherStoresNothing: the library stores each item locally first, and
// is refused by its own copy.
func TestPublisherStoresNothing(t *testing.T) {
	a := startNode(t, "127.0.0.2", nil)
	b := startNode(t, "127.0.0.3", nil, a.LocalAddr().String())
	eventually(t, func() bool { return a.GoodNodes() == 1 })
	for seq := range int64(5) {
		if err := a.Publish(testContext(t), testRecord(t, testKey(1), seq+1, fmt.Sprint(seq))); err != nil {
			t.Fatal(err)
		}
	}
	if a.Stats().Items != 0 || b.Stats().Items != 1 {
		t.Errorf("publisher stores %d items, the other %d", a.Stats().Items, b.Stats().Items)
	}
}

// TestNodesDoNotShareALimiter: the library's default is one for the process.
func TestNodesDoNotShareALimiter(t *testing.T) {
	a := startNode(t, "127.0.0.2", func(c *Config) { c.PacketRate = 1 })
	b := startNode(t, "127.0.0.3", nil, a.LocalAddr().String())
	eventually(t, func() bool { return b.GoodNodes() == 1 })
	a.budget.mu.Lock()
	a.budget.total.tokens = -1000 // a has sent far too much
	a.budget.mu.Unlock()
	for i := range 30 {
		lookupAll(t, b, testTarget(i), true)
	}
}
