package federation

import (
	"math/rand/v2"
	"testing"
	"time"
)

// What a sender lets itself send never exceeds the receiver's quota, whatever
// it has to say and however unevenly the network carries it: two honest nodes
// that have much to relay must not end their link by strikes.
func TestAllowanceStaysWithinQuota(t *testing.T) {
	q := Quota{}.withDefaults()
	rng := rand.New(rand.NewPCG(1, 2))
	var now, arrives time.Duration
	out := newOutbox(false)
	out.limit(q, func() time.Duration { return now }, &backlog{limit: maxBacklog})
	in := newMeter(q, 0)
	dropped, carried := 0, 0
	for now < 2*time.Minute {
		now += time.Duration(rng.IntN(int(200 * time.Microsecond)))
		size, offers := 600+rng.IntN(12_000), rng.IntN(11)
		if !out.pace.spend(size, offers, offers > 0) {
			dropped++
			continue
		}
		carried += offers
		// Up to a second late, and never before what was sent earlier.
		arrives = max(arrives, now+time.Duration(rng.IntN(int(time.Second))))
		if !in.frames.allow(arrives, 1) || !in.bytes.allow(arrives, float64(size)) || in.offers.upTo(arrives, offers) < offers {
			t.Fatalf("after %v the receiver would strike: frames %.0f, bytes %.0f, offers %.0f left", now, in.frames.tokens, in.bytes.tokens, in.offers.tokens)
		}
	}
	if dropped == 0 || carried < 120*1000 {
		t.Errorf("%d frames dropped, %d offers carried: this was no test of a limit", dropped, carried)
	}
}

// What cannot be dropped passes when nothing else does.
func TestAllowanceDropsOffersOnly(t *testing.T) {
	q := Quota{}.withDefaults()
	out := newOutbox(false)
	out.limit(q, func() time.Duration { return 0 }, &backlog{limit: maxBacklog})
	offers := 0
	for out.pace.spend(1000, 10, true) {
		offers += 10
	}
	if most := int(q.Offers * q.BurstSeconds); offers > most || offers < most/2 {
		t.Errorf("%d offers at once, of a burst of %d", offers, most)
	}
	for range 1000 {
		if !out.pace.spend(1000, 0, false) {
			t.Fatal("an answer was dropped")
		}
	}
}
