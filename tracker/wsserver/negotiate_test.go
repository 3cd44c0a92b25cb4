package wsserver

import (
	"strings"
	"testing"
)

// RFC 7692, 5.1 and 7.1: what is accepted, and what the response says.
func TestNegotiateDeflate(t *testing.T) {
	const (
		plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
		bits  = plain + "; server_max_window_bits="
	)
	for _, c := range []struct {
		offers string // headers, parted by |
		want   string
		d      deflation
	}{
		{"permessage-deflate", plain, 15},
		{"permessage-deflate; client_max_window_bits", plain, 15}, // Chromium
		{"permessage-deflate; client_max_window_bits=9", plain, 15},
		{"permessage-deflate;server_no_context_takeover", plain, 15},
		{"permessage-deflate; client_no_context_takeover; server_no_context_takeover", plain, 15},
		{"permessage-deflate; server_max_window_bits=8", bits + "8", 8},
		{"permessage-deflate; server_max_window_bits=10; client_max_window_bits", bits + "10", 10},
		{`permessage-deflate; server_max_window_bits="12"`, bits + "12", 12},
		{`permessage-deflate; server_max_window_bits="\1\2"`, bits + "12", 12},
		{"permessage-deflate; server_max_window_bits=15", bits + "15", 15},
		{" permessage-deflate \t;\tserver_max_window_bits = 11 ", bits + "11", 11},
		// Several offers: the first that can be accepted, in one header or in
		// many, with others' between.
		{"x-other; a=b, permessage-deflate", plain, 15},
		{"x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=9, permessage-deflate", bits + "9", 9},
		{"permessage-deflate; server_max_window_bits=7, permessage-deflate", plain, 15},
		{"permessage-deflate; mystery, permessage-deflate; server_max_window_bits=14", bits + "14", 14},
		{"x-other|permessage-deflate", plain, 15},
		{"permessage-deflate; mystery|permessage-deflate", plain, 15},
		{", ,permessage-deflate,, ", plain, 15},
		// 7.1: unknown, repeated, with a value that may have none, and without
		// one or with one out of range.
		{"permessage-deflate; mystery", "", 0},
		{"permessage-deflate; mystery=1", "", 0},
		{"permessage-deflate; server_no_context_takeover; server_no_context_takeover", "", 0},
		{"permessage-deflate; client_no_context_takeover; client_no_context_takeover", "", 0},
		{"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", "", 0},
		{"permessage-deflate; client_max_window_bits; client_max_window_bits=10", "", 0},
		{"permessage-deflate; server_no_context_takeover=true", "", 0},
		{"permessage-deflate; client_no_context_takeover=1", "", 0},
		{"permessage-deflate; server_max_window_bits", "", 0},
		{"permessage-deflate; server_max_window_bits=7", "", 0},
		{"permessage-deflate; server_max_window_bits=16", "", 0},
		{"permessage-deflate; server_max_window_bits=08", "", 0},
		{"permessage-deflate; server_max_window_bits=+8", "", 0},
		{"permessage-deflate; server_max_window_bits=1e1", "", 0},
		{"permessage-deflate; client_max_window_bits=7", "", 0},
		{"permessage-deflate; client_max_window_bits=x", "", 0},
		{"permessage-bzip2", "", 0},
		{"Permessage-Deflate", "", 0},
		{"permessage-deflate-frame", "", 0},
		{"", "", 0},
		{" , ", "", 0},
		// Not of the grammar (RFC 6455, 9.1).
		{"permessage-deflate;", "", 0},
		{"permessage-deflate; =", "", 0},
		{"permessage-deflate; client_max_window_bits=", "", 0},
		{`permessage-deflate; client_max_window_bits=""`, "", 0},
		{`permessage-deflate; client_max_window_bits="10`, "", 0},
		{`permessage-deflate; client_max_window_bits="1 0"`, "", 0},
		{`permessage-deflate; client_max_window_bits="10"1`, "", 0},
		{`permessage-deflate; client_max_window_bits="10\`, "", 0},
		{"permessage-deflate client_max_window_bits", "", 0},
		{"permessage-deflate, (", "", 0},
		{"permessage-deflate|(", "", 0},
		{"(, permessage-deflate", "", 0},
		{"permessage-deflate; a=\xff", "", 0},
	} {
		got, d := negotiateDeflate(strings.Split(c.offers, "|"))
		if got != c.want || d != c.d {
			t.Errorf("%q: %q, window %d; want %q, %d", c.offers, got, d, c.want, c.d)
		}
	}
	if got, d := negotiateDeflate(nil); got != "" || d != 0 {
		t.Errorf("without a header: %q, %d", got, d)
	}
}

// FuzzNegotiate: whatever is offered, the response is one of the few that there
// are, and says what was agreed.
func FuzzNegotiate(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits", "")
	f.Add(`a;b="c\"", permessage-deflate; server_max_window_bits="9"`, "permessage-deflate")
	f.Fuzz(func(t *testing.T, a, b string) {
		got, d := negotiateDeflate([]string{a, b})
		if d == 0 {
			if got != "" {
				t.Fatalf("%q with no window", got)
			}
			return
		}
		if d < 8 || d > largestWindow {
			t.Fatalf("a window of %d bits", d)
		}
		// The response is an offer that would be accepted with the same.
		if again, e := negotiateDeflate([]string{got}); again != got || e != d {
			t.Fatalf("%q, %d and then %q, %d", got, d, again, e)
		}
		if !strings.Contains(a+b, "permessage-deflate") {
			t.Fatalf("%q, unasked", got)
		}
	})
}
