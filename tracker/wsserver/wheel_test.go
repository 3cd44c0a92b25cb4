package wsserver

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The wheel against a map of when each timer is due, with steps of time small
// and large, and timers that set and clear others when they fire.
func TestWheel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var w wheel
		now := uint32(rng.IntN(2000))
		w.now = now
		want := map[uint32]uint32{}
		set := func(i, at uint32) {
			w.set(i, at)
			want[i] = max(at, w.now+1)
		}
		for range 400 {
			i := uint32(rng.IntN(40))
			switch rng.IntN(4) {
			case 0:
				w.clear(i)
				delete(want, i)
			default:
				set(i, now+uint32(rng.IntN([]int{3, 600, 3000}[rng.IntN(3)])))
			}
			if rng.IntN(3) > 0 {
				continue
			}
			if ticks, ok := w.wait(); ok != (len(want) > 0) {
				t.Fatalf("seed %d: wait says %v of %d timers", seed, ok, len(want))
			} else {
				for i, at := range want {
					if at < now+ticks {
						t.Fatalf("seed %d: timer %d is due in %d ticks, wait says %d", seed, i, at-now, ticks)
					}
				}
			}
			now += uint32(rng.IntN([]int{2, 20, 700, 1500}[rng.IntN(4)]))
			var due, fired []uint32
			for i, at := range want {
				if at <= now {
					due = append(due, i)
				}
			}
			again := map[uint32]uint32{}
			w.advance(now, func(i uint32) {
				fired = append(fired, i)
				delete(want, i)
				if rng.IntN(4) == 0 {
					at := now + uint32(rng.IntN(1000))
					w.set(i, at)
					again[i] = max(at, now+1)
				}
			})
			for i, at := range again {
				want[i] = at
			}
			slices.Sort(due)
			slices.Sort(fired)
			if !slices.Equal(due, fired) {
				t.Fatalf("seed %d: at %d fired %v, want %v", seed, now, fired, due)
			}
			for i, n := range w.nodes {
				if n.at != want[uint32(i)] {
					t.Fatalf("seed %d: timer %d at %d, want %d", seed, i, n.at, want[uint32(i)])
				}
			}
		}
	}
}

// A timer that fires may clear one that is due in the same moment.
func TestWheelClearsWhatIsDue(t *testing.T) {
	var w wheel
	for i := range uint32(3) {
		w.set(i, 5)
	}
	n := 0
	w.advance(9, func(uint32) {
		n++
		for i := range uint32(3) {
			w.clear(i)
		}
	})
	if n != 1 {
		t.Errorf("%d fired", n)
	}
	if _, ok := w.wait(); ok {
		t.Error("something is left")
	}
}

func TestWheelDoesNotAllocate(t *testing.T) {
	var w wheel
	w.set(999, 1)
	now := uint32(0)
	fire := func(i uint32) { w.set(i, now+100) }
	for i := range uint32(1000) {
		w.set(i, i/10+1)
	}
	if n := testing.AllocsPerRun(1000, func() {
		now++
		w.advance(now, fire)
		w.wait()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
