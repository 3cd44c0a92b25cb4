package dhtstore

import (
	"context"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

// bucket is a token bucket. Its tokens may go negative: who takes then waits
// until they would not be, so that waiters are served in order.
type bucket struct {
	tokens float64
	last   time.Time
}

// rateLimit is how a bucket fills: tokens a second, up to burst.
type rateLimit struct{ rate, burst float64 }

func (b *bucket) refill(now time.Time, l rateLimit) {
	if b.last.IsZero() {
		b.tokens = l.burst
	} else if d := now.Sub(b.last).Seconds(); d > 0 {
		b.tokens = min(l.burst, b.tokens+d*l.rate)
	}
	b.last = now
}

// allow takes a token if there is one.
func (b *bucket) allow(now time.Time, l rateLimit) bool {
	b.refill(now, l)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// delay is how long after now a token taken now would be good, if the bucket
// may be overdrawn by debt.
func (b *bucket) delay(now time.Time, l rateLimit, debt float64) time.Duration {
	b.refill(now, l)
	missing := 1 - b.tokens - debt
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / l.rate * float64(time.Second))
}

// slots limits per key in constant memory: keys share a fixed number of
// buckets by a keyed hash, so that a flood from many sources costs no memory
// and nobody can choose to share a bucket with somebody.
type slots struct {
	limit rateLimit
	seed  maphash.Seed
	slot  [4096]bucket
}

func newSlots(l rateLimit) *slots {
	return &slots{limit: l, seed: maphash.MakeSeed()}
}

func (s *slots) of(key netip.AddrPort) *bucket {
	return &s.slot[maphash.Comparable(s.seed, key)%uint64(len(s.slot))]
}

func (s *slots) allow(now time.Time, key netip.AddrPort) bool {
	return s.of(key).allow(now, s.limit)
}

// perHost limits public addresses by address and private ones by address and
// port, at other rates.
type perHost struct{ public, private *slots }

func newPerHost(public, private rateLimit) perHost {
	return perHost{newSlots(public), newSlots(private)}
}

func (p *perHost) of(addr netip.AddrPort) *slots {
	if isPublic(addr.Addr()) {
		return p.public
	}
	return p.private
}

func (p *perHost) allow(now time.Time, addr netip.AddrPort) bool {
	return p.of(addr).allow(now, host(addr))
}

// budget paces our own queries, in all and for each destination.
type budget struct {
	mu    sync.Mutex
	limit rateLimit
	total bucket
	dest  perHost
	used  average
}

// average is a rate over about the last minute.
type average struct {
	perSecond float64
	last      time.Time
}

const averageOver = time.Minute

// add counts n more at now, which may be 0 to read the rate.
func (a *average) add(now time.Time, n float64) float64 {
	if d := now.Sub(a.last); d > 0 {
		a.perSecond *= math.Exp(-d.Seconds() / averageOver.Seconds())
		a.last = now
	}
	a.perSecond += n / averageOver.Seconds()
	return a.perSecond
}

// maxDestWait is how long a read waits for its destination. A lookup had
// rather ask another node.
const maxDestWait = time.Second

func newBudget(rate int) *budget {
	return &budget{
		limit: rateLimit{float64(rate), 2 * float64(rate)},
		dest:  newPerHost(rateLimit{2, 4}, rateLimit{100, 200}),
	}
}

// wait returns when a packet to addr may leave. A write goes into debt before
// it waits: the lookup that found where to write is paid for already, and
// would be lost. Later reads pay the debt.
func (b *budget) wait(ctx context.Context, addr netip.AddrPort, write bool) error {
	now := time.Now()
	dest := b.dest.of(addr)
	debt := 0.0
	if write {
		debt = b.limit.burst
	}

	b.mu.Lock()
	d := b.total.delay(now, b.limit, debt)
	slot := dest.of(host(addr))
	at := slot.delay(now, dest.limit, 0)
	deadline, has := ctx.Deadline()
	if d = max(d, at); has && now.Add(d).After(deadline) || at > maxDestWait && !write {
		b.mu.Unlock()
		return ErrBusy
	}
	b.total.tokens--
	slot.tokens--
	b.used.add(now, 1)
	b.mu.Unlock()

	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		b.mu.Lock()
		b.total.tokens++
		slot.tokens++
		b.used.add(time.Now(), -1)
		b.mu.Unlock()
		return ctx.Err()
	}
}

// spent is the packets a second that our own queries take now.
func (b *budget) spent() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(0, b.used.add(time.Now(), 0))
}
