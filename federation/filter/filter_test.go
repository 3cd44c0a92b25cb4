package filter_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/draeder/peerservers/federation/filter"
)

func infoHash(i int) string { return fmt.Sprintf("%020d", i) }

// sumsOf are the sums of swarms [from, to).
func sumsOf(k filter.Key, from, to int) []uint64 {
	sums := make([]uint64, 0, to-from)
	for i := from; i < to; i++ {
		sums = append(sums, k.Sum(infoHash(i)))
	}
	return sums
}

func decode(t testing.TB, b []byte) *filter.Part {
	t.Helper()
	var p filter.Part
	if err := p.Decode(b); err != nil {
		t.Fatal(err)
	}
	return &p
}

// Every swarm that went in is found, whatever the set, and the encoding stays
// within its bound.
func TestNoFalseNegatives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sums []uint64
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0: // few, and extreme ones
			sums = rapid.SliceOfN(rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, math.MaxUint64})), 0, 20).Draw(t, "sums")
		case 1: // many at one place
			base, n := rapid.Uint64().Draw(t, "base"), rapid.IntRange(0, 2000).Draw(t, "n")
			for i := range n {
				sums = append(sums, base+uint64(i))
			}
		default:
			r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
			for range rapid.IntRange(0, filter.MaxPart).Draw(t, "n") {
				sums = append(sums, r.Uint64())
			}
		}
		want := slices.Clone(sums)
		b := filter.Append([]byte("kept"), sums)
		if !bytes.HasPrefix(b, []byte("kept")) {
			t.Fatal("overwrites what was there")
		}
		if b = b[4:]; len(b) > filter.MaxBytes {
			t.Fatalf("%d bytes for %d swarms", len(b), len(want))
		}
		var p filter.Part
		if err := p.Decode(b); err != nil {
			t.Fatal(err)
		}
		if p.Len() != len(want) {
			t.Fatalf("%d swarms of %d", p.Len(), len(want))
		}
		for _, s := range want {
			if !p.Has(s) {
				t.Fatalf("%x is missing", s)
			}
		}
	})
}

func TestFalsePositivesAndSize(t *testing.T) {
	k := filter.Key{1}
	for _, n := range []int{1, 10, 100, 1000, filter.MaxPart} {
		hits, tries := 0, 0
		for g := range uint32(1 + 2000/n) {
			k := k.Generation(g)
			b := filter.Append(nil, sumsOf(k, 0, n))
			p := decode(t, b)
			if bits := float64(len(b)-4) * 8 / float64(n); n >= 1000 && bits > 10.3 {
				t.Errorf("%d swarms: %.2f bits each", n, bits)
			}
			for i := range 100_000 / (1 + 2000/n) {
				tries++
				if p.Has(k.Sum(infoHash(1_000_000 + i))) {
					hits++
				}
			}
		}
		want := float64(tries) / filter.Odds
		if d := float64(hits) - want; math.Abs(d) > 5*math.Sqrt(want) {
			t.Errorf("%d swarms: %d false positives in %d, want %.0f", n, hits, tries, want)
		}
	}
}

// Whatever a liar puts into a part, it covers no more of what it does not know
// than an honest one.
func TestAPartCannotClaimEverything(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var p filter.Part
	read := 0
	for try := range 3000 {
		sums := make([]uint64, 1+r.IntN(300))
		for i := range sums {
			switch try % 3 {
			case 0: // evenly
				sums[i] = uint64(i) * (math.MaxUint64 / uint64(len(sums)))
			case 1: // all neighbours
				sums[i] = uint64(i) << 48
			default:
				sums[i] = r.Uint64()
			}
		}
		b := filter.Append(nil, sums)
		if try%2 == 1 { // ones, as many as will pass
			for i := 3; i < len(b); i++ {
				if r.IntN(3) == 0 {
					b[i] |= byte(r.Uint32())
				}
			}
		}
		if p.Decode(b) != nil {
			continue
		}
		read++
		const tries = 4000
		hits := 0
		for range tries {
			if p.Has(r.Uint64()) {
				hits++
			}
		}
		if hits > 4*tries/filter.Odds {
			t.Fatalf("try %d: %d of %d", try, hits, tries)
		}
	}
	if read < 1600 {
		t.Fatalf("only %d parts were read", read)
	}
	ones := append([]byte{1, 0x80, 0x80, 1}, bytes.Repeat([]byte{0xff}, filter.MaxBytes)...)
	if err := p.Decode(ones); err != filter.FaultBits || p.Len() != 0 {
		t.Fatalf("all ones: %v, %d swarms", err, p.Len())
	}
}

func TestHostileParts(t *testing.T) {
	good := filter.Append(nil, sumsOf(filter.Key{}, 0, 100))
	long := bytes.Repeat([]byte{0}, filter.MaxBytes)
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":                  {nil, filter.FaultVersion},
		"another version":          {[]byte{2, 0}, filter.FaultVersion},
		"no count":                 {[]byte{1}, filter.FaultCount},
		"endless count":            {append([]byte{1}, bytes.Repeat([]byte{0x80}, 20)...), filter.FaultCount},
		"count beyond the bits":    {[]byte{1, 100, 0, 0}, filter.FaultCount},
		"count beyond the maximum": {append([]byte{1, 0x81, 0x80, 1}, long...), filter.FaultCount},
		"more bits than the count": {append(slices.Clone(good), 0), filter.FaultBits},
		"padding":                  {[]byte{1, 1, 0, 1}, filter.FaultBits},
		"beyond the universe":      {[]byte{1, 1, 0xc0, 0}, filter.FaultBits},
		"cut":                      {good[:len(good)-1], nil},
		"empty":                    {[]byte{1, 0}, nil},
	} {
		var p filter.Part
		p.Decode(good)
		err := p.Decode(c.b)
		if err == nil && name == "cut" || err != c.want && name != "cut" {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if p.Len() != 0 {
			t.Errorf("%s: something is left of what was there before", name)
		}
	}
	if err := (&filter.Part{}).Decode(good); err != nil {
		t.Error(err)
	}
}

// Two snapshots, two directions and two links have nothing in common, and
// names are not sums.
func TestKeysPart(t *testing.T) {
	a, b := filter.Key{1}, filter.Key{2}
	seen := map[uint64]bool{}
	for _, k := range []filter.Key{a, b, a.Generation(0), a.Generation(1), a.Generation(2), b.Generation(0), b.Generation(1)} {
		s := k.Sum(infoHash(1))
		if seen[s] {
			t.Fatal("two keys, one sum")
		}
		seen[s] = true
	}
	network := filter.Key{9}
	count := make([]int, filter.Buckets)
	for i := range 64 * filter.Buckets {
		ih := infoHash(i)
		at := network.Bucket(ih)
		count[at]++
		name := a.Name(at, ih)
		if filter.BucketOf(name) != at || name<<12 != a.Sum(ih)<<12 {
			t.Fatalf("%x in bucket %d", name, at)
		}
	}
	if least, most := slices.Min(count), slices.Max(count); least < 24 || most > 128 {
		t.Errorf("buckets of %d to %d swarms, 64 on average", least, most)
	}
}

// The form is what PROTOCOL.md has.
func TestEncoding(t *testing.T) {
	// Three sums at 0, a third and the end: with 3 elements in [0, 1200) the
	// values are 0, 399 and 1199, the differences 0, 1·256+143, 3·256+32.
	b := filter.Append(nil, []uint64{math.MaxUint64, 0, math.MaxUint64 / 3})
	// 0 00000000, 10 10001111, 1110 00100000, and a bit of padding.
	if got, want := hex.EncodeToString(b), "01030051fc40"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// FuzzDecode: whatever comes, time and memory are bounded.
func FuzzDecode(f *testing.F) {
	for _, n := range []int{0, 1, 2, 100, 1000} {
		f.Add(filter.Append(nil, sumsOf(filter.Key{}, 0, n)))
	}
	f.Add([]byte{1, 2, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p filter.Part
		if err := p.Decode(b); err != nil {
			if _, ok := err.(filter.Fault); !ok {
				t.Fatalf("%T is no Fault", err)
			}
			return
		}
		if p.Len() > filter.MaxPart || p.Len()*9 > len(b)*8 {
			t.Fatalf("%d swarms in %d bytes", p.Len(), len(b))
		}
		for _, s := range []uint64{0, 1 << 63, math.MaxUint64} {
			p.Has(s)
		}
	})
}

// What is done for every part and every swarm takes no memory.
func TestAllocations(t *testing.T) {
	k := filter.Key{1}
	sums := sumsOf(k, 0, 1000)
	buf := filter.Append(nil, sums)
	ih := infoHash(1)
	var p filter.Part
	p.Decode(buf)
	if n := testing.AllocsPerRun(100, func() {
		buf = filter.Append(buf[:0], sums)
		p.Decode(buf)
		p.Has(k.Name(k.Bucket(ih), ih))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
