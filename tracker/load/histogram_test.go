package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Every value is in a bucket that holds it, and whose width is at most a 32nd
// of it.
func TestBuckets(t *testing.T) {
	for _, v := range []int64{-5, 0, 1, 63, 64, 65, 127, 128, 1000, 1 << 20, 1<<20 - 1, 1 << 40, math.MaxInt64} {
		i := bucket(v)
		if up := upper(i); up < v || float64(up) > float64(max(v, 1))*(1+1./32) && up > 63 {
			t.Errorf("%d is in bucket %d, up to %d", v, i, up)
		}
	}
	for i := range bucket(math.MaxInt64) {
		if bucket(upper(i)) != i || bucket(upper(i)+1) != i+1 {
			t.Fatalf("bucket %d ends at %d", i, upper(i))
		}
	}
}

func TestQuantiles(t *testing.T) {
	var h histogram
	if h.quantile(.5) != 0 {
		t.Error("of nothing")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	var all []int64
	for range 10_000 {
		v := int64(math.Exp(rng.Float64() * 20))
		all = append(all, v)
		h.add(v)
	}
	slices.Sort(all)
	for _, q := range []float64{.01, .5, .99, .999} {
		want := all[int(q*float64(len(all)))-1]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*(1+1./32)+1 {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
	if h.quantile(1) != all[len(all)-1] || h.max != all[len(all)-1] {
		t.Errorf("the largest is %d", h.quantile(1))
	}
}
