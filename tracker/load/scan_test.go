package load

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func members(f *fields) map[string][]byte {
	return map[string][]byte{
		"action": f.action, "info_hash": f.infoHash, "peer_id": f.peerID, "offer_id": f.offerID,
		"offer": f.offer, "answer": f.answer, "complete": f.complete, "incomplete": f.incomplete,
		"interval": f.interval, "failure reason": f.failure,
	}
}

func TestScan(t *testing.T) {
	var f fields
	text := ` { "x" : [ {"offer":1}, "\"]" ], "offer" : {"sdp":"a\\","n":[{}]} ,"offer_id":"\"\\\\","complete":12,"y":null, "action":"announce" } ` + "\n"
	if !scan([]byte(text), &f) {
		t.Fatal("refused")
	}
	for name, want := range map[string]string{"offer": `{"sdp":"a\\","n":[{}]}`, "offer_id": `"\"\\\\"`, "complete": "12", "action": `"announce"`, "peer_id": ""} {
		if got := string(members(&f)[name]); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for _, bad := range []string{"", " ", "{", `{"a"`, `{"a":`, `{"a":}`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{"a":1}x`, `[]`, `{a:1}`, `{"a" 1}`, `{"a":"}`, `{"a":"\"}`, `{"a":[}`, `{"a":{"b":"}}`, "null"} {
		if scan([]byte(bad), &f) {
			t.Errorf("%s is taken", bad)
		}
	}
}

// FuzzScan: what encoding/json reads, scan reads too, and finds the same
// members.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`{}`, `{"action":"announce","offer":{"sdp":"\\\""},"complete":1}`, `{"offer":[1,{"a":"]"}]}`, `[`, ` {"a":"\u0022"} `, `{"interval":1e5,"interval":-0.1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got fields
		ok := scan(b, &got)
		var want map[string]json.RawMessage
		if json.Unmarshal(b, &want) != nil || want == nil {
			return // whatever scan says, as long as it comes back
		}
		if !ok {
			t.Fatalf("%q is refused", b)
		}
		if strings.Contains(string(b), `\`) && len(want) != strings.Count(string(b), ":") {
			return // keys may be in another form, which no server gives them
		}
		for name, raw := range members(&got) {
			if w, there := want[name]; there != (raw != nil) || there && !reflect.DeepEqual([]byte(w), raw) {
				if !strings.Contains(string(b), `\`) {
					t.Fatalf("%q: %s is %q, want %q", b, name, raw, w)
				}
			}
		}
	})
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		raw, s string
		want   bool
	}{
		{`"é\u0001"`, "é\x01", true}, {`"\u00e9\u0001"`, "é\x01", true}, {`"é"`, "é", true}, {`"e"`, "é", false},
		{`"\u00e8"`, "é", false}, {`é`, "é", false}, {`5`, "5", false}, {``, "", false}, {`"`, "", false}, {`"\"`, `"`, false},
	} {
		if got := same([]byte(c.raw), []byte("x"), c.s); got != c.want {
			t.Errorf("%s and %q: %v", c.raw, c.s, got)
		}
	}
}

func TestInteger(t *testing.T) {
	for _, s := range []string{"", "-1", "1.5", "1e3", "1234567890", `"1"`, "null"} {
		if n, ok := integer([]byte(s)); ok {
			t.Errorf("%s is %d", s, n)
		}
	}
	if n, ok := integer([]byte("120")); !ok || n != 120 {
		t.Errorf("120 is %d", n)
	}
}
