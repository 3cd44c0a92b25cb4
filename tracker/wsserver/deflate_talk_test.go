package wsserver

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/draeder/peerservers/tracker"
)

const (
	rsv1       = 0x40
	offersThis = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
)

// compressing runs a server that compresses.
func (e engine) compressing(t *testing.T, echo bool) *instance {
	return e.start(t, func(c *Config, _ *tracker.Config) { c.Compress, c.Echo = 200, echo })
}

// recvPlain reads a data frame and says whether it was compressed.
func (c *client) recvPlain() (op byte, compressed bool, text string) {
	c.t.Helper()
	op, compressed, p, err := readServerFrame(c.br)
	if err != nil {
		c.t.Fatal(err)
	}
	if op != opText && op != opBinary {
		c.t.Fatalf("opcode %x, %q", op, p)
	}
	if compressed {
		return op, true, inflateBy(c.t, p)
	}
	return op, false, string(p)
}

// The response is in the handshake when it was asked for and is switched on.
func TestDeflateIsNegotiated(t *testing.T) { onBoth(t, testDeflateIsNegotiated) }

func testDeflateIsNegotiated(t *testing.T, e engine) {
	in := e.compressing(t, false)
	const want = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for offer, want := range map[string]string{
		offersThis: want,
		"Sec-WebSocket-Extensions: x-this\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10": want + "; server_max_window_bits=10",
		"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7":                                      "",
		"X-Nothing: asked": "",
	} {
		c := in.dial("/", offer)
		if got := strings.Join(c.resp.Header["Sec-Websocket-Extensions"], "|"); got != want {
			t.Errorf("%q: %q, want %q", offer, got, want)
		}
		c.join(hash, pid("p"))
	}
	off := e.start(t, nil)
	if c := off.dial("/", offersThis); c.resp.Header["Sec-Websocket-Extensions"] != nil {
		t.Errorf("it is off: %v", c.resp.Header)
	}
}

// Messages come back as they were sent, compressed, in pieces, with pings
// between them, or neither; what is short, or does not gain, or has no room in
// the window is not compressed.
func TestDeflateEcho(t *testing.T) { onBoth(t, testDeflateEcho) }

func testDeflateEcho(t *testing.T, e engine) {
	in := e.compressing(t, true)
	rng := rand.New(rand.NewPCG(11, 12))
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	texts := []string{
		"", "Hello", strings.Repeat("x", 199), strings.Repeat("x", 200), string(noise), offerText(rng),
	}
	for _, n := range []int{20, 150} {
		var many strings.Builder
		for range n {
			many.WriteString(offerText(rng))
		}
		texts = append(texts, many.String())
	}
	for _, offer := range []string{offersThis, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=11"} {
		c := in.dial("/", offer)
		small := strings.Contains(offer, "11")
		expect := func(op byte, text string) {
			t.Helper()
			got, compressed, back := c.recvPlain()
			if got != op || back != text {
				t.Fatalf("%d bytes of opcode %x: opcode %x, %d bytes", len(text), op, got, len(back))
			}
			if want := len(text) >= 200 && text != string(noise) && !(small && len(text) > 2048); compressed != want {
				t.Errorf("%d bytes: compressed %t, window small %t", len(text), compressed, small)
			}
		}
		for _, text := range texts {
			op := byte(opText)
			if text == string(noise) {
				op = opBinary
			}
			c.write(frame(fin|op, []byte(text)))
			expect(op, text)
			packed := deflateBy(t, 6, text)
			if text == "" {
				packed = []byte{0}
			}
			c.write(frame(fin|rsv1|op, packed))
			expect(op, text)
			// Cut anywhere, with empty pieces and control frames between.
			at := rng.IntN(len(packed) + 1)
			c.write(frame(rsv1|op, packed[:at]))
			c.write(frame(0, nil))
			c.write(frame(fin|opPing, []byte("sync")))
			if op, p, err := c.readFrame(); op != opPong || string(p) != "sync" || err != nil {
				t.Fatalf("opcode %x, %q, %v", op, p, err)
			}
			c.write(frame(0, packed[at:]))
			c.write(frame(fin, nil))
			expect(op, text)
		}
		c.write(frame(fin|opClose, closeBody(1000, "")))
		c.expectClose(1000)
		c.nc.Close()
	}
}

// Peers with and without compression understand each other.
func TestDeflateTracker(t *testing.T) { onBoth(t, testDeflateTracker) }

func testDeflateTracker(t *testing.T, e engine) {
	in := e.compressing(t, false)
	plain, packed := in.dial("/"), in.dial("/", offersThis)
	plain.join(hash, pid("p"))
	packed.write(frame(fin|rsv1|opText, deflateBy(t, 1, announce(hash, pid("c")))))
	if _, _, text := packed.recvPlain(); !strings.Contains(text, "interval") {
		t.Fatal(text)
	}
	sdp := offerText(rand.New(rand.NewPCG(13, 14)))
	packed.write(frame(fin|rsv1|opText, deflateBy(t, 1, announce(hash, pid("c"), sdp))))
	packed.recvPlain()
	if m := plain.recvJSON(); m.PeerID != pid("c") || !bytes.Contains(m.Offer, []byte("fingerprint")) {
		t.Errorf("%+v", m)
	}
	plain.send(announce(hash, pid("p"), sdp))
	plain.recv()
	if _, compressed, text := packed.recvPlain(); !compressed || !strings.Contains(text, "fingerprint") {
		t.Errorf("compressed %t: %q", compressed, text)
	}
}

// RFC 7692, 6 and RFC 6455, 5.2: where RSV1 may not be, and what ends a
// connection besides.
func TestDeflateViolations(t *testing.T) { onBoth(t, testDeflateViolations) }

func testDeflateViolations(t *testing.T, e engine) {
	in := e.compressing(t, true)
	hello := deflateBy(t, 6, "Hello")
	join := func(frames ...[]byte) []byte { return bytes.Join(frames, nil) }
	for name, c := range map[string]struct {
		bytes []byte
		code  int
		why   endReason
	}{
		"RSV1 on a ping":           {frame(fin|rsv1|opPing, nil), 1002, endProtocol},
		"RSV1 on a pong":           {frame(fin|rsv1|opPong, nil), 1002, endProtocol},
		"RSV1 on a close":          {frame(fin|rsv1|opClose, closeBody(1000, "")), 1002, endProtocol},
		"RSV1 on a later fragment": {join(frame(rsv1|opText, hello[:3]), frame(fin|rsv1, hello[3:])), 1002, endProtocol},
		"RSV1 there for the first": {join(frame(opText, []byte("x")), frame(fin|rsv1, hello)), 1002, endProtocol},
		"RSV2":                     {frame(fin|0x20|opText, hello), 1002, endProtocol},
		"RSV1 and RSV3":            {frame(fin|rsv1|0x10|opText, hello), 1002, endProtocol},
		"an unknown opcode":        {frame(fin|rsv1|3, hello), 1002, endProtocol},
		"garbage":                  {frame(fin|rsv1|opBinary, []byte("\xff\xff\xff\xff")), 1007, endDeflate},
		"cut off":                  {frame(fin|rsv1|opText, hello[:3]), 1007, endDeflate},
		"garbage in fragments":     {join(frame(rsv1|opBinary, []byte("\xff\xff")), frame(fin, []byte("\xff\xff"))), 1007, endDeflate},
		"text that is none":        {frame(fin|rsv1|opText, deflateBy(t, 6, "a\xff\xffb")), 1007, endUTF8},
		"a bomb":                   {frame(fin|rsv1|opText, deflateBy(t, 9, strings.Repeat("x", 1<<20))), 1009, endTooBig},
		"a small one":              {frame(fin|rsv1|opText, deflateBy(t, 9, strings.Repeat("x", 10_000))), 1009, endTooBig},
		"compressed and too long":  {frame(fin|rsv1|opText, make([]byte, 256<<10+1)), 1009, endTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			before := in.srv.Stats().Ended[c.why.String()]
			cl := in.dial("/", offersThis)
			cl.t = t
			cl.write(c.bytes)
			cl.expectClose(c.code)
			cl.nc.Close()
			in.until("it is counted", func() bool { return in.srv.Stats().Ended[c.why.String()] == before+1 })
		})
	}
	// Without agreement there is none of it.
	cl := in.dial("/")
	cl.write(frame(fin|rsv1|opText, hello))
	cl.expectClose(1002)
	cl.nc.Close()
}
