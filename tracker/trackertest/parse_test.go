package trackertest

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// file is a folder of one talk file, and one that it may use.
func file(text string) fstest.MapFS {
	return fstest.MapFS{
		"x.talk":     {Data: []byte(text)},
		"common.inc": {Data: []byte("# lets\nlet H = hash\nlet twice = ${1}${1}\n")},
		"wrong.inc":  {Data: []byte("talk x\n")},
	}
}

func TestParseRefuses(t *testing.T) {
	const head = "case 1\non core\ntalk x\n"
	for _, tt := range []struct{ text, want string }{
		{"", "no case"},
		{"case 1\non core\n", "no talk"},
		{"case 1\ntalk x\nA: open\n", "runs on nothing"},
		{head, "says nothing"},
		{"case 50\n", "no case"},
		{"case one\n", "no case"},
		{"case 1\non moon\n", "no target"},
		{"on core\ntalk x\nA: open\n", "no case"},
		{"case 1\nA: open\n", "before the first talk"},
		{"case 1\nwith x\n", "belongs to a talk"},
		{"case 1\ntalk\n", "title"},
		{"use missing.inc\n", "missing.inc"},
		{"use wrong.inc\n", "only let"},
		{"let 1x = y\n", "let wants"},
		{"let x\n", "let wants"},
		{head + "case 2\n", "head of the file"},
		{head + "talk x\n", "one title"},
		{head + "A: dance\n", "unknown deed"},
		{head + "A: open nowhere\n", "unknown option"},
		{head + "A: open / color=red\n", "unknown option"},
		{head + "A:\n", "does what"},
		{head + "A open\n", "unknown line"},
		{head + "1A: open\n", "names no connection"},
		{head + "A|B: open\n", "only a frame"},
		{head + "A< maybe\n", "shape is an object"},
		{head + "A<\n", "shape is an object"},
		{head + "A|B<* {}\n", "set is of one"},
		{head + "A: closed\n", "one number"},
		{head + "A: closed 7\n", "not a number"},
		{head + "A: fuzz 5\n", "seed"},
		{head + "A>split {}\n", "not a number"},
		{head + "A>split 1 {}\n", "not a number"},
		{head + "A>bytes zz\n", "invalid byte"},
		{head + "advance soon\n", "duration"},
		{head + "advance -1s\n", "duration"},
		{head + "swarms\n", "one number"},
		{head + "drain now\n", "alone"},
		{head + "http stats\n", "path"},
		{head + "http /stats shape=round\n", "unknown option"},
		{head + "http< fine\n", "no status"},
		{head + "check a b c\n", "check wants"},
		{head + "collect s\n", "collect wants"},
		{head + "repeat 0\nA: open\nend\n", "not a number"},
		{head + "repeat 2\nA: open\n", "without end"},
		{head + "end\n", "stray end"},
		{head + "repeat 2\ntalk y\n", "within a repeat"},
		{head + "frobnicate\n", "unknown line"},
	} {
		_, err := Parse(file(tt.text), "x.talk")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v, want one with %q", tt.text, err, tt.want)
		}
	}
}

func TestParseReads(t *testing.T) {
	talks, err := Parse(file(`
# prose
case 3 4
on core sockets
use common.inc
talk one thing
A: open /x origin=https://x
talk another
on server
with strict_ids deny=00
let own = 1
repeat 2 as i
  repeat 3
    A> {}
  end
end
`), "x.talk")
	if err != nil {
		t.Fatal(err)
	}
	if len(talks) != 2 || len(talks[0].Cases) != 2 || talks[0].Cases[1] != 4 {
		t.Fatalf("got %+v", talks)
	}
	one, two := talks[0], talks[1]
	if len(one.On) != 2 || len(two.On) != 1 || two.On[0] != KindServer || len(two.With) != 2 {
		t.Errorf("on %v and %v with %v", one.On, two.On, two.With)
	}
	if one.Name() != "x/one_thing" {
		t.Errorf("name %q", one.Name())
	}
	if one.lets["own"] != "" || two.lets["own"] != "1" || one.lets["H"] != "hash" {
		t.Errorf("lets %v and %v", one.lets, two.lets)
	}
	if len(two.steps) != 1 || len(two.steps[0].body) != 1 || two.steps[0].body[0].n != 3 {
		t.Errorf("steps %+v", two.steps)
	}
}

func TestExpand(t *testing.T) {
	sc := newScope(map[string]string{
		"H": "hash", "twice": "${1}-${1}", "maybe": "[${1?}]", "nested": "${twice ${1}x}", "loop": "${loop}",
		"pA": "peer", "X": "A",
	})
	sc.sets["s"] = map[string]bool{"a": true, "b": true}
	for in, want := range map[string]string{
		"plain $ {text}":           "plain $ {text}",
		"<${H}>":                   "<hash>",
		"${twice a}":               "a-a",
		"${twice ${H}}":            "hash-hash",
		`${twice {"a": "b c"}}`:    `{"a": "b c"}-{"a": "b c"}`,
		"${maybe}${maybe x}":       "[][x]",
		"${nested a}":              "ax-ax",
		"${p${X}}":                 "peer",
		"${nest 3}":                "[[[]]]",
		"${fill 3 ab}":             "ababab",
		"${count s} ${count none}": "2 0",
		`${latin1 32 35}`:          ` !\u0022#`,
		`${escaped 254 255}`:       `\u00fe\u00ff`,
	} {
		if got, err := sc.expand(in); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", in, got, err, want)
		}
	}
	for _, n := range []string{"0", "1", "7", "8", "100", "60000"} {
		got, err := sc.expand("${sdp " + n + "}")
		if err != nil || len(got) == 0 && n != "0" {
			t.Errorf("sdp %s: %d bytes, %v", n, len(got), err)
		}
		if _, err := unquote(`"` + got + `"`); err != nil {
			t.Errorf("sdp %s is no string: %v", n, err)
		}
	}
	for _, in := range []string{"${nobody}", "${twice}", "${1}", "${H", "${loop}", "${nest x}", "${nest 9999999}", "${fill 3}", "${1? x}"} {
		if got, err := sc.expand(in); err == nil {
			t.Errorf("%s: got %q, want an error", in, got)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, data string
		want          string // part of the error; empty: it matches
	}{
		{`{"a":1}`, `{"a":1}`, ""},
		{`{"a":1}`, ` { "a" : 1 } `, ""},
		{`{"a":1,"b":"é"}`, `{"b":"\u00e9","a":1}`, ""},
		{`{"a":1}`, `{"a":1,"b":2}`, `"b" should not`},
		{`{"a":1,...}`, `{"a":1,"b":2}`, ""},
		{`{...}`, `{}`, ""},
		{`{"a":1,"b":2}`, `{"a":1}`, `no member "b"`},
		{`{"a":1}`, `{"a":1,"a":1}`, "twice"},
		{`{"a":1}`, `{"a":1.0}`, "want 1"},
		{`{"a":1}`, `{"a":"1"}`, "want 1"},
		{`{"a":"1"}`, `{"a":1}`, "not a string"},
		{`{"a":null}`, `{"a":null}`, ""},
		{`{"a":null}`, `{}`, "no member"},
		{"{\"a\":`{\"x\": 1}`}", `{"a":{"x": 1}}`, ""},
		{"{\"a\":`{\"x\": 1}`}", `{"a":{"x":1}}`, "bytes"},
		{"{\"a\":`\"\\u0041\"`}", `{"a":"A"}`, "bytes"},
		{"{\"id\":$id,\"a\":`\"<${id}>\"`}", `{"a":"<x>","id":"x"}`, ""},
		{"{\"id\":$id,\"a\":`\"<${id}>\"`}", `{"a":"<y>","id":"x"}`, "bytes"},
		{`{"a":@interval}`, `{"a":120}`, ""},
		{`{"a":@interval}`, `{"a":29}`, "interval"},
		{`{"a":@interval}`, `{"a":120.5}`, "no integer"},
		{`{"a":@interval}`, `{"a":"120"}`, "no integer"},
		{`{"a":@int}`, `{"a":1e2}`, "no integer"},
		{`{"a":@reason}`, `{"a":"because"}`, ""},
		{`{"a":@reason}`, `{"a":" "}`, "empty"},
		{`{"a":@string}`, `{"a":5}`, "not a string"},
		{`{"a":@any}`, `{"a":[{}]}`, ""},
		{`{"a":[1,"x",{"b":@any}]}`, `{"a":[1,"x",{"b":0}]}`, ""},
		{`{"a":[1]}`, `{"a":[1,2]}`, "2 elements"},
		{`{"a":[1]}`, `{"a":{"0":1}}`, "not an array"},
		{`{"a":~2}`, `{"a":2}`, ""},
		{`{"a":~2}`, `{"a":1}`, "want 2"},
		{`{"a":1}`, `[]`, "not an object"},
		{`{"a":1}`, `{"a":1}x`, "not JSON"},
		{`{"a":1}`, "{\"a\":1,\"\xff\":2}", "not UTF-8"},
		{`{"a":`, `{}`, "pattern:"},
		{`{"a":@what}`, `{}`, "pattern:"},
		{`{"a":~x}`, `{}`, "pattern:"},
		{`{"a":$}`, `{}`, "pattern:"},
		{`{"a" 1}`, `{}`, "pattern:"},
		{`{"a":1 "b":2}`, `{}`, "pattern:"},
		{`{"a":1} 2`, `{}`, "pattern:"},
		{`{a:1}`, `{}`, "pattern:"},
	} {
		r := &run{world: &hub{}, scope: newScope(nil)}
		err := r.matchData(tt.pattern, []byte(tt.data))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s and %s: got %v, want %q", tt.pattern, tt.data, err, tt.want)
		}
	}
	// Two nodes that do not know of each other yet may count less, not more.
	young := &env{scope: newScope(nil), young: true}
	if aboutPattern(2).match([]byte("1"), young) != nil || aboutPattern(2).match([]byte("3"), young) == nil {
		t.Error("~2 between young nodes")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("case 1\non core\nuse common.inc\ntalk x\nA: open\nA> ${twice ${H}}\nA< {\"a\":~1}\n")
	f.Add("case 1\non core\ntalk x\nA|B as C< {...}\nrepeat 2 as i\nP${i}: fuzz 1 1\nend\n")
	names, err := os.ReadDir("../../testdata/talks")
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range names {
		data, err := os.ReadFile("../../testdata/talks/" + n.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		talks, err := Parse(file(text), "x.talk")
		if err != nil {
			return
		}
		for _, talk := range talks {
			for _, s := range talk.steps {
				if p, err := parsePattern(s.text); err == nil {
					_ = p.match([]byte(`{"a":[1,"x"]}`), &env{scope: newScope(talk.lets)})
				}
			}
		}
	})
}
