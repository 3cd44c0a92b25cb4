package federation

import (
	"crypto/ed25519"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/frame"
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

// oneLink is a federation with these swarms and one link, whose clock stands
// at now, in nanoseconds.
func oneLink(t *testing.T, q Quota, now *atomic.Int64, swarms int, name func(network derive.Network, i int) string) (*Federation, *link) {
	t.Helper()
	watch := NewWatcher()
	tr, err := tracker.New(tracker.Config{Shards: 1, Watcher: watch})
	if err != nil {
		t.Fatal(err)
	}
	network, err := derive.New("one link", nil)
	if err != nil {
		t.Fatal(err)
	}
	epoch := time.Unix(1_800_000_000, 0)
	f, err := New(Config{
		Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Network: network, Tracker: tr, Watcher: watch, NoRendezvous: true,
		Quota: q, Now: func() time.Time { return epoch.Add(time.Duration(now.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range swarms {
		f.mesh.Touched(0, name(network, i), mesh.SwarmState{Local: 1}, false)
	}
	p := &peer{f: f, key: mesh.Key{7}}
	f.mesh.LinkUp(0, p.key, mesh.Link{})
	f.mesh.Census(0, p.key, 1)
	return f, &link{f: f, peer: p, quota: newMeter(f.cfg.Quota, 0), out: newOutbox(false)}
}

// Whoever crowds a bucket does not make each name a look at all that is in it:
// looks are bounded, and no fault of who sends names.
func TestNamesOfACrowdedBucketAreBounded(t *testing.T) {
	const swarms = 1 << 12
	last, next := "", 0
	var now atomic.Int64 // searches under way ask for it too
	f, l := oneLink(t, Quota{Names: 10, BurstSeconds: 1}, &now, swarms, func(network derive.Network, _ int) string {
		for {
			next++
			last = fmt.Sprintf("%020d", next)
			if filter.Key(network.BucketKey()).Bucket(last) == 0 {
				return last
			}
		}
	})
	name := filter.Key(l.session.RecvKey).Generation(0).Name(0, last)
	const tries = 1000
	for range tries {
		now.Add(int64(time.Second / 10))
		if !l.onNames(&frame.Names{Names: []uint64{name}}) || l.quota.strikes > 0 {
			t.Fatal("a strike for what the sender cannot know")
		}
	}
	got := meshStats(f).Named
	// 10 names a second, of lookedPerName swarms each.
	if most := (tries+10)*lookedPerName/swarms + 1; got == 0 || got > uint64(most) {
		t.Fatalf("%d looks at %d swarms, at most %d were allowed", got, swarms, most)
	}
}

// A part of a few bytes may ask for a look at all swarms, so that their number
// does not bound the work.
func TestLooksForPartsAreBounded(t *testing.T) {
	const swarms = 40_000
	var now atomic.Int64 // searches under way ask for it too
	f, l := oneLink(t, Quota{}, &now, swarms, func(_ derive.Network, i int) string { return fmt.Sprintf("%020d", i) })
	data := filter.Append(nil, []uint64{1 << 40})
	first := uint64(0)
	for range 256 {
		if !l.onFilter(&frame.Filter{Generation: 1, To: filter.Buckets, Data: data}) || l.quota.strikes > 0 {
			t.Fatal("a strike within the quota")
		}
		if first == 0 {
			first = meshStats(f).Hits
		}
	}
	if got := meshStats(f).Hits / first; got > 1<<22/swarms+1 {
		t.Fatalf("all swarms were looked at %d times", got)
	}
}

// meshStats reads what searches under way may be writing.
func meshStats(f *Federation) mesh.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mesh.Stats()
}
