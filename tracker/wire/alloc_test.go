package wire

import (
	"bytes"
	"strings"
	"testing"
)

// The path of every frame allocates nothing once a parser's scratch has
// grown, with every id escaped too.
func TestParseDoesNotAllocate(t *testing.T) {
	hashes := strings.Repeat(`"\u00e9\u0001",`, 99) + `"b"`
	for name, frame := range map[string][]byte{
		"announce":         testAnnounce(10),
		"answer":           testAnswer(),
		"scrape":           []byte(`{"action":"scrape","info_hash":[` + hashes + `]}`),
		"escaped":          []byte(announce(`,"info_hash":"\u00e9","\u006cef\u0074":0,"event":"\u0073tarted","token":"\u0041","x":{"\u0041":[{}]}`)),
		"fault":            []byte(`{"action":"hello"}`),
		"broken":           testAnnounce(10)[:4000],
		"long escaped key": []byte(announce(`,"` + strings.Repeat(`\n`, 32) + `":1,"` + strings.Repeat(`\n`, 500) + `":1`)),
		"many repetitions": []byte(announce(strings.Repeat(`,"info_hash":"\u00e9"`, 1000))),
		"nested":           []byte(announce(`,"x":` + strings.Repeat(`[`, 63) + strings.Repeat(`]`, 63))),
	} {
		p := NewParser(DefaultLimits())
		p.Parse(frame, new(Request))
		if n := testing.AllocsPerRun(100, func() {
			var r Request
			p.Parse(frame, &r)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// A hostile frame cannot make a parser keep much: scratch is for ids within
// limits, each once.
func TestScratchIsBounded(t *testing.T) {
	id := `"` + strings.Repeat(`\ud83d\ude00`, 64) + `"`
	var hashes strings.Builder
	for range 300 {
		hashes.WriteString(id + ",")
	}
	p := NewParser(DefaultLimits())
	var r Request
	p.Parse([]byte(`{"action":"scrape","info_hash":[`+hashes.String()+id+`]}`), &r)
	p.Parse([]byte(announce(strings.Repeat(`,"token":"`+strings.Repeat(`\u0041`, 512)+`"`, 80))), &r)
	p.Parse([]byte(announce(`,"offers":[{}`+strings.Repeat(`,{"offer":{"sdp":""},"offer_id":`+id[:121]+`"}`, 1000)+`]`)), &r)
	if cap(p.scratch) > 64<<10 || cap(p.offers) > 64 || cap(p.scrape) > 256 {
		t.Errorf("scratch of %d bytes, %d offers, %d hashes", cap(p.scratch), cap(p.offers), cap(p.scrape))
	}
}

func TestOtherHotPathsDoNotAllocate(t *testing.T) {
	id := FromRaw([20]byte{0, 0x80, 0xff, '"'})
	payload := testPayload()
	offerID := []byte(`"\u00e9abc"`)
	buf := make([]byte, 0, 64<<10)
	reason := strings.Repeat("a reason longer than what fits on a stack, é\n", 10)
	for kind := range KindFailure + 1 {
		m := Message{Kind: kind, Action: ActionScrape, InfoHash: id, PeerID: id, OfferID: offerID, Payload: payload, Interval: 120, Complete: 1 << 40, Incomplete: 5, Files: []File{{InfoHash: id}, {InfoHash: id}}, Reason: reason}
		if n := testing.AllocsPerRun(100, func() { buf = Append(buf[:0], &m) }); n != 0 {
			t.Errorf("Append of kind %d: %v allocations", kind, n)
		}
	}
	l := DefaultLimits()
	var h [20]byte
	for name, f := range map[string]func(){
		"ValidPayload":  func() { ValidPayload(payload, l) },
		"OfferKey":      func() { buf, _ = OfferKey(offerID, buf[:0]) },
		"ValidID":       func() { ValidID(id, l) },
		"AppendID":      func() { buf = AppendID(buf[:0], id) },
		"Raw20":         func() { h = Raw20(id) },
		"Raw20, hashed": func() { h = Raw20(payload) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if bytes.Equal(h[:], make([]byte, 20)) {
		t.Error("no hash")
	}
}
