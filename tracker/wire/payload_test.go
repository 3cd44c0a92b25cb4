package wire

import (
	"strings"
	"testing"
)

// What another node relays is accepted exactly if the same client's frame
// would have been here; otherwise two trackers would not be one swarm.
func TestPayloadsAsInFrames(t *testing.T) {
	l := DefaultLimits()
	for raw, want := range map[string]bool{
		`{"type":"offer","sdp":"v=0\r\n"}`: true, `{"sdp":""}`: true, `{ "x":[{}] , "s\u0064p" : "\ud800" }`: true, `{"sdp":5,"sdp":"x"}`: true,
		`{}`: false, `{"sdp":5}`: false, `{"sdp":null}`: false, `{"sdp":"x","sdp":5}`: false, `{"SDP":"x"}`: false, `{"x":{"sdp":"x"}}`: false,
		`null`: false, `"x"`: false, `5`: false, `[]`: false, `[{"sdp":"x"}]`: false,
		`{"sdp":"` + strings.Repeat("x", 64<<10-len(`{"sdp":""}`)) + `"}`: true, `{"sdp":"` + strings.Repeat("x", 64<<10-len(`{"sdp":""}`)+1) + `"}`: false,
		`{"sdp":"","x":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}`: true,
		`{"sdp":"","x":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`: false,
	} {
		var r Request
		f := NewParser(l).Parse([]byte(answer(`,"answer":`+raw)), &r)
		if inFrame := f == FaultNone && r.Answer != nil; inFrame != want {
			t.Errorf("%.100s in a frame: %v", raw, f)
		}
		if got := ValidPayload([]byte(raw), l); got != want {
			t.Errorf("%.100s: %v", raw, got)
		}
	}
}

// Only from another node can these come: in a frame they could not be cut out.
func TestBrokenPayloads(t *testing.T) {
	for _, raw := range []string{``, ` `, `{`, `{"sdp"`, `{"sdp":`, `{"sdp":"`, `{"sdp":"x"`, `{"sdp":"x"}}`, `{"sdp":"x"},"peer_id":"y"`, ` {"sdp":"x"}`, `{"sdp":"x"} `, "{\"sdp\":\"\xff\"}", "{\"sdp\":\"\n\"}", `{"sdp":"x",}`, `{"sdp":"x","n":01}`} {
		if ValidPayload([]byte(raw), Limits{}) {
			t.Errorf("%q is valid", raw)
		}
	}
	for _, raw := range []string{``, ` `, `null`, `"`, `"a`, `a`, `"a"b`, ` "a"`, `"a" `, `"a","peer_id":"x"`, `nulL`, `{`, `[1,]`, "\"\xff\"", "\"\x00\"", `"\u12"`, `"` + strings.Repeat("x", 255) + `"`, strings.Repeat("[", 100), strings.Repeat("[", 64) + strings.Repeat("]", 64)} {
		if key, ok := OfferKey([]byte(raw), []byte("x")); ok || string(key) != "x" {
			t.Errorf("%q has key %q", raw, key)
		}
	}
}
