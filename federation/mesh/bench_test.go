package mesh

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/filter"
)

// BenchmarkNamed is what a name costs that fits none of as many swarms as a
// node has by default at most.
func BenchmarkNamed(b *testing.B) {
	m := New(Config{NoRendezvous: true, Rand: rand.New(rand.NewPCG(1, 2))}, 0, noon)
	for i := range m.cfg.MaxSwarms {
		m.Touched(0, fmt.Sprintf("%020d", i), alone(1), false)
	}
	m.LinkUp(0, key(1), Link{Dialled: false})
	m.Advance(0, noon, nil)
	k := filter.Key{1}
	names := make([]uint64, 1)
	r := rand.New(rand.NewPCG(3, 4))
	b.ReportAllocs()
	for b.Loop() {
		names[0] = r.Uint64()
		m.Named(0, key(1), k, names)
	}
}

// BenchmarkSwarms is what a swarm takes in time and memory, of as many as a
// node knows by default at most.
func BenchmarkSwarms(b *testing.B) {
	used := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	for b.Loop() {
		b.StopTimer()
		m := New(Config{NoRendezvous: true, Rand: rand.New(rand.NewPCG(1, 2))}, 0, noon)
		before := used()
		b.StartTimer()
		for i := range m.cfg.MaxSwarms {
			m.Touched(0, fmt.Sprintf("%020d", i), alone(1), false)
		}
		b.StopTimer()
		b.ReportMetric(float64(used()-before)/float64(m.cfg.MaxSwarms), "B/swarm")
		runtime.KeepAlive(m)
		b.StartTimer()
	}
}

// BenchmarkDueAtOnce is what the steps take of a node whose swarms, as many as
// it knows by default at most, are due in one instant, and which then becomes
// reachable.
func BenchmarkDueAtOnce(b *testing.B) {
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		m := New(Config{NoRendezvous: true, Leaf: true, Rand: rand.New(rand.NewPCG(1, 2))}, 0, noon)
		for i := range m.cfg.MaxSwarms {
			m.Touched(0, fmt.Sprintf("%020d", i), alone(1), false)
		}
		steps := func() {
			for began := time.Now(); m.tasks.next() <= 0; began = time.Now() {
				m.Advance(0, noon, nil)
				took = append(took, time.Since(began))
			}
		}
		b.StartTimer()
		steps()
		m.Reachable(0, true, true)
		steps()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/step-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms/step-p99")
	b.ReportMetric(float64(len(took)/b.N), "steps")
}
