package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// newSwarm makes a swarm without clients.
func (w *World) newSwarm() *group {
	s := &group{name: fmt.Sprintf("swarm%015d", len(w.swarms)), perNode: make(map[*node]int)}
	w.swarms = append(w.swarms, s)
	return s
}

// startAll starts every node at some moment of a time.
func (w *World) startAll(within time.Duration) {
	for _, n := range w.nodes {
		if n.hostile == nil {
			w.at(w.now+w.between(0, within), n.run)
		}
	}
}

// visit makes a client come at a time and go after another, if that is not
// zero.
func (w *World) visit(n *node, s *group, at, stay time.Duration) *client {
	c := w.newClient(n, s)
	w.at(at, c.arrive)
	if stay > 0 {
		w.at(at+stay, c.leave)
	}
	return c
}

// stay is how long a client stays: a mean, exponentially distributed, but a
// minute at least.
func (w *World) stay(mean time.Duration) time.Duration {
	return time.Minute + time.Duration(float64(mean-time.Minute)*min(w.pop.ExpFloat64(), 8))
}

// crowd keeps so many clients coming and going from a time on until another:
// the first of them come within ramp, and for everyone who leaves another one
// comes. pick says where each of them goes. Everything about them is drawn
// from the population's own randomness beforehand.
func (w *World) crowd(n int, from, ramp, until, mean time.Duration, pick func(*rand.Rand) (*node, *group)) {
	for range n {
		at := from + time.Duration(w.pop.Int64N(int64(ramp)))
		for at < until {
			stay := w.stay(mean)
			node, swarm := pick(w.pop)
			w.visit(node, swarm, at, stay)
			at += stay
		}
	}
}

// zipf picks numbers below n, the k-th with a weight of 1/k^s.
type zipf struct{ sum []float64 }

func newZipf(n int, s float64) *zipf {
	z := &zipf{sum: make([]float64, n)}
	total := 0.0
	for i := range n {
		total += math.Pow(float64(i+1), -s)
		z.sum[i] = total
	}
	return z
}

func (z *zipf) pick(r *rand.Rand) int {
	x := r.Float64() * z.sum[len(z.sum)-1]
	return min(sort.SearchFloat64s(z.sum, x), len(z.sum)-1)
}

// churn makes nodes crash now and then, each every so often on average, and
// come back after a few minutes: half of them as a process that died, half as
// a host that is gone.
func (w *World) churn(every, until time.Duration) {
	for _, n := range w.nodes {
		at := w.now + w.exponential(every)
		for at < until {
			n, dark := n, w.chance(0.5)
			w.at(at, func() { n.stop(dark) })
			at += w.between(time.Minute, 8*time.Minute)
			w.at(at, func() {
				if !n.up {
					n.run()
				}
			})
			at += w.exponential(every)
		}
	}
}

// part cuts the network into two halves, and heal joins them again.
func (w *World) part() {
	w.parted = true
	for _, n := range w.nodes {
		for _, l := range n.links {
			if !w.reach(n, l.o.n) {
				l.stall()
			}
		}
	}
}

func (w *World) heal() {
	w.parted = false
	for _, n := range w.nodes {
		for _, l := range n.links {
			if l.in.stalled && l.o.n.up {
				l.resume()
			}
		}
	}
}
