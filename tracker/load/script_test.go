package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

func testConfig() *Config {
	cfg := Config{URLs: []string{"ws://a"}, Sample: 1, Shape: Shape{Connections: 40, Swarms: 4, Every: time.Second, Offers: 10, For: time.Second}}.withDefaults()
	return &cfg
}

func testScript(cfg *Config) *script {
	return newScript(cfg, rand.New(rand.NewPCG(1, 2)))
}

// Frames have the sizes that clients' frames have.
func TestSizes(t *testing.T) {
	s := testScript(testConfig())
	announce := s.appendAnnounce(nil, 7, 1<<40, false, 10)
	answer := s.appendAnswerTo(nil, 7, []byte(`"-WW0208-abcdefabcdef"`), offerNumber(1<<40, 3))
	if len(announce) < 10_700 || len(announce) > 11_300 {
		t.Errorf("an announce of 10 offers has %d bytes", len(announce))
	}
	if len(answer) < 1000 || len(answer) > 1250 {
		t.Errorf("an answer has %d bytes", len(answer))
	}
}

// What clients say is JSON, with all that the protocol wants, and says which
// offer is which.
func TestFramesAreJSON(t *testing.T) {
	cfg := testConfig()
	s := testScript(cfg)
	for _, first := range []bool{true, false} {
		offers := 10
		if first {
			offers = 0
		}
		frame := s.appendAnnounce(nil, 21, 1<<50, first, offers)
		var m struct {
			Action, Event  string
			InfoHash       string `json:"info_hash"`
			PeerID         string `json:"peer_id"`
			Numwant, Left  *int
			Uploaded, Down *int
			Offers         []struct {
				Offer   map[string]string
				OfferID json.RawMessage `json:"offer_id"`
			}
		}
		if err := json.Unmarshal(frame, &m); err != nil || !utf8.Valid(frame) {
			t.Fatalf("%s: %v", frame, err)
		}
		if m.Action != "announce" || (m.Event == "started") != first || m.InfoHash != s.hashes[1] || utf8.RuneCountInString(m.InfoHash) != 20 ||
			len(m.PeerID) != 20 || m.Numwant == nil || m.Left == nil || m.Uploaded == nil || len(m.Offers) != offers {
			t.Errorf("%s", frame)
		}
		for i, o := range m.Offers {
			n, ok := s.offerNumber(o.OfferID)
			if seq, place := splitOffer(n); !ok || seq != 1<<50 || place != i || o.Offer["type"] != "offer" || o.Offer["sdp"] == "" {
				t.Errorf("offer %d: %+v", i, o)
			}
			var id string
			if json.Unmarshal(o.OfferID, &id) != nil || utf8.RuneCountInString(id) != 20 {
				t.Errorf("offer id %s", o.OfferID)
			}
		}
	}
	var m map[string]any
	frame := s.appendAnswerTo(nil, 21, []byte(`"x"`), 77)
	if err := json.Unmarshal(frame, &m); err != nil || m["to_peer_id"] != "x" || m["answer"].(map[string]any)["type"] != "answer" {
		t.Errorf("%s: %v", frame, err)
	}
}

func TestCode(t *testing.T) {
	for _, v := range []uint64{0, 1, 63, 64, 1<<40 + 17, 1<<63 + 5, 1<<64 - 1} {
		if got, ok := code(appendCode(nil, v)); !ok || got != v {
			t.Errorf("%d became %d", v, got)
		}
	}
	for _, s := range []string{"", "AAAAAAAAAA", "AAAAAAAAAAAA", "AAAAAAAAAA ", "AAAAAAAAAA{", "/AAAAAAAAAA", "AAAAAAAAA\x80A"} {
		if v, ok := code([]byte(s)); ok {
			t.Errorf("%q is %d", s, v)
		}
	}
	seen := map[byte]bool{}
	for i := range 256 {
		if d := digit(byte(i)); d != 64 {
			if digits[d] != byte(i) {
				t.Errorf("%c is digit %d", i, d)
			}
			seen[d] = true
		}
	}
	if len(seen) != 64 {
		t.Errorf("%d digits", len(seen))
	}
}

// An offer id in another form of JSON is the same id.
func TestOfferNumberOfOtherForms(t *testing.T) {
	s := testScript(testConfig())
	var id string
	if err := json.Unmarshal(s.appendOfferID(nil, 99), &id); err != nil {
		t.Fatal(err)
	}
	escaped := []byte(`"`)
	for _, r := range id {
		escaped = fmt.Appendf(escaped, `\u%04x`, r)
	}
	if n, ok := s.offerNumber(append(escaped, '"')); !ok || n != 99 {
		t.Errorf("%d, %v", n, ok)
	}
	for _, raw := range []string{``, `"`, `""`, `5`, `{}`, `"abc"`, s.quoted, s.quoted + `"`, s.quoted + `AAAAAAAAAA"`} {
		if n, ok := s.offerNumber([]byte(raw)); ok {
			t.Errorf("%q is %d", raw, n)
		}
	}
}

// A frame of any length comes out of a WebSocket reader as it went in.
func TestSeal(t *testing.T) {
	s := testScript(testConfig())
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		payload := bytes.Repeat([]byte("x"), n)
		b := []byte("before")
		b = s.seal(append(begin(b), payload...), len("before"), opText)
		in := bytes.NewReader(b[len("before"):])
		h, err := ws.ReadHeader(in)
		if err != nil || !h.Masked || !h.Fin || h.OpCode != ws.OpText || h.Length != int64(n) || string(b[:6]) != "before" {
			t.Fatalf("%d bytes: %+v %v", n, h, err)
		}
		got := b[len(b)-in.Len():]
		if ws.Cipher(got, h.Mask, 0); !bytes.Equal(got, payload) {
			t.Errorf("%d bytes came out otherwise", n)
		}
	}
}
