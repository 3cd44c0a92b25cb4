package federation

import "time"

// rate is a token bucket.
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

// has reports whether there are n tokens. What is larger than the bucket
// passes when the bucket is full, or it would never.
func (r *rate) has(now time.Duration, n float64) bool {
	r.refill(now)
	return r.tokens >= min(n, r.burst)
}

// take takes n tokens, there or not.
func (r *rate) take(now time.Duration, n float64) {
	r.refill(now)
	r.tokens = max(r.tokens-n, -r.burst)
}

// allow takes n tokens if they are there.
func (r *rate) allow(now time.Duration, n float64) bool {
	if !r.has(now, n) {
		return false
	}
	r.tokens -= n
	return true
}

// upTo takes as many tokens as there are, n at most.
func (r *rate) upTo(now time.Duration, n int) int {
	r.allow(now, 0)
	n = min(n, int(r.tokens))
	r.tokens -= float64(n)
	return n
}

// meter is what one link has used of its quotas.
type meter struct {
	frames, bytes, offers, joins, records, names, parts, seen rate
	// What names and parts of filters made us look at, in swarms. A few bytes
	// may ask for a look at all of ours, so that their number alone bounds
	// nothing. Beyond these they are ignored, and are no fault: the sender does
	// not know what we have.
	named, compared rate
	// Names that were registered or asked for, records that we told of, and that
	// we were told.
	registered, told, toldOf rate

	max     int // strikes within a minute
	strikes int
	since   time.Duration
}

func newMeter(q Quota, now time.Duration) meter {
	return meter{
		frames:  newRate(q.Frames, q.BurstSeconds, now),
		bytes:   newRate(q.Bytes, q.BurstSeconds, now),
		offers:  newRate(q.Offers, q.BurstSeconds, now),
		joins:   newRate(q.Joins, q.BurstSeconds, now),
		records: newRate(0.1, 60, now),
		names:   newRate(q.Names, q.BurstSeconds, now),
		parts:   newRate(0.25, 1024, now),
		seen:    newRate(1.0/60, 8*60, now),

		named:    newRate(lookedPerName*q.Names, q.BurstSeconds, now),
		compared: newRate(1<<16, 64, now),

		registered: newRate(100, 82, now),
		told:       newRate(4, 64, now),
		toldOf:     newRate(8, 64, now),

		max: q.Strikes,
	}
}

// strike counts one fault; true if that are too many.
func (m *meter) strike(now time.Duration) bool {
	if now-m.since > time.Minute {
		m.since, m.strikes = now, 0
	}
	m.strikes++
	return m.strikes >= m.max
}

// strike says what a node did that it must not.
type strike uint8

const (
	strikeFrame   strike = iota // a frame that does not decode, or out of place
	strikeID                    // an info hash, peer id or offer id that is none
	strikePayload               // an offer or answer that no client could have sent
	strikeQuota                 // too many frames or bytes
	strikeOffers                // too many offers
	strikeJoins                 // too many joins, or too many swarms
	strikeRecords               // records that are none, or too many
	strikeNames                 // too many swarm names, or too much of filters
	strikeSeen                  // an address that is none, or too many
	strikes
)

// String is a fixed label, fit for a metric.
func (s strike) String() string {
	names := [strikes]string{"frame", "id", "payload", "quota", "offers", "joins", "records", "names", "seen"}
	if s >= strikes {
		return "unknown"
	}
	return names[s]
}
