package swarm

import (
	"fmt"
	"testing"
)

// Invariant 8: a node's offers are metered for each swarm, and leaving and
// joining again does not refill the meter.
func TestNodeOffersAreMetered(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.join("N", "H", 0, 1)
	w.prove("N", "H")
	w.now += 15 * second
	w.c("A")
	placed := func(tries int) (n int) {
		for i := range tries {
			w.nodeOffers("N", "H", fmt.Sprint("q", i), fmt.Sprint("o", i))
			n += w.oc.Offers
		}
		return n
	}
	if n := placed(300); n != 2*20*1+64 {
		t.Fatalf("%d at once", n)
	}
	w.expect(w.nodeOffers("N", "H", "q", "1"), fmt.Sprintf(`N: refused H "1" of q: %d`, RefuseLimit))
	w.done(w.tb.NodeLeave(w.now, w.c("N"), []byte("H"), nil))
	w.join("N", "H", 0, 1)
	if n := placed(10); n != 0 {
		t.Fatalf("%d after joining again", n)
	}
	w.now += 15 * second
	if n := placed(300); n != 104 {
		t.Fatalf("%d after the refill", n)
	}
	// One frame has no more than one announce's offers.
	w.now += 15 * second
	for i := range 30 {
		w.announce(fmt.Sprint("B", i), "H", fmt.Sprint("r", i))
	}
	var ids []string
	for i := range 25 {
		ids = append(ids, fmt.Sprint("f", i))
	}
	w.nodeOffers("N", "H", "q", ids...)
	if w.oc.Offers != 20 || w.to(EffectNodeRefused)["N"] != 5 || len(w.to(EffectOffer)) != 20 {
		t.Fatal(w.oc, w.to(EffectOffer))
	}
}

// Those whom nobody was seen to meet have a quota together, which each has its
// part of; who was met has one of its own.
func TestStrangersOffersAreMetered(t *testing.T) {
	w := crowd(t, 30)
	for i := range 20 {
		w.join(fmt.Sprint("N", i), "H", 0, 1_000_000)
	}
	w.join("good", "H", 0, 30)
	w.meet("good", "H", 1)
	w.now += refillStranger
	flood := func() (n int) {
		for i := range 20 {
			for k := range 10 {
				w.serial++
				w.nodeOffers(fmt.Sprint("N", i), "H", fmt.Sprint("q", w.serial), fmt.Sprint("o", k))
				n += w.oc.Offers
			}
		}
		return n
	}
	const most = (strangersSwarm + 30*strangersMember) / 20 * 20
	if n := flood(); n != most {
		t.Fatalf("%d offers of strangers at once, want %d", n, most)
	}
	if n := flood(); n != 0 {
		t.Fatalf("%d more", n)
	}
	w.now += refillStranger / 2
	if n := flood(); n < most/2 || n > most*3/4 {
		t.Fatalf("%d after half of the time", n)
	}
	for i := range 30 {
		if w.nodeOffers("good", "H", fmt.Sprint("friend", i), fmt.Sprint("f", i)); w.oc.Offers != 1 {
			t.Fatal("strangers use up what others may send")
		}
	}
}

// Invariant 8: the ledger is bounded. What is full turns the oldest out, so
// that a flood of many sources shortens everybody's window, but stops nobody's
// offers.
func TestLedgerIsBounded(t *testing.T) {
	for most := 1; most <= 40; most++ {
		w := newWorld(t, Config{MaxLedger: most})
		w.announce("A", "H", "p")
		w.announce("B", "H", "q")
		for i := range 200 {
			w.now += second / 10
			id := fmt.Sprint("o", i)
			w.c("A").source = uint64(i + 1)
			w.announce("A", "H", "p", offers(id))
			if w.oc.Offers != 1 || w.oc.Drop != DropNone {
				t.Fatal(most, i, w.oc)
			}
			if i%3 == 0 { // of those not too old
				if id = fmt.Sprint("o", i-(most-1)/2); i >= most {
					w.expect(w.answer("B", "H", "q", "p", id), `A: answer H "`+id+`" by q {"sdp":"re `+id+`"}`)
				}
			}
		}
		st := w.tb.Stats()
		if st.Ledger > most || most < 40 && st.Dropped[DropLedgerEarly] == 0 || st.Dropped[DropLedgerFull] != 0 {
			t.Fatal(most, st)
		}
		// Time goes on as ever.
		w.now += 149 * second
		w.expect(w.answer("B", "H", "q", "p", "o199"), `A: answer H "o199" by q {"sdp":"re o199"}`)
		w.sweep(76 * second)
		if n := w.tb.Stats().Ledger; n != 0 {
			t.Fatal(most, n)
		}
	}
}

// A flood of one source, which offers to itself, turns nobody else's offers out
// of the ledger. If they are answered it is no flood.
func TestOneSourceDoesNotFillTheLedger(t *testing.T) {
	const most = 600
	for _, answered := range []bool{false, true} {
		w := newWorld(t, Config{MaxLedger: most})
		w.announce("A", "H", "p")
		w.announce("B", "H", "q")
		w.announce("A", "H", "p", offers("o"))
		refused := 0
		for i := range 10 * most {
			from, to := fmt.Sprint("flood", i%2), fmt.Sprint("flood", (i+1)%2)
			w.c(from).source, w.c(to).source = 77, 77
			w.announce(to, "X", to)
			id := fmt.Sprint("f", i)
			w.announce(from, "X", from, offers(id))
			if w.oc.Offers == 0 {
				refused++
			}
			if answered {
				w.answer(to, "X", to, from, id)
			}
		}
		if refused > 0 == answered {
			t.Errorf("answered %v: %d refused", answered, refused)
		}
		w.announce("A", "H", "p", offers("later"))
		for _, id := range []string{"o", "later"} {
			w.expect(w.answer("B", "H", "q", "p", id), `A: answer H "`+id+`" by q {"sdp":"re `+id+`"}`)
		}
		if n := w.tb.Stats().Dropped[DropLedgerEarly]; n != 0 {
			t.Errorf("answered %v: %d turned out early", answered, n)
		}
		// In the next generation there is room for it again.
		w.now += 76 * second
		w.announce("flood0", "X", "flood0", offers("again"))
		if w.oc.Offers != 1 {
			t.Error("refused for ever")
		}
	}
}

// A ledger that may hold nothing refuses everything.
func TestLedgerOfNothing(t *testing.T) {
	w := newWorld(t, Config{MaxLedger: -1, MaxParkedBytes: 1 << 20})
	for _, p := range []string{"q", "r", "s", "u"} {
		w.announce("B"+p, "H", p)
	}
	w.join("N", "H", 0, 9)
	w.announce("A", "H", "p", offers("1", "2", "3", "4", "5"))
	if w.oc.Offers != 0 || w.tb.Stats().Ledger != 0 || w.tb.Stats().Dropped[DropLedgerFull] != 5 {
		t.Fatal(w.oc, w.tb.Stats())
	}
	if st := w.state("H"); st.Parked != 0 {
		t.Fatal(st)
	}
	w.expect(w.nodeOffers("N", "H", "z", "1"), fmt.Sprintf(`N: refused H "1" of z: %d`, RefuseLimit))
}

// Invariant 8: members, swarms and an owner's peers are bounded; whoever is
// over a bound gets an ordinary reply, which re-arms its timer.
func TestMembersAreBounded(t *testing.T) {
	w := newWorld(t, Config{MaxMembers: 4, MaxSwarms: 2, MaxPerOwnerSwarm: 2})
	full := func(d Drop, want string, got []string) {
		t.Helper()
		w.expect(got, want)
		if w.oc.Drop != d || w.oc.Standing != StandingNone || w.oc.Touched {
			t.Fatal(w.oc)
		}
	}
	w.announce("A", "H", "p")
	w.announce("A", "H", "q")
	full(DropOwnerFull, "A: reply H 0/2", w.announce("A", "H", "r", offers("1")))
	w.announce("B", "H2", "p")
	full(DropSwarmsFull, "B: reply H3 0/0", w.announce("B", "H3", "p"))
	w.announce("B", "H2", "q")
	full(DropMembersFull, "C: reply H2 0/2", w.announce("C", "H2", "r"))
}

// Invariant 8: nor does a peer id change hands beyond its new owner's bound,
// at once or after a claim.
func TestRebindingIsBounded(t *testing.T) {
	w := newWorld(t, Config{MaxPerOwnerSwarm: 1})
	w.announce("A", "H", "p")
	w.announce("B", "H", "q")
	w.now += 31 * second
	w.c("B")
	w.expect(w.announce("B", "H", "p"), "B: reply H 0/2")
	if w.oc.Drop != DropOwnerFull || w.oc.Standing != StandingNone {
		t.Fatal(w.oc)
	}
	w.announce("A", "H", "p")
	w.announce("B", "H", "p")
	w.leave("A", "H", "p")
	if w.oc.Drop != DropOwnerFull || !w.oc.Touched {
		t.Fatal(w.oc)
	}
	w.counts("H", 0, 1, 0)
}

// Invariant 5 and 8: a swarm has MaxNodes nodes; those met long ago are not
// kept out by many new keys.
func TestNodesAreBounded(t *testing.T) {
	w := newWorld(t, Config{MaxNodes: 3})
	w.announce("A", "H", "p")
	for i := range 4 {
		w.join(fmt.Sprint("N", i), "H", 0, 1, prefix("", 500*second))
	}
	if w.oc.Drop != DropNodesFull || w.state("H").Nodes != 3 {
		t.Fatal(w.oc, w.state("H"))
	}
	w.join("old", "H", 0, 1, prefix("", 400*second))
	if w.oc.Drop != DropNone || w.state("H").Nodes != 3 || w.tb.Stats().Dropped[DropNodeDisplaced] != 1 {
		t.Fatal(w.oc, w.state("H"))
	}
	for i := range 10 { // nor does the list of those who left grow
		w.done(w.tb.NodeLeave(w.now, w.c("old"), []byte("H"), nil))
		w.join(fmt.Sprint("M", i), "H", 0, 1, prefix("", 0))
		w.done(w.tb.NodeLeave(w.now, w.c(fmt.Sprint("M", i)), []byte("H"), nil))
	}
}
