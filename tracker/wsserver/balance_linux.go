package wsserver

import "time"

const (
	// busyShare is the share of time that a loop works for from which it counts
	// as busy. What is left is for bursts, and for what the share does not
	// show: a loop at its end is late long before it is always at work.
	busyShare = 0.7
	// busyOver is how long shares are averaged over: a loop that was idle and
	// never rests from now on is busy after six seconds, and one that works
	// for three quarters of the time after twelve.
	busyOver = 5 * time.Second
	// busyEvery is how often they are looked at.
	busyEvery = time.Second
	// leastEach makes loops that are idle alike take turns.
	leastEach = 1e-6
)

// balancer decides whether one more loop is to be started, and which of them
// takes the next socket. It sees for how long each has worked, and nothing
// else: how loops are started and sockets handed on is growth_linux.go's.
//
// One more is started when all there are are busy. Connections stay where they
// are, so it relieves the others only as clients come and go; and as those that
// come go to whoever has the least to do, that is the new one until it does as
// much as the others. Loops that were started stay: idle ones cost nothing
// but their memory, and what made a loop busy comes back every evening.
type balancer struct {
	most  int // how many there may be
	at    time.Duration
	loads []load // by the loops' numbers
	each  float64
}

// load is what a loop has to do.
type load struct {
	worked time.Duration // until balancer.at
	share  float64       // of the time, on average over busyOver
	// coming is how many sockets it was given whose share is not part of that
	// yet; each is thought to be one like all others.
	coming float64
}

// newBalancer is one for a first loop that starts at now.
func newBalancer(most int, now time.Duration) *balancer {
	return &balancer{most: most, at: now, loads: make([]load, 1), each: leastEach}
}

// due reports whether it is time to look again.
func (b *balancer) due(now time.Duration) bool { return now-b.at >= busyEvery }

// observe takes note of how long each loop has worked until now since it was
// started, and of how many sockets they have, and reports whether there should
// be one more loop; add says that there is. It is to be called when due.
func (b *balancer) observe(now time.Duration, worked []time.Duration, sockets int) (grow bool) {
	passed := now - b.at
	b.at = now
	weight := min(float64(passed)/float64(busyOver), 1)
	sum, busy := 0.0, 0
	for i := range b.loads {
		l := &b.loads[i]
		share := min(max(float64(worked[i]-l.worked)/float64(passed), 0), 1)
		l.worked = worked[i]
		l.share += weight * (share - l.share)
		l.coming -= weight * l.coming
		sum += l.share
		if l.share >= busyShare {
			busy++
		}
	}
	b.each = max(sum/float64(max(sockets, 1)), leastEach)
	return busy == len(b.loads) && len(b.loads) < b.most
}

// add says that a loop was started, which has done nothing yet.
func (b *balancer) add() { b.loads = append(b.loads, load{}) }

// next is the number of the loop that takes the next socket.
func (b *balancer) next() int {
	best, least := 0, 0.0
	for i := range b.loads {
		if has := b.loads[i].share + b.loads[i].coming*b.each; i == 0 || has < least {
			best, least = i, has
		}
	}
	b.loads[best].coming++
	return best
}
