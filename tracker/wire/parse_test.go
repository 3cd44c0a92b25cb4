package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// parse parses one frame with a parser of its own.
func parse(t *testing.T, l Limits, frame string) (Request, Fault) {
	t.Helper()
	var r Request
	if err := checkParse(NewParser(l), l.orDefault(), []byte(frame)); err != nil {
		t.Errorf("%.200s: %v", frame, err)
	}
	f := NewParser(l).Parse([]byte(frame), &r)
	return r, f
}

// announce is an announce that is right but for the members given.
func announce(members string) string {
	return `{"action":"announce","info_hash":"01234567890123456789","peer_id":"abcdefghijklmnopqrst"` + members + `}`
}

func answer(members string) string {
	return `{"action":"announce","info_hash":"01234567890123456789","peer_id":"abcdefghijklmnopqrst","to_peer_id":"ABCDEFGHIJKLMNOPQRST","offer_id":"id","answer":{"type":"answer","sdp":"x"}` + members + `}`
}

func TestFaults(t *testing.T) {
	long := strings.Repeat("x", 65)
	for _, c := range []struct {
		frame string
		fault Fault
		hash  string // what the failure frame says
	}{
		// Case 5: what is no object.
		{"", FaultSyntax, ""},
		{" \n", FaultSyntax, ""},
		{"hello", FaultSyntax, ""},
		{"{", FaultSyntax, ""},
		{announce("") + "x", FaultSyntax, ""},
		{announce("") + announce(""), FaultSyntax, ""},
		{"\ufeff" + announce(""), FaultSyntax, ""},
		{"null", FaultNotObject, ""},
		{" [] ", FaultNotObject, ""},
		{"5", FaultNotObject, ""},
		{`"announce"`, FaultNotObject, ""},
		{announce(`,"x":"` + "\xc3" + `"`), FaultUTF8, ""},
		{announce(`,"` + "\xff" + `":1`), FaultUTF8, ""},
		{announce(`,"x":"` + "\xed\xa0\x80" + `"`), FaultUTF8, ""},
		{announce(`,"x":"` + "\xc0\xaf" + `"`), FaultUTF8, ""},
		{announce(`,"x":"` + "\xf4\x90\x80\x80" + `"`), FaultUTF8, ""},

		// Case 6: unknown and missing actions. The failure frame names the
		// info hash if there is one.
		{`{}`, FaultAction, ""},
		{`{"action":"hello","info_hash":"h\u0061sh"}`, FaultAction, "hash"},
		{`{"action":null,"info_hash":5}`, FaultAction, ""},
		{`{"action":["announce"]}`, FaultAction, ""},
		{`{"action":"Announce","info_hash":"h","peer_id":"p"}`, FaultAction, "h"},
		{`{"Action":"announce","info_hash":"h","peer_id":"p"}`, FaultAction, "h"},

		// Ids.
		{`{"action":"announce","peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":"","peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":null,"peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":["h"],"peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":"` + long + `","peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":"\ud800","peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":"a\udc00b","peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":"\ud83d","peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":"\ud83dx\ude00","peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":"\ud83d\u0041","peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":"\ude00\ud83d","peer_id":"p"}`, FaultInfoHash, ""},
		{`{"action":"announce","info_hash":"h"}`, FaultPeerID, "h"},
		{`{"action":"announce","info_hash":"h","peer_id":""}`, FaultPeerID, "h"},
		{`{"action":"announce","info_hash":"h","peer_id":5}`, FaultPeerID, "h"},
		{`{"action":"announce","info_hash":"h","peer_id":"` + long + `"}`, FaultPeerID, "h"},
		{`{"action":"announce","info_hash":"h","peer_id":"\ud800"}`, FaultPeerID, "h"},

		// Case 42: scrapes, and protocol.md section 2, "scrape bad hash".
		{`{"action":"scrape","info_hash":5}`, FaultInfoHash, ""},
		{`{"action":"scrape","info_hash":{}}`, FaultInfoHash, ""},
		{`{"action":"scrape","info_hash":""}`, FaultInfoHash, ""},
		{`{"action":"scrape","info_hash":["h",5]}`, FaultInfoHash, ""},
		{`{"action":"scrape","info_hash":[["h"]]}`, FaultInfoHash, ""},
		{`{"action":"scrape","info_hash":[null]}`, FaultInfoHash, ""},
		{`{"action":"scrape","info_hash":["` + long + `"]}`, FaultInfoHash, ""},
		{`{"action":"scrape","info_hash":["h"` + strings.Repeat(`,"h"`, 100) + `]}`, FaultScrapeLimit, ""},

		// Section 8.4: what is wrong with an answer, nobody is told.
		{answer(`,"answer":"x"`), FaultBadAnswer, ""},
		{answer(`,"answer":5`), FaultBadAnswer, ""},
		{answer(`,"answer":false`), FaultBadAnswer, ""},
		{answer(`,"answer":[]`), FaultBadAnswer, ""},
		{answer(`,"answer":{}`), FaultBadAnswer, ""},
		{answer(`,"answer":{"sdp":5}`), FaultBadAnswer, ""},
		{answer(`,"answer":{"SDP":"x"}`), FaultBadAnswer, ""},
		{answer(`,"answer":{"sdp":"x","sdp":null}`), FaultBadAnswer, ""},
		{answer(`,"answer":{"x":{"sdp":"x"}}`), FaultBadAnswer, ""},
		{answer(`,"answer":{"sdp":"` + strings.Repeat("x", 64<<10) + `"}`), FaultBadAnswer, ""},
		{answer(`,"action":"hello"`), FaultBadAnswer, ""},
		{answer(`,"info_hash":""`), FaultAnswerID, ""},
		{answer(`,"peer_id":null`), FaultAnswerID, ""},
		{answer(`,"to_peer_id":null`), FaultAnswerID, ""},
		{answer(`,"to_peer_id":5`), FaultAnswerID, ""},
		{answer(`,"to_peer_id":"` + long + `"`), FaultAnswerID, ""},
		{answer(`,"offer_id":null`), FaultAnswerID, ""},
		{answer(`,"offer_id":"` + strings.Repeat("x", 255) + `"`), FaultAnswerID, ""},
		{`{"action":"announce","info_hash":"h","peer_id":"p","to_peer_id":"q","answer":{"sdp":""}}`, FaultAnswerID, ""},
	} {
		r, f := parse(t, DefaultLimits(), c.frame)
		if f != c.fault {
			t.Errorf("%.200s: fault %v, want %v", c.frame, f, c.fault)
		}
		if !f.Silent() && string(r.InfoHash) != c.hash {
			t.Errorf("%.200s: failure for info hash %q, want %q", c.frame, r.InfoHash, c.hash)
		}
		if scrape := strings.Contains(c.frame, `"scrape"`); !f.Silent() && r.Action.String() != map[bool]string{true: "scrape", false: "announce"}[scrape] {
			t.Errorf("%.200s: failure with action %v", c.frame, r.Action)
		}
	}
}

func TestFaultTexts(t *testing.T) {
	labels := make(map[string]bool)
	for f := range Fault(FaultCount) {
		if labels[f.String()] || f.String() == "unknown" || (f.Reason() == "") != (f == FaultNone) || f.Silent() && f.Unparsable() {
			t.Errorf("fault %d: %q, %q", f, f, f.Reason())
		}
		labels[f.String()] = true
	}
	if f := Fault(FaultCount); f.String() != "unknown" || f.Reason() == "" || f.Silent() || f.Unparsable() {
		t.Error("a fault that there is not")
	}
}

// Case 15: ids compare by what they say, however they are spelled.
func TestIDSpellings(t *testing.T) {
	hash := FromRaw([20]byte{0, 1, 31, ' ', '"', '\\', '/', 0x7f, 0x80, 0xe9, 0xff, 'a', '\n', '\r', '\t', '\b', '\f'})
	var lower, upper strings.Builder
	for _, r := range string(hash) {
		fmt.Fprintf(&lower, `\u%04x`, r)
		fmt.Fprintf(&upper, `\u%04X`, r)
	}
	short := "\\u0000\\u0001\\u001f \\\"\\\\\\/\x7f\u0080é\u00ffa\\n\\r\\t\\b\\f\\u0000\\u0000\\u0000"
	raw := AppendID(nil, hash)
	for _, spelling := range []string{lower.String(), upper.String(), short, string(raw[1 : len(raw)-1])} {
		r, f := parse(t, Limits{StrictIDs: true}, `{"action":"announce","info_hash":"`+spelling+`","peer_id":"`+spelling+`"}`)
		if f != FaultNone || !bytes.Equal(r.InfoHash, hash) || !bytes.Equal(r.PeerID, hash) {
			t.Errorf("%s: %v, %q", spelling, f, r.InfoHash)
		}
	}
	for spelling, id := range map[string]string{`\ud83d\ude00`: "😀", "😀": "😀", `\uD83D\uDE00x`: "😀x", `\ufffd`: "\ufffd", `\u0100`: "Ā"} {
		if r, f := parse(t, DefaultLimits(), announce(`,"info_hash":"`+spelling+`"`)); f != FaultNone || string(r.InfoHash) != id {
			t.Errorf("%s: %v, %q", spelling, f, r.InfoHash)
		}
	}
}

func TestIDLengths(t *testing.T) {
	strict := Limits{StrictIDs: true}
	for _, c := range []struct {
		id              string
		relaxed, strict bool
	}{
		{strings.Repeat("a", 20), true, true},
		{strings.Repeat("é", 20), true, true},
		{strings.Repeat("Ā", 20), true, false},
		{strings.Repeat("a", 19), true, false},
		{strings.Repeat("a", 21), true, false},
		{"n6TNzaVWQ7kIcKxNmnQPJuDv9HqZyqCq0vJSgTGhZ0Y=", true, false}, // go2rtc, case 19
		{"a", true, false},
		{strings.Repeat("😀", 64), true, false},
		{strings.Repeat(`\ud83d\ude00`, 64), true, false},
		{strings.Repeat(`\ud83d\ude00`, 65), false, false},
		{strings.Repeat("😀", 65), false, false},
		{strings.Repeat("a", 65), false, false},
		{strings.Repeat("a", 100_000), false, false},
		{"", false, false},
	} {
		for l, want := range map[Limits]bool{DefaultLimits(): c.relaxed, strict: c.strict} {
			_, f := parse(t, l, announce(`,"info_hash":"`+c.id+`"`))
			if (f == FaultNone) != want || f != FaultNone && f != FaultInfoHash {
				t.Errorf("%.40s, strict %v: %v", c.id, l.StrictIDs, f)
			}
			if _, f := parse(t, l, announce(`,"peer_id":"`+c.id+`"`)); (f == FaultNone) != want {
				t.Errorf("peer id %.40s, strict %v: %v", c.id, l.StrictIDs, f)
			}
		}
	}
}

// Keys are compared decoded and with regard to case; of several with one name
// the last counts.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		members string
		numWant int
		offers  int
	}{
		{`,"numwant":1,"numwant":2`, 2, 0},
		{`,"numwant":1,"numwant":null`, -1, 0},
		{`,"numwant":1,"n\u0075mwant":2`, 2, 0},
		{`,"numwant":1,"NumWant":2,"NUMWANT":3`, 1, 0},
		{`,"\u006e\u0075\u006d\u0077\u0061\u006e\u0074":7`, 7, 0},
		{`,"numwant\u0000":7`, -1, 0},
		{`,"numwant` + strings.Repeat(`\u0020`, 50) + `":7`, -1, 0},
		{`,"":7`, -1, 0},
		{`,"offers":[{"offer":{"sdp":""},"offer_id":1},{"offer":{"sdp":""},"offer_id":2}],"offers":[{"offer":{"sdp":""},"offer_id":3}]`, -1, 1},
		{`,"offers":[{"offer":{"sdp":""},"offer_id":1}],"offers":null`, -1, 0},
		{`,"\u006fffers":[{"\u006fffer":{"sd\u0070":""},"offer\u005fid":1}]`, -1, 1},
		{`,"offers":[{"offer":{"sdp":""},"offer_id":1,"offer_id":null}]`, -1, 0},
		{`,"offers":[{"offer":{"sdp":""},"offer_id":1,"offer":"v=0"}]`, -1, 0},
		{`,"offers":[{"offer":5,"offer_id":1,"offer":{"sdp":0,"sdp":"x"}}]`, -1, 1},
		{`,"answer":{"sdp":"x"},"answer":null`, -1, 0}, // case: null is absent
	} {
		r, f := parse(t, DefaultLimits(), announce(c.members))
		if f != FaultNone || r.NumWant != c.numWant || len(r.Offers) != c.offers || r.Answer != nil {
			t.Errorf("%s: %v, numwant %d, %d offers", c.members, f, r.NumWant, len(r.Offers))
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, members := range []string{``, `,"event":"update"`, `,"event":"stopped"`, `,"offers":[]`, `,"offers":[{"offer":{"sdp":""},"offer_id":5}],"numwant":5`} {
		r, f := parse(t, DefaultLimits(), answer(members))
		if f != FaultNone || r.Action != ActionAnnounce || string(r.Answer) != `{"type":"answer","sdp":"x"}` || string(r.OfferID) != `"id"` || string(r.OfferKey) != `"id` ||
			string(r.PeerID) != "abcdefghijklmnopqrst" || string(r.ToPeerID) != "ABCDEFGHIJKLMNOPQRST" || r.Offers != nil {
			t.Errorf("%s: %v, %s", members, f, describe(&r))
		}
	}
	// null is absent: an announce.
	if r, f := parse(t, DefaultLimits(), answer(`,"answer":null,"to_peer_id":5`)); f != FaultNone || r.Answer != nil || r.OfferID != nil || r.ToPeerID != nil {
		t.Errorf("%v, %s", f, describe(&r))
	}
}

// Cases 40 to 42.
func TestScrapes(t *testing.T) {
	for _, c := range []struct {
		members string
		all     bool
		hashes  []string
	}{
		{``, true, nil},
		{`,"info_hash":null`, true, nil},
		{`,"info_hash":[]`, false, nil},
		{`,"info_hash":[ ]`, false, nil},
		{`,"info_hash":"h"`, false, []string{"h"}},
		{`,"info_hash":["\u00e9", "é" ,"b"]`, false, []string{"é", "é", "b"}},
		{`,"info_hash":["a"` + strings.Repeat(`,"b"`, 99) + `]`, false, append([]string{"a"}, strings.Split(strings.Repeat("b", 99), "")...)},
		{`,"info_hash":"a","info_hash":["b"],"answer":{"sdp":"x"},"peer_id":5`, false, []string{"b"}},
	} {
		r, f := parse(t, DefaultLimits(), `{"action":"scrape"`+c.members+`}`)
		if f != FaultNone || r.Action != ActionScrape || r.ScrapeAll != c.all || len(r.Scrape) != len(c.hashes) {
			t.Errorf("%.100s: %v, %s", c.members, f, describe(&r))
			continue
		}
		for i, hash := range c.hashes {
			if string(r.Scrape[i]) != hash {
				t.Errorf("%.100s: %q", c.members, r.Scrape)
			}
		}
	}
}

func TestToken(t *testing.T) {
	for raw, want := range map[string]string{
		`"secret"`: "secret", `"s\u0065cret"`: "secret", `""`: "", `5`: "", `null`: "", `"\ud800"`: "",
		`"` + strings.Repeat("é", 128) + `"`: strings.Repeat("é", 128), `"` + strings.Repeat("é", 128) + `x"`: "", `"` + strings.Repeat(`\u0061`, 257) + `"`: "",
	} {
		if r, f := parse(t, DefaultLimits(), announce(`,"token":`+raw)); f != FaultNone || string(r.Token) != want {
			t.Errorf("%.50s: %v, %q", raw, f, r.Token)
		}
	}
}

// A Request holds nothing of the frame before.
func TestParseForgets(t *testing.T) {
	p := NewParser(DefaultLimits())
	var r Request
	p.Parse(testAnswer(), &r)
	p.Parse(testAnnounce(3), &r)
	p.Parse([]byte(`{"action":"scrape","info_hash":["a","b"]}`), &r)
	if r.Offers != nil || r.Answer != nil || r.PeerID != nil || r.NumWant != -1 {
		t.Error(describe(&r))
	}
	if f := p.Parse([]byte("{"), &r); f != FaultSyntax || r.Action != ActionUnknown || r.InfoHash != nil || r.Scrape != nil {
		t.Error(f, describe(&r))
	}
}

// Limits that are not given are the defaults, and MaxDepth has a ceiling.
func TestLimits(t *testing.T) {
	if l := (Limits{MaxSDP: -1}).orDefault(); l != DefaultLimits() {
		t.Errorf("%+v", l)
	}
	if l := (Limits{MaxID: 1, StrictIDs: true, MaxSDP: 2, MaxOffers: 3, MaxScrape: 4, MaxDepth: 500}).orDefault(); l != (Limits{MaxID: 1, StrictIDs: true, MaxSDP: 2, MaxOffers: 3, MaxScrape: 4, MaxDepth: 64}) {
		t.Errorf("%+v", l)
	}
}

// Every name and every word is known with each of its letters escaped.
func TestEscapedFrame(t *testing.T) {
	escape := func(frame string) string {
		var b strings.Builder
		text := false
		for _, r := range frame {
			switch {
			case r == '"':
				text = !text
				b.WriteRune(r)
			case text:
				fmt.Fprintf(&b, `\u%04x`, r)
			default:
				b.WriteRune(r)
			}
		}
		return b.String()
	}
	for _, frame := range []string{
		announce(`,"event":"completed","left":"0","numwant":3,"token":"t","offers":[{"offer":{"sdp":"x"},"offer_id":1}]`),
		answer(``),
		`{"action":"scrape","info_hash":["a","b"]}`,
	} {
		plain, f := parse(t, DefaultLimits(), frame)
		escaped, g := parse(t, DefaultLimits(), escape(frame))
		if f != FaultNone || g != FaultNone {
			t.Fatalf("%s: %v, %v", frame, f, g)
		}
		// Payloads and offer ids are relayed as they came.
		for _, r := range []*Request{&plain, &escaped} {
			r.Answer, r.OfferID = nil, nil
			for i := range r.Offers {
				r.Offers[i].Payload = nil
			}
		}
		if a, b := describe(&plain), describe(&escaped); a != b {
			t.Errorf("%s\n%s", a, b)
		}
	}
}
