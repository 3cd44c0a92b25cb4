package swarm

import (
	"fmt"
	"testing"
	"time"
)

// Invariant 5: structural limits, whatever nodes claim and answer.

// crowd is a swarm of some local peers, each on its own connection.
func crowd(t *testing.T, peers int) *world {
	w := newWorld(t, Config{})
	for i := range peers {
		w.announce(fmt.Sprint("A", i), "H", fmt.Sprint("p", i))
	}
	return w
}

// press lets the local peers announce in turn with n offers each, and counts
// what each node draws. Nodes in answer send an answer for each offer, so
// that they are, and remain, proven.
func (w *world) press(peers, n, times int, answer ...string) map[string]int {
	w.t.Helper()
	drew := map[string]int{}
	serial := 0
	for i := range times {
		var ids []string
		for range n {
			serial++
			ids = append(ids, fmt.Sprint("o", serial))
		}
		peer := fmt.Sprint("p", i%peers)
		w.announce(fmt.Sprint("A", i%peers), "H", peer, offers(ids...))
		for _, e := range w.raw {
			if e.Kind != EffectNodeOffer {
				continue
			}
			drew[e.To.name]++
			for i, a := range answer {
				if a == e.To.name {
					_, oc := w.tb.NodeAnswer(w.now, e.To, &Answer{InfoHash: e.InfoHash, PeerID: fmt.Append(nil, "far", serial, ".", i), ToPeerID: e.PeerID,
						OfferID: e.Offer.ID, OfferKey: e.Offer.Key, Payload: e.Offer.Payload}, nil)
					if oc.Drop != DropNone {
						w.t.Fatal(oc.Drop)
					}
				}
			}
		}
		w.now += 225 * second / 1000 // the ledger forgets
		for c := range w.by {
			w.c(c)
		}
	}
	return drew
}

// between says that a share of the contested offers is within bounds.
func between(t *testing.T, what string, drew int, contested, low, high float64) {
	t.Helper()
	if s := float64(drew) / contested; s < low || s > high {
		t.Errorf("%s: %.3f of the contested offers, want %.2f to %.2f", what, s, low, high)
	}
}

func TestKeyGetsHalfAtMost(t *testing.T) {
	w := crowd(t, 10)
	w.join("N", "H", 0, 1_000_000)
	w.prove("N", "H")
	drew := w.press(10, 5, 2000, "N")
	between(t, "a proven node that claims everybody", drew["N"], 10_000, 0.45, 0.5+0.0002)
}

func TestUnprovenGetATenthTogether(t *testing.T) {
	w := crowd(t, 10)
	sum := 0
	for i := range 5 {
		w.join(fmt.Sprint("N", i), "H", 0, 1_000_000)
	}
	for _, n := range w.press(10, 5, 2000) {
		sum += n
	}
	between(t, "five unproven nodes", sum, 10_000, 0.09, 0.1+0.0002)
}

func TestPrefixGetsHalfAtMost(t *testing.T) {
	for _, c := range []struct {
		groups    [3]string
		low, high float64
	}{
		{[3]string{"x", "x", "x"}, 0.45, 0.5 + 0.0002},
		{[3]string{"x", "y", "z"}, 0.9, 1},
	} {
		w := crowd(t, 10)
		for i, g := range c.groups {
			w.join(fmt.Sprint("N", i), "H", 0, 50_000, prefix(g, 0))
			w.prove(fmt.Sprint("N", i), "H")
		}
		sum := 0
		for _, n := range w.press(10, 5, 2000, "N0", "N1", "N2") {
			sum += n
		}
		between(t, fmt.Sprint("proven nodes of prefixes ", c.groups), sum, 10_000, c.low, c.high)
	}
}

// Leaving and joining before each announce gains nothing.
func TestRejoiningGainsNothing(t *testing.T) {
	w := crowd(t, 10)
	drew := 0
	for i := range 2000 {
		w.join("N", "H", 0, 1_000_000)
		if i == 0 {
			w.prove("N", "H")
		}
		drew += w.press(1, 5, 1)["N"]
		w.done(w.tb.NodeLeave(w.now, w.c("N"), []byte("H"), nil))
	}
	between(t, "a node that keeps rejoining", drew, 10_000, 0.4, 0.51)
}

// What nobody else could take is not limited: the only seeder may be there.
func TestFreeOffersAreNotLimited(t *testing.T) {
	w := crowd(t, 1)
	w.join("N", "H", 1, 500)
	if drew := w.press(1, 5, 200); drew["N"] != 1000 {
		t.Errorf("the only peers drew %v of 1000", drew)
	}
	// One other peer here can take one offer of five; that one is contested.
	w = crowd(t, 2)
	w.join("N", "H", 1, 500)
	w.prove("N", "H")
	between(t, "the contested fifth", w.press(2, 5, 400, "N")["N"]-1600, 400, 0.4, 0.51)
	// A remote seeder is weighed like any other peer.
	w = crowd(t, 10)
	w.join("N", "H", 1, 0)
	w.prove("N", "H")
	between(t, "a lone remote seeder", w.press(10, 1, 4000, "N")["N"], 4000, 0.08, 0.12)
}

// A proven node need not yield to peers that unproven ones merely claim.
func TestUnprovenDoNotCrowdOutProven(t *testing.T) {
	w := crowd(t, 1)
	w.join("good", "H", 0, 50)
	w.prove("good", "H")
	for i := range 8 {
		w.join(fmt.Sprint("evil", i), "H", 0, 1_000_000, prefix("x", 500*second))
	}
	drew := w.press(1, 5, 1000, "good")
	between(t, "the proven node", drew["good"], 5000, 0.9-0.001, 1)
}

// Among unproven ones, who claims more does not take all.
func TestUnprovenShareAmongThemselves(t *testing.T) {
	w := crowd(t, 1)
	w.join("small", "H", 0, 1)
	w.join("evil", "H", 0, 1_000_000)
	drew := w.press(1, 5, 1000)
	between(t, "the small node, of the offers it can take", drew["small"], 1000, 0.49, 1)
}

// Rounding is random: offerers in turn do not get nothing and everything.
func TestRoundingIsRandom(t *testing.T) {
	w := crowd(t, 2)
	w.join("N", "H", 0, 1_000_000)
	w.prove("N", "H")
	by := map[string]int{}
	for i := range 2000 {
		peer := fmt.Sprint(i % 2)
		w.announce("A"+peer, "H", "p"+peer, offers(fmt.Sprint("o", i)))
		for _, e := range w.raw {
			if e.Kind == EffectNodeOffer {
				by[peer]++
			}
		}
		w.now += second / 4
	}
	for peer, n := range by {
		between(t, "offerer "+peer, n, 1000, 0.4, 0.6)
	}
}

// Of one prefix the four nodes first seen draw; another takes the place of
// one that leaves.
func TestFourOfAPrefixDraw(t *testing.T) {
	w := crowd(t, 2)
	for i := range 6 {
		w.join(fmt.Sprint("N", i), "H", 0, 10, prefix("x", -second*[]time.Duration{5, 60, 70, 1, 80, 90}[i]))
	}
	w.counts("H", 0, 42, 0)
	want := func(names ...string) {
		t.Helper()
		drew := w.press(2, 20, 400)
		for _, n := range names {
			if drew[n] == 0 {
				t.Errorf("%s drew nothing", n)
			}
		}
		if len(drew) != len(names) {
			t.Errorf("%v drew", drew)
		}
	}
	want("N1", "N2", "N4", "N5")
	w.done(w.tb.NodeLeave(w.now, w.c("N4"), []byte("H"), nil))
	want("N0", "N1", "N2", "N5")
	w.join("N3", "H", 0, 10, prefix("y", 0)) // it moved
	want("N0", "N1", "N2", "N3", "N5")
}
