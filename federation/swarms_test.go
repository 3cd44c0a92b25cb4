package federation

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/tracker"
)

// BenchmarkFilterOfAMillion is a filter of a million swarms as it is made for
// a link, part by part, with the longest time that it holds Federation.mu.
func BenchmarkFilterOfAMillion(b *testing.B) {
	const swarms = 1_000_000
	watch := NewWatcher()
	tr, err := tracker.New(tracker.Config{Shards: 1, Watcher: watch})
	if err != nil {
		b.Fatal(err)
	}
	network, err := derive.New("bench", nil)
	if err != nil {
		b.Fatal(err)
	}
	f, err := New(Config{
		Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Network: network, Tracker: tr, Watcher: watch, NoRendezvous: true,
		Mesh: mesh.Config{MaxSwarms: swarms},
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range swarms {
		f.mesh.Touched(0, fmt.Sprintf("%020d", i), mesh.SwarmState{Local: 1}, false)
	}
	k := filter.Key{1}.Generation(1)
	b.ReportAllocs()
	size, parts := 0, 0
	for b.Loop() {
		size, parts = 0, 0
		for from := 0; from < filter.Buckets; parts++ {
			var part []byte
			part, from = f.makePart(k, 1, from)
			size += len(part)
		}
	}
	b.ReportMetric(float64(size), "bytes")
	b.ReportMetric(float64(parts), "parts")
	held := time.Duration(0)
	var buf []string
	for from := 0; from < filter.Buckets; {
		start := time.Now()
		buf, from = f.someBuckets(from, filter.Buckets, buf[:0])
		held = max(held, time.Since(start))
	}
	b.ReportMetric(float64(held.Microseconds()), "µs-locked")
}
