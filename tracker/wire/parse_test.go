package wire

import "testing"

func TestParseSmoke(t *testing.T) {
	p := NewParser(DefaultLimits())
	var r Request
	if f := p.Parse(testAnnounce(10), &r); f != FaultNone || len(r.Offers) != 10 || r.NumWant != 10 || r.Left != LeftMore || r.Event != EventStarted {
		t.Fatal(f, r)
	}
	if f := p.Parse(testAnswer(), &r); f != FaultNone || r.Answer == nil {
		t.Fatal(f, r)
	}
	for _, s := range []string{"", "null", "[]", "5", "{", `{"a":1,}`, `{"a":01}`, "{} x", `{"a":"` + "\x01" + `"}`} {
		if f := p.Parse([]byte(s), &r); !f.Unparsable() {
			t.Error(s, f)
		}
	}
}
