package wire

import (
	"bytes"
	"crypto/sha1"
	"strings"
	"testing"
)

func TestRaw20(t *testing.T) {
	h := [20]byte{0, 0x7f, 0x80, 0xff, 0xc3, 0xa9, 'a', '"'}
	id := FromRaw(h)
	if Raw20(id) != h || Hex(id) != "007f80ffc3a96122000000000000000000000000" {
		t.Errorf("%x, %s", Raw20(id), Hex(id))
	}
	if back, err := FromHex("007F80FFC3a96122000000000000000000000000"); err != nil || !bytes.Equal(back, id) {
		t.Errorf("%q, %v", back, err)
	}
	// What is not 20 bytes is hashed: go2rtc's ids, others' text, and what is
	// no UTF-8 at all.
	for _, id := range []string{"", "a", strings.Repeat("a", 19), strings.Repeat("a", 21), strings.Repeat("Ā", 20), strings.Repeat("é", 19) + "Ā", strings.Repeat("\xff", 20), "n6TNzaVWQ7kIcKxNmnQPJuDv9HqZyqCq0vJSgTGhZ0Y="} {
		if got, want := Raw20([]byte(id)), sha1.Sum([]byte(id)); got != want {
			t.Errorf("%q: %x", id, got)
		}
	}
	for _, s := range []string{"", "00", strings.Repeat("0", 39), strings.Repeat("0", 41), strings.Repeat("g", 40), strings.Repeat("é", 20)} {
		if id, err := FromHex(s); err == nil {
			t.Errorf("%q gave %q", s, id)
		}
	}
}

func TestValidID(t *testing.T) {
	for _, c := range []struct {
		id              string
		relaxed, strict bool
	}{
		{"", false, false}, {"a", true, false}, {strings.Repeat("é", 20), true, true}, {strings.Repeat("Ā", 20), true, false}, {strings.Repeat("😀", 64), true, false},
		{strings.Repeat("😀", 64) + "a", false, false}, {strings.Repeat("a", 65), false, false}, {"\xff", false, false}, {strings.Repeat("a", 19) + "\xe9", false, false}, {"\xed\xa0\x80", false, false},
		{"\x00", true, false}, {strings.Repeat("\ufffd", 20), true, false},
	} {
		if got := ValidID([]byte(c.id), Limits{}); got != c.relaxed {
			t.Errorf("%q: %v", c.id, got)
		}
		if got := ValidID([]byte(c.id), Limits{StrictIDs: true}); got != c.strict {
			t.Errorf("%q, strict: %v", c.id, got)
		}
	}
}
