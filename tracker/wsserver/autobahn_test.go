package wsserver

import (
	"bytes"
	"compress/flate"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
)

// The suite sends 1,000 messages in some cases, one after the other, and up to
// 16 MiB in one. That is for measuring; here it is about correctness on a
// machine that has more to do.
const (
	timesOf1000  = 100
	deflateTimes = 10
	raceTimes    = 10
	raceLargest  = 512 << 10
)

// testEngines are the engines of this system.
func testEngines() []string {
	if haveLoops {
		return []string{EnginePortable, EngineLoops}
	}
	return []string{EnginePortable}
}

// TestAutobahn runs the cases in testdata/autobahn, whose README.md says what
// they are.
func TestAutobahn(t *testing.T) {
	cases := autobahnCases(t, "cases.txt", "limits.txt")
	packed := autobahnCases(t, "deflate.txt")
	if len(cases) != 301 || len(packed) != 12*18 {
		t.Fatalf("%d and %d cases", len(cases), len(packed))
	}
	cert, key := writeCert(t, t.TempDir(), "localhost")
	for _, engine := range testEngines() {
		for _, scheme := range []string{"ws", "wss", "wss records"} {
			secure := scheme != "ws"
			records := scheme == "wss records"
			if records && engine != EngineLoops {
				continue
			}
			t.Run(engine+"/"+scheme, func(t *testing.T) {
				t.Parallel()
				in := start(t, func(c *Config, _ *tracker.Config) {
					c.Echo, c.Engine, c.Compress = true, engine, 1
					c.MaxMessage, c.SoftBacklog, c.HardBacklog = 16<<20, 20<<20, 40<<20
					if secure {
						c.CertFile, c.KeyFile, c.TLSRecords = cert, key, records
					}
				})
				dial := func() net.Conn {
					if secure {
						return in.dialTLS(&tls.Config{InsecureSkipVerify: true})
					}
					nc, err := net.Dial("tcp", in.addr)
					if err != nil {
						t.Fatal(err)
					}
					return nc
				}
				for _, c := range cases {
					c.run(t, dial())
				}
				if !secure { // what is compressed does not depend on it
					for _, c := range packed {
						c.run(t, dial())
					}
				}
			})
		}
	}
}

// run plays the case and judges what comes back.
func (c *autobahnCase) run(t *testing.T, nc net.Conn) {
	t.Helper()
	defer nc.Close()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("case %s: "+format, append([]any{c.number}, args...)...)
	}
	nc.SetDeadline(time.Now().Add(patience))
	cl := upgradeClient(t, nc, "/", c.headers...)
	nc.SetDeadline(time.Now().Add(patience))
	var echoes []autobahnFrame
	closed := false
	for _, step := range c.steps {
		if step == "pause" {
			continue // each step is a write of its own
		}
		f := c.parse(t, step)
		for i := range f.times {
			// What a server that has failed the connection does not read any
			// more is not for the writer to judge.
			if err := c.send(nc, f); err != nil && c.end != "fail" && c.end != "any" {
				fail("%v", err)
				return
			}
			if f.times > 1 && i < f.times-1 {
				if err := c.expect(cl, f); err != nil {
					fail("message %d: %v", i, err)
					return
				}
			}
		}
		closed = closed || f.first&0xf == opClose
		if op := f.first & 0xf; op == opText || op == opBinary {
			echoes = append(echoes, f)
		}
	}
	if c.end == "any" {
		return
	}
	if len(c.replies) == 1 && c.replies[0] == "echo" {
		for _, f := range echoes {
			if err := c.expect(cl, f); err != nil {
				fail("%v", err)
				return
			}
		}
	} else {
		for _, r := range c.replies {
			// What the suite lets a server leave out, ours does not.
			if err := c.expect(cl, c.parse(t, strings.TrimPrefix(r, "?"))); err != nil {
				fail("%v", err)
				return
			}
		}
	}
	if c.end == "" && !closed {
		nc.Write(frame(fin|opClose, closeBody(1000, "")))
	}
	if err := c.expectEnd(cl); err != nil {
		fail("%v", err)
	}
}

// send writes a frame, or the frames of a message.
func (c *autobahnCase) send(nc net.Conn, f autobahnFrame) error {
	payload, first := f.payload, f.first
	if c.compressed {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestSpeed)
		if err != nil {
			return err
		}
		w.Write(payload)
		w.Flush()
		payload, first = bytes.TrimSuffix(b.Bytes(), []byte(flushed)), first|rsv1
	}
	var out []byte
	if f.frag == 0 {
		out = frame(first, payload)
	} else {
		for begun := false; len(payload) > 0; begun = true {
			n := min(f.frag, len(payload))
			head := first &^ fin
			if begun {
				head = 0
			}
			if n == len(payload) {
				head |= fin
			}
			out = append(out, frame(head, payload[:n])...)
			payload = payload[n:]
		}
	}
	if f.chop == 0 {
		f.chop = len(out)
	}
	for piece := range slices.Chunk(out, f.chop) {
		if _, err := nc.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// expect reads a frame.
func (c *autobahnCase) expect(cl *client, want autobahnFrame) error {
	op, packed, p, err := readServerFrame(cl.br)
	if err != nil {
		return err
	}
	if packed {
		if !c.compressed {
			return errors.New("compressed, unasked")
		}
		if p, err = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader(tail)))); err != nil {
			return err
		}
	}
	if op != want.first&0xf || !bytes.Equal(p, want.payload) {
		return fmt.Errorf("opcode %x with %d bytes, %.50q; want %x with %d", op, len(p), p, want.first&0xf, len(want.payload))
	}
	return nil
}

// expectEnd reads the close frame and the end of the stream.
func (c *autobahnCase) expectEnd(cl *client) error {
	op, _, p, err := readServerFrame(cl.br)
	if err != nil {
		return fmt.Errorf("instead of a close frame: %w", err)
	}
	code := 1005
	if len(p) >= 2 {
		code = int(binary.BigEndian.Uint16(p))
	}
	if op != opClose || !slices.Contains(c.codes, code) {
		return fmt.Errorf("opcode %x, code %d, %.50q; want a close with %d", op, code, p, c.codes)
	}
	if n, err := io.Copy(io.Discard, cl.br); n > 0 || isTimeout(err) {
		return fmt.Errorf("after the close frame %d bytes and %v", n, err)
	}
	return nil
}
