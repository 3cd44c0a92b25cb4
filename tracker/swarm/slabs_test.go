package swarm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A slab is a list that grows and shrinks at its end, whatever the width of
// its rows, and holds little more than that.
func TestSlab(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 64).Draw(t, "width")
		s := newSlab[uint32](width, rapid.SampledFrom([]int{4, 28, 48, 500}).Draw(t, "size"))
		if s.shift > 14 {
			t.Fatalf("1<<%d rows in a chunk", s.shift)
		}
		var want []uint32
		check := func(i uint32) {
			row := s.row(i)
			if len(row) != width || row[0] != want[i] || row[width-1] != want[i] || width == 1 && *s.at(i) != want[i] {
				t.Fatalf("row %d is %v, want %d", i, row, want[i])
			}
		}
		serial := uint32(0)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			n := rapid.IntRange(0, 3000/width).Draw(t, "n")
			if rapid.Bool().Draw(t, "grow") {
				for range n {
					serial++
					if at := s.push(); at != uint32(len(want)) {
						t.Fatal("pushed to ", at)
					}
					for i := range s.row(s.rows - 1) {
						s.row(s.rows - 1)[i] = serial
					}
					want = append(want, serial)
				}
			} else {
				for range min(n, len(want)) {
					s.pop()
					want = want[:len(want)-1]
				}
			}
			held := 0
			for _, c := range s.chunks {
				held += len(c) / width
			}
			if int(s.rows) != len(want) || held > 4*len(want) && held > 4 || held > len(want)+1<<s.shift {
				t.Fatalf("%d rows, want %d, %d held", s.rows, len(want), held)
			}
			for i := range want {
				check(uint32(i))
			}
		}
	})
}

// An index is a map of hashes to places, however badly hashes spread.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mask := rapid.SampledFrom([]uint32{^uint32(0), 0xff000000, 0x0000ffff, 0x80000001, 0xfffff, 0}).Draw(t, "mask")
		most := 3000
		if mask != ^uint32(0) {
			most = 500
		}
		var x index
		hashes := map[uint32]uint32{} // of places
		hash := func(place uint32) uint32 { return hashes[place] }
		var places []uint32
		serial := rapid.Uint32().Draw(t, "seed")
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			n := rapid.IntRange(0, most).Draw(t, "n")
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0, 1:
				for range min(n, most-len(places)) {
					serial = serial*1664525 + 1013904223
					place := serial >> 4
					if _, ok := hashes[place]; !ok {
						h := (serial ^ serial>>15) * 2246822519 & mask
						hashes[place] = h
						x.insert(h, place, hash)
						places = append(places, place)
					}
				}
			default:
				for range min(n, len(places)) {
					serial = serial*1664525 + 1013904223
					i := int(serial>>8) % len(places)
					x.remove(hash(places[i]), places[i])
					delete(hashes, places[i])
					places[i] = places[len(places)-1]
					places = places[:len(places)-1]
				}
			}
			if len(places) > 1 { // as the places of two that change theirs
				a, b := places[0], places[1]
				x.swap(hash(a), a, hash(b), b)
				hashes[a], hashes[b] = hashes[b], hashes[a]
			}
			if x.n != len(places) {
				t.Fatalf("%d places, want %d", x.n, len(places))
			}
			if err := x.check(hash); err != nil {
				t.Fatal(err)
			}
			seen := map[*segment]bool{}
			slots := 0
			for _, g := range x.dir {
				if !seen[g] {
					seen[g] = true
					slots += len(g.slots)
				}
			}
			if mask == ^uint32(0) && slots > 3*len(places)+2*segmentSizes[0] {
				t.Fatalf("%d slots for %d places", slots, len(places))
			}
		}
		for _, place := range places {
			found := false
			for p := x.probe(hash(place)); p.next(); {
				found = found || p.place == place
			}
			if !found {
				t.Fatalf("place %d is not found", place)
			}
		}
	})
}

// name is an id of any kind: BitTorrent's own, and what else gets through.
func name(t *rapid.T, label string) []byte {
	n := rapid.IntRange(0, 60).Draw(t, label)
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return fmt.Appendf(nil, "-WW0208-%012d", n)
	case 1: // 20 bytes, any of them
		var b []byte
		for i := range 20 {
			b = fmt.Append(b, string(rune((n*7+i*37)%256)))
		}
		return b
	case 2: // 20 bytes of UTF-8, but not of 20 code points
		return fmt.Appendf(nil, "%018d\u00e4", n)
	case 3: // not of one byte each
		return fmt.Appendf(nil, "%019d\u4e16", n)
	}
	return []byte(strings.Repeat("x", n*n/12)) // of any length
}

// A table's slabs and indexes are a map of maps, whatever the names and
// however they collide.
func TestMembersAreAMap(t *testing.T) {
	type key struct{ hash, peer string }
	rapid.Check(t, func(t *rapid.T) {
		tb := newTable(Config{MaxPerOwnerSwarm: 1 << 20}, [32]byte{byte(rapid.IntRange(0, 255).Draw(t, "seed"))})
		tb.hash.mask = rapid.SampledFrom([]uint32{^uint32(0), 0xc0000000, 7, 0}).Draw(t, "mask")
		want := map[key]*conn{}
		count := map[string]int{}
		conns := []*conn{{name: "a"}, {name: "b"}, {name: "c"}}
		now := 1000 * time.Second
		const few, many = 5, 400
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			hash := name(t, "hash")
			n := rapid.IntRange(1, rapid.SampledFrom([]int{few, many}).Draw(t, "most")).Draw(t, "n")
			leave := rapid.Bool().Draw(t, "leave")
			for i := range n {
				peer := name(t, "peer")
				if n > few { // without drawing each
					peer = fmt.Appendf(nil, "%0*d", 19+i%3, i)
				}
				k := key{string(hash), string(peer)}
				c := conns[i%3]
				if leave {
					_, oc := tb.Leave(now, c, hash, peer, nil)
					if want[k] == c {
						if !oc.Touched {
							t.Fatalf("%q did not leave", k)
						}
						delete(want, k)
						count[k.hash]--
					}
					continue
				}
				if want[k] != nil {
					c = want[k]
				}
				c.seen = now
				if _, oc := tb.Announce(now, c, &Announce{InfoHash: hash, PeerID: peer}, nil); oc.Standing != StandingMember {
					t.Fatalf("%q did not join: %v", k, oc)
				}
				if want[k] == nil {
					count[k.hash]++
				}
				want[k] = c
			}
			if err := tb.Check(); err != nil {
				t.Fatal(err)
			}
		}
		if n := tb.Stats().Members; n != len(want) {
			t.Fatalf("%d members, want %d", n, len(want))
		}
		for k, c := range want {
			if !tb.Owns(c, []byte(k.hash), []byte(k.peer)) || tb.Owns(&conn{}, []byte(k.hash), []byte(k.peer)) {
				t.Fatalf("%q is not as it was", k)
			}
		}
		tb.Swarms(func(infoHash []byte, st State) bool {
			if n := count[string(infoHash)]; n == 0 || st.LocalIncomplete != n {
				t.Fatalf("swarm %q has %d members, want %d", infoHash, st.LocalIncomplete, n)
			}
			delete(count, string(infoHash))
			return true
		})
		for h, n := range count {
			if n != 0 {
				t.Fatalf("swarm %q with %d members is missing", h, n)
			}
		}
		for k, c := range want { // nothing is left of it in the end
			tb.Leave(now, c, []byte(k.hash), []byte(k.peer), nil)
		}
		if tb.swarms.chunks != nil || tb.texts.len() != 0 || tb.Check() != nil {
			t.Fatal("something is left", tb.Check())
		}
	})
}

// Packing ids loses nothing and confuses nothing, UTF-8 or not.
func TestPackedIDs(t *testing.T) {
	tb := New(Config{}, new(table), [32]byte{})
	seen := map[id]string{}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 45),
			rapid.Custom(func(t *rapid.T) []byte { return []byte(string(rapid.SliceOfN(rapid.Rune(), 18, 22).Draw(t, "text"))) }),
			rapid.Custom(func(t *rapid.T) []byte {
				var b []byte
				for _, c := range rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "raw") {
					b = append(b, string(rune(c))...)
				}
				return b
			}),
		).Draw(t, "id")
		var k id
		tb.pack(&k, text)
		var again id // as what was read before
		if tb.pack(&again, text); again != k {
			t.Fatalf("%q is %v, then %v", text, k, again)
		}
		if other, ok := seen[k]; ok && other != string(text) {
			t.Fatalf("%q is taken for %q", text, other)
		}
		seen[k] = string(text)
		b := tb.keep(&k, text)
		if got := tb.text(nil, &b, k.odd); string(got) != string(text) {
			t.Fatalf("%q became %q", text, got)
		}
		if !same(&b, k.odd, &k) {
			t.Fatalf("%q is not itself", text)
		}
		tb.discard(&b, k.odd)
		runes := []rune(string(text))
		if want := len(runes) != 20 || slices.Max(runes) > 0xff || string(runes) != string(text); k.odd != want {
			t.Fatalf("%q: odd %v", text, k.odd)
		}
	})
	if tb.texts.len() != 0 {
		t.Fatal("texts are left")
	}
}

// An index sees to it that one step never moves more than a segment, and that
// hashes which do not spread make no large directory.
func TestIndexStepsAreBounded(t *testing.T) {
	var x index
	moved := 0
	hash := func(place uint32) uint32 { moved++; return (place + 1) * 2654435761 }
	for place := range uint32(100_000) {
		moved = 0
		x.insert(hash(place), place, hash)
		if moved > 2*maxSegment+1 {
			t.Fatalf("a step asked for %d hashes", moved)
		}
	}
	for _, g := range x.dir {
		if len(g.slots) > maxSegment {
			t.Fatalf("a segment of %d", len(g.slots))
		}
	}
	x = index{}
	for place := range uint32(5000) {
		x.insert(5, place, func(uint32) uint32 { return 5 })
	}
	if len(x.dir) > 64 {
		t.Fatalf("a directory of %d for one hash", len(x.dir))
	}
}

// Time is counted in ticks of 28 bits, which come round.
func TestTicks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Duration(rapid.Int64Range(0, int64(10*maxTTL)).Draw(t, "at"))
		later := time.Duration(rapid.Int64Range(0, int64(maxTTL)).Draw(t, "later"))
		m := member{mark: seeder | rare}
		m.see(at)
		if d := m.silent(at+later) - later; d > 0 || d <= -tick {
			t.Fatalf("%v after %v off by %v", later, at, d)
		}
		if m.mark&flags != seeder|rare {
			t.Fatal("flags are lost")
		}
	})
}
