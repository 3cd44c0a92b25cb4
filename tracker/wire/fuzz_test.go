package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	f.Add(testAnnounce(2))
	f.Add(testAnswer())
	for _, s := range []string{
		``, ` `, `null`, `[]`, `5`, `{}`, `{"action":"scrape","info_hash":["a","\u0062"]}`, `{"action":"scrape","info_hash":[]}`, `{"action":"scrape","info_hash":5}`,
		`{"action":"announce","info_hash":"\ud83d\ude00\ud800","peer_id":"p","numwant":5e0,"left":-0.0,"offers":[null,{"offer":{"sdp":""},"offer_id":5}]}`,
		`{"\u0061ction":"announce","action":"scrape","info_hash":"é"}`, `{"action":"announce","answer":null,"info_hash":"h","peer_id":"p","token":"\/t"}`,
		strings.Repeat("[", 100), `{"a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`, "{\"a\":\"\xff\"}", `{"a":1e5,"b":-0.1E-7,"c":tru}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 4096 { // the model is not made for long numbers
			return
		}
		for _, l := range []Limits{
			DefaultLimits(),
			{MaxID: 20, StrictIDs: true, MaxSDP: 30, MaxOffers: 1, MaxScrape: 1, MaxDepth: 4},
		} {
			if err := checkParse(NewParser(l), l, frame); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzAppendID(f *testing.F) {
	for _, s := range []string{"", "abc", "\x00\x1f\"\\", "\xff\xfe", "é\u2028😀", "\xed\xa0\x80", "a\xc3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, id []byte) {
		raw := AppendID(nil, id)
		var decoded string
		if err := json.Unmarshal(raw, &decoded); err != nil || !utf8.Valid(raw) {
			t.Fatalf("%q: %v", raw, err)
		}
		// Per broken byte one U+FFFD, as in conversions to runes.
		if decoded != string([]rune(string(id))) {
			t.Fatalf("%q became %q", id, decoded)
		}
		key, ok := OfferKey(raw, nil)
		if ok != (len(raw) <= 256) || ok && string(key) != `"`+decoded {
			t.Fatalf("key %q %v", key, ok)
		}
		h := Raw20(id)
		if got := Raw20(FromRaw(h)); got != h {
			t.Fatalf("Raw20 of %x is %x", h, got)
		}
		if ValidID(id, Limits{StrictIDs: true}) && !bytes.Equal(FromRaw(h), id) {
			t.Fatalf("%q does not come back from %x", id, h)
		}
	})
}

func FuzzValidPayload(f *testing.F) {
	for _, s := range []string{`{"type":"offer","sdp":"v=0\r\n"}`, `{"sdp":5}`, `{"sdp":"a","s\u0064p":1}`, ` {"sdp":""}`, `{"sdp":""} `, `{}`, `[]`, ``, `{"sdp":"`, `{"sdp":"","x":` + strings.Repeat("[", 70), `"id"`, `5`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := Limits{MaxID: 64, MaxSDP: 200, MaxOffers: 1, MaxScrape: 1, MaxDepth: 10}
		text := json.Valid(raw) && utf8.Valid(raw) && len(raw) > 0 && len(bytes.Trim(raw, " \t\r\n")) == len(raw)
		want := text && modelDepth(raw) < l.MaxDepth && modelPayload(raw, l)
		if got := ValidPayload(raw, l); got != want {
			t.Fatalf("ValidPayload is %v, want %v", got, want)
		}
		want = text && modelDepth(raw) < maxDepth && modelOfferID(raw)
		key, got := OfferKey(raw, []byte("x"))
		if got != want || got && string(key) != "x"+string(modelKey(raw)) || !got && string(key) != "x" {
			t.Fatalf("OfferKey is %q, %v, want %v", key, got, want)
		}
	})
}
