package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// checkParse compares Parse with the model for one frame.
func checkParse(p *Parser, l Limits, frame []byte) error {
	kept := bytes.Clone(frame)
	var got Request
	fault := p.Parse(frame, &got)
	if !bytes.Equal(kept, frame) {
		return fmt.Errorf("Parse wrote to the frame")
	}
	want, wantFault := modelParse(frame, l)
	if wantFault == FaultSyntax {
		if !fault.Unparsable() || fault == FaultNotObject {
			return fmt.Errorf("fault %v, want an unparsable one", fault)
		}
		wantFault = fault
	}
	if fault != wantFault {
		return fmt.Errorf("fault %v, want %v", fault, wantFault)
	}
	if fault.Silent() {
		return nil // the request means nothing, there is no failure frame
	}
	if got.Action != want.Action || !bytes.Equal(got.InfoHash, want.InfoHash) {
		return fmt.Errorf("failure frame would have %v %q, want %v %q", got.Action, got.InfoHash, want.Action, want.InfoHash)
	}
	if fault != FaultNone {
		return nil
	}
	if g, w := describe(&got), describe(&want); g != w {
		return fmt.Errorf("got  %s\nwant %s", g, w)
	}
	if !slices.Equal(keys(got.Offers), keys(want.Offers)) {
		return fmt.Errorf("offer keys differ")
	}
	return nil
}

func keys(offers []Offer) (keys []string) {
	for _, o := range offers {
		keys = append(keys, string(o.Key))
	}
	return keys
}

func describe(r *Request) string {
	return fmt.Sprintf("%v hash %q peer %q to %q event %d left %d numwant %d offers %q answer %q id %q key %q scrape %q all %v token %q",
		r.Action, r.InfoHash, r.PeerID, r.ToPeerID, r.Event, r.Left, r.NumWant, r.Offers, r.Answer, r.OfferID, r.OfferKey, r.Scrape, r.ScrapeAll, r.Token)
}

// drawText draws a string in one of its spellings: each character raw or
// escaped, some of it lone surrogates.
func drawText(t *rapid.T, s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		how := rapid.IntRange(0, 5).Draw(t, "how")
		switch {
		case how == 0 && r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		case how == 1 && r < 0x10000:
			fmt.Fprintf(&b, `\u%04X`, r)
		case how == 0:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			quoted := AppendID(nil, utf8.AppendRune(nil, r))
			b.Write(quoted[1 : len(quoted)-1])
		}
	}
	if rapid.IntRange(0, 40).Draw(t, "lone") == 0 {
		b.WriteString(rapid.SampledFrom([]string{`\ud800`, `\udc00`, `\udfff\ud800`, `\ud83d\u0041`}).Draw(t, "surrogate"))
	}
	b.WriteByte('"')
	return b.String()
}

func drawID(t *rapid.T) string {
	id := rapid.OneOf(
		rapid.Just(string(FromRaw([20]byte{0, 1, 0x7f, 0x80, 0xff, '"', '\\', '/', 0x1f}))),
		rapid.StringOfN(rapid.RuneFrom([]rune("aé\x00\x1f\"\\ÿ\u0100😀\ufffd")), 20, 20, -1),
		rapid.StringN(0, 70, -1),
	).Draw(t, "id")
	return drawText(t, id)
}

var oddValues = []string{
	"null", "true", "false", "0", "-0", "0.0", "-1", "5", "5.0", "50e-1", "0.05e2", "5e0", "1e21", "1e-400", "1E+400", "0e999999999999", "-0.0e5", "1e999999999999",
	`""`, `"0"`, `"\u0030"`, `"5"`, `"abc"`, "{}", "[]", "[null]", "[{}]", "[[[[[]]]]]", `{"sdp":5}`, `{"sdp":""}`, `{ "sdp" : "x" , "sdp" : null }`, `{"s\u0064p":"x","n":[1,{"a":[]}]}`,
	`[{"offer":"v=0","offer_id":"x"}]`, `"started"`, `"st\u006fpped"`, `"completed"`, `"<regular>"`, `"paused"`, `"announce"`, `"scrape"`, `"` + strings.Repeat("x", 300) + `"`,
}

func drawOdd(t *rapid.T) string { return rapid.SampledFrom(oddValues).Draw(t, "odd") }

// drawFrame draws frames that are near to what clients send, in any order of
// members, some of them twice, some of them odd, and sometimes broken.
func drawFrame(t *rapid.T) []byte {
	sometimes := func(odds int, v func() string) string {
		if rapid.IntRange(0, odds).Draw(t, "sometimes") == 0 {
			return drawOdd(t)
		}
		return v()
	}
	pick := func(s ...string) string { return rapid.SampledFrom(s).Draw(t, "pick") }
	space := func() string { return pick("", "", "", " ", "\t\r\n") }
	payload := func() string {
		return `{"type":"offer"` + space() + `,` + space() + `"sdp":` + drawText(t, pick("v=0\r\n", "", "é😀")) + space() + `}`
	}
	offer := func() string {
		return `{` + space() + `"offer":` + sometimes(6, payload) + `,"x":` + drawOdd(t) + `,"offer_id"` + space() + `:` + sometimes(6, func() string { return drawID(t) }) + `}`
	}
	list := func(n int, v func() string) string {
		var parts []string
		for range rapid.IntRange(0, n).Draw(t, "n") {
			parts = append(parts, space()+v()+space())
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	id := func() string { return drawID(t) }
	action := pick(`"announce"`, `"announce"`, `"announce"`, `"scrape"`, `"\u0061nnounce"`, `"Announce"`)
	members := [][2]string{
		{"action", action},
		{"info_hash", sometimes(8, id)},
		{"peer_id", sometimes(8, id)},
	}
	if action == `"scrape"` && rapid.Bool().Draw(t, "several") {
		members = append(members, [2]string{"info_hash", list(6, func() string { return sometimes(20, id) })})
	}
	answer := rapid.IntRange(0, 3).Draw(t, "answer") == 0
	if answer {
		members = append(members, [2]string{"answer", sometimes(6, payload)}, [2]string{"to_peer_id", sometimes(8, id)}, [2]string{"offer_id", sometimes(8, id)})
	}
	if !answer || rapid.Bool().Draw(t, "both") {
		members = append(members, [2]string{"offers", sometimes(8, func() string { return list(6, func() string { return sometimes(8, offer) }) })})
	}
	for range rapid.IntRange(0, 6).Draw(t, "more") {
		name := pick("event", "left", "numwant", "token", "numwant", "left", "answer", "offers", "trackerid", "info_hash", "é", "Action", "peer_id")
		members = append(members, [2]string{name, drawOdd(t)})
	}
	if rapid.Bool().Draw(t, "shuffled") {
		members = rapid.Permutation(members).Draw(t, "members")
	}
	var b strings.Builder
	b.WriteString(space() + "{")
	for i, m := range members {
		if i > 0 {
			b.WriteString(space() + ",")
		}
		name := `"` + m[0] + `"`
		if rapid.IntRange(0, 5).Draw(t, "escape") == 0 {
			name = drawText(t, m[0])
		}
		b.WriteString(space() + name + space() + ":" + space() + m[1])
	}
	b.WriteString(space() + "}" + space())
	frame := []byte(b.String())
	if rapid.IntRange(0, 5).Draw(t, "broken") == 0 {
		at := rapid.IntRange(0, len(frame)-1).Draw(t, "at")
		switch rapid.IntRange(0, 2).Draw(t, "break") {
		case 0:
			frame = frame[:at]
		case 1:
			frame[at] = rapid.Byte().Draw(t, "byte")
		case 2:
			frame = slices.Delete(frame, at, at+1)
		}
	}
	return frame
}

func TestParseIsTheModel(t *testing.T) {
	limits := []Limits{
		DefaultLimits(),
		{MaxID: 64, StrictIDs: true, MaxSDP: 64, MaxOffers: 3, MaxScrape: 2, MaxDepth: 64},
		{MaxID: 20, MaxSDP: 40, MaxOffers: 2, MaxScrape: 4, MaxDepth: 5},
	}
	var parsers []*Parser
	for _, l := range limits {
		parsers = append(parsers, NewParser(l))
	}
	rapid.Check(t, func(t *rapid.T) {
		frame := drawFrame(t)
		for i, l := range limits {
			if err := checkParse(parsers[i], l, frame); err != nil {
				t.Fatalf("limits %d: %v\nframe %s", i, err, frame)
			}
		}
	})
}

// TestAppendDecodes: whatever the ids, the frame is JSON, and decodes to the
// same ids.
func TestAppendDecodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := func(label string) []byte {
			return []byte(rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("\x00\x1f\"\\/\x7f\u0080ÿ\u2028😀")), 20, 20, -1)).Draw(t, label))
		}
		m := Message{
			Kind:     MessageKind(rapid.IntRange(0, int(KindFailure)).Draw(t, "kind")),
			Action:   Action(rapid.IntRange(0, 2).Draw(t, "action")),
			InfoHash: id("hash"), PeerID: id("peer"),
			OfferID: []byte(drawText(t, "id")), Payload: []byte(`{"type":"offer", "sdp":"x"}`),
			Interval: rapid.Int().Draw(t, "interval"), Complete: rapid.Int().Draw(t, "complete"), Incomplete: rapid.Int().Draw(t, "incomplete"),
			Files:  []File{{id("a"), 1, 2, 3}, {id("b"), 4, 5, 6}},
			Reason: rapid.String().Draw(t, "reason"),
		}
		frame := Append([]byte("before"), &m)
		frame, ok := bytes.CutPrefix(frame, []byte("before"))
		if !ok || !json.Valid(frame) || !utf8.Valid(frame) {
			t.Fatalf("broken frame %q", frame)
		}
		var d struct {
			Action                         string
			InfoHash                       string `json:"info_hash"`
			PeerID                         string `json:"peer_id"`
			Reason                         string `json:"failure reason"`
			Offer                          json.RawMessage
			Answer                         json.RawMessage
			OfferID                        json.RawMessage `json:"offer_id"`
			Files                          map[string]struct{ Complete, Incomplete, Downloaded int }
			Interval, Complete, Incomplete int
		}
		if err := json.Unmarshal(frame, &d); err != nil {
			t.Fatal(err)
		}
		same := d.InfoHash == string(m.InfoHash)
		switch m.Kind {
		case KindReply:
			same = same && d.Action == "announce" && d.Interval == m.Interval && d.Complete == m.Complete && d.Incomplete == m.Incomplete
		case KindOffer:
			same = same && d.Action == "announce" && d.PeerID == string(m.PeerID) && bytes.Equal(d.Offer, m.Payload) && bytes.Equal(d.OfferID, m.OfferID)
		case KindAnswer:
			same = same && d.Action == "announce" && d.PeerID == string(m.PeerID) && bytes.Equal(d.Answer, m.Payload) && bytes.Equal(d.OfferID, m.OfferID)
		case KindScrape:
			same = d.Action == "scrape" && d.Files[string(m.Files[1].InfoHash)] == struct{ Complete, Incomplete, Downloaded int }{4, 5, 6}
		case KindFailure:
			same = same && d.Action == m.Action.String() && d.Reason == m.Reason
		}
		if !same {
			t.Fatalf("%s\ndecodes to %+v\nfrom %+v", frame, d, m)
		}
	})
}
