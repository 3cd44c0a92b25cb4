package wsserver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// autobahnCase is a line of a file.
type autobahnCase struct {
	number     string
	steps      []string
	replies    []string // before the end
	end        string   // fail, closed, any, or empty
	codes      []int    // to end with
	compressed bool
	headers    []string // of the request
}

func autobahnCases(t *testing.T, files ...string) (list []autobahnCase) {
	t.Helper()
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "autobahn", file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			name, rest, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("%s: %q", file, line)
			}
			words := quotedFields(t, name)
			if words[0] != "each" {
				list = append(list, newAutobahnCase(t, name, rest))
				continue
			}
			section, from, _ := cutLast(words[1], ".")
			first, err := strconv.Atoi(from)
			if err != nil {
				t.Fatalf("%s: %q", file, line)
			}
			for i, v := range words[2:] {
				list = append(list, newAutobahnCase(t, fmt.Sprintf("%s.%d", section, first+i), strings.ReplaceAll(rest, "$", v)))
			}
		}
	}
	return list
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// quotedFields is strings.Fields, but for strings as Go writes them, which stay
// in one and in quotes.
func quotedFields(t testing.TB, s string) (list []string) {
	t.Helper()
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		word, err := strconv.QuotedPrefix(s)
		if err != nil {
			word, _, _ = strings.Cut(s, " ")
		}
		list, s = append(list, word), s[len(word):]
	}
	return list
}

func newAutobahnCase(t *testing.T, number, line string) autobahnCase {
	t.Helper()
	sent, back, ok := strings.Cut(line, " => ")
	if !ok {
		t.Fatalf("%s: %q", number, line)
	}
	c := autobahnCase{number: number, steps: strings.Split(sent, " ; "), replies: strings.Split(back, " ; "), codes: []int{1000}}
	if w := quotedFields(t, c.steps[0]); w[0] == "offer" {
		c.headers, c.compressed = []string{"Sec-WebSocket-Extensions: " + unquote(t, w[1])}, true
		c.steps = c.steps[1:]
	}
	last := quotedFields(t, c.replies[len(c.replies)-1])
	switch last[0] {
	case "fail", "closed", "any":
		c.end, c.codes = last[0], nil
		for _, w := range last[1:] {
			n, err := strconv.Atoi(w)
			if err != nil {
				t.Fatalf("%s: %v", number, err)
			}
			c.codes = append(c.codes, n)
		}
		c.replies = c.replies[:len(c.replies)-1]
	}
	return c
}

func unquote(t testing.TB, s string) string {
	t.Helper()
	u, err := strconv.Unquote(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return u
}

// autobahnFrame is a frame, or what is to be sent in several.
type autobahnFrame struct {
	first      byte // FIN, reserved bits, opcode
	payload    []byte
	chop, frag int
	times      int
}

var autobahnOpcodes = map[string]byte{
	"cont": 0, "text": opText, "bin": opBinary, "close": opClose, "ping": opPing, "pong": opPong, "some": 0xff,
}

// parse reads a step or a reply.
func (c *autobahnCase) parse(t *testing.T, step string) (f autobahnFrame) {
	t.Helper()
	w := quotedFields(t, step)
	next := func() string {
		if len(w) == 0 {
			t.Fatalf("%s: %q breaks off", c.number, step)
		}
		s := w[0]
		w = w[1:]
		return s
	}
	number := func() int {
		n, err := strconv.Atoi(next())
		if err != nil {
			t.Fatalf("%s: %q: %v", c.number, step, err)
		}
		return n
	}
	f.times = 1
	var unit []byte // what may be repeated
	kind := next()
	if kind == "times" {
		f.times = timesOf1000 * number() / 1000
		if c.compressed {
			f.times = deflateTimes
		}
		if raceEnabled {
			f.times = max(f.times/raceTimes, 1)
		}
		kind = next()
	}
	kind, rsv, _ := strings.Cut(kind, "/")
	kind, open := strings.CutSuffix(kind, "-")
	op, known := autobahnOpcodes[kind]
	if n, found := strings.CutPrefix(kind, "op"); found {
		v, err := strconv.Atoi(n)
		op, known = byte(v), err == nil
	}
	if !known {
		t.Fatalf("%s: %q is no kind of frame", c.number, step)
	}
	if kind == "some" {
		kind = next()
		op = opBinary
		if kind == "json" || kind == "html" {
			op = opText
		}
		unit = sampleOf(kind)
		f.payload = unit
	}
	f.first = op
	if !open {
		f.first |= fin
	}
	if rsv != "" {
		f.first |= (rsv[0] - '0') << 4 // as the suite counts: 4 is RSV1
	}
	for len(w) > 0 {
		switch s := next(); {
		case s[0] == '"':
			unit = []byte(unquote(t, s))
			f.payload = append(f.payload, unit...)
		case s == "x":
			n := number()
			if raceEnabled && n > raceLargest {
				n = raceLargest
			}
			before := f.payload[:len(f.payload)-len(unit)]
			f.payload = append(before, bytes.Repeat(unit, n/max(len(unit), 1)+1)[:n]...)
		case s == "chop":
			f.chop = number()
		case s == "frag":
			f.frag = number()
		case op == opClose:
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("%s: %q: %v", c.number, step, err)
			}
			f.payload = binary.BigEndian.AppendUint16(nil, uint16(n))
		default:
			t.Fatalf("%s: %q has %q", c.number, step, s)
		}
	}
	return f
}

// sampleOf makes data of a kind: the same each time.
func sampleOf(kind string) []byte {
	const size = 128 << 10
	rng := rand.New(rand.NewPCG(uint64(len(kind)), 1))
	words := strings.Fields("a tracker tells peers of a swarm about each other and relays what they offer and answer so that they can connect")
	var b bytes.Buffer
	for b.Len() < size {
		switch kind {
		case "json":
			b.WriteString(offerText(rng))
		case "html":
			fmt.Fprintf(&b, "<li class=\"peer\"><a href=\"/peer/%d\">%s %s</a></li>\n", rng.IntN(1e6), words[rng.IntN(len(words))], words[rng.IntN(len(words))])
		case "prose":
			b.WriteString(words[rng.IntN(len(words))] + " ")
		case "picture":
			b.WriteByte(byte(b.Len()/512+b.Len()%512/4) + byte(rng.IntN(4)))
		default:
			b.WriteByte(byte(rng.Uint32()))
		}
	}
	return b.Bytes()[:size]
}
