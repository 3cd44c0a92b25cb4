package swarm

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// vouched is the reputation of a node that is proven, whatever it does.
type vouched struct{}

func (vouched) Note(time.Duration, Deed, uint64, uint64) bool { return true }
func (vouched) Trust(time.Duration) Trust {
	return Trust{Met: true, Proven: true, Receivers: math.MaxInt32}
}

// known makes a node proven, and its key known for so long by now.
func (w *world) known(for_ time.Duration) func(*NodeJoin) {
	return func(j *NodeJoin) { j.Reputation, j.FirstSeen = vouched{}, w.now-for_ }
}

const day = 24 * time.Hour

// Cohorts and elders are what their comment says, and nodes that were first seen
// within three hours never limit each other.
func TestAges(t *testing.T) {
	naive := func(elder, young time.Duration) bool {
		for _, c := range []time.Duration{time.Hour, 8 * time.Hour, 2 * day} {
			if young < c && elder >= 4*c {
				return true
			}
		}
		return false
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) time.Duration {
			return time.Duration(rapid.IntRange(-60, 15*24*60).Draw(t, name)) * time.Minute
		}
		a, b := draw("a"), draw("b")
		if got, want := ageOf(a).limits(ageOf(b)), naive(a, b); got != want {
			t.Fatalf("%v limits %v: %v", a, b, got)
		}
		if d := a - b; d < 3*time.Hour && ageOf(a).limits(ageOf(b)) {
			t.Fatalf("%v limits %v", a, b)
		}
	})
}

// Over whatever stretch of announces, a cohort gets no more of the contested offers
// than its part and what it may save up, whoever is there; and an offer that has a
// receiver does not remain but by the rounding of two shares of a half.
func TestCohortsGetTheirPart(t *testing.T) {
	type nodeOf struct {
		name  string
		known time.Duration
		peers int
	}
	limited := 0
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.IntRange(1, 6).Draw(t, "local")
		w := newWorld(rapidTB{r: t}, Config{})
		w.now = 100 * day
		for i := range local {
			w.announce(fmt.Sprint("A", i), "H", fmt.Sprint("p", i))
		}
		var nodes []nodeOf
		all := local - 1
		for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
			n := nodeOf{
				fmt.Sprint("N", i),
				rapid.SampledFrom([]time.Duration{0, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 20 * time.Hour, 3 * day, 9 * day}).Draw(t, "known"),
				rapid.IntRange(1, 30).Draw(t, "peers"),
			}
			nodes = append(nodes, n)
			all += n.peers
			w.join(n.name, "H", 0, n.peers, w.known(n.known), func(j *NodeJoin) {
				if rapid.Bool().Draw(t, "grouped") {
					j.Group = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "group")
				}
			})
		}
		var elders, young [3]int
		for i := range nodes {
			if !w.node(nodes[i].name, "H").draws {
				all -= nodes[i].peers
				nodes[i].peers = 0
			}
			for k, c := range []time.Duration{time.Hour, 8 * time.Hour, 2 * day} {
				if nodes[i].known >= 4*c {
					elders[k] += nodes[i].peers
				}
				if nodes[i].known < c {
					young[k] += nodes[i].peers
				}
			}
		}
		n := rapid.IntRange(1, 8).Draw(t, "offers")
		var debt [3]float64 // the most that a stretch which ends now is over its part
		left := 0
		const times = 100
		for i := range times {
			var ids []string
			for k := range n {
				ids = append(ids, fmt.Sprint("o", i, ".", k))
			}
			who := fmt.Sprint(i % local)
			w.announce("A"+who, "H", "p"+who, offers(ids...))
			left += min(n, all) - w.oc.Offers
			drew := w.to(EffectNodeOffer)
			for k, part := range []float64{1. / 8, 1. / 4, 1. / 2} {
				got := 0
				for _, nd := range nodes {
					if nd.known < []time.Duration{time.Hour, 8 * time.Hour, 2 * day}[k] {
						got += drew[nd.name]
					}
				}
				contested := min(n, elders[k])
				taken := max(0, got-(n-contested))
				debt[k] = max(0, debt[k]) + float64(taken) - part*float64(contested)
				if debt[k] > burstYoung+1+1e-6 {
					t.Fatalf("cohort %d is %.1f offers over its part", k, debt[k])
				}
				if contested > 0 && young[k] > 0 {
					limited++
				}
			}
			w.now += 250 * time.Millisecond
		}
		if all > 0 && left > min(n, all)*times/20+2*n {
			t.Fatalf("%d of %d offers had receivers and remained", left, min(n, all)*times)
		}
	})
	if limited < 100 {
		t.Fatalf("a cohort was limited in %d announces only", limited)
	}
}

// rapidTB is a testing.TB that fails as a rapid.T does.
type rapidTB struct {
	testing.TB
	r *rapid.T
}

func (t rapidTB) Helper()        { t.r.Helper() }
func (t rapidTB) Fatal(a ...any) { t.r.Fatal(a...) }

// A wave of young nodes gets no more than its cohort's part beside an elder, and
// not much less.
func TestTheYoungShareTheirPart(t *testing.T) {
	for _, c := range []struct {
		known     time.Duration
		low, high float64
	}{
		{time.Minute, 0.115, 1./8 + 0.0002},
		{2 * time.Hour, 0.23, 1./4 + 0.0002},
		{20 * time.Hour, 0.47, 1./2 + 0.0002},
		{3 * day, 0.75, 1},
	} {
		w := crowd(t, 10)
		w.now = 100 * day
		w.join("elder", "H", 0, 20, w.known(10*day))
		for i := range 10 {
			w.join(fmt.Sprint("N", i), "H", 0, 50, w.known(c.known))
		}
		drew := w.press(10, 5, 2000)
		young := 0
		for name, n := range drew {
			if name != "elder" {
				young += n
			}
		}
		between(t, fmt.Sprint("ten nodes known for ", c.known), young, 10_000, c.low, c.high)
	}
}

// In a network where all are young nobody is limited, nor where the only others are
// here: a node of its own has nobody else.
func TestYoungNetworksAreNotLimited(t *testing.T) {
	w := crowd(t, 10)
	w.now = 100 * day
	for i := range 10 {
		w.join(fmt.Sprint("N", i), "H", 0, 20, w.known(time.Duration(i)*18*time.Minute))
	}
	remote := 0
	for _, n := range w.press(10, 5, 1000) {
		remote += n
	}
	between(t, "the other nodes, with 200 of 209 receivers", remote, 5000, 0.94, 0.97)
}

// An elder need not yield to those whom it limits: whatever their ages, a lone peer's
// offers all find somebody.
func TestElderNeedNotYieldToTheYoung(t *testing.T) {
	w := crowd(t, 1)
	w.now = 100 * day
	w.join("elder", "H", 0, 20, w.known(10*day), func(j *NodeJoin) { j.Group = "x" })
	for i := range 10 {
		w.join(fmt.Sprint("N", i), "H", 0, 50, w.known(time.Minute))
	}
	drew := w.press(1, 5, 500)
	between(t, "the elder", drew["elder"], 2500, 0.87, 1)
	all := 0
	for _, n := range drew {
		all += n
	}
	if all != 2500 {
		t.Errorf("%d of 2500 offers found somebody", all)
	}
}

// Of what nodes send, the young of a swarm with an elder have a part, and those of
// another the whole.
func TestTheYoungSendTheirPart(t *testing.T) {
	for _, c := range []struct {
		elder, reputed bool
		low, high      int
	}{{false, true, 400, 400}, {true, true, 2*3 + 1, 2*3 + 4}, {true, false, 2*3 + 1, 2*3 + 4}} {
		w := crowd(t, 10)
		w.now = 100 * day
		if c.elder {
			w.join("elder", "H", 0, 20, w.known(10*day))
		}
		// Four nodes have (16 + 8 * 10) / 8 = 12 offers each two minutes together.
		for i := range 4 {
			w.join(fmt.Sprint("N", i), "H", 0, 50, w.known(time.Minute), func(j *NodeJoin) {
				if !c.reputed {
					j.Reputation = new(Record)
				}
			})
		}
		through := 0
		for i := range 100 {
			w.nodeOffers("N0", "H", fmt.Sprint("x", i), fmt.Sprint(i, "a"), fmt.Sprint(i, "b"), fmt.Sprint(i, "c"), fmt.Sprint(i, "d"))
			through += w.oc.Offers
			w.now += 2400 * time.Millisecond
			for c := range w.by {
				w.c(c)
			}
		}
		if through < c.low || through > c.high {
			t.Errorf("%+v: %d offers got through in four minutes", c, through)
		}
	}
}

// When the places of a swarm are taken by proven nodes, an elder that is proven takes
// that of the youngest, and nobody else does.
func TestElderHasAPlace(t *testing.T) {
	w := newWorld(t, Config{MaxNodes: 3})
	w.now = 100 * day
	w.announce("A", "H", "p")
	w.join("N0", "H", 0, 1, w.known(20*time.Minute))
	w.join("N1", "H", 0, 1, w.known(10*time.Minute))
	w.join("N2", "H", 0, 1, w.known(9*day))
	for _, c := range []struct {
		name   string
		known  time.Duration
		proven bool
		out    string
	}{{"peer", 3 * time.Hour, true, ""}, {"stranger", 9 * day, false, ""}, {"elder", 5 * time.Hour, true, "N1"}} {
		w.join(c.name, "H", 0, 1, w.known(c.known), func(j *NodeJoin) {
			if !c.proven {
				j.Reputation = new(Record)
			}
		})
		if in := w.oc.Standing == StandingMember; in != (c.out != "") || in && w.node(c.out, "H") != nil {
			t.Errorf("%s, known for %v: joined %v", c.name, c.known, in)
		}
	}
}
