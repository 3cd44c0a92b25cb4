package swarm

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// One source cannot slander: it comes again and again with offers that nobody can
// answer, in the name of ever new peers, over ever new connections of its prefix. Many
// can, and the node that answers nobody is unproven by them.
func TestOneSourceCannotSlander(t *testing.T) {
	for _, one := range []bool{true, false} {
		w := crowd(t, 1)
		w.join("N", "H", 0, 500)
		w.meet("N", "H", 3)
		for i := range 60 {
			name := fmt.Sprint("slanderer", i)
			if c := w.c(name); one {
				c.source = 77
			}
			w.announce(name, "H", name, offers(fmt.Sprint(name, "a"), fmt.Sprint(name, "b"), fmt.Sprint(name, "c")))
			w.leave(name, "H", name)
		}
		if nd := w.node("N", "H"); nd.trust.Proven != one {
			t.Errorf("one source %v: %+v, credit %d, %+v owed", one, nd.trust, nd.credit, w.records["N"].owed)
		}
	}
}

// Nor vouch for more than a few peers of a node: with offers that it answers, or
// answers to those of its peers.
func TestOneSourceVouchesForAFew(t *testing.T) {
	for _, c := range []struct {
		one  bool
		most int
	}{{true, exploring + 2*sourceProof*perDeed}, {false, 1 << 20}} {
		w := newWorld(t, Config{})
		w.join("N", "H", 0, 500)
		friends := 0
		for i := range 40 {
			name := fmt.Sprint("friend", i)
			if conn := w.c(name); c.one {
				conn.source = 77
			}
			w.announce(name, "H", name)
			w.join("N", "H", 0, 500)
			w.nodeOffers("N", "H", fmt.Sprint("far", i), fmt.Sprint("f", i))
			for _, e := range w.raw {
				if e.Kind == EffectOffer {
					w.answer(e.To.name, "H", e.To.name, fmt.Sprint("far", i), fmt.Sprint("f", i))
				}
			}
			w.announce(name, "H", name, offers(name+"a", name+"b"))
			for _, e := range w.raw {
				if e.Kind == EffectNodeOffer {
					friends++
					w.nodeAnswer("N", "H", fmt.Sprint("near", friends), name, strings.Trim(string(e.Offer.ID), `"`))
				}
			}
		}
		got := w.node("N", "H").trust.Receivers
		if friends < 2*sourceProof || got > c.most || !c.one && got <= exploring+2*sourceProof*perDeed {
			t.Errorf("one source %v: %d receivers after %d answers", c.one, got, friends)
		}
	}
}

// What did not count is not excused either, or a node with a friend here would be
// owed less than nothing.
func TestOnlyWhatCountedIsExcused(t *testing.T) {
	w := crowd(t, 1)
	w.join("N", "H", 0, 500)
	w.meet("N", "H", 3)
	for range 40 {
		w.records["N"].Note(w.now, DeedOwed, 0, w.tb.rng.Uint64())
		w.records["N"].Note(w.now, DeedAnswered, w.tb.rng.Uint64(), w.tb.rng.Uint64())
	}
	got := 0
	var owed []float64
	for _, c := range []struct {
		name string
		why  RefuseReason
	}{{"friend", RefuseNoPeer}, {"again", RefuseLocalPeer}} {
		for i := range 30 {
			name := fmt.Sprint(c.name, i)
			w.c(name).source = 77
			w.announce(name, "H", name, offers(name+"a", name+"b"))
			todo := w.raw
			for _, e := range todo {
				if e.Kind == EffectNodeOffer {
					got++
					w.nodeRefused("N", "H", name, strings.Trim(string(e.Offer.ID), `"`), c.why)
				}
			}
		}
		owed = append(owed, w.records["N"].owed)
	}
	if got < 3*sourceOwed || owed[0] < 50 || owed[1] != owed[0] {
		t.Fatalf("%d offers, owed %v", got, owed)
	}
}

// Where very many clients come, what the last ones say counts as what the first did.
func TestManySourcesGoOnCounting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r Record
	for range 10_000 {
		for _, d := range []Deed{DeedOwed, DeedAnswered, DeedMet} {
			r.Note(0, d, rng.Uint64(), rng.Uint64())
		}
	}
	if !r.Trust(0).Proven {
		t.Fatalf("%+v", r.Trust(0))
	}
	for range 8 * window {
		r.Note(0, DeedOwed, 0, rng.Uint64())
	}
	if r.Trust(0).Proven {
		t.Fatal("who answers nobody any more is proven")
	}
}

// Of each source no more counts than its bound, whatever others do, and what others
// do counts, where it falls into another bucket; as in a model without buckets.
func TestSources(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s sources
		naive := map[uint64]map[Deed]int{}
		now := time.Duration(0)
		list := []uint64{1, 2, 3}
		for range rapid.IntRange(150, 300).Draw(t, "deeds") {
			if rapid.IntRange(0, 100).Draw(t, "late") == 77 {
				now += memory
				for _, m := range naive {
					for d := range m {
						m[d] /= 2
					}
				}
			}
			if rapid.IntRange(0, 100).Draw(t, "halve") == 77 {
				s.halve()
				for _, m := range naive {
					m[DeedOwed] /= 2
					m[DeedAnswered] /= 2
				}
			}
			who := rapid.SampledFrom(list).Draw(t, "source")
			d := rapid.SampledFrom([]Deed{DeedOwed, DeedOwed, DeedOwed, DeedExcused, DeedAnswered, DeedMet}).Draw(t, "deed")
			m := naive[who]
			if m == nil {
				m = map[Deed]int{}
				naive[who] = m
			}
			want := true
			switch most := map[Deed]int{DeedOwed: 16, DeedAnswered: 8, DeedMet: 8}[d]; {
			case d == DeedExcused:
				m[DeedOwed] = max(0, m[DeedOwed]-1)
			case m[d] < most:
				m[d]++
			default:
				want = false
			}
			if got := s.count(now, d, who); got != want {
				t.Fatalf("deed %d of %d counts: %v", d, who, got)
			}
		}
	})
}
