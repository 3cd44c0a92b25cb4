package swarm

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// announced makes an announce of a local peer with so many offers, and lets the nodes
// give back what they got, one after the other. It returns how many offers each
// connection got in all.
func (w *world) announced(peer string, n int, refuse ...string) map[string]int {
	w.t.Helper()
	w.serial++
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprint("r", w.serial, ".", i))
	}
	w.announce("A"+peer, "H", "p"+peer, offers(ids...))
	got := map[string]int{}
	todo := w.raw
	for len(todo) > 0 {
		e := todo[0]
		todo = todo[1:]
		if e.Kind == EffectReply {
			continue
		}
		got[e.To.name]++
		for _, node := range refuse {
			if e.Kind == EffectNodeOffer && e.To.name == node {
				w.nodeRefused(node, "H", "p"+peer, strings.Trim(string(e.Offer.ID), `"`), RefuseNoPeer)
				todo = append(todo, w.raw...)
			}
		}
	}
	return got
}

// The offers of one announce go to distinct peers, those as well that a node gave
// back: what finds no other remains.
func TestRedrawsGoToDistinctPeers(t *testing.T) {
	for _, locals := range []int{2, 4, 6, 12} {
		w := crowd(t, locals)
		w.join("N", "H", 0, 40)
		w.prove("N", "H")
		most, placed := 0, 0
		for i := range 200 {
			for who, n := range w.announced(fmt.Sprint(i%locals), 5, "N") {
				if who != "N" {
					most = max(most, n)
					placed += n
				}
			}
		}
		if most != 1 {
			t.Errorf("%d local peers: one got %d offers of an announce", locals, most)
		}
		if want := 200 * min(5, locals-1); placed < want*9/10 || placed > want {
			t.Errorf("%d local peers: %d offers went to them, want %d", locals, placed, want)
		}
	}
}

// Nor does another node get more than it has peers who got none.
func TestRedrawsCountWhatNodesGot(t *testing.T) {
	w := crowd(t, 1)
	w.join("N", "H", 0, 40)
	w.join("M", "H", 0, 2)
	w.prove("N", "H")
	got := 0
	for range 100 {
		drew := w.announced("0", 6, "N")
		got += drew["M"]
		if drew["M"] > 2 {
			t.Fatalf("a node of two peers got %d offers of an announce", drew["M"])
		}
		w.now += second
		w.c("A0")
	}
	if got < 150 {
		t.Errorf("it got %d, want two of nearly every announce", got)
	}
}

// Parked offers had found nobody here: those that come back go to other nodes only,
// and so do those of which it is forgotten who got the others.
func TestRedrawsOfUnknownAnnouncesGoToNodes(t *testing.T) {
	w := newWorld(t, Config{MaxParkedBytes: 1 << 20})
	w.announce("A0", "H", "p0")
	w.announce("A1", "H", "p1", offers("1", "2", "3"))
	if w.to(EffectOffer)["A0"] != 1 {
		t.Fatal("the other peer here got none")
	}
	w.join("N", "H", 0, 5)
	if w.to(EffectNodeOffer)["N"] != 2 {
		t.Fatal("parked offers did not go to the node")
	}
	for _, e := range w.raw {
		id := strings.Trim(string(e.Offer.ID), `"`)
		w.nodeRefused("N", "H", "p1", id, RefuseNoPeer)
		if len(w.raw) != 0 || w.oc.Drop != DropRedrawn {
			t.Fatalf("%v, drop %d", w.raw, w.oc.Drop)
		}
	}
	w = crowd(t, 4)
	w.join("N", "H", 0, 5)
	var of []effect
	for len(of) == 0 {
		w.announce("A0", "H", "p0", offers("1", "2"))
		for _, e := range w.raw {
			if e.Kind == EffectNodeOffer {
				of = append(of, e)
			}
		}
	}
	w.tb.drawn.next += drawnLen
	w.nodeRefused("N", "H", "p0", strings.Trim(string(of[0].Offer.ID), `"`), RefuseNoPeer)
	if len(w.raw) != 0 || w.oc.Drop != DropRedrawn {
		t.Fatalf("%v, drop %d", w.raw, w.oc.Drop)
	}
}

// The ring is a map from where announces begin to their marks, as far as it is not
// yet overwritten; also when places wrap.
func TestDrawnRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d drawn
		d.begin(1)
		if rapid.Bool().Draw(t, "wraps") {
			d.next = -uint32(rapid.IntRange(1, 300).Draw(t, "before"))
		}
		naive := map[uint32][]uint32{}
		var order []uint32
		for range rapid.IntRange(1, 2000).Draw(t, "announces") {
			n := 1 + len(order)*7%20
			at := d.begin(n)
			if at == 0 || len(d.of(at)) != n || count(d.of(at), 0) != n {
				t.Fatalf("at %d: %v", at, d.of(at))
			}
			order = append(order, at)
			marks := make([]uint32, n)
			for i := range marks {
				marks[i] = uint32(len(order)*100 + i + 1)
				change(d.of(at), 0, marks[i])
			}
			naive[at] = marks
		}
		known := 0
		for i, at := range order {
			got := d.of(at)
			if got != nil && !slices.Equal(got, naive[at]) {
				t.Fatalf("at %d: %v, want %v", at, got, naive[at])
			}
			if got != nil {
				known++
			}
			if got == nil && i > len(order)-drawnLen/22 {
				t.Fatalf("announce %d of %d is forgotten", i, len(order))
			}
		}
		if d.of(0) != nil {
			t.Fatal("nowhere is somewhere")
		}
	})
}

// A redraw is in proportion to who got none yet, here and at nodes.
func TestRedrawsAreFair(t *testing.T) {
	const locals, far = 6, 8
	w := crowd(t, 1+locals)
	w.now = 100 * day
	w.join("N", "H", 0, 100, w.known(day))
	for i := range far {
		w.join(fmt.Sprint("M", i), "H", 0, 1, w.known(day))
	}
	want, here, all := 0., 0, 0
	for i := range 1500 {
		w.announce("A0", "H", "p0", offers(fmt.Sprint(i, "a"), fmt.Sprint(i, "b"), fmt.Sprint(i, "c"), fmt.Sprint(i, "d"), fmt.Sprint(i, "e"), fmt.Sprint(i, "f")))
		left, there, back := locals, far, ""
		for _, e := range w.raw {
			switch {
			case e.Kind == EffectOffer:
				left--
			case e.Kind == EffectNodeOffer && e.To.name == "N":
				back = strings.Trim(string(e.Offer.ID), `"`)
			case e.Kind == EffectNodeOffer:
				there--
			}
		}
		w.now += second
		for c := range w.by {
			w.c(c)
		}
		if back == "" {
			continue
		}
		w.nodeRefused("N", "H", "p0", back, RefuseNoPeer)
		want += float64(left) / float64(left+there)
		all++
		here += w.to(EffectOffer)["A0"]
		for i := range locals {
			here += w.to(EffectOffer)[fmt.Sprint("A", i+1)]
		}
	}
	if d := math.Abs(float64(here) - want); d > 4*math.Sqrt(float64(all))/2 {
		t.Errorf("%d of %d redraws stayed here, want %.0f", here, all, want)
	}
}

// Of those who got an offer of the announce some may have left since: whoever came
// gets what comes back, and another node does if nobody is left here.
func TestRedrawsAfterSomeLeft(t *testing.T) {
	seen := 0
	for i := range 60 {
		for _, comes := range []bool{true, false} {
			w := crowd(t, 3)
			w.join("N", "H", 0, 30)
			w.prove("N", "H")
			for k := range i { // other chances
				w.announce("A2", "H", "p2", offers(fmt.Sprint("x", k)))
			}
			w.announce("A0", "H", "p0", offers("1", "2", "3", "4", "5", "6", "7", "8"))
			if len(w.to(EffectOffer)) < 2 {
				continue // p1 and p2 have one each, and N the rest
			}
			seen++
			back := w.raw
			w.leave("A1", "H", "p1")
			if comes {
				w.announce("A3", "H", "p3")
			} else {
				w.join("M", "H", 0, 2, w.known(0))
				w.node("M", "H").balance = 5 // no share is what holds it back
			}
			for _, e := range back {
				if e.Kind == EffectNodeOffer {
					w.nodeRefused("N", "H", "p0", strings.Trim(string(e.Offer.ID), `"`), RefuseNoPeer)
					break
				}
			}
			if to := "A3"; comes && w.to(EffectOffer)[to] != 1 || !comes && w.to(EffectNodeOffer)["M"] != 1 {
				t.Fatalf("run %d, somebody came %v: %v", i, comes, w.raw)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d runs were what is tested", seen)
	}
}
