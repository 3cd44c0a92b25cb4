package load

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets whose width is a 32nd of what they
// hold, so that it is of one size whatever comes.
type histogram struct {
	buckets [64 * 32]int64
	n       int64
	max     int64
}

// bucket is the index of a value: below 64 the value itself, then 32 for each
// power of two.
func bucket(v int64) int {
	if v < 64 {
		return int(max(v, 0))
	}
	shift := bits.Len64(uint64(v)) - 6 // v>>shift is 32 to 63
	return shift*32 + int(v>>shift)
}

// upper is the largest value of a bucket.
func upper(i int) int64 {
	if i < 64 {
		return int64(i)
	}
	shift := i/32 - 1
	return (int64(i%32+32)+1)<<shift - 1
}

func (h *histogram) add(v int64) {
	h.buckets[bucket(v)]++
	h.n++
	h.max = max(h.max, v)
}

// quantile is the value that a part q of all do not exceed, to a 32nd.
func (h *histogram) quantile(q float64) int64 {
	if h.n == 0 {
		return 0
	}
	want, sum := int64(q*float64(h.n)), int64(0)
	for i, c := range h.buckets {
		sum += c
		if sum > 0 && sum >= want {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

func (h *histogram) summary() Latency {
	ms := func(ns int64) float64 { return float64(ns/1000) / 1000 }
	return Latency{
		Count: h.n,
		P50:   ms(h.quantile(.5)), P99: ms(h.quantile(.99)), Max: ms(h.max),
	}
}

// Latency sums up how long something took, in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// starvedAfter is how late the generator's slowest hundredth of announces may
// be for its figures to be those of the server.
const starvedAfter = 50 * time.Millisecond
