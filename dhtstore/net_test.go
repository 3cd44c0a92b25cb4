package dhtstore

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	runBareLibrary() // the other end of TestLibraryDies; returns unless asked
	goleak.VerifyTestMain(m)
}

// first is the only DHT, or that of IPv4.
func (n *Node) first() *stack { return n.stacks[0] }

// startNode starts a node on loopback and ends it with the test.
func startNode(t testing.TB, ip string, change func(*Config), boot ...string) *Node {
	t.Helper()
	cfg := Config{Listen: []string{net.JoinHostPort(ip, "0")}, Bootstrap: boot, AllowPrivate: true, PacketRate: MaxPacketRate}
	if change != nil {
		change(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// startNetwork starts count nodes that know the first one, and waits until
// each knows somebody.
func startNetwork(t testing.TB, count int) []*Node {
	t.Helper()
	nodes := []*Node{startNode(t, "127.0.1.1", nil)}
	for i := 1; i < count; i++ {
		nodes = append(nodes, startNode(t, fmt.Sprintf("127.0.%d.%d", 1+i/200, 1+i%200), nil, nodes[0].LocalAddr().String()))
	}
	for _, n := range nodes {
		eventually(t, func() bool { return n.GoodNodes() > 0 })
	}
	return nodes
}

// eventually waits for cond, which must come true.
func eventually(t testing.TB, cond func() bool) {
	t.Helper()
	for range 2000 {
		if cond() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the condition never came true")
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// testKey returns a key that depends on seed only.
func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
}

func testRecord(t testing.TB, key ed25519.PrivateKey, seq int64, text string) federation.Item {
	t.Helper()
	item, err := SignRecord(key, seq, fmt.Appendf(nil, "d1:t%d:%se", len(text), text))
	if err != nil {
		t.Fatal(err)
	}
	return item
}

func testTarget(n int) federation.Target {
	var out federation.Target
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	return out
}

// lookup collects what a lookup finds, with the number of sightings.
func lookupAll(t testing.TB, n *Node, target federation.Target, announce bool) map[netip.AddrPort]int {
	t.Helper()
	var mu sync.Mutex
	found := make(map[netip.AddrPort]int)
	err := n.Lookup(testContext(t), target, announce, func(a netip.AddrPort) {
		mu.Lock()
		defer mu.Unlock()
		found[a]++
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
