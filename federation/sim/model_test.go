package sim

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/federation/derive"
)

// Events come in the order of their times, and of their scheduling among
// equals, and cost no memory of their own.
func TestQueue(t *testing.T) {
	var q queue
	r := rand.New(rand.NewPCG(1, 1))
	var want []event
	for range 5000 {
		at := time.Duration(r.IntN(1000))
		q.push(at, nil, 0)
		want = append(want, event{at: at, seq: q.seq})
	}
	slices.SortFunc(want, func(a, b event) int {
		if before(&a, &b) {
			return -1
		}
		return 1
	})
	for i, e := range want {
		if got := q.pop(); got.at != e.at || got.seq != e.seq {
			t.Fatalf("event %d: %v %d, want %v %d", i, got.at, got.seq, e.at, e.seq)
		}
	}
	c := &client{}
	if n := testing.AllocsPerRun(100, func() {
		q.push(1, c, 1)
		q.pop()
	}); n != 0 {
		t.Errorf("an event allocates %v times", n)
	}
}

func TestIDs(t *testing.T) {
	for _, id := range []uint32{0, 7, 99_999, 123_456_789, fake | 5, fake | 899_999_999} {
		if b := appendPeer(nil, id); len(b) != 20 || parsePeer(b) != id {
			t.Errorf("peer %d: %s", id, b)
		}
	}
	for _, at := range []time.Duration{0, 1234 * time.Second, 20 * time.Hour} {
		offer := offerAt(at, 9)
		if got := parseOffer(append(appendOffer([]byte{'"'}, offer), '"')); got != offer || offerMade(got) != at {
			t.Errorf("offer of %v: %x, %v", at, got, offerMade(got))
		}
	}
}

// What is announced is found by others for half an hour, and a reply carries
// a part of a long list only.
func TestDHT(t *testing.T) {
	w := NewWorld(Config{Seed: 1, Nodes: 2})
	a, b := w.nodes[0], w.nodes[1]
	list := w.dht.target(derive.Target{1})
	found := func(n *node) (addrs []netip.AddrPort) {
		w.dht.read(n, list, 0, func(a netip.AddrPort) { addrs = append(addrs, a) })
		return addrs
	}
	w.dht.write(a, list, a.addr)
	if got := found(b); len(got) != 1 || got[0] != a.addr || len(found(a)) != 0 {
		t.Errorf("found %v, the announcer %v", got, found(a))
	}
	w.now = peerExpiry - 1
	if len(found(b)) != 1 {
		t.Error("gone too soon")
	}
	w.now = peerExpiry
	if len(found(b)) != 0 {
		t.Error("never expires")
	}
	for i := range 3 * storeLimit {
		w.dht.write(a, list, netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, byte(i >> 8), byte(i), 1}), 1000))
	}
	if len(list.entries) != storeLimit || len(list.at) != storeLimit || len(found(b)) != valuesPerReply {
		t.Errorf("%d entries, %d indexed, %d in a reply", len(list.entries), len(list.at), len(found(b)))
	}
}

// Without a DHT a lookup fails, and says so.
func TestNoDHT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a node is up: see turn
		w := NewWorld(Config{Seed: 1, Nodes: 1})
		w.dht.gone = true
		n, failed := w.nodes[0], false
		n.run()
		w.dht.lookup(n, derive.Target{1}, 0, true, false, func(f bool) { failed = f })
		w.Run(time.Minute)
		if !failed {
			t.Error("a lookup succeeded without a DHT")
		}
	})
}

// A node's packets keep to its budget: the burst at once, the rest later, and
// none if it would be too late.
func TestPackets(t *testing.T) {
	w := NewWorld(Config{Seed: 1, Nodes: 1})
	var p packets
	p.init(w)
	for i, want := range []time.Duration{0, 0, time.Second, 2 * time.Second} {
		if wait, ok := p.take(40, 0); wait != want || !ok {
			t.Errorf("the %d-th 40 packets wait for %v, want %v", i, wait, want)
		}
	}
	if _, ok := p.take(600, 0); ok {
		t.Error("packets were promised for later than a search lasts")
	}
	sum := 0.0
	for _, n := range w.count.packets {
		sum += n
	}
	if sum < 159.9 || sum > 160.1 {
		t.Errorf("%.1f packets were counted of 160", sum)
	}
}
