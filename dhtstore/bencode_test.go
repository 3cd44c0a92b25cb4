package dhtstore

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"
)

func TestScan(t *testing.T) {
	for _, c := range []struct {
		in              string
		size            int
		strict, lenient bool
	}{
		{"i0e", 3, true, true},
		{"i-7exyz", 4, true, true},
		{"i9223372036854775807e", 21, true, true},
		{"i-9223372036854775808e", 22, true, true},
		{"i9223372036854775808e", 0, false, false},
		{"i-9223372036854775809e", 0, false, false},
		{"i-0e", 0, false, false},
		{"i01e", 0, false, false},
		{"ie", 0, false, false},
		{"i-e", 0, false, false},
		{"i1", 0, false, false},
		{"i1x", 0, false, false},
		{"0:", 2, true, true},
		{"3:abc", 5, true, true},
		{"3:ab", 0, false, false},
		{"03:abc", 0, false, false},
		{"99999999999999999999:a", 0, false, false},
		{"-1:a", 0, false, false},
		{"3abc", 0, false, false},
		{"le", 2, true, true},
		{"li1ei2ee", 8, true, true},
		{"li1e", 0, false, false},
		{"de", 2, true, true},
		{"d1:ai1e1:bi2ee", 14, true, true},
		{"d1:bi1e1:ai2ee", 14, false, true},
		{"d1:ai1e1:ai2ee", 14, false, true},
		{"d1:ae", 0, false, false},
		{"di1ei2ee", 0, false, false},
		{"d1:a", 0, false, false},
		{"", 0, false, false},
		{"e", 0, false, false},
		{"x", 0, false, false},
		{strings.Repeat("l", maxDepth) + strings.Repeat("e", maxDepth), 2 * maxDepth, true, true},
		{strings.Repeat("l", maxDepth+1) + strings.Repeat("e", maxDepth+1), 0, false, false},
		{strings.Repeat("l", 1e6), 0, false, false},
	} {
		for strict, ok := range map[bool]bool{true: c.strict, false: c.lenient} {
			want := 0
			if ok {
				want = c.size
			}
			if got := scan([]byte(c.in), maxDepth, strict); got != want {
				t.Errorf("scan(%.40q, strict %v) = %d, want %d", c.in, strict, got, want)
			}
		}
	}
	for _, v := range []int64{0, 1, -1, 10, math.MaxInt64, math.MinInt64} {
		if got, n := scanInt(appendInt(nil, v)); got != v || n == 0 {
			t.Errorf("scanInt of %d = %d", v, got)
		}
	}
}

// FuzzCanonical: what is called canonical is what the library's own encoder
// makes of it, so that a signature survives anybody's decoding.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"i1e", "d1:ai1e1:bl1:xee", "le", "d1:b0:1:a0:e", "i-0e", "d1:ad1:bi1eee", "3:abc"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := scan(b, maxDepth, false); n > len(b) || n < 0 {
			t.Fatalf("scan = %d of %d", n, len(b))
		}
		if !canonical(b) {
			return
		}
		var v any
		if err := bencode.Unmarshal(b, &v); err != nil {
			t.Fatalf("%q is no bencode: %v", b, err)
		}
		again, err := bencode.Marshal(v)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("%q encodes to %q, %v", b, again, err)
		}
	})
}
