package wsserver

import (
	"math/rand/v2"
	"testing"
	"time"
)

// shift drives a balancer on invented time, in which each loop works for a
// given share.
type shift struct {
	*balancer
	now    time.Duration
	worked []time.Duration
}

func newShift(most int) *shift {
	return &shift{newBalancer(most, 0), 0, make([]time.Duration, 1)}
}

// pass lets a time pass, and starts the loops that are asked for.
func (s *shift) pass(d, step time.Duration, sockets int, shares ...float64) (started int) {
	for ; d > 0; d -= step {
		s.now += step
		for i := range s.worked {
			s.worked[i] += time.Duration(shares[i] * float64(step))
		}
		if s.due(s.now) && s.observe(s.now, s.worked, sockets) {
			s.add()
			s.worked = append(s.worked, 0)
			shares = append(shares, 0)
			started++
		}
	}
	return started
}

func TestBalancerGrows(t *testing.T) {
	const step = 250 * time.Millisecond
	for name, c := range map[string]struct {
		most int
		work func(s *shift)
		want int
	}{
		"never busy":        {8, func(s *shift) { s.pass(time.Hour, step, 1000, 0.69) }, 1},
		"busy":              {8, func(s *shift) { s.pass(20*time.Second, step, 1000, 0.75) }, 2},
		"busy for a moment": {8, func(s *shift) { s.pass(time.Minute, step, 9, 0.2); s.pass(4*time.Second, step, 9, 1) }, 1},
		"busy now and then": {8, func(s *shift) {
			for range 100 {
				s.pass(2*time.Second, step, 9, 1)
				s.pass(2*time.Second, step, 9, 0)
			}
		}, 1},
		"after a long sleep":  {8, func(s *shift) { s.now += time.Hour; s.pass(4*time.Second, step, 9, 1) }, 1},
		"one of two is idle":  {8, func(s *shift) { s.pass(10*time.Second, step, 9, 1); s.pass(time.Hour, step, 9, 1, 0.5) }, 2},
		"both are busy":       {8, func(s *shift) { s.pass(10*time.Second, step, 9, 1); s.pass(time.Minute, step, 9, 1, 0.8) }, 3},
		"one processor":       {1, func(s *shift) { s.pass(time.Hour, step, 9, 1) }, 1},
		"no more than most":   {2, func(s *shift) { s.pass(time.Minute, step, 9, 1); s.pass(time.Hour, step, 9, 1, 1) }, 2},
		"steps of many hours": {8, func(s *shift) { s.pass(10*time.Hour, 10*time.Hour, 9, 1) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShift(c.most)
			c.work(s)
			if got := len(s.loads); got != c.want {
				t.Errorf("%d loops, want %d", got, c.want)
			}
		})
	}
}

// A loop does not count as busy right after it was started, however long the
// others have been: one at a time.
func TestBalancerStartsOneAtATime(t *testing.T) {
	s := newShift(8)
	if n := s.pass(time.Hour, time.Second, 100, 1); n != 1 {
		t.Errorf("%d were started beside one that is idle", n)
	}
}

// Sockets go to whoever has the least to do, and take turns between equals.
func TestBalancerDeals(t *testing.T) {
	deal := func(s *shift, n int) []int {
		got := make([]int, len(s.loads))
		for range n {
			got[s.next()]++
		}
		return got
	}
	s := newShift(3)
	if got := deal(s, 10); got[0] != 10 {
		t.Errorf("one alone was given %v", got)
	}
	s.pass(time.Minute, time.Second, 900, 0.9)
	// One socket is a thousandth: the second loop takes 900 before they are even.
	if got := deal(s, 800); got[0] != 0 {
		t.Errorf("the busy one was given %v", got)
	}
	if got := deal(s, 1100); got[0] < 490 || got[0] > 510 {
		t.Errorf("when they are even they were given %v", got)
	}
	s.pass(time.Hour, time.Second, 0, 0, 0)
	if got := deal(s, 100); got[0] != 50 {
		t.Errorf("when nobody has anything to do they were given %v", got)
	}
}

// With clients that cost what they like and come and go, loops end up with like
// shares, and the number of them with what there is to do.
func TestBalancerSpreadsLoad(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := newShift(4)
		type socket struct {
			loop int
			cost float64
		}
		var list []socket
		for second := range 1200 {
			for range 4 {
				if len(list) >= 2000 { // who goes makes room for who comes
					k := r.IntN(len(list))
					list[k] = list[len(list)-1]
					list = list[:len(list)-1]
				}
				list = append(list, socket{s.next(), r.Float64() * 0.002})
			}
			shares := make([]float64, len(s.loads))
			for _, c := range list {
				shares[c.loop] += c.cost
			}
			for i := range shares {
				shares[i] = min(shares[i], 1)
			}
			s.pass(time.Second, time.Second, len(list), shares...)
			if second == 1199 && len(s.loads) != 4 && len(s.loads) != 3 {
				t.Errorf("seed %d: %d loops for twice what one can do", seed, len(s.loads))
			}
			if second == 1199 {
				for _, share := range shares {
					if share < shares[0]-0.2 || share > shares[0]+0.2 {
						t.Errorf("seed %d: shares of %.2f", seed, shares)
					}
				}
			}
		}
	}
}

// What has not worked and what has worked longer than there was time for, as a
// clock may say that was put forward or back, count for nothing and for all of it.
func TestBalancerBelievesNoClock(t *testing.T) {
	b := newBalancer(4, 0)
	if b.observe(10*time.Second, []time.Duration{time.Hour}, 0); b.loads[0].share != 1 {
		t.Errorf("share %v", b.loads[0].share)
	}
	if b.observe(20*time.Second, []time.Duration{0}, -1); b.loads[0].share != 0 {
		t.Errorf("share %v", b.loads[0].share)
	}
	if b.due(5 * time.Second) {
		t.Error("due in the past")
	}
}

// A pacer counts what iterations take, not what is waited between them.
func TestPacerCountsWork(t *testing.T) {
	now := time.Now()
	p := pacer{begun: now}
	var want time.Duration
	for i := range 1000 {
		work := time.Duration(i%7) * 100 * time.Microsecond
		now, want = now.Add(work), want+work
		pause := p.left(now)
		now = now.Add(pause + time.Duration(i%3)*time.Millisecond)
		p.begin(now, i%50)
	}
	if p.worked != want {
		t.Errorf("%v, want %v", p.worked, want)
	}
}
