package mesh

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

// large runs the overlay with up to 500 nodes, which takes minutes.
var large = flag.Bool("mesh.large", false, "run the overlay tests with 100 to 500 nodes too")

func mean(list []int) float64 {
	sum := 0
	for _, v := range list {
		sum += v
	}
	return float64(sum) / float64(len(list))
}

// The overlay of honest nodes of one swarm stays one graph, with degrees
// within bounds, while nodes come and go, also if 30 % of all accept and do
// nothing.
func TestOverlayOfACrowdStaysConnected(t *testing.T) {
	for _, c := range []struct {
		nodes   int
		hostile float64
		traffic bool
		part    float64
		seeds   int
	}{
		{20, 0, true, 1, 2},
		{20, 0.3, true, 1, 2},
		{50, 0, false, 1, 2},
		{50, 0.3, true, 1, 2},
		// Nothing tells who is who: honest nodes that are asked have to refuse
		// most, hostile ones do not.
		{100, 0.3, false, 0.9, 1},
		{200, 0, true, 1, 1},
		{200, 0.3, true, 1, 1},
		{500, 0.3, true, 0.99, 1}, // one that has just begun may be alone for a minute
	} {
		if !*large && c.nodes > 50 {
			continue
		}
		t.Run(fmt.Sprintf("%d nodes, %.0f%% hostile, traffic %v", c.nodes, 100*c.hostile, c.traffic), func(t *testing.T) {
			t.Parallel()
			seeds := c.seeds
			if !*large {
				seeds = 1
			}
			for seed := range seeds {
				w := newThrong(t, uint64(seed))
				w.traffic = c.traffic
				bad := int(c.hostile * float64(c.nodes))
				for i := range c.nodes {
					w.after(time.Duration(w.r.Int64N(int64(2*time.Minute))), func() { w.add(i < bad) })
				}
				w.run(8 * time.Minute)
				least, most, part, hostile := 1000, 0, 1.0, 0.0
				var degree float64
				rounds := 20
				if c.nodes > 100 {
					rounds = 8
				}
				for range rounds {
					// Some go and come back, some for good.
					for range max(1, c.nodes/50) {
						if n := w.members[w.r.IntN(len(w.members))]; n.m != nil && n.up {
							n.stop()
							w.after(time.Duration(w.r.Int64N(int64(time.Minute))), n.start)
						}
					}
					w.run(w.now + time.Minute)
					all, honest, one := w.degrees()
					part = min(part, one)
					least, most = min(least, slices.Min(all)), max(most, slices.Max(all))
					degree += mean(all) / float64(rounds)
					for i := range all {
						hostile = max(hostile, float64(all[i]-honest[i])/float64(max(all[i], 1)))
					}
				}
				t.Logf("seed %d: partners %d..%d, mean %.1f, most hostile %.2f, %.3f of the honest are one graph at least, %d joins and %d leaves sent",
					seed, least, most, degree, hostile, part, w.joins, w.leaves)
				if part < c.part {
					t.Errorf("seed %d: %.3f of the honest nodes were one graph, want %.2f", seed, part, c.part)
				}
				if most > 16 || least < 6 || degree < 8 { // a few are being exchanged
					t.Errorf("seed %d: %d to %d partners", seed, least, most)
				}
				for _, n := range w.members {
					if n.m != nil && n.up {
						if err := n.m.Check(); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		})
	}
}
