package wsserver

import (
	"bytes"
	"testing"

	"github.com/draeder/peerservers/tracker"
)

// What is sent comes back as it was, whatever its length and kind; control
// frames are none of it.
func TestEcho(t *testing.T) { onBoth(t, testEcho) }

func testEcho(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) { c.Echo = true })
	c := in.dial("/")
	for _, n := range []int{0, 1, 125, 126, 1536, 1537, 65_535, 65_536, 256 << 10} {
		for _, op := range []byte{opText, opBinary} {
			msg := bytes.Repeat([]byte("x"), n)
			c.write(frame(fin|op, msg))
			if got, p, err := c.readFrame(); err != nil || got != op || !bytes.Equal(p, msg) {
				t.Fatalf("%d bytes of opcode %x: opcode %x, %d bytes, %v", n, op, got, len(p), err)
			}
		}
	}
	c.write(frame(opText, []byte("frag")))
	c.sync()
	c.write(frame(fin, []byte("ment")))
	if p := c.recv(); string(p) != "fragment" {
		t.Errorf("%q", p)
	}
	if resp, body := in.get("GET", "/stats.json"); resp.StatusCode != 200 {
		t.Errorf("statistics: %s %s", resp.Status, body)
	}
}

// It needs no tracker.
func TestEchoAlone(t *testing.T) {
	s, err := New(Config{Echo: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := s.summarise(); n.websockets != 0 || n.peers != 0 {
		t.Errorf("%+v", n)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("neither a tracker nor an echo")
	}
}
