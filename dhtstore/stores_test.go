package dhtstore

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPeerStoreProperties against a naive model: nothing that is returned is
// older than its expiry or was not announced, everything recent is there while
// the bounds are not reached.
func TestPeerStoreProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		s := newPeerStore()
		now := time.Unix(1e9, 0)
		type key struct {
			hash nodeID
			addr netip.AddrPort
		}
		model := make(map[key]time.Time)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(r.IntN(120)) * time.Second)
			hash := nodeID{byte(r.IntN(4))}
			if r.IntN(3) > 0 {
				addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(r.IntN(20))}), uint16(1+r.IntN(3)))
				if !s.announce(now, hash, addr) {
					t.Fatal("a private address was refused")
				}
				model[key{hash, addr}] = now
			} else if r.IntN(2) == 0 {
				s.expire(now)
			}
			got := s.sample(now, r, hash, 1000)
			want := 0
			for k, at := range model {
				if k.hash == hash && now.Sub(at) < peerExpiry {
					want++
				}
			}
			if len(got) != want {
				t.Fatalf("%d peers, want %d", len(got), want)
			}
			for _, a := range got {
				if now.Sub(model[key{hash, a}]) >= peerExpiry {
					t.Fatalf("%v is returned", a)
				}
			}
		}
	})
}

func TestStoresAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := newPeerStore()
	hash := func(i int) nodeID { return nodeID{byte(i), byte(i >> 8)} }
	for i := range 3 * maxHashes {
		s.announce(now, hash(i), netip.MustParseAddrPort("5.1.1.1:7000"))
	}
	if hashes, peers := s.counts(); hashes != maxHashes || peers != maxHashes {
		t.Errorf("%d hashes, %d peers", hashes, peers)
	}
	r := rand.New(rand.NewPCG(1, 2))
	if s.sample(now, r, hash(0), 9) != nil || s.sample(now, r, hash(3*maxHashes-1), 9) == nil {
		t.Error("the wrong hash gave way")
	}
	for i := range 1000 {
		s.announce(now, hash(1), netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, 1, byte(i >> 8), byte(i)}), 7000))
	}
	for i := range 1000 { // one address with many ports
		s.announce(now, hash(2), netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, 1, 1, 1}), uint16(1000+i)))
	}
	if got := len(s.sample(now, r, hash(1), 9999)); got != maxPeers {
		t.Errorf("%d peers of a hash", got)
	}
	if got := len(s.sample(now, r, hash(2), 9999)); got != maxHostHash {
		t.Errorf("%d ports of one address", got)
	}

	items := newItemStore()
	for i := range maxItems + 10 {
		m := &message{value: appendInt(nil, int64(i))}
		if code := items.put(now, m); code != 0 {
			t.Fatalf("put: %d", code)
		}
	}
	if items.recent.Len() != maxItems || len(items.items) != maxItems {
		t.Errorf("%d items", items.recent.Len())
	}
	items.expire(now.Add(itemExpiry))
	if items.recent.Len() != 0 || len(items.items) != 0 {
		t.Errorf("%d items after their expiry", items.recent.Len())
	}

	keys := newSeqs()
	for i := range maxSeqs + 10 {
		key := make([]byte, 32)
		key[0], key[1] = byte(i), byte(i>>8)
		keys.note(key, 5)
	}
	if len(keys.keys) != maxSeqs || keys.recent.Len() != maxSeqs {
		t.Errorf("%d keys", len(keys.keys))
	}
	key := make([]byte, 32)
	key[0], key[1] = 200, 1
	if keys.note(key, 4) || !keys.note(key, 5) || !keys.note(key, 6) || keys.note(key, 5) {
		t.Error("the highest number is not what it was")
	}
}

func TestTokens(t *testing.T) {
	var a, b tokens
	b.secret[0] = 1
	now := time.Unix(1e9, 0)
	ip, other := netip.MustParseAddr("5.1.1.1"), netip.MustParseAddr("5.1.1.2")
	token := a.make(now, ip)
	for _, c := range []struct {
		what string
		got  bool
		want bool
	}{
		{"at once", a.valid(now, ip, token), true},
		{"after 9 minutes", a.valid(now.Add(9*time.Minute), ip, token), true},
		{"after 15 minutes", a.valid(now.Add(15*time.Minute), ip, token), false},
		{"another address", a.valid(now, other, token), false},
		{"another node", b.valid(now, ip, token), false},
		{"empty", a.valid(now, ip, nil), false},
		{"cut", a.valid(now, ip, token[:4]), false},
	} {
		if c.got != c.want {
			t.Errorf("token %s: %v", c.what, c.got)
		}
	}
}

func TestBuckets(t *testing.T) {
	l := rateLimit{rate: 2, burst: 4}
	now := time.Unix(1e9, 0)
	var b bucket
	took := 0
	for range 100 {
		if b.allow(now, l) {
			took++
		}
		now = now.Add(100 * time.Millisecond)
	}
	if took != 4+19 {
		t.Errorf("took %d in 10 s", took)
	}
	// Reads queue, writes go into debt, and reads pay it.
	b = bucket{}
	b.refill(now, l)
	b.tokens = 0
	if d := b.delay(now, l, 0); d != 500*time.Millisecond {
		t.Errorf("a read waits %v", d)
	}
	if d := b.delay(now, l, l.burst); d != 0 {
		t.Errorf("a write waits %v", d)
	}
	b.tokens = -4
	if r, w := b.delay(now, l, 0), b.delay(now, l, l.burst); r != 2500*time.Millisecond || w != 500*time.Millisecond {
		t.Errorf("after debts a read waits %v, a write %v", r, w)
	}
	// Sources share memory, not limits, but for the few that share a slot.
	s := newSlots(l)
	allowed := 0
	for i := range 100 {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, 1, 1, byte(i)}), 0)
		for range 10 {
			if s.allow(now, addr) {
				allowed++
			}
		}
	}
	if allowed < 360 || allowed > 400 {
		t.Errorf("allowed %d of 100 sources", allowed)
	}
}

// TestPrivateCountsByPort, public by address.
func TestPerHostLimits(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newPerHost(rateLimit{1, 1}, rateLimit{1, 1})
	port := func(ip string, i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(1000+i))
	}
	public, private := 0, 0
	for i := range 20 {
		if p.allow(now, port("5.1.1.1", i)) {
			public++
		}
		if p.allow(now, port("127.0.0.1", i)) {
			private++
		}
	}
	if public != 1 || private < 18 {
		t.Errorf("%d ports of a public address, %d of a private one", public, private)
	}
}
