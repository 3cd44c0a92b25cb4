package registry

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/draeder/peerservers/federation/filter"
)

func key(i int) (k Key) {
	binary.BigEndian.PutUint64(k[:], uint64(i)*0x9e3779b97f4a7c15)
	return k
}

// group makes eight prefixes; 0 is none that is known.
func group(i int) (g netip.AddrPort) {
	if i > 0 {
		g = netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, byte(i), 0, 0}), 0)
	}
	return g
}

// naive is who should be responsible: sorted by weight, each prefix once.
func naive(w *Weights, nodes map[Key]netip.AddrPort, bucket int) (keys []Key) {
	var all []Key
	for k := range nodes {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Key) int {
		if heavier(w.Of(&a, bucket), a, w.Of(&b, bucket), b) {
			return -1
		}
		return 1
	})
	seen := map[netip.AddrPort]bool{}
	for _, k := range all {
		g := nodes[k]
		if g.IsValid() && seen[g] || len(keys) == Replicas {
			continue
		}
		seen[g] = true
		keys = append(keys, k)
	}
	return keys
}

// Whatever comes, goes and moves, in whatever order: the sets are what one
// would compute from the nodes that are there; what changed is said to have.
func TestRingIsWhatOneWouldCompute(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		network := filter.Key{byte(rapid.IntRange(0, 255).Draw(rt, "network"))}
		w, r := NewWeights(network), NewRing(network)
		nodes := map[Key]netip.AddrPort{}
		var before [Buckets][]Key
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			k := key(1 + rapid.IntRange(0, 14).Draw(rt, "node"))
			if rapid.IntRange(0, 2).Draw(rt, "what") == 0 {
				delete(nodes, k)
				r.Remove(k)
			} else {
				nodes[k] = group(rapid.IntRange(0, 5).Draw(rt, "prefix"))
				if wants := r.Wants(k); !r.Has(k, nodes[k]) {
					r.Add(k, nodes[k])
					if got := r.changed != 0; nodes[k] == group(0) && got && !wants {
						rt.Fatal("a node is responsible that was not wanted")
					}
				}
			}
			changed := map[int]bool{}
			for b, ok := r.Changed(); ok; b, ok = r.Changed() {
				changed[b] = true
			}
			for b := range Buckets {
				got, want := slices.Clone(r.Responsible(b).Keys()), naive(&w, nodes, b)
				if !slices.Equal(got, want) {
					rt.Fatalf("bucket %d: %x, want %x", b, got, want)
				}
				if !slices.Equal(got, before[b]) && !changed[b] {
					rt.Fatalf("bucket %d changed unnoticed", b)
				}
				before[b] = got
			}
			if r.Len() != len(nodes) {
				rt.Fatalf("%d nodes of %d", r.Len(), len(nodes))
			}
		}
	})
}

// When a node goes, only the buckets move in which it was responsible, and in
// those only its place.
func TestLittleMovesWhenANodeGoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(Replicas+1, 200).Draw(rt, "nodes")
		r := NewRing(filter.Key{1})
		for i := range n {
			r.Add(key(i+1), netip.AddrPort{})
		}
		var before [Buckets][]Key
		for b := range before {
			before[b] = slices.Clone(r.Responsible(b).Keys())
		}
		gone := key(1 + rapid.IntRange(0, n-1).Draw(rt, "gone"))
		r.Remove(gone)
		for b := range before {
			after := r.Responsible(b).Keys()
			if i := slices.Index(before[b], gone); i >= 0 {
				if want := slices.Delete(slices.Clone(before[b]), i, i+1); !slices.Equal(want, after[:Replicas-1]) {
					rt.Fatalf("bucket %d: %x without %x is %x", b, before[b], gone, after)
				}
			} else if !slices.Equal(before[b], after) {
				rt.Fatalf("bucket %d moved, and had nothing of the node that went", b)
			}
		}
	})
}

// Places are spread as evenly as chance does it.
func TestBalance(t *testing.T) {
	const nodes = 60
	total, worst := 0, 0
	sum := 0.0
	for network := range 40 {
		r := NewRing(filter.Key{byte(network), 7})
		for i := range nodes {
			r.Add(key(i+1), netip.AddrPort{})
		}
		places := map[Key]int{}
		for b := range Buckets {
			for _, k := range r.Responsible(b).Keys() {
				places[k]++
				total++
			}
		}
		for i := range nodes {
			worst = max(worst, places[key(i+1)])
			d := float64(places[key(i+1)]) - float64(Buckets*Replicas)/nodes
			sum += d * d
		}
	}
	const mean = float64(Buckets*Replicas) / nodes
	variance := sum / 40 / nodes
	t.Logf("%d nodes: %.1f places each, variance %.2f, most %d", nodes, mean, variance, worst)
	if total != 40*Buckets*Replicas {
		t.Errorf("%d places", total)
	}
	// Binomial: the variance is a little below the mean.
	if variance > 1.3*mean || worst > 15 {
		t.Errorf("variance %.2f of a mean of %.2f, most %d", variance, mean, worst)
	}
}

// Two nodes that know different parts of the network have a responsible node
// in common.
func TestViewsThatDiffer(t *testing.T) {
	const nodes = 300
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ known, floor float64 }{{0.9, 0.995}, {0.8, 0.98}, {0.7, 0.94}, {0.5, 0.75}} {
		met, same, all := 0, 0, 0
		for network := range 60 {
			a, b := NewRing(filter.Key{byte(network)}), NewRing(filter.Key{byte(network)})
			for i := range nodes {
				for _, r := range []*Ring{a, b} {
					if rnd.Float64() < c.known {
						r.Add(key(i+1), netip.AddrPort{})
					}
				}
			}
			for bucket := range Buckets {
				common := 0
				for _, k := range a.Responsible(bucket).Keys() {
					if slices.Contains(b.Responsible(bucket).Keys(), k) {
						common++
					}
				}
				all++
				if common > 0 {
					met++
				}
				if common == Replicas {
					same++
				}
			}
		}
		p := float64(met) / float64(all)
		t.Logf("each side knows %.0f %%: one of three in common %.4f, all %.3f", 100*c.known, p, float64(same)/float64(all))
		if p < c.floor {
			t.Errorf("each side knows %.0f %%: one of three in common in %.4f of all buckets, want %.3f", 100*c.known, p, c.floor)
		}
	}
}

// TestHowManyBuckets computes the table of the package comment.
func TestHowManyBuckets(t *testing.T) {
	for _, buckets := range []float64{16, 64, 256} {
		line := fmt.Sprintf("%4.0f", buckets)
		for _, n := range []float64{300, 1000, 10_000} {
			reach := n * (1 - math.Pow(1-Replicas/n, buckets))
			line += fmt.Sprintf("  n=%.0f: reach %.0f, taken %.2f/s, kept %.0f", n, reach, n*reach/min(n, reach)/1200, Replicas*1000*n/min(n, reach))
			if buckets == Buckets && reach > 192 {
				t.Errorf("%.0f nodes to reach", reach)
			}
		}
		t.Log(line)
	}
	if PerBucket*Buckets != filter.Buckets || bits.Len(Buckets-1) != 6 || Bucket(filter.Buckets-1) != Buckets-1 {
		t.Error("buckets do not fit those of package filter")
	}
}
