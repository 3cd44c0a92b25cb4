package swarm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

var parking = Config{MaxParkedBytes: 1 << 20}

// Announce once: the offers of an announce that met nobody go to the first
// remote peers, and to nobody who joins here.
func TestParkedOffers(t *testing.T) {
	w := newWorld(t, parking)
	w.announce("A", "H", "p", offers("1", "2", "3"))
	if !w.oc.Touched || w.state("H").Parked != 3 {
		t.Fatal(w.oc, w.state("H"))
	}
	w.expect(w.announce("B", "H", "q"), "B: reply H 0/2")
	w.expect(w.join("N", "H", 0, 0)) // brings nobody
	w.expect(w.join("N", "H", 1, 1), `N: node offer H "1" of p`, `N: node offer H "2" of p`)
	w.expect(w.join("N", "H", 1, 1)) // brings nobody new
	w.expect(w.nodeAnswer("N", "H", "z", "p", "1"), `A: answer H "1" by z {"sdp":"re 1"}`)
	w.expect(w.join("M", "H", 0, 5), `M: node offer H "3" of p`)
	w.expect(w.join("O", "H", 0, 5))
	if st := w.tb.Stats(); st.Parked != 0 || st.ParkedBytes != 0 || st.OffersFlushed != 3 {
		t.Fatal(st)
	}
}

// What came back once, of what found no room elsewhere, is not parked, and
// numwant and the cap hold for what is.
func TestParkedAreOnlyTheLeftOvers(t *testing.T) {
	w := newWorld(t, parking)
	w.announce("B", "H", "q")
	w.announce("A", "H", "p", numwant(3), offers("1", "2", "3", "4"))
	if w.state("H").Parked != 2 {
		t.Fatal(w.state("H"))
	}
	w.announce("A", "H", "p", offers("5", "6")) // the newest announce's
	if w.state("H").Parked != 1 {
		t.Fatal(w.state("H"))
	}
	w.announce("A", "H", "p") // without offers: the old ones stay
	if w.state("H").Parked != 1 || w.oc.Touched {
		t.Fatal(w.state("H"), w.oc)
	}
	w.leave("A", "H", "p")
	if st := w.tb.Stats(); st.Parked != 0 || st.ParkedBytes != 0 {
		t.Fatal(st)
	}
}

func TestParkedOffersExpire(t *testing.T) {
	w := newWorld(t, parking)
	w.announce("A", "H", "p", offers("1", "2"))
	w.sweep(44 * second)
	if w.state("H").Parked != 2 {
		t.Fatal(w.state("H"))
	}
	w.sweep(second)
	if st := w.tb.Stats(); st.Parked != 0 || st.Dropped[DropParkExpired] != 2 {
		t.Fatal(st)
	}
	w.expect(w.join("N", "H", 0, 5))
}

// The same client is elsewhere as well: its own offers do not go there.
func TestParkedOffersNeverGoToOneself(t *testing.T) {
	w := newWorld(t, parking)
	w.announce("A", "H", "p", offers("1"))
	w.expect(w.join("N", "H", 0, 1, tagged("p")))
	w.expect(w.join("N", "H", 0, 2, tagged("p", "q"))) // q had better not meet p through p's own node
	if w.state("H").Parked != 1 {
		t.Fatal(w.state("H"))
	}
}

func held(d time.Duration) func(*NodeJoin) { return func(j *NodeJoin) { j.Hold = d } }

// Two clients announced once each, at two nodes that now meet. Were they
// offered to each other at the same time, both connections would be lost: so
// the offers of one side wait, and go nowhere once the other side's are here.
func TestParkedOffersDoNotCross(t *testing.T) {
	w := newWorld(t, parking)
	w.announce("A", "H", "p", offers("1", "2"))
	w.expect(w.join("N", "H", 0, 1, held(second)))
	w.expect(w.nodeOffers("N", "H", "z", "z1"), `A: offer H "z1" of z {"sdp":"z1"}`)
	w.expect(w.sweep(2 * second))
	if w.state("H").Parked != 2 {
		t.Fatal(w.state("H"))
	}
	// Another node's peers are other peers, and so is the node's next one.
	w.expect(w.join("M", "H", 0, 1), `M: node offer H "1" of p`)
	w.expect(w.join("N", "H", 0, 2, held(second)))
	w.expect(w.sweep(2*second), `N: node offer H "2" of p`)
}

// What is held back goes after the hold, if nothing has come.
func TestHeldOffersGoInTheEnd(t *testing.T) {
	w := newWorld(t, parking)
	w.announce("A", "H", "p", offers("1", "2", "3"))
	w.expect(w.join("N", "H", 0, 1, held(second)))
	w.expect(w.join("N", "H", 0, 2, held(second)))
	w.expect(w.sweep(second / 2))
	w.expect(w.sweep(second/2), `N: node offer H "1" of p`, `N: node offer H "2" of p`)
	w.expect(w.sweep(second))
	// Neither the node nor the swarm needs to wait until then.
	w.expect(w.join("M", "H", 0, 1, held(second)))
	w.done(w.tb.NodeLeave(w.now, w.c("M"), []byte("H"), nil))
	w.expect(w.join("O", "H", 0, 1, held(second)))
	w.leave("A", "H", "p")
	w.expect(w.sweep(2 * second))
	if n := w.tb.holds.len; n != 0 {
		t.Fatal(n, "holds left")
	}
}

// An offer that a node's peer got of the announce itself counts too.
func TestParkedOffersGoToTheUnmet(t *testing.T) {
	w := newWorld(t, parking)
	w.announce("B", "H", "q")
	w.join("N", "H", 0, 1)
	w.announce("A", "H", "p", offers("1", "2", "3"))
	if w.state("H").Parked != 1 {
		t.Fatal(w.state("H"))
	}
	w.nodeOffers("N", "H", "y", "y1", "y2") // one each for p and q
	w.expect(w.join("N", "H", 0, 2))
	if w.state("H").Parked != 1 {
		t.Fatal("p gets offers of both and makes one to both")
	}
	if w.join("N", "H", 0, 3); w.to(EffectNodeOffer)["N"] != 1 {
		t.Fatal("a third peer is a new one")
	}
}

// A flush asks no more of a node's peers than they can take, and is fair
// among offerers.
func TestFlushIsBounded(t *testing.T) {
	w := newWorld(t, parking)
	for i := range 100 {
		p := fmt.Sprint("p", i)
		w.announce("A"+p, "H", p)
	}
	// Peers who meet one another have little left over: park by hand.
	s, _ := w.tb.of("H")
	for slot := range s.len() {
		w.tb.fate = append(w.tb.fate[:0], fateLeft, fateLeft)
		m := w.tb.member(s, slot)
		p := w.tb.party([]byte("H"), w.tb.text(nil, &m.id, m.has(odd)))
		if _, b := w.tb.park(w.now, s, m, &p, offs("1", "2")); b == nil || len(b.offers) != 2 {
			t.Fatal(b)
		}
	}
	w.join("N", "H", 0, 1)
	if n := w.to(EffectNodeOffer)["N"]; n != 40 {
		t.Fatal(n)
	}
	by := map[string]int{}
	for _, e := range w.raw {
		by[string(e.PeerID)]++
	}
	if len(by) != 40 {
		t.Fatal(by)
	}
	w.done(w.tb.NodeLeave(w.now, w.c("N"), []byte("H"), nil))
	w.join("N", "H", 0, 500)
	if n := w.to(EffectNodeOffer)["N"]; n != 160 {
		t.Fatal(n)
	}
}

// Invariant 8: parking is bounded in the swarm, for an owner, and in bytes.
func TestParkingIsBounded(t *testing.T) {
	full := func(w *world, peer string, ids ...string) {
		t.Helper()
		w.announce("A", peer, peer, offers(ids...))
		if w.oc.Drop != DropParkFull || w.state(peer).Parked != 0 {
			t.Fatal(w.oc, w.state(peer))
		}
	}
	w := newWorld(t, Config{MaxParkedBytes: 1 << 20, MaxParkedSwarm: 2})
	full(w, "p", "1", "2", "3")
	w = newWorld(t, Config{MaxParkedBytes: 1 << 20, MaxParkedOwner: 3})
	w.announce("A", "H", "h", offers("1", "2"))
	full(w, "p", "1", "2")
	w = newWorld(t, Config{MaxParkedBytes: 800}) // 100 for each owner
	w.announce("A", "H", "h", offers("1", "2"))
	full(w, "p", strings.Repeat("x", 30))
	w = newWorld(t, Config{MaxParkedBytes: 100, MaxParkedOwnerBytes: 200}) // no more than there is
	full(w, "p", strings.Repeat("x", 30), strings.Repeat("y", 30))
	w = newWorld(t, Config{})
	w.announce("A", "H", "h", offers("1", "2"))
	if w.state("H").Parked != 0 || w.oc.Drop != DropNone {
		t.Fatal("parking is off", w.oc)
	}
}

// Whoever announces once is served, however much others have parked before:
// when the table or the swarm is full the oldest make way.
func TestParkedOffersOutlastAFlood(t *testing.T) {
	w := newWorld(t, parking)
	fat := func(a *Announce) {
		for i := range a.Offers {
			a.Offers[i].Payload = bytes.Repeat([]byte("x"), 6<<10)
		}
	}
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprint(i))
	}
	for i := range 66 {
		w.announce(fmt.Sprint("F", i), fmt.Sprint("F", i), "f", offers(ids...), fat)
	}
	w.announce("A", "H", "p", offers(ids...), fat)
	if w.oc.Drop != DropNone || w.state("H").Parked != 20 {
		t.Fatal(w.oc, w.state("H"))
	}
	w.announce("F66", "F66", "f", offers(ids...), fat)
	w.expect(w.join("N", "H", 0, 2), `N: node offer H "0" of p`, `N: node offer H "1" of p`)
	if st := w.tb.Stats(); st.Dropped[DropParkEvicted] == 0 || st.Dropped[DropParkFull] != 0 {
		t.Fatal(st)
	}
	if st := w.state("F0"); st.Parked != 0 { // the oldest
		t.Fatal(st)
	}

	// In one swarm, whose members cannot take all that is offered.
	w = newWorld(t, Config{MaxParkedBytes: 1 << 20, MaxParkedSwarm: 40})
	for i := range 8 {
		w.announce(fmt.Sprint("F", i), "H", fmt.Sprint("f", i), offers(ids...))
	}
	w.announce("A", "H", "p", offers(ids[:10]...))
	s, _ := w.tb.of("H")
	if w.oc.Drop != DropNone || w.tb.batchOf(s, w.tb.peer(s, []byte("p"))) == nil {
		t.Fatal(w.oc)
	}
}

// A swarm that has gone leaves nothing behind.
func TestNoTrace(t *testing.T) {
	w := newWorld(t, parking)
	for i := range 200 {
		h, p := fmt.Sprint("H", i%7), fmt.Sprint("p", i)
		w.announce(fmt.Sprint("A", i%50), h, p, offers(fmt.Sprint("x", i), fmt.Sprint("y", i)))
		w.announce("claimant", h, p, offers("z"))
		w.join("N", h, 1, i, prefix("10.0.0.0/24", 0), tagged(p))
		w.nodeOffers("N", h, fmt.Sprint("q", i), fmt.Sprint("o", i))
	}
	for i := range 100 {
		w.announce(fmt.Sprint("A", i%50), fmt.Sprint("H", i%7), fmt.Sprint("p", i), event(wire.EventStopped))
	}
	for i := range 200 {
		w.leave(fmt.Sprint("A", i%50), fmt.Sprint("H", i%7), fmt.Sprint("p", i))
	}
	w.sweep(600 * second) // the rest expires, the claimant's too
	tb := w.tb
	if n := int(tb.swarms.rows+tb.exts.rows) + tb.index.n + tb.texts.len() + tb.ledger.len() + tb.batches.len + len(tb.parkedBy) + tb.claims.len; n != 0 {
		t.Fatal(n, tb.Stats())
	}
	if st := tb.Stats(); st.Members+st.Complete+st.Nodes+st.ClaimBytes+st.Parked+st.ParkedBytes != 0 {
		t.Fatal(st)
	}
	// Nor are the slices holding on to it.
	if tb.swarms.chunks != nil || tb.exts.chunks != nil || tb.index.dir != nil {
		t.Fatal("memory of swarms is kept")
	}
	for c := range tb.rows {
		if tb.rows[c].chunks != nil || tb.backs[c].chunks != nil {
			t.Fatal("memory of members is kept")
		}
	}
	for _, s := range tb.seats[:cap(tb.seats)] {
		if s.node != nil {
			t.Fatal("the seats keep a node")
		}
	}
}
