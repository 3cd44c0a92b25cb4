package trackertest

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// hub is a world that is no tracker: what one connection sends, all others
// receive. "close" closes the sender with 1008, "all" answers nobody else.
type hub struct {
	conns  []*hubConn
	passed time.Duration
	down   bool
}

func (h *hub) Kind() Kind { return KindCore }

func (h *hub) Open(o Open) (Conn, error) {
	if h.down {
		return nil, errors.New("down")
	}
	if o.Origin == "evil" {
		return nil, &RefusedError{403}
	}
	c := &hubConn{hub: h}
	h.conns = append(h.conns, c)
	return c, nil
}

func (h *hub) Settle() error                 { return nil }
func (h *hub) Advance(d time.Duration) error { h.passed += d; return nil }
func (h *hub) Swarms() int                   { return len(h.conns) }
func (h *hub) Drain() error                  { h.down = true; return nil }
func (h *hub) Shutdown() error               { return errors.New("never") }
func (h *hub) Get(path, _ string) (Page, error) {
	return Page{200, "text/plain; charset=utf-8", []byte(`{"path":"` + path + `"}`)}, nil
}

type hubConn struct {
	hub   *hub
	inbox Inbox
}

func (c *hubConn) Send(f Frame) error {
	if string(f.Data) == "close" {
		c.inbox.Closed(1008)
		return nil
	}
	for _, other := range c.hub.conns {
		if other != c {
			other.inbox.Put(f.Data, f.Binary)
		}
	}
	return nil
}

func (c *hubConn) Ping() error   { c.inbox.Pinged(); return nil }
func (c *hubConn) Stall()        {}
func (c *hubConn) Probe()        {}
func (c *hubConn) Close()        {}
func (c *hubConn) Drop()         {}
func (c *hubConn) Inbox() *Inbox { return &c.inbox }

// TestRun holds the runner to noticing everything that a talk could say in
// vain: a runner that passes whatever happens proves nothing.
func TestRun(t *testing.T) {
	const open = "A: open\nB: open\nC: open\n"
	for _, tt := range []struct{ name, text, want string }{
		{"frame", open + "A> {\"x\":1}\nB,C< {\"x\":1}\n", ""},
		{"other frame", open + "A> {\"x\":1}\nB,C< {\"x\":2}\n", "line 8: B: \"x\": 1, want 2"},
		{"no frame", open + "B< {...}\n", "received nothing"},
		{"left over", open + "A> {}\nB< {}\n", "at the end, C has received more"},
		{"nothing", open + "A> {}\nB< {}\nC< nothing\n", "C: received {}"},
		{"nothing comes", open + "A,B,C< nothing\n", ""},
		{"binary", open + "A>binary {}\nB,C< {}\n", "a binary frame"},
		{"set", open + "A> {\"x\":1}\nA> {\"x\":2}\nB<* {\"x\":2}\nB<* {\"x\":1}\nC< {\"x\":1}\nC< {\"x\":2}\n", ""},
		{"set too small", open + "A> {\"x\":1}\nB<* {\"x\":1}\nB<* {\"x\":1}\nC< {...}\n", "received 1 frames less"},
		{"set with another", open + "A> {\"x\":3}\nB<* {\"x\":1}\nB<* {\"x\":2}\n", "want 1"},
		{"one of them", "A: open\nB: open\nA> {\"x\":1}\nA|B as X< {\"x\":1}\ncheck ${X} = B\nX> {}\nA< {}\n", ""},
		{"none of them", open + "A|B as X< {}\n", "none of them"},
		{"two of them", open + "A> {}\nA|B|C as X< {}\nA,B,C< nothing\n", "received {}"},
		{"order", open + "A> {\"x\":1}\nA> {\"x\":2}\nB< {\"x\":2}\n", "want 2"},
		{"closed", "A: open\nA> close\nA: closed 1008\n", ""},
		{"closed otherwise", "A: open\nA> close\nA: closed 1009\n", "closed with 1008, want 1009"},
		{"not closed", "A: open\nA: closed 1008\n", "still open"},
		{"gone", "A: open\nA> close\nA: gone\n", ""},
		{"not gone", "A: open\nA: gone\n", "still open"},
		{"not alive", "A: open\nA> close\nA: alive\n", "closed with 1008"},
		{"closed unasked", "A: open\nA> close\n", "at the end, A is closed"},
		{"after its end", "A: open\nA: close\nA> {}\n", "has ended"},
		{"opened twice", "A: open\nA: open\n", "open already"},
		{"never opened", "A: open\nB> {}\n", "never opened"},
		{"refused", "A: open origin=evil status=403\n", ""},
		{"refused otherwise", "A: open origin=evil status=404\n", "status 403"},
		{"let in", "A: open status=403\n", "was let in"},
		{"not let in", "A: open\ndrain\nB: open status=none\n", ""},
		{"shutdown fails", "A: open\nshutdown\n", "never"},
		{"pinged", "A: open\nA: ping\nA: pinged\n", ""},
		{"pinged once", "A: open\nA: ping\nA: pinged\nA: pinged\n", "not pinged"},
		{"swarms", open + "swarms 3\n", ""},
		{"other swarms", open + "swarms 2\n", "3 swarms, want 2"},
		{"check", "A: open\ncheck 1 < 2\ncheck b in a b\ncheck 3 > 2\ncheck a != b\n", ""},
		{"check fails", "A: open\ncheck 2 < 1\n", "not so"},
		{"check of words", "A: open\ncheck a < b\n", "invalid syntax"},
		{"collect", "A: open\nrepeat 3 as i\ncollect s ${i}\ncollect s 1\nend\ncheck ${count s} = 3\n", ""},
		{"in a round", "A: open\nrepeat 3 as i\ncheck ${i} < 2\nend\n", "round 2"},
		{"ranges", "repeat 3 as i\nP${i}: open\nend\nP1> {}\nP2..P3< {}\n", ""},
		{"no range", "A: open\nP3..P1< {}\n", "no range"},
		{"page", "A: open\nhttp /x\nhttp< 200 text/plain\nhttp< {\"path\":\"/x\"}\n", ""},
		{"page otherwise", "A: open\nhttp /x\nhttp< 200 text/html\n", "content type"},
		{"page of another status", "A: open\nhttp /x\nhttp< 404\n", "status 200"},
		{"no page", "A: open\nhttp< 200\n", "nothing was fetched"},
		{"unknown name", "A: open\nA> ${nobody}\n", "nothing is called"},
		{"captures anew", "A: open\nB: open\nrepeat 2 as i\nA> {\"x\":\"${i}\"}\nB< {\"x\":$x}\ncheck ${x} = ${i}\nend\n", ""},
		{"fuzz", "A: open\nB: open\nA: fuzz 3 1\nB: stall\n", ""},
	} {
		talks, err := Parse(file("case 1\non core\ntalk x\n"+tt.text), "x.talk")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		err = Run(talks[0], &hub{})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestRunElsewhere(t *testing.T) {
	talks, err := Parse(file("case 1\non sockets\ntalk x\nA: open\n"), "x.talk")
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(talks[0], &hub{}); err == nil {
		t.Error("ran on a target that it does not name")
	}
}

func TestSurvivable(t *testing.T) {
	for frame, ok := range map[string]bool{
		`{"action":"announce","info_hash":"","failure reason":"x"}`: true,
		`{"action":"scrape","info_hash":"","failure reason":"x"}`:   true,
		`{"action":"scrape","files":{}}`:                            true,
		`{"failure reason":"x"}`:                                    false,
		`{"action":"announce","failure reason":"x"}`:                false,
		`{"action":"announce","info_hash":null}`:                    false,
		`{"action":"welcome","info_hash":""}`:                       false,
		`null`:                                                      false,
		`{`:                                                         false,
	} {
		if err := survivable(received{data: []byte(frame)}); (err == nil) != ok {
			t.Errorf("%s: %v", frame, err)
		}
	}
}
