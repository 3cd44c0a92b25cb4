package sim

import "time"

// rate and meter are those of federation's meter.go.
type rate struct {
	perSecond, burst, tokens float64
	last                     time.Duration
}

func newRate(perSecond, seconds float64, now time.Duration) rate {
	return rate{perSecond, perSecond * seconds, perSecond * seconds, now}
}

func (r *rate) refill(now time.Duration) {
	if now > r.last {
		r.tokens = min(r.burst, r.tokens+r.perSecond*(now-r.last).Seconds())
		r.last = now
	}
}

func (r *rate) has(now time.Duration, n float64) bool {
	r.refill(now)
	return r.tokens >= min(n, r.burst)
}

func (r *rate) take(now time.Duration, n float64) {
	r.refill(now)
	r.tokens = max(r.tokens-n, -r.burst)
}

func (r *rate) allow(now time.Duration, n float64) bool {
	if !r.has(now, n) {
		return false
	}
	r.tokens -= n
	return true
}

func (r *rate) upTo(now time.Duration, n int) int {
	r.allow(now, 0)
	n = min(n, int(r.tokens))
	r.tokens -= float64(n)
	return n
}

type meter struct {
	frames, bytes, offers, joins, records, names, parts rate
	registered, told, toldOf                            rate
	max, strikes                                        int
	since                                               time.Duration
}

// federation's default quota.
const (
	quotaFrames = 6000
	quotaBytes  = 12 << 20
	quotaOffers = 4000
	quotaJoins  = 400
	burst       = 15
)

// allowance is that of federation's outbox.go: what a side lets itself send.
type allowance struct{ frames, bytes, offers rate }

func newAllowance(now time.Duration) allowance {
	const part = 0.9
	return allowance{newRate(part*quotaFrames, burst, now), newRate(part*quotaBytes, burst, now), newRate(part*quotaOffers, burst, now)}
}

func (a *allowance) spend(now time.Duration, bytes, offers int, droppable bool) bool {
	const kept = 0.1
	if droppable && !(a.frames.has(now, 1+kept*a.frames.burst) && a.bytes.has(now, float64(bytes)+kept*a.bytes.burst) &&
		a.offers.has(now, float64(offers)+kept*a.offers.burst)) {
		return false
	}
	a.frames.take(now, 1)
	a.bytes.take(now, float64(bytes))
	a.offers.take(now, float64(offers))
	return true
}

// newMeter has federation's default quota, or none that counts.
func newMeter(now time.Duration, off bool) meter {
	k, most := 1.0, 16
	if off {
		k, most = 1e6, 1<<30
	}
	return meter{
		frames: newRate(quotaFrames*k, burst, now), bytes: newRate(quotaBytes*k, burst, now), offers: newRate(quotaOffers*k, burst, now),
		joins: newRate(quotaJoins*k, burst, now), records: newRate(0.1*k, 60, now),
		names: newRate(quotaNames*k, burst, now), parts: newRate(0.25*k, 1024, now), max: most,
		registered: newRate(100*k, 82, now), told: newRate(4*k, 64, now), toldOf: newRate(8*k, 64, now),
	}
}

func (m *meter) strike(now time.Duration) bool {
	if now-m.since > time.Minute {
		m.since, m.strikes = now, 0
	}
	m.strikes++
	return m.strikes >= m.max
}
