package swarm

import (
	"fmt"
	"testing"

	"github.com/draeder/peerservers/tracker/wire"
)

// The cases are those of the project's protocol notes, section 4, as far as
// they concern the state machine.
var cases = []struct {
	name string
	run  func(w *world)
}{
	{"7 alone in the swarm", func(w *world) {
		w.expect(w.announce("A", "H", "p", event(wire.EventStarted), numwant(5), offers("1", "2", "3", "4", "5")), "A: reply H 0/1")
	}},
	{"8 every event that is none joins", func(w *world) {
		w.expect(w.announce("A", "H", "p"), "A: reply H 0/1")
		w.counts("H", 0, 1, 0)
	}},
	{"9 roles", func(w *world) {
		w.expect(w.announce("A", "H", "p", left(wire.LeftZero)), "A: reply H 1/0")
		w.expect(w.announce("B", "H", "q"), "B: reply H 1/1")
		w.expect(w.announce("B", "H", "q", event(wire.EventCompleted)), "B: reply H 2/0")
		w.expect(w.announce("B", "H", "q"), "B: reply H 2/0")
		w.expect(w.announce("B", "H", "q", left(wire.LeftMore)), "B: reply H 1/1")
		w.expect(w.announce("A", "H", "p", left(wire.LeftUnknown)), "A: reply H 1/1")
	}},
	{"10 one offer, one peer", func(w *world) {
		w.announce("B", "H", "q")
		w.expect(w.announce("A", "H", "p", offers("1")), "A: reply H 0/2", `B: offer H "1" of p {"sdp":"1"}`)
	}},
	{"11 three offers, two peers", func(w *world) {
		w.announce("B", "H", "q")
		w.announce("C", "H", "r")
		w.announce("A", "H", "p", offers("1", "2", "3"))
		if got := w.to(EffectOffer); got["B"] != 1 || got["C"] != 1 || len(w.raw) != 3 {
			w.t.Fatal(got)
		}
	}},
	{"11 two offers, fifty peers", func(w *world) {
		for i := range 50 {
			w.announce(fmt.Sprint("B", i), "H", fmt.Sprint("q", i))
		}
		met := map[string]int{}
		for range 100 {
			w.announce("A", "H", "p", offers("1", "2"))
			got := w.to(EffectOffer)
			if len(got) != 2 {
				w.t.Fatal(got)
			}
			for k := range got {
				met[k]++
			}
		}
		for i := range 50 { // spread evenly: 200 offers are 4 for each
			if n := met[fmt.Sprint("B", i)]; n < 3 || n > 5 {
				w.t.Fatalf("a peer got %d of 200 offers, %v", n, met)
			}
		}
	}},
	{"12 numwant and the cap", func(w *world) {
		for i := range 30 {
			w.announce(fmt.Sprint("B", i), "H", fmt.Sprint("q", i))
		}
		var many []string
		for i := range 100 {
			many = append(many, fmt.Sprint(i))
		}
		for _, c := range []struct{ want, offers, get int }{{1, 3, 1}, {-1, 3, 3}, {50, 0, 0}, {0, 3, 0}, {-1, 100, 20}, {50, 100, 20}} {
			w.announce("A", "H", "p", numwant(c.want), offers(many[:c.offers]...))
			if n := len(w.raw) - 1; n != c.get || w.oc.Offers != n {
				w.t.Fatalf("numwant %d, %d offers: %d sent", c.want, c.offers, n)
			}
		}
	}},
	{"18 the same offer id again", func(w *world) {
		w.announce("B", "H", "q")
		w.announce("A", "H", "p", offers("1"))
		w.announce("A", "H", "p", offers("1"))
		re := `A: answer H "1" by q {"sdp":"re 1"}`
		w.expect(w.answer("B", "H", "q", "p", "1"), re)
		w.expect(w.answer("B", "H", "q", "p", "1"), re) // it was offered twice
		w.expect(w.answer("B", "H", "q", "p", "1"))
	}},
	{"20 two hashes and peers on one socket", func(w *world) {
		w.announce("A", "H", "p1")
		w.announce("A", "H2", "p2")
		w.counts("H", 0, 1, 0)
		w.counts("H2", 0, 1, 0)
		w.leave("A", "H", "p1")
		w.leave("A", "H2", "p2")
		w.counts("H", 0, 0, 0)
		w.counts("H2", 0, 0, 0)
	}},
	{"21 two peers of one swarm on one socket", func(w *world) {
		w.announce("A", "H", "p1")
		w.expect(w.announce("A", "H", "p2", offers("1")), "A: reply H 0/2", `A: offer H "1" of p2 {"sdp":"1"}`)
		w.expect(w.answer("A", "H", "p2", "p2", "1")) // nobody answers himself
		w.expect(w.answer("A", "H", "p1", "p2", "1"), `A: answer H "1" by p1 {"sdp":"re 1"}`)
		// Another socket is preferred.
		w.announce("B", "H", "q")
		for range 20 {
			w.expect(w.announce("A", "H", "p2", offers("2")), "A: reply H 0/3", `B: offer H "2" of p2 {"sdp":"2"}`)
		}
	}},
	{"22 one peer in two swarms", func(w *world) {
		w.expect(w.announce("A", "H", "p"), "A: reply H 0/1")
		w.expect(w.announce("A", "H2", "p"), "A: reply H2 0/1")
		w.expect(w.announce("A", "H", "p", event(wire.EventStopped)), "A: reply H 0/0")
		w.counts("H2", 0, 1, 0)
	}},
	{"23 reconnect over a half-open socket", func(w *world) {
		w.announce("A", "H", "p", left(wire.LeftZero))
		w.announce("B", "H", "q")
		w.now += 10 * second
		w.expect(w.announce("A2", "H", "p", offers("1")), "A2: reply H 1/1", "A: ping")
		if w.oc.Standing != StandingClaimant || !w.tb.Owns(w.by["A2"], []byte("H"), []byte("p")) {
			w.t.Fatal(w.oc)
		}
		w.expect(w.sweep(3 * second))
		w.expect(w.sweep(second), `B: offer H "1" of p {"sdp":"1"}`, "touch H")
		w.c("B")
		w.expect(w.announce("B", "H", "q", offers("2")), "B: reply H 1/1", `A2: offer H "2" of q {"sdp":"2"}`)
		w.expect(w.leave("A", "H", "p"))
		w.counts("H", 1, 1, 0)
	}},
	{"23 reconnect after long silence", func(w *world) {
		w.announce("A", "H", "p")
		w.now += 31 * second
		w.expect(w.announce("A2", "H", "p"), "A2: reply H 0/1")
		w.announce("B", "H", "q")
		w.expect(w.announce("B", "H", "q", offers("1")), "B: reply H 0/2", `A2: offer H "1" of q {"sdp":"1"}`)
	}},
	{"23 the old socket closes meanwhile", func(w *world) {
		w.announce("A", "H", "p")
		w.announce("B", "H", "q")
		w.expect(w.announce("A2", "H", "p", offers("1")), "A2: reply H 0/2", "A: ping")
		w.expect(w.leave("A", "H", "p"), `B: offer H "1" of p {"sdp":"1"}`)
		if !w.oc.Touched || w.oc.Standing != StandingNone {
			w.t.Fatal(w.oc)
		}
		w.counts("H", 0, 2, 0)
	}},
	{"23 claiming again does not put off the verdict", func(w *world) {
		w.announce("A", "H", "p")
		w.announce("A2", "H", "p", offers("1"))
		w.now += 3 * second
		w.expect(w.announce("A2", "H", "p", offers("2")), "A2: reply H 0/1")
		w.expect(w.sweep(second), "touch H")
		w.announce("B", "H", "q", offers("3"))
		w.expect(w.answer("A2", "H", "p", "q", "3"), `B: answer H "3" by p {"sdp":"re 3"}`)
	}},
	{"24 hijack", func(w *world) {
		w.announce("A", "H", "p", left(wire.LeftZero))
		w.announce("B", "H", "q")
		w.expect(w.announce("X", "H", "p", left(wire.LeftMore), offers("1")), "X: reply H 1/1", "A: ping")
		w.now += second
		w.c("A") // the pong
		w.expect(w.sweep(10 * second))
		if w.tb.Owns(w.by["X"], []byte("H"), []byte("p")) {
			w.t.Fatal("the claim outlived its refusal")
		}
		w.expect(w.announce("B", "H", "q", offers("2")), "B: reply H 1/1", `A: offer H "2" of q {"sdp":"2"}`)
		w.expect(w.answer("X", "H", "p", "q", "2"))
		w.expect(w.announce("X", "H", "p", event(wire.EventStopped)), "X: reply H 1/1")
		w.expect(w.leave("X", "H", "p"))
		w.counts("H", 1, 1, 0)
		w.expect(w.answer("A", "H", "p", "q", "2"), `B: answer H "2" by p {"sdp":"re 2"}`)
	}},
	{"24 hijack, with a pong in the same tick of the clock", func(w *world) {
		w.announce("A", "H", "p")
		w.now += 10 * second
		w.expect(w.announce("X", "H", "p"), "X: reply H 0/1", "A: ping")
		w.c("A") // the pong
		w.expect(w.announce("X", "H", "p"), "X: reply H 0/1")
		w.expect(w.sweep(10 * second))
		if w.tb.Owns(w.by["X"], []byte("H"), []byte("p")) {
			w.t.Fatal("the owner has lost its peer")
		}
	}},
	{"24 the claimant gives up", func(w *world) {
		w.announce("A", "H", "p")
		w.announce("X", "H", "p")
		w.expect(w.announce("X", "H", "p", event(wire.EventStopped)), "X: reply H 0/1")
		w.announce("Y", "H", "p")
		w.expect(w.leave("Y", "H", "p"))
		w.expect(w.sweep(10 * second))
		w.expect(w.leave("A", "H", "p"))
		w.counts("H", 0, 0, 0)
	}},
	{"25 the TTL, and its refreshing", func(w *world) {
		w.announce("A", "H", "p")
		w.announce("B", "H", "q")
		w.expect(w.sweep(200 * second))
		w.announce("A", "H", "p")
		w.expect(w.sweep(100*second), "touch H")
		w.counts("H", 0, 1, 0)
		w.expect(w.announce("B", "H", "q"), "B: reply H 0/2")
	}},
	{"25 an answer refreshes", func(w *world) {
		w.announce("A", "H", "p")
		w.sweep(200 * second)
		w.announce("B", "H", "q", offers("1"))
		w.answer("A", "H", "p", "q", "1")
		w.expect(w.sweep(100 * second))
	}},
	{"26 one announce, then only pings", func(w *world) {
		w.announce("A", "H", "p", offers("1"))
		for range 30 {
			w.expect(w.sweep(60 * second))
			w.c("A").ping = w.now
		}
		w.expect(w.announce("B", "H", "q", offers("2")), "B: reply H 0/2", `A: offer H "2" of q {"sdp":"2"}`)
	}},
	{"28 stopped", func(w *world) {
		w.announce("A", "H", "p")
		w.announce("B", "H", "q")
		w.expect(w.announce("A", "H", "p", event(wire.EventStopped), offers("1")), "A: reply H 0/1")
		w.counts("H", 0, 1, 0)
		w.expect(w.announce("B", "H", "q", event(wire.EventStopped)), "B: reply H 0/0")
		if w.tb.swarms.rows != 0 {
			w.t.Fatal("the swarm is still there")
		}
	}},
	{"29 stopped without start", func(w *world) {
		w.expect(w.announce("A", "H", "p", event(wire.EventStopped)), "A: reply H 0/0")
		w.expect(w.announce("A", "H", "p", event(wire.EventStopped)), "A: reply H 0/0")
		if w.tb.swarms.rows != 0 {
			w.t.Fatal("a swarm was made")
		}
	}},
	{"30 started twice, completed twice", func(w *world) {
		w.announce("A", "H", "p", event(wire.EventStarted))
		w.expect(w.announce("A", "H", "p", event(wire.EventStarted)), "A: reply H 0/1")
		w.announce("A", "H", "p", event(wire.EventCompleted))
		w.expect(w.announce("A", "H", "p", event(wire.EventCompleted)), "A: reply H 1/0")
		w.counts("H", 1, 0, 1)
		w.announce("B", "H", "q", event(wire.EventCompleted))
		w.counts("H", 2, 0, 2)
	}},
	{"32 an answer", func(w *world) {
		w.announce("B", "H", "q")
		w.announce("A", "H", "p", offers("1"))
		w.expect(w.answer("B", "H", "q", "p", "1"), `A: answer H "1" by q {"sdp":"re 1"}`)
		w.expect(w.answer("B", "H", "q", "p", "1")) // once
	}},
	{"33 the offerer has left, or never was", func(w *world) {
		w.announce("B", "H", "q")
		w.announce("A", "H", "p", offers("1"))
		w.leave("A", "H", "p")
		w.expect(w.answer("B", "H", "q", "p", "1"))
		w.expect(w.answer("B", "H", "q", "unknown", "1"))
		w.expect(w.answer("B", "H", "q", "", "1"))
	}},
	{"34 no such offer", func(w *world) {
		w.announce("B", "H", "q")
		w.announce("A", "H", "p", offers("1"))
		w.announce("A", "G", "p", offers("2"))
		w.announce("B", "G", "q")
		w.announce("C", "H", "r") // was offered nothing
		w.expect(w.answer("B", "H", "q", "p", "2"))
		w.expect(w.answer("B", "G", "q", "p", "1"))
		w.expect(w.answer("B", "H", "q", "r", "1")) // it was p's
		w.expect(w.answer("C", "H", "r", "p", "1"))
		w.expect(w.answer("B", "H3", "q", "p", "1"))
		w.expect(w.answer("B", "H", "q", "p", "1"), `A: answer H "1" by q {"sdp":"re 1"}`)
	}},
	{"35 the answer window", func(w *world) {
		w.announce("B", "H", "q")
		w.announce("A", "H", "p", offers("1"))
		w.sweep(50 * second)
		w.announce("A", "H", "p", offers("2"))
		w.sweep(50 * second)
		w.expect(w.answer("B", "H", "q", "p", "1"), `A: answer H "1" by q {"sdp":"re 1"}`)
		w.sweep(99 * second)
		w.announce("A", "H", "p", offers("3"))
		w.sweep(second)
		w.expect(w.answer("B", "H", "q", "p", "2"))
		w.expect(w.answer("B", "H", "q", "p", "3"), `A: answer H "3" by q {"sdp":"re 3"}`)
	}},
	{"36 the answerer is somebody else", func(w *world) {
		w.announce("B", "H", "q")
		w.announce("A", "H", "p", offers("1"))
		w.announce("C", "H", "r")
		w.expect(w.answer("B", "H", "r", "p", "1"))
		w.expect(w.answer("B", "H", "p", "p", "1"))
		w.expect(w.answer("B", "H", "nobody", "p", "1"))
		w.expect(w.answer("B", "H", "q", "p", "1"), `A: answer H "1" by q {"sdp":"re 1"}`)
	}},
	{"38 the offerer reconnects in between", func(w *world) {
		w.announce("B", "H", "q")
		w.announce("A", "H", "p", offers("1"))
		w.leave("A", "H", "p")
		w.announce("A2", "H", "p")
		w.expect(w.answer("B", "H", "q", "p", "1"), `A2: answer H "1" by q {"sdp":"re 1"}`)
	}},
}

func TestConformance(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(newWorld(t, Config{MaxParkedBytes: 1 << 20})) })
	}
}
