package wsserver

import (
	"fmt"
	"strings"
	"testing"
)

// Case 1: any path, with and without an origin; neither a subprotocol nor an
// extension is ever selected.
func TestUpgradeOnAnyPath(t *testing.T) { onBoth(t, testUpgradeOnAnyPath) }

func testUpgradeOnAnyPath(t *testing.T, e engine) {
	in := e.start(t, nil)
	for i, path := range []string{"/", "/announce", "/x/y?z=1"} {
		for j, headers := range [][]string{
			nil,
			{"Origin: https://example.org"},
			{"Sec-WebSocket-Protocol: bittorrent, peerservers.v1", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"},
		} {
			c := in.dial(path, headers...)
			for _, name := range []string{"Sec-Websocket-Protocol", "Sec-Websocket-Extensions"} {
				if v, ok := c.resp.Header[name]; ok {
					t.Errorf("%s: %s was negotiated: %q", path, name, v)
				}
			}
			c.join(hash, pid(fmt.Sprint(i, j)))
		}
	}
}

// Case 2: a binary frame is as good as text; what comes back is text, which
// recv insists on.
func TestBinaryIsText(t *testing.T) { onBoth(t, testBinaryIsText) }

func testBinaryIsText(t *testing.T, e engine) {
	in := e.start(t, nil)
	a, b := in.dial("/"), in.dial("/")
	a.join(hash, pid("a"))
	b.write(frame(fin|opBinary, []byte(announce(hash, pid("b"), "sdp-b"))))
	if m := b.recvJSON(); m.Interval == 0 {
		t.Errorf("reply: %+v", m)
	}
	if m := a.recvJSON(); m.PeerID != pid("b") || string(m.Offer) == "" {
		t.Errorf("offer: %+v", m)
	}
}

// Case 3: fragments, with a ping between them, and an offer of 60 KB.
func TestFragmentsAndLargeOffers(t *testing.T) { onBoth(t, testFragmentsAndLargeOffers) }

func testFragmentsAndLargeOffers(t *testing.T, e engine) {
	in := e.start(t, nil)
	a, b := in.dial("/"), in.dial("/")
	a.join(hash, pid("a"))
	sdp := strings.Repeat("v=0 ", 15_000)
	text := []byte(announce(hash, pid("b"), sdp))
	b.write(frame(opText, text[:100]))
	b.write(frame(fin|opPing, []byte("between")))
	b.write(frame(0, text[100:100]))
	b.write(frame(0, text[100:30_000]))
	b.write(frame(fin, text[30_000:]))
	// The pong may come before the reply or after it, but it comes.
	got := map[byte]string{}
	for range 2 {
		op, p, err := b.readFrame()
		if err != nil {
			t.Fatal(err)
		}
		got[op] = string(p)
	}
	if got[opPong] != "between" || !strings.Contains(got[opText], `"interval"`) {
		t.Errorf("pong and reply: %q", got)
	}
	if m := a.recvJSON(); !strings.Contains(string(m.Offer), sdp) {
		t.Errorf("the offer arrived changed: %d bytes", len(m.Offer))
	}
}

// Case 3: a message above the limit closes with 1009, in one frame or in many,
// and its sender leaves its swarms.
func TestMessageTooBig(t *testing.T) { onBoth(t, testMessageTooBig) }

func testMessageTooBig(t *testing.T, e engine) {
	in := e.start(t, nil)
	for name, send := range map[string]func(c *client){
		"one frame": func(c *client) { c.write(frame(fin|opText, make([]byte, 256<<10+1))[:1000]) },
		"fragments": func(c *client) {
			c.write(frame(opText, make([]byte, 200<<10)))
			c.write(frame(fin, make([]byte, 56<<10+1)))
		},
		"an absurd length": func(c *client) {
			c.write([]byte{fin | opText, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := in.dial("/")
			c.t = t
			c.join(hash, pid("c"))
			send(c)
			c.expectClose(1009)
			in.until("the member is gone", func() bool { return in.members(hash) == 0 })
		})
	}
	c := in.dial("/")
	c.join(hash, pid("d"))
	full := announce(hash, pid("d"))
	c.send(full + strings.Repeat(" ", 256<<10-len(full)))
	if m := c.recvJSON(); m.Interval == 0 {
		t.Errorf("a message of exactly the limit: %+v", m)
	}
}

// Cases 5 and 6: what is no request leaves the connection open; every answer
// has an action and a string info_hash.
func TestGarbage(t *testing.T) { onBoth(t, testGarbage) }

func testGarbage(t *testing.T, e engine) {
	in := e.start(t, nil)
	c := in.dial("/")
	for _, text := range []string{"garbage", "", "null", "[]", "5", `{"action":"wat","info_hash":"` + hash + `"}`, `{}`,
		`{"action":"scrape","info_hash":5}`, `{"action":"announce"}`} {
		c.send(text)
		m := c.recvJSON()
		want := "announce"
		if strings.Contains(text, "scrape") {
			want = "scrape"
		}
		if m.Action != want || m.InfoHash == nil || m.Failure == "" {
			t.Errorf("to %q: %+v", text, m)
		}
	}
	if m := c.join(hash, pid("c")); *m.Incomplete != 1 {
		t.Errorf("after it: %+v", m)
	}
	// Binary that is no text is a fault of the request, not of the protocol.
	c.write(frame(fin|opBinary, []byte{0xff, 0xfe}))
	if m := c.recvJSON(); m.Failure == "" {
		t.Errorf("binary: %+v", m)
	}
}

// Sixteen frames within a minute that are no JSON objects: no client.
func TestStrikes(t *testing.T) { onBoth(t, testStrikes) }

func testStrikes(t *testing.T, e engine) {
	in := e.start(t, nil)
	c := in.dial("/")
	for range 16 {
		c.send("garbage")
	}
	c.expectClose(1008)
}

// An offer is answered: byte for byte both ways, nothing to whoever answers.
func TestOfferAndAnswer(t *testing.T) { onBoth(t, testOfferAndAnswer) }

func testOfferAndAnswer(t *testing.T, e engine) {
	in := e.start(t, nil)
	a, b := in.dial("/"), in.dial("/")
	a.join(hash, pid("a"))
	b.send(`{"action":"announce","info_hash":"` + hash + `","peer_id":"` + pid("b") + `","left":0,"numwant":1,` +
		`"offers":[{"offer_id":"\u00e9x","offer":{ "sdp" : "v=0", "type":"offer","foo":1.50 }}]}`)
	if m := b.recvJSON(); *m.Complete != 1 || *m.Incomplete != 1 {
		t.Errorf("reply: %+v", m)
	}
	m := a.recvJSON()
	if string(m.Offer) != `{ "sdp" : "v=0", "type":"offer","foo":1.50 }` || string(m.OfferID) != `"\u00e9x"` || m.PeerID != pid("b") {
		t.Errorf("offer: %+v", m)
	}
	a.send(`{"action":"announce","info_hash":"` + hash + `","peer_id":"` + pid("a") + `","to_peer_id":"` + pid("b") +
		`","offer_id":"éx","answer":{"type":"answer","sdp":"v=1"}}`)
	m = b.recvJSON()
	if string(m.Answer) != `{"type":"answer","sdp":"v=1"}` || m.PeerID != pid("a") || m.Interval != 0 {
		t.Errorf("answer: %+v", m)
	}
	a.sync() // fails on any frame but the pong
}
