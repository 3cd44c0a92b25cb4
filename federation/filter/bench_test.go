package filter_test

import (
	"testing"

	"github.com/draeder/peerservers/federation/filter"
)

// BenchmarkMillion is a full filter of a million swarms, as one node makes it
// for a neighbour and the neighbour looks through it.
func BenchmarkMillion(b *testing.B) {
	const swarms = 1_000_000
	network := filter.Key{7}
	hashes := make([]string, swarms)
	buckets := make([][]string, filter.Buckets)
	for i := range hashes {
		hashes[i] = infoHash(i)
		at := network.Bucket(hashes[i])
		buckets[at] = append(buckets[at], hashes[i])
	}
	k := filter.Key{1}.Generation(1)
	// parts calls yield with each part.
	parts := func(yield func(from, to int, part []byte)) {
		var sums []uint64
		var buf []byte
		for from := 0; from < filter.Buckets; {
			to := from
			for sums = sums[:0]; to < filter.Buckets && len(sums)+len(buckets[to]) <= filter.MaxPart; to++ {
				for _, ih := range buckets[to] {
					sums = append(sums, k.Sum(ih))
				}
			}
			buf = filter.Append(buf[:0], sums)
			yield(from, to, buf)
			from = to
		}
	}
	size, count := 0, 0
	b.Run("build", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			size, count = 0, 0
			parts(func(_, _ int, part []byte) { size += len(part); count++ })
		}
		b.ReportMetric(float64(size), "bytes")
		b.ReportMetric(float64(count), "parts")
		b.ReportMetric(float64(size)*8/swarms, "bits/swarm")
	})
	b.Run("match", func(b *testing.B) {
		type ranged struct {
			from, to int
			data     []byte
		}
		var all []ranged
		parts(func(from, to int, part []byte) { all = append(all, ranged{from, to, append([]byte(nil), part...)}) })
		b.ReportAllocs()
		hits := 0
		for b.Loop() {
			hits = 0
			var p filter.Part
			for _, r := range all {
				if err := p.Decode(r.data); err != nil {
					b.Fatal(err)
				}
				for _, bucket := range buckets[r.from:r.to] {
					for _, ih := range bucket {
						if p.Has(k.Sum(ih)) {
							hits++
						}
					}
				}
			}
		}
		if hits != swarms {
			b.Fatalf("%d of %d found", hits, swarms)
		}
	})
	b.Run("query", func(b *testing.B) {
		var p filter.Part
		p.Decode(filter.Append(nil, sumsOf(k, 0, filter.MaxPart)))
		sums := sumsOf(k, 0, 1<<16)
		i := 0
		for b.Loop() {
			p.Has(sums[i&(1<<16-1)])
			i++
		}
	})
}
