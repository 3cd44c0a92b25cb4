package wire

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// Texts are JSON for Parse exactly if they are for encoding/json (which takes
// broken UTF-8 for U+FFFD, where Parse refuses), wherever in a frame they are.
func TestSyntax(t *testing.T) {
	p := NewParser(DefaultLimits())
	var r Request
	for _, text := range []string{
		``, ` `, `0`, `-0`, `-`, `+1`, `01`, `-01`, `00`, `1.`, `.5`, `1.5`, `-1.5e+10`, `1e`, `1e+`, `1E5`, `1e05`, `1.e5`, `0x10`, `1_0`, `1a`, `--1`, `1-`, `Infinity`, `NaN`, `-Infinity`,
		`true`, `tru`, `truee`, `True`, `false`, `fals`, `null`, `nul`, `nulll`, `nan`, `undefined`,
		`""`, `"`, `"a`, `"\"`, `"\\"`, `"\a"`, `"\x41"`, `"\u"`, `"\u12"`, `"\u123"`, `"\u123g"`, `"\u1234"`, `"\uABCDabcd"`, `"\U1234"`, `"\'"`, `'a'`, `"\0"`, `"\ud800"`, `"\n\r\t\b\f\/\\\""`,
		"\"\x00\"", "\"\x1f\"", "\"\n\"", "\"\x7f\"", "\"\u2028\"", "\"\x80\"", "\"\xc3\x28\"", "\"\xe2\x82\"", "\"\xe2\x82", "\"\xf0\x9f\x98\x80\"", "\"\xf8\x88\x80\x80\x80\"", "\"\\\xc3\xa9\"",
		`[]`, `[`, `]`, `[,]`, `[1,]`, `[,1]`, `[1 2]`, `[1,2]`, `[1,,2]`, `[1]]`, `[[]`, `[}`, `[{]}`, `[ ]`, `[[],[[]],{}]`, `[1:2]`, `["a":1]`,
		`{}`, `{`, `}`, `{]`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1}`, `{"a":1,}`, `{,"a":1}`, `{a:1}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1,"b":[{"c":{}}]}`, `{1:2}`, `{"a"::1}`, `{"a":1}}`, `{null:1}`, `{"a",1}`, `{"a":1,2}`, `{ "a" : 1 , "b" : 2 }`,
		"[1\v]", "[1\u00a0]", "\t\n\r 1", "// c\n1", "/**/1", "[1]\x00", `1 1`, `[1],`,
	} {
		want := json.Valid([]byte(text)) && utf8.ValidString(text)
		for _, frame := range []string{
			text,
			`{"x":` + text + `}`,
			`{"numwant":[` + text + `]}`,
			`{"offers":` + text + `}`,
			`{"offers":[` + text + `]}`,
			`{"offers":[{"offer":` + text + `}]}`,
			`{"offers":[{"offer_id":` + text + `,"offer":{}}]}`,
			`{"offers":[{"offer":{"sdp":` + text + `}}]}`,
			`{"answer":` + text + `}`,
			`{"action":"scrape","info_hash":` + text + `}`,
		} {
			// Some texts are right only within others, or only by themselves.
			want := want
			if frame != text {
				want = json.Valid([]byte(frame)) && utf8.ValidString(frame)
			}
			f := p.Parse([]byte(frame), &r)
			if got := f != FaultSyntax && f != FaultUTF8; got != want {
				t.Errorf("%q: %v, want JSON %v", frame, f, want)
			}
		}
	}
}

// Nothing depends on where in a word of eight bytes something stands.
func TestStringOffsets(t *testing.T) {
	for before := range 100 {
		for after := range 40 {
			for _, middle := range []string{"", `"`, `\`, `\n`, `\"`, `\u0041`, "\x00", "\x1f", "\x7f", "\x80", "é", "\xe9", "😀", "\xf0\x9f\x98", `\\\\`, `\r\n`, ` `, `!`, `#`, `[`, `]`} {
				text := `"` + strings.Repeat("a", before) + middle + strings.Repeat("~", after) + `"`
				want := json.Valid([]byte(text)) && utf8.ValidString(text)
				end, escapes, f := scanString([]byte(text), 1)
				if got := f == FaultNone && end == len(text); got != want {
					t.Errorf("%q: %v to %d, want %v", text, f, end, want)
				}
				if strings.Contains(text, `\`) && f == FaultNone && !escapes {
					t.Errorf("%q: escapes not seen", text)
				}
			}
		}
	}
}

// Section 8.9: the reference server dies of 20,000 nested arrays in an offer.
func TestDepth(t *testing.T) {
	nested := func(n int, open, inner, end string) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	p := NewParser(DefaultLimits())
	var r Request
	for _, c := range []struct {
		around string // how the nested value stands in a frame
		within int    // containers around it
	}{
		{`%s`, 0},
		{`{"x":%s}`, 1},
		{`{"answer":%s}`, 1},
		{`{"info_hash":%s,"action":"scrape"}`, 1},
		{`{"offers":%s}`, 1},
		{`{"offers":[%s]}`, 2},
		{`{"offers":[{"x":%s}]}`, 3},
		{`{"offers":[{"offer":%s}]}`, 3},
		{`{"offers":[{"offer":{"sdp":%s}}]}`, 4},
		{`{"offers":[{"offer_id":%s}]}`, 3},
	} {
		for _, shape := range [][3]string{{"[", "", "]"}, {`{"a":`, "1", "}"}, {`[{"sdp":`, "[]", "}]"}} {
			each := strings.Count(shape[0], "[") + strings.Count(shape[0], "{")
			inner := strings.Count(shape[1], "[")
			for n := 1; n < 80; n++ {
				want := c.within+n*each+inner > 64
				f := p.Parse(fmt.Appendf(nil, c.around, nested(n, shape[0], shape[1], shape[2])), &r)
				if got := f == FaultDepth; got != want || f == FaultSyntax {
					t.Errorf("%s with %d of %s: %v", c.around, n, shape[0], f)
				}
			}
			for _, text := range []string{nested(20_000, shape[0], shape[1], shape[2]), strings.Repeat(shape[0], 20_000)} {
				if f := p.Parse(fmt.Appendf(nil, c.around, text), &r); f != FaultDepth || !f.Unparsable() {
					t.Errorf("%s with 20,000 of %s: %v", c.around, shape[0], f)
				}
			}
		}
	}
	// Depth, not number: many containers side by side are fine.
	if f := p.Parse([]byte(announce(`,"x":[[]`+strings.Repeat(`,[{}]`, 20_000)+`]`)), &r); f != FaultNone {
		t.Error(f)
	}
}

// MaxDepth counts the containers that the parser looks into like any others.
func TestMaxDepth(t *testing.T) {
	for frame, depth := range map[string]int{
		`{"a":1}`:                      1,
		`{"offers":[]}`:                2,
		`{"answer":{}}`:                2,
		`{"offers":[{}]}`:              3,
		`{"offers":[{"offer":{}}]}`:    4,
		`{"offers":[{"offer_id":[]}]}`: 4,
		`[[[]]]`:                       3,
	} {
		for limit := 1; limit <= 5; limit++ {
			var r Request
			f := NewParser(Limits{MaxDepth: limit}).Parse([]byte(frame), &r)
			if (f == FaultDepth) != (depth > limit) {
				t.Errorf("%s with at most %d: %v", frame, limit, f)
			}
		}
	}
}

// A frame that was cut off is never taken for a whole one.
func TestTruncated(t *testing.T) {
	p := NewParser(DefaultLimits())
	var r Request
	for _, frame := range [][]byte{
		testAnnounce(2), testAnswer(),
		[]byte(`{"action":"scrape","info_hash":[ "a" , "b" ],"offers":[ {"offer" : {"sdp":"é\ud83d\ude00"},"offer_id":5} , null,true ,false, -1.5e+7]}`),
	} {
		for n := range frame {
			if f := p.Parse(frame[:n:n], &r); f != FaultSyntax && f != FaultUTF8 {
				t.Fatalf("%v for the first %d bytes of %s", f, n, frame)
			}
		}
	}
}
