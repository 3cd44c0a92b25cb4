package swarm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/draeder/peerservers/tracker/wire"
)

// Each of these holds one guard; the invariant it belongs to is the number of
// the design's list. They are written so that removing the guard fails them.

// Invariant 4: nobody stops, evicts or answers for somebody else's peer.
func TestOwnership(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.announce("B", "H", "q")
	w.announce("A", "H", "p", offers("1"))
	w.c("X")
	w.expect(w.announce("X", "H", "p", event(wire.EventCompleted)), "X: reply H 0/2", "A: ping")
	w.expect(w.announce("X", "H", "p", event(wire.EventStopped)), "X: reply H 0/2")
	w.expect(w.leave("X", "H", "p"))
	w.expect(w.answer("X", "H", "q", "p", "1"))
	w.expect(w.announce("X", "H", "q", event(wire.EventStopped)), "X: reply H 0/2")
	if w.oc.Drop != DropForeign {
		t.Fatal(w.oc.Drop)
	}
	w.counts("H", 0, 2, 0)
	w.expect(w.answer("B", "H", "q", "p", "1"), `A: answer H "1" by q {"sdp":"re 1"}`)
}

// Invariant 4: nobody withdraws somebody else's claim, and what the former
// owner had parked goes when it is honoured.
func TestClaimIsItsOwnersOwn(t *testing.T) {
	w := newWorld(t, Config{MaxParkedBytes: 1 << 20})
	w.announce("A", "H", "p", offers("1"))
	w.announce("A2", "H", "p")
	w.announce("X", "H", "p", event(wire.EventStopped))
	w.c("Y")
	w.leave("Y", "H", "p")
	w.expect(w.sweep(4*second), "touch H")
	if !w.tb.Owns(w.by["A2"], []byte("H"), []byte("p")) || w.tb.Owns(w.by["A"], []byte("H"), []byte("p")) {
		t.Fatal("the claim was not honoured")
	}
	if w.state("H").Parked != 0 {
		t.Fatal(w.state("H"))
	}
}

// Invariant 4: a claim neither takes effect nor is lost while it is undecided.
func TestClaimsAreBounded(t *testing.T) {
	w := newWorld(t, Config{MaxClaims: 3, MaxClaimsSwarm: 2, MaxClaimBytes: 100})
	for _, p := range []string{"p", "q", "r"} {
		w.announce("A", "H", p)
		w.announce("A", "H2", p)
	}
	claim := func(hash, peer string, d Drop, ids ...string) {
		t.Helper()
		got := w.announce("X", hash, peer, offers(ids...))
		if w.oc.Drop != d || !strings.HasPrefix(got[0], "X: reply "+hash+" 0/3") {
			t.Fatal(w.oc, got)
		}
	}
	claim("H", "p", DropNone)
	claim("H", "p", DropNone, "1")
	claim("H", "q", DropNone)
	claim("H", "r", DropClaimsFull) // the swarm's
	claim("H2", "p", DropClaimsFull, "long", strings.Repeat("x", 100))
	claim("H2", "p", DropNone)
	claim("H2", "q", DropClaimsFull) // the table's
	claim("H", "p", DropClaimsFull, strings.Repeat("x", 100))
	if got := w.tb.Stats(); got.Claims != 3 || got.Dropped[DropClaimsFull] != 4 {
		t.Fatal(got)
	}
	w.sweep(10 * second) // A has said nothing since; X gets what he claimed
	if got := w.tb.Stats(); got.Claims != 0 || got.ClaimBytes != 0 || got.Rebinds != 3 {
		t.Fatal(got)
	}
}

// Invariant 3: each handing on of an offer pays for at most one answer, from
// the node that it went to.
func TestOneAnswerPerRelayedOffer(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.join("N", "H", 0, 1)
	w.expect(w.announce("A", "H", "p", offers("1")), "A: reply H 0/2", `N: node offer H "1" of p`)
	w.join("M", "H", 0, 1)
	w.expect(w.nodeAnswer("M", "H", "q", "p", "1")) // not the node it went to
	w.expect(w.nodeAnswer("N", "H", "q", "p", "2"))
	w.expect(w.nodeAnswer("N", "H2", "q", "p", "1"))
	w.expect(w.nodeAnswer("N", "H", "q", "p", "1"), `A: answer H "1" by q {"sdp":"re 1"}`)
	w.expect(w.nodeAnswer("N", "H", "q", "p", "1")) // once
	if w.oc.Drop != DropUnmatched {
		t.Fatal(w.oc.Drop)
	}
}

// Invariant 3: an answer along a relayed offer goes to the node that it came
// from, once, and expires.
func TestAnswerGoesBackTheWayOfTheOffer(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.join("N", "H", 0, 2)
	w.expect(w.nodeOffers("N", "H", "q", "1"), `A: offer H "1" of q {"sdp":"1"}`)
	w.expect(w.answer("A", "H", "p", "q", "1"), `N: node answer H "1" by p to q {"sdp":"re 1"}`)
	w.expect(w.answer("A", "H", "p", "q", "1"))
	w.nodeOffers("N", "H", "q", "2")
	w.sweep(149 * second)
	w.announce("A", "H", "p")
	w.nodeOffers("N", "H", "q", "3")
	w.sweep(second)
	w.expect(w.answer("A", "H", "p", "q", "2"))
	// The entry is the node's, and outlives its part in the swarm.
	w.done(w.tb.NodeLeave(w.now, w.c("N"), []byte("H"), nil))
	w.expect(w.answer("A", "H", "p", "q", "3"), `N: node answer H "3" by p to q {"sdp":"re 3"}`)
}

// Invariant 3: nobody draws to himself the answer to an offer by repeating it.
func TestRepeatedOfferDoesNotDrawTheAnswer(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.join("N", "H", 0, 1)
	w.join("M", "H", 0, 1)
	w.nodeOffers("N", "H", "q", "1")
	w.sweep(80 * second) // another generation of the ledger
	w.expect(w.nodeOffers("M", "H", "q", "1"), fmt.Sprintf(`M: refused H "1" of q: %d`, RefuseNoPeer))
	w.expect(w.answer("A", "H", "p", "q", "1"), `N: node answer H "1" by p to q {"sdp":"re 1"}`)
}

// Invariant 3: an offer crosses one link at most.
func TestOffersFromNodesNeverGoToNodes(t *testing.T) {
	w := newWorld(t, Config{MaxParkedBytes: 1 << 20})
	w.announce("A", "H", "p")
	w.join("M", "H", 0, 1000)
	w.join("N", "H", 0, 1000)
	for i := range 20 {
		w.nodeOffers("N", "H", fmt.Sprint("q", i), "1", "2", "3")
		if n := w.to(EffectNodeOffer); len(n) != 0 {
			t.Fatal(n)
		}
	}
	// What came back is not parked for nodes either.
	if st := w.state("H"); st.Parked != 0 {
		t.Fatal(st)
	}
	w.expect(w.join("O", "H", 0, 1000))
}

// Invariant 4: a node cannot speak for a peer id that is a local member.
func TestNodeCannotSpeakForLocalPeer(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.announce("B", "H", "q")
	w.join("N", "H", 0, 1000)
	w.expect(w.nodeOffers("N", "H", "p", "1"), fmt.Sprintf(`N: refused H "1" of p: %d`, RefuseLocalPeer))
	for i := 0; w.to(EffectNodeOffer)["N"] == 0; i++ {
		w.announce("A", "H", "p", offers("x"))
	}
	w.expect(w.nodeAnswer("N", "H", "q", "p", "x")) // q is here
	if w.oc.Drop != DropLocalPeer {
		t.Fatal(w.oc.Drop)
	}
	w.expect(w.nodeAnswer("N", "H", "p", "p", "x"))
	w.expect(w.nodeAnswer("N", "H", "r", "p", "x"), `A: answer H "x" by r {"sdp":"re x"}`)
	// Not even once it has left, to itself.
	for i := 0; w.to(EffectNodeOffer)["N"] == 0; i++ {
		w.announce("A", "H", "p", offers("y"))
	}
	w.leave("A", "H", "p")
	w.expect(w.nodeAnswer("N", "H", "p", "p", "y"))
	if w.oc.Drop != DropLocalPeer {
		t.Fatal(w.oc.Drop)
	}
}

// Invariant 4: what a node did not join it does not speak in.
func TestNodeMustJoin(t *testing.T) {
	w := newWorld(t, Config{})
	refused := func(d Drop) {
		t.Helper()
		w.expect(w.nodeOffers("N", "H", "q", "1"), fmt.Sprintf(`N: refused H "1" of q: %d`, RefuseNotJoined))
		if w.oc.Drop != d {
			t.Fatal(w.oc.Drop)
		}
	}
	refused(DropNoSwarm)
	w.join("N", "H", 1, 1)
	if w.oc.Drop != DropNoSwarm || w.tb.swarms.rows != 0 {
		t.Fatal("a node made a swarm")
	}
	w.announce("A", "H", "p")
	refused(DropNotJoined)
	w.join("N", "H", 1, 1)
	w.done(w.tb.NodeLeave(w.now, w.c("N"), []byte("H"), nil))
	refused(DropNotJoined)
	w.counts("H", 0, 1, 0)
}

// The same client on both nodes never gets its own offer: invariant 2, and
// clients that do not filter their own id.
func TestOwnPeerIDNeverGetsItsOffer(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.announce("A", "H", "p", offers("1", "2"))
	w.expect(w.announce("A", "H", "p", offers("1", "2")), "A: reply H 0/1")
	// The client arrives here after its offer was relayed: refused as local.
	w.join("N", "H", 0, 5)
	w.expect(w.nodeOffers("N", "H", "p", "1"), fmt.Sprintf(`N: refused H "1" of p: %d`, RefuseLocalPeer))
	// In the deck itself, for offers of nodes as well.
	s, _ := w.tb.of("H")
	p := w.tb.party([]byte("H"), []byte("p"))
	h := w.tb.hand(s, &p.key, 0, nil)
	if w.tb.draw(s, &h) != nil {
		t.Fatal("dealt to itself")
	}
	// And its other node, which says so by its tag, does not draw its offers.
	w.join("N", "H", 0, 5, tagged("p", "a", "b", "c", "d"))
	w.expect(w.announce("A", "H", "p", offers("1", "2")), "A: reply H 0/5")
}

// The same client on both nodes: it counts once, draws nothing across the
// link, and leaves its nodes hungry.
func TestSameClientOnBothNodes(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.join("N", "H", 0, 1, tagged("p"))
	w.counts("H", 0, 1, 0)
	if st := w.state("H"); st.RemoteComplete+st.RemoteIncomplete != 0 || st.Duplicates != 1 || st.Nodes != 1 {
		t.Fatal(st)
	}
	w.expect(w.announce("A", "H", "p", offers("1")), "A: reply H 0/1")
	w.announce("B", "H", "q")
	for range 50 {
		w.expect(w.announce("B", "H", "q", offers("1", "2")), "B: reply H 0/2", `A: offer H `+w.id(EffectOffer)+` of q {"sdp":`+w.id(EffectOffer)+`}`)
	}
	// Members of N's that are here too are N's to serve.
	w.expect(w.nodeOffers("N", "H", "r", "1", "2"), `B: offer H "1" of r {"sdp":"1"}`, fmt.Sprintf(`N: refused H "2" of r: %d`, RefuseNoPeer))
	// It leaves here: now it is a remote peer. It comes back: no longer.
	w.leave("A", "H", "p")
	w.counts("H", 0, 2, 0)
	w.announce("A", "H", "p")
	w.counts("H", 0, 2, 0)
	// The join is brought up to date: another member there.
	w.join("N", "H", 0, 2, tagged("p", "z"))
	w.counts("H", 0, 3, 0)
	if st := w.state("H"); st.RemoteIncomplete != 1 || st.Duplicates != 1 {
		t.Fatal(st)
	}
}

// id is the id of the one effect of a kind.
func (w *world) id(k EffectKind) string {
	for _, e := range w.raw {
		if e.Kind == k {
			return string(e.Offer.ID)
		}
	}
	return `"1"`
}

func TestTags(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p", left(wire.LeftZero))
	w.announce("B", "H", "q")
	c, i, ok := w.tb.Tags([]byte("H"), tagKey, nil, nil)
	if !ok || !slices.Equal(c, []uint64{Tag(tagKey, []byte("p"))}) || !slices.Equal(i, []uint64{Tag(tagKey, []byte("q"))}) {
		t.Fatal(c, i, ok)
	}
	if Tag([16]byte{1}, []byte("p")) == Tag([16]byte{2}, []byte("p")) {
		t.Fatal("tags of two links are alike")
	}
	for k := range 63 {
		_, _, ok = w.tb.Tags([]byte("H"), tagKey, nil, nil)
		if !ok {
			t.Fatal(k)
		}
		w.announce("C"+fmt.Sprint(k), "H", fmt.Sprint("c", k))
	}
	if _, _, ok = w.tb.Tags([]byte("H"), tagKey, nil, nil); ok {
		t.Fatal("tags of 65 members")
	}
	if _, _, ok = w.tb.Tags([]byte("H2"), tagKey, nil, nil); ok {
		t.Fatal("tags of no swarm")
	}
	var many []string
	for k := range MaxTags + 1 {
		many = append(many, fmt.Sprint("c", k))
	}
	w.join("N", "H", 0, len(many), tagged(many...))
	if st := w.state("H"); st.Duplicates != 0 || st.RemoteIncomplete != len(many) {
		t.Fatal(st)
	}
}

// Invariant 5: claimed counts are capped, in sum and for each node.
func TestClaimedCountsAreCapped(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.join("N", "H", 1<<40, 3<<40)
	w.counts("H", 250, 751, 0)
	w.join("N", "H", -5, 2000)
	w.counts("H", 0, 1001, 0)
	w.prove("N", "H")
	w.counts("H", 0, 2001, 0)
	w.join("N", "H", 1<<60, 1<<60)
	w.counts("H", 50_000, 50_001, 0)
}

// A refused offer is drawn once more, elsewhere; and only if it is, to the
// byte, what went to that node (invariants 3 and 4: a node cannot put words
// into a client's mouth).
func TestRefusal(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.join("N", "H", 0, 1)
	w.expect(w.announce("A", "H", "p", offers("1")), "A: reply H 0/2", `N: node offer H "1" of p`)
	w.announce("B", "H", "q")
	w.join("M", "H", 0, 1)
	w.expect(w.nodeRefused("M", "H", "p", "1", RefuseNoPeer)) // did not go there
	forged := off("1")
	forged.Payload = []byte(`{"sdp":"evil"}`)
	w.expect(w.done(w.tb.NodeRefused(w.now, w.c("N"), []byte("H"), []byte("p"), forged, RefuseNoPeer, nil)))
	if w.oc.Drop != DropUnmatched {
		t.Fatal(w.oc.Drop)
	}
	w.done(w.tb.NodeLeave(w.now, w.c("M"), []byte("H"), nil))
	w.expect(w.nodeRefused("N", "H", "p", "1", RefuseNoPeer), `B: offer H "1" of p {"sdp":"1"}`)
	w.expect(w.nodeRefused("N", "H", "p", "1", RefuseNoPeer)) // once
	w.expect(w.nodeAnswer("N", "H", "r", "p", "1"))           // it gave the offer back
	w.expect(w.answer("B", "H", "q", "p", "1"), `A: answer H "1" by q {"sdp":"re 1"}`)
}

// An offer that is refused a second time goes no further.
func TestRefusedTwice(t *testing.T) {
	w := newWorld(t, Config{})
	w.announce("A", "H", "p")
	w.join("N", "H", 0, 1)
	w.announce("A", "H", "p", offers("1"))
	w.join("M", "H", 0, 1)
	w.expect(w.nodeRefused("N", "H", "p", "1", RefuseLimit), `M: node offer H "1" of p`)
	w.announce("B", "H", "q")
	w.expect(w.nodeRefused("M", "H", "p", "1", RefuseLimit))
	if w.oc.Drop != DropRedrawn {
		t.Fatal(w.oc.Drop)
	}
	// Nor does one whose offerer has gone, or whose only other receiver is
	// the node that refused it.
	w.leave("B", "H", "q")
	w.done(w.tb.NodeLeave(w.now, w.c("M"), []byte("H"), nil))
	w.announce("A", "H", "p", offers("2", "3"))
	w.expect(w.nodeRefused("N", "H", "p", "2", RefuseNoPeer))
	w.announce("B", "H", "q")
	w.leave("A", "H", "p")
	w.expect(w.nodeRefused("N", "H", "p", "3", RefuseNoPeer))
}
