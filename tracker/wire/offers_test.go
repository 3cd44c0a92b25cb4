package wire

import (
	"strings"
	"testing"
)

// Cases 12, 13, 14, 16: which elements of offers are used.
func TestOffers(t *testing.T) {
	const good = `{"offer":{"type":"offer","sdp":"good"},"offer_id":"good"}`
	for _, bad := range []string{
		`null`, `5`, `"x"`, `true`, `[]`, `{}`, `[` + good + `]`,
		`{"offer":"v=0","offer_id":"x"}`, `{"offer":null,"offer_id":"x"}`, `{"offer":[],"offer_id":"x"}`, `{"offer":{},"offer_id":"x"}`,
		`{"offer":{"sdp":null},"offer_id":"x"}`, `{"offer":{"sdp":{"sdp":"x"}},"offer_id":"x"}`,
		`{"offer":{"sdp":""}}`, `{"offer":{"sdp":""},"offer_id":null}`, `{"offer":{"sdp":""},"offer_id":"` + strings.Repeat("x", 255) + `"}`,
		`{"offer_id":"x"}`, `{"offer":{"sdp":"` + strings.Repeat("x", 64<<10) + `"},"offer_id":"x"}`,
	} {
		r, f := parse(t, DefaultLimits(), announce(`,"offers":[`+bad+`,`+good+`,`+bad+`]`))
		if f != FaultNone || len(r.Offers) != 1 || string(r.Offers[0].ID) != `"good"` {
			t.Errorf("%.100s: %v, %q", bad, f, r.Offers)
		}
	}
	for _, none := range []string{`null`, `{}`, `"x"`, `5`, `[]`, `[ ]`, `[null]`, `[{}]`} {
		if r, f := parse(t, DefaultLimits(), announce(`,"offers":`+none)); f != FaultNone || len(r.Offers) != 0 {
			t.Errorf("%s: %v, %q", none, f, r.Offers)
		}
	}

	// Verbatim, with what the client added inside, without what it added
	// outside.
	r, f := parse(t, DefaultLimits(), announce(`,"offers":[{"x":[{}], "offer" : {"foo": 1.50, "sdp":"\u0076=0","type":"offer" } ,"offer_id": "\u00e9\/" }]`))
	if f != FaultNone || len(r.Offers) != 1 || string(r.Offers[0].Payload) != `{"foo": 1.50, "sdp":"\u0076=0","type":"offer" }` ||
		string(r.Offers[0].ID) != `"\u00e9\/"` || string(r.Offers[0].Key) != `"é/` {
		t.Errorf("%v, %q", f, r.Offers)
	}

	// No more than MaxOffers are used, and those are the first.
	r, f = parse(t, Limits{MaxOffers: 3}, announce(`,"offers":[{"offer":{"sdp":""},"offer_id":0},{},{"offer":{"sdp":""},"offer_id":1}`+strings.Repeat(`,{"offer":{"sdp":""},"offer_id":2}`, 98)+`]`))
	if f != FaultNone || len(r.Offers) != 3 || string(r.Offers[1].ID) != "1" {
		t.Errorf("%v, %q", f, r.Offers)
	}

	// The limit of an offer is that of its bytes.
	payload := `{"sdp":"` + strings.Repeat("x", 100-len(`{"sdp":""}`)) + `"}`
	for limit, n := range map[int]int{99: 0, 100: 1} {
		if r, _ := parse(t, Limits{MaxSDP: limit}, announce(`,"offers":[{"offer":`+payload+`,"offer_id":1}]`)); len(r.Offers) != n {
			t.Errorf("limit %d: %d offers", limit, len(r.Offers))
		}
	}
}

// The key of an offer id is the same for all spellings of one string, and for
// nothing else.
func TestOfferKeys(t *testing.T) {
	groups := [][]string{
		{`"\u00e9"`, `"\u00E9"`, `"é"`},
		{`"5"`, `"\u0035"`}, {`5`}, {`5.0`}, {`true`}, {`"true"`}, {`""`}, {`{}`}, {`"{}"`}, {`[5]`}, {`"=5"`}, {`"\"5"`, `"\u00225"`},
		{`"/"`, `"\/"`}, {`"😀"`, `"\ud83d\ude00"`}, {`"\ud83d"`, `"\uD83D"`}, {`"\ud83c"`}, {`"\ude00\ud83d"`}, {`"\ufffd"`, "\"\ufffd\""},
	}
	seen := make(map[string]string)
	for _, group := range groups {
		for i, id := range group {
			r, f := parse(t, DefaultLimits(), answer(`,"offer_id":`+id))
			a, g := parse(t, DefaultLimits(), announce(`,"offers":[{"offer":{"sdp":""},"offer_id": `+id+` }]`))
			key, ok := OfferKey([]byte(id), []byte("x"))
			if f != FaultNone || g != FaultNone || !ok || string(r.OfferID) != id || string(a.Offers[0].ID) != id {
				t.Fatalf("%s: %v, %v", id, f, g)
			}
			if string(r.OfferKey) != string(key[1:]) || string(a.Offers[0].Key) != string(key[1:]) {
				t.Errorf("%s: keys %q, %q, %q", id, r.OfferKey, a.Offers[0].Key, key[1:])
			}
			if first, ok := seen[string(key)]; ok != (i > 0) || ok && first != group[0] {
				t.Errorf("%s has the key of %s", id, first)
			}
			seen[string(key)] = group[0]
		}
	}
}
