package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// pieces are of what a string may hold, and of what it may not.
var pieces = []string{
	"a", "~", " ", "\x7f", "rn", "nr", "v=0", "a=candidate:1 1 udp", `\r`, `\n`, `\r\n`, `\r\n`, `\\`, `\"`, `\/`, `\t`, `\u00e9`, `\x`, `\`, `"`,
	"é", "ÿ", "\u0080", "\u0800", "€", "😀", "\x00", "\x1f", "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc3(", "\xdf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff",
}

// someText is mostly of a kind, as texts are, with other pieces in it.
func someText(r *rand.Rand) []byte {
	var b []byte
	kinds := 1 + r.IntN(len(pieces))
	from := r.IntN(len(pieces))
	for range r.IntN(60) {
		if r.IntN(8) > 0 {
			b = append(b, "0123456789abcdef"[:r.IntN(17)]...)
		}
		b = append(b, pieces[(from+r.IntN(kinds))%len(pieces)]...)
	}
	return b
}

// firstOther is where something is that is neither plain ASCII nor one of the
// escapes \r and \n.
func firstOther(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\\' && i+1 < len(b) && b[i+1] != 'r' && b[i+1] != 'n',
			b[i] == '"', b[i] < ' ', b[i] >= utf8.RuneSelf:
			return i
		case b[i] == '\\':
			i++
		}
	}
	return len(b)
}

// lines stops at the first other thing, or where less than 32 bytes are left, but
// not within an escape.
func TestLines(t *testing.T) {
	if lines(bytes.Repeat([]byte("a"), 64)) == 0 {
		t.Log("no vector instructions here: only checked that nothing is passed over")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		b := someText(r)
		n := lines(b)
		if n == 0 && lines(bytes.Repeat([]byte("a"), 64)) == 0 {
			continue
		}
		other := firstOther(b)
		want := len(b) &^ 31
		if want > 0 && other >= want && splits(b, want) {
			want--
		}
		if want = min(want, other); n != want {
			t.Fatalf("%q: %d, want %d (other at %d of %d)", b, n, want, other, len(b))
		}
	}
}

// splits reports whether an escape lies across i.
func splits(b []byte, i int) bool {
	n := 0
	for n < i && b[i-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// wide ends at the first ASCII byte after characters that are not, and sees
// what is not UTF-8 wherever in a word it is.
func TestWide(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200_000 {
		b := someText(r)
		i := 0
		for i < len(b) && b[i] < utf8.RuneSelf {
			i++
		}
		end, ok := wide(b, i)
		if end < i || end > len(b) || !utf8.Valid(b[i:end]) {
			t.Fatalf("%q from %d: to %d, which is not UTF-8", b, i, end)
		}
		if bytes.ContainsFunc(b[i:end], func(c rune) bool { return c < ' ' || c == '"' || c == '\\' }) {
			t.Fatalf("%q from %d: to %d, past the end of a run", b, i, end)
		}
		if ok && end < len(b) && b[end] >= utf8.RuneSelf {
			t.Fatalf("%q from %d: stopped at %d", b, i, end)
		}
		if _, size := utf8.DecodeRune(b[end:]); ok != (end == len(b) || b[end] < utf8.RuneSelf || size > 1) {
			t.Fatalf("%q from %d: to %d, ok is %v", b, i, end, ok)
		}
	}
}

func TestCodePoints(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		b := bytes.ToValidUTF8(someText(r), []byte("€"))
		if got, want := codePoints(b), utf8.RuneCount(b); got != want {
			t.Fatalf("%q: %d, want %d", b, got, want)
		}
	}
}
