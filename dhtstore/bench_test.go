package dhtstore

import (
	"context"
	"net/netip"
	"testing"
	"time"
)

// benchNetwork runs op on a network of 20 nodes on loopback, without a packet
// budget, and reports the packets that the node sends for one.
func benchNetwork(b *testing.B, op func(ctx context.Context, nodes []*Node, i int) error) {
	nodes := startNetwork(b, 20)
	n := nodes[7]
	for _, x := range nodes {
		x.first().findNodes(x.ctx, x.first().self(), nil, nil)
	}
	if err := nodes[3].Publish(testContext(b), testRecord(b, testKey(1), 1, "record")); err != nil {
		b.Fatal(err)
	}
	n.budget.limit = rateLimit{1e9, 1e9}
	n.budget.dest = newPerHost(n.budget.limit, n.budget.limit)
	before := n.counts[countAsked].Load()
	b.ResetTimer()
	for i := range b.N {
		b.StopTimer()
		n.mu.Lock()
		n.resolves.tokens = 10
		n.mu.Unlock()
		// Replies of the others are limited; nobody waits for a lost one here.
		for _, x := range nodes {
			x.mu.Lock()
			x.replies.tokens, x.incoming = 1e6, newPerHost(rateLimit{1e9, 1e9}, rateLimit{1e9, 1e9})
			x.mu.Unlock()
		}
		b.StartTimer()
		if err := op(context.Background(), nodes, i); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n.counts[countAsked].Load()-before)/float64(b.N), "queries/op")
}

func BenchmarkAnnounce(b *testing.B) {
	benchNetwork(b, func(ctx context.Context, nodes []*Node, i int) error {
		return nodes[7].Lookup(ctx, testTarget(i), true, nil)
	})
}

func BenchmarkLookup(b *testing.B) {
	benchNetwork(b, func(ctx context.Context, nodes []*Node, i int) error {
		return nodes[7].Lookup(ctx, testTarget(i), false, func(netip.AddrPort) {})
	})
}

func BenchmarkResolve(b *testing.B) {
	benchNetwork(b, func(ctx context.Context, nodes []*Node, i int) error {
		_, err := nodes[7].Resolve(ctx, nodes[3].LocalAddr())
		return err
	})
}

func BenchmarkFetch(b *testing.B) {
	key := testRecordKey(1)
	benchNetwork(b, func(ctx context.Context, nodes []*Node, i int) error {
		_, err := nodes[7].Fetch(ctx, key)
		return err
	})
}

// BenchmarkRespond is the work for one query of another node.
func BenchmarkRespond(b *testing.B) {
	n := startNode(b, "127.0.0.2", nil)
	fillTable(n, 200)
	r := rawClient{id: nodeID{'r'}}
	q := []byte(r.query("get_peers", infoHash(testTarget(1))))
	from := netip.MustParseAddrPort("127.0.0.9:9")
	now := time.Now()
	var m message
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		now = now.Add(10 * time.Millisecond)
		if m.parse(q) != faultNone {
			b.Fatal("fault")
		}
		n.mu.Lock()
		if n.first().respond(now, &m, len(q), from) == nil {
			b.Fatal("no reply")
		}
		n.mu.Unlock()
	}
}

func BenchmarkParse(b *testing.B) {
	r := rawClient{id: nodeID{'r'}}
	q := []byte(r.query("get_peers", infoHash(testTarget(1))))
	var m message
	b.ReportAllocs()
	for range b.N {
		if m.parse(q) != faultNone {
			b.Fatal("fault")
		}
	}
}
