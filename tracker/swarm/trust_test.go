package swarm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// naive is a Record as one would write it who has all the memory in the world:
// a list of what happened, with what each is worth now.
type naive struct {
	owed, answered, met []worth
	pairs               map[uint64]bool
}

type worth struct {
	at    time.Duration
	value float64
}

func (n *naive) note(now time.Duration, d Deed, pair uint64) bool {
	one := worth{now, 1}
	switch d {
	case DeedOwed:
		n.owed = append(n.owed, one)
		if sum(n.owed, now) >= window {
			for _, l := range [][]worth{n.owed, n.answered} {
				for i := range l {
					l[i].value /= 2
				}
			}
		}
	case DeedExcused:
		if sum(n.owed, now) < 1 {
			n.owed = nil
		} else {
			n.owed = append(n.owed, worth{now, -1})
		}
	default:
		if n.pairs[pair] {
			return false
		}
		n.pairs[pair] = true
		if d == DeedMet {
			n.met = append(n.met, one)
		} else {
			n.answered = append(n.answered, one)
		}
	}
	return true
}

func sum(list []worth, now time.Duration) (s float64) {
	for _, w := range list {
		s += w.value * math.Exp(-(now-w.at).Hours()/memory.Hours())
	}
	return s
}

// A record is what happened, within a hundredth: it fades in steps of a second.
func TestRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, n := new(Record), &naive{pairs: map[uint64]bool{}}
		now := 1000 * second
		for i := range rapid.IntRange(1, 120).Draw(t, "deeds") {
			now += time.Duration(rapid.SampledFrom([]int{0, 1, 1000, 60_000, 3_600_000}).Draw(t, "ms")) * time.Millisecond
			d := Deed(rapid.IntRange(0, 3).Draw(t, "deed"))
			pair := (uint64(i) + 1) * 0x9e3779b97f4a7c15
			if rapid.IntRange(0, 3).Draw(t, "again") == 0 && i > 0 {
				pair = (uint64(rapid.IntRange(max(1, i-sketchTurn/2), i).Draw(t, "which"))) * 0x9e3779b97f4a7c15
			}
			was := *r
			want := n.note(now, d, pair)
			if got := r.Note(now, d, pair, pair); got != want {
				// It may forget what it saw long ago, and seldom sees what was not.
				if want {
					t.Skip("a pair that was taken for another")
				}
				t.Fatalf("deed %d counts: %v, want %v; %+v", d, got, want, was)
			}
			for _, c := range []struct{ got, want float64 }{{r.owed, sum(n.owed, now)}, {r.answered, sum(n.answered, now)}, {r.met, sum(n.met, now)}} {
				if math.Abs(c.got-c.want) > 0.01*max(1, c.want) {
					t.Fatalf("after %d deeds %+v, want %.3f", i+1, *r, c.want)
				}
			}
			trust := r.Trust(now)
			met := sum(n.met, now)
			if near(met, least) || near(perAnswer*(1+sum(n.answered, now)), sum(n.owed, now)) {
				continue
			}
			if want := met > least; trust.Met != want || !want && trust != (Trust{Receivers: exploring}) {
				t.Fatalf("%+v, met %.2f", trust, met)
			}
			if want := trust.Met && perAnswer*(1+sum(n.answered, now)) > sum(n.owed, now); trust.Proven != want {
				t.Fatalf("%+v, want proven %v", trust, want)
			}
		}
	})
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.05*max(1, b) }

// A sketch never takes a pair of the last ones for a new one, and seldom a new
// one for one that was there.
func TestSketch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s sketch
		k := rapid.Uint64().Draw(t, "key") | 1
		h := func(i int) uint64 {
			x := uint64(i+1) * k * 0x9e3779b97f4a7c15
			x ^= x >> 29
			x *= 0xbf58476d1ce4e5b9
			return x ^ x>>32
		}
		wrong := 0
		const n = 500
		for i := range n {
			if !s.add(h(i)) {
				wrong++
			}
			if j := rapid.IntRange(max(0, i-sketchTurn/2+1), i).Draw(t, "again"); s.add(h(j)) {
				t.Fatalf("%d is new after %d", j, i)
			}
		}
		if wrong > n/8 {
			t.Fatalf("%d of %d were there before", wrong, n)
		}
	})
}

// Neither deed proves anything alone: answers may be made up, and offers may be
// of those who never answer.
func TestProofTakesBothDeeds(t *testing.T) {
	for _, c := range []struct {
		met, answered, owed int
		want                Trust
	}{
		{0, 0, 0, Trust{Receivers: exploring}},
		{0, 1000, 0, Trust{Receivers: exploring}},
		{1, 0, perAnswer, Trust{Met: true, Proven: true, Receivers: exploring + perDeed}},
		{1, 0, perAnswer + 1, Trust{Met: true, Receivers: exploring + perDeed}},
		{1, 1, 2 * perAnswer, Trust{Met: true, Proven: true, Receivers: exploring + 2*perDeed}},
		{1, 1, 2*perAnswer + 1, Trust{Met: true, Receivers: exploring + 2*perDeed}},
	} {
		var r Record
		source := rand.New(rand.NewPCG(1, 2)).Uint64
		for range c.owed {
			r.Note(0, DeedOwed, 0, source())
		}
		for i := range c.met {
			r.Note(0, DeedMet, uint64(i), source())
		}
		for i := range c.answered {
			r.Note(0, DeedAnswered, uint64(i+c.met)*0x9e3779b97f4a7c15, source())
		}
		if got := r.Trust(0); got != c.want {
			t.Errorf("%d met, %d answered of %d: %+v, want %+v", c.met, c.answered, c.owed, got, c.want)
		}
	}
}

// The same for a node in a swarm: garbage for an answer does not prove it, nor do
// offers that nobody here answers.
func TestGarbageProvesNothing(t *testing.T) {
	w := crowd(t, 1)
	w.join("N", "H", 0, 5000)
	for range 50 {
		w.newcomer("N", "H", 5, true)
	}
	w.nodeOffers("N", "H", "x", "1")
	if tr := w.node("N", "H").trust; tr.Met || tr.Proven || tr.Receivers != exploring {
		t.Fatalf("%+v", tr)
	}
	w.meet("N", "H", 3) // one may be taken for a pair that was there
	if tr := w.node("N", "H").trust; !tr.Met || !tr.Proven {
		t.Fatalf("%+v", tr)
	}
}

// A pair that met earns nothing again, whoever of the two answers.
func TestPairsCountOnce(t *testing.T) {
	w := crowd(t, 1)
	w.join("N", "H", 0, 5)
	ask := func(id string) {
		w.announce("A0", "H", "p0", offers(id))
		if w.to(EffectNodeOffer)["N"] != 1 {
			t.Fatal("the node got no offer")
		}
		w.nodeAnswer("N", "H", "far", "p0", id)
	}
	r := func() Record { return Record{answered: w.records["N"].answered, met: w.records["N"].met} }
	ask("1")
	if got := r(); got != (Record{answered: 1}) {
		t.Fatalf("%+v", got)
	}
	ask("2")
	w.nodeOffers("N", "H", "far", "3")
	w.answer("A0", "H", "p0", "far", "3")
	if got := r(); got != (Record{answered: 1}) {
		t.Fatalf("after the same pair again %+v", got)
	}
	w.nodeOffers("N", "H", "other", "4")
	w.answer("A0", "H", "p0", "other", "4")
	if got := r(); got != (Record{answered: 1, met: 1}) {
		t.Fatalf("after another pair %+v", got)
	}
	// In another swarm it is another pair.
	w.announce("A0", "H2", "p0")
	w.join("N", "H2", 0, 5)
	w.nodeOffers("N", "H2", "far", "5")
	w.answer("A0", "H2", "p0", "far", "5")
	if got := r(); got != (Record{answered: 1, met: 2}) {
		t.Fatalf("after the same pair in another swarm %+v", got)
	}
}

// A node that takes newcomers' offers and never answers is unproven again, in
// this swarm soon, and everywhere when it goes on.
func TestSilentNodeLosesItsProof(t *testing.T) {
	w := crowd(t, 1)
	w.join("N", "H", 0, 5000)
	w.prove("N", "H")
	w.counts("H", 0, 5001, 0)
	for range window {
		w.records["N"].Note(w.now, DeedAnswered, w.tb.rng.Uint64(), w.tb.rng.Uint64())
	}
	owed := 0
	for owed < creditMax-5 {
		owed += w.newcomer("N", "H", 1, false)
	}
	w.counts("H", 0, 5001, 0)
	for owed < creditMax {
		owed += w.newcomer("N", "H", 1, false)
	}
	w.counts("H", 0, 1001, 0)
	// Leaving and joining again is no way out.
	w.done(w.tb.NodeLeave(w.now, w.c("N"), []byte("H"), nil))
	w.join("N", "H", 0, 5000)
	w.counts("H", 0, 1001, 0)
	// However many answers there were.
	for range 4 * window {
		w.records["N"].Note(w.now, DeedAnswered, w.tb.rng.Uint64(), w.tb.rng.Uint64())
	}
	// Refusals because the offerer is there as well owe no answer.
	w.now += rememberLeft
	w.c("A0")
	w.done(w.tb.NodeLeave(w.now, w.c("N"), []byte("H"), nil))
	w.now += rememberLeft
	w.c("A0")
	w.join("N", "H", 0, 5000)
	for i := range 10 * creditMax {
		id := fmt.Sprint("r", i)
		name := fmt.Sprint("guest", i)
		w.announce(name, "H", name, offers(id))
		w.nodeRefused("N", "H", name, id, RefuseLocalPeer)
		w.leave(name, "H", name)
	}
	w.counts("H", 0, 5001, 0)
	// In a swarm of which it knew nothing yet it begins with a name, and loses it.
	for range 3000 {
		w.records["N"].Note(w.now, DeedOwed, 0, w.tb.rng.Uint64())
	}
	w.announce("B", "H2", "p")
	w.join("N", "H2", 0, 5000)
	w.counts("H2", 0, 1001, 0)
}

// Those who have been here for a while may be connected with everybody: that
// nobody answers them says nothing.
func TestOnlyNewcomersAreOwed(t *testing.T) {
	w := newWorld(t, Config{MaxParkedBytes: 1 << 20})
	w.announce("A0", "H", "p0")
	w.join("N", "H", 0, 5000)
	w.prove("N", "H")
	w.press(1, 5, 500)
	if n := w.node("N", "H"); !n.trust.Proven || n.credit != creditMax {
		t.Fatalf("%+v, credit %d", n.trust, n.credit)
	}
	// What a newcomer had parked is owed as well.
	w.announce("B", "H2", "p", offers("1", "2", "3"))
	w.join("N", "H2", 0, 2)
	if n := w.node("N", "H2"); n.credit != creditMax-2 {
		t.Fatalf("credit %d", n.credit)
	}
}

// One answer in sixteen is enough, and fewer are not.
func TestProofIsEarned(t *testing.T) {
	for _, c := range []struct {
		every int
		want  bool
	}{{8, true}, {14, true}, {24, false}, {40, false}} {
		var r Record
		source := rand.New(rand.NewPCG(1, 2)).Uint64
		r.Note(0, DeedMet, 1, source())
		proven := true
		for i := range 100 * c.every {
			r.Note(0, DeedOwed, 0, source())
			if i%c.every == 0 {
				r.Note(0, DeedAnswered, uint64(i+2)*0x9e3779b97f4a7c15, source())
			}
			proven = proven && r.Trust(0).Proven
		}
		if proven != c.want {
			t.Errorf("an answer every %d offers: always proven: %v", c.every, proven)
		}
	}
	// What reached nobody is no answer.
	w := crowd(t, 2)
	w.join("N", "H", 0, 5000)
	w.announce("A0", "H", "p0", offers("1", "2", "3"))
	to := w.to(EffectNodeOffer)["N"]
	w.leave("A0", "H", "p0")
	for _, id := range []string{"1", "2", "3"} {
		w.nodeAnswer("N", "H", "z", "p0", id)
	}
	if to < 2 || w.tb.Stats().Dropped[DropGone] != uint64(to) || w.records["N"].answered != 0 {
		t.Fatal(to, w.tb.Stats())
	}
}

// What a node did elsewhere counts here, and what it does here elsewhere.
func TestDeedsFollowANode(t *testing.T) {
	w := crowd(t, 1)
	w.announce("A0", "H2", "p0")
	w.join("N", "H", 0, 50)
	w.prove("N", "H")
	w.join("N", "H2", 0, 50)
	if !w.node("N", "H2").trust.Proven {
		t.Fatal("it has to prove itself again in another swarm")
	}
	for range 20 * window {
		w.records["N"].Note(w.now, DeedOwed, 0, w.tb.rng.Uint64())
	}
	w.now += assessEvery
	w.c("A0")
	w.press(1, 1, 1)
	if w.node("N", "H").trust.Proven {
		t.Fatal("what it owes elsewhere is not known here")
	}
}

// What a node claims is drawn from as far as it was seen.
func TestClaimsAreDrawnFromAsSeen(t *testing.T) {
	w := crowd(t, 1)
	for i := range 3 {
		w.join(fmt.Sprint("few", i), "H", 0, exploring)
	}
	w.join("many", "H", 0, 1000)
	drew := w.press(1, 1, 4000)
	between(t, "who claims more than was seen", drew["many"], 4000, 0.22, 0.28)
	// Counts are exact all the same, and nothing is left over for want of
	// receivers that were seen.
	w.counts("H", 0, 1001+3*exploring, 0)
	w = crowd(t, 1)
	w.join("N", "H", 0, 10)
	w.announce("A0", "H", "p0", offers("1", "2", "3", "4", "5", "6", "7", "8"))
	if w.oc.Offers != 8 {
		t.Fatalf("%d of 8 offers went to the only node", w.oc.Offers)
	}
}

// Of a full swarm's places, and of those of a prefix, the proven have theirs
// whoever was seen first.
func TestTheProvenHavePlaces(t *testing.T) {
	w := newWorld(t, Config{MaxNodes: 2})
	w.announce("A", "H2", "p")
	w.join("good", "H2", 0, 1)
	w.prove("good", "H2")
	w.announce("A", "H", "p")
	w.join("old", "H", 0, 1, prefix("x", -100*second))
	w.join("older", "H", 0, 1, prefix("y", -200*second))
	w.join("stranger", "H", 0, 1, prefix("z", 0))
	if w.oc.Standing != StandingNone {
		t.Fatal("a stranger displaced an older node")
	}
	w.join("good", "H", 0, 1, prefix("z", 0))
	if w.oc.Standing != StandingMember || w.node("good", "H") == nil {
		t.Fatal("a proven node found no place")
	}
	w = crowd(t, 2)
	w.announce("A0", "H2", "p0")
	w.join("good", "H2", 0, 1)
	w.prove("good", "H2")
	for i := range drawing {
		w.join(fmt.Sprint("N", i), "H", 0, 10, prefix("x", -100*second))
	}
	w.join("good", "H", 0, 10, prefix("x", 0))
	if !w.node("good", "H").draws {
		t.Fatal("a proven node does not draw beside older ones of its prefix")
	}
}
