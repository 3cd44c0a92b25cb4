package wsserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

func closeBody(code int, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}

// What breaks RFC 6455, section by section, and the code that it is closed
// with. The member leaves, and nobody else notices.
func TestViolations(t *testing.T) { onBoth(t, testViolations) }

func testViolations(t *testing.T, e engine) {
	in := e.start(t, nil)
	witness := in.dial("/")
	witness.join(hash2, pid("w"))
	unmasked := []byte{fin | opText, 2, '{', '}'}
	for name, c := range map[string]struct {
		bytes []byte
		code  int
	}{
		"5.1 unmasked":                     {unmasked, 1002},
		"5.2 RSV1":                         {frame(fin|0x40|opText, []byte("{}")), 1002},
		"5.2 RSV3 on a ping":               {frame(fin|0x10|opPing, nil), 1002},
		"5.2 opcode 3":                     {frame(fin|3, nil), 1002},
		"5.2 opcode 11":                    {frame(fin|11, nil), 1002},
		"5.2 length 5 in two bytes":        {[]byte{fin | opText, 0x80 | 126, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5}, 1002},
		"5.2 length 200 in eight bytes":    {[]byte{fin | opText, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0}, 1002},
		"5.2 length with its top bit":      {[]byte{fin | opText, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1002},
		"5.4 continuation of nothing":      {frame(fin, []byte("x")), 1002},
		"5.4 continuation after the end":   {append(frame(fin|opText, []byte(`{"action":"scrape","info_hash":[]}`)), frame(0, nil)...), 1002},
		"5.4 text within a message":        {append(frame(opText, []byte("{")), frame(fin|opText, []byte("}"))...), 1002},
		"5.5 fragmented ping":              {frame(opPing, nil), 1002},
		"5.5 ping of 126 bytes":            {frame(fin|opPing, make([]byte, 126)), 1002},
		"5.5.1 close with one byte":        {frame(fin|opClose, []byte{3}), 1002},
		"7.4 close with 999":               {frame(fin|opClose, closeBody(999, "")), 1002},
		"7.4 close with 1004":              {frame(fin|opClose, closeBody(1004, "")), 1002},
		"7.4 close with 1005":              {frame(fin|opClose, closeBody(1005, "")), 1002},
		"7.4 close with 1006":              {frame(fin|opClose, closeBody(1006, "")), 1002},
		"7.4 close with 1015":              {frame(fin|opClose, closeBody(1015, "")), 1002},
		"7.4 close with 1016":              {frame(fin|opClose, closeBody(1016, "")), 1002},
		"7.4 close with 2000":              {frame(fin|opClose, closeBody(2000, "")), 1002},
		"7.4 close with 5000":              {frame(fin|opClose, closeBody(5000, "")), 1002},
		"7.4 close with 65535":             {frame(fin|opClose, closeBody(65535, "")), 1002},
		"8.1 close reason no UTF-8":        {frame(fin|opClose, closeBody(1000, "\xff")), 1007},
		"8.1 text no UTF-8":                {frame(fin|opText, []byte("{\"a\":\"\xc3\x28\"}")), 1007},
		"8.1 surrogate in UTF-8":           {frame(fin|opText, []byte("\"\xed\xa0\x80\"")), 1007},
		"8.1 no UTF-8 across fragments":    {append(frame(opText, []byte("\"\xc3")), frame(fin, []byte("\x28\""))...), 1007},
		"a close is answered with its own": {frame(fin|opClose, closeBody(1000, "bye")), 1000},
		"a close without a code":           {frame(fin|opClose, nil), 1005},
		"1012 is registered":               {frame(fin|opClose, closeBody(1012, "")), 1012},
		"3000":                             {frame(fin|opClose, closeBody(3000, "")), 3000},
		"4999":                             {frame(fin|opClose, closeBody(4999, "")), 4999},
	} {
		t.Run(name, func(t *testing.T) {
			cl := in.dial("/")
			cl.t = t
			cl.join(hash, pid("c"))
			cl.write(c.bytes)
			cl.expectClose(c.code)
			cl.nc.Close()
			in.until("the member is gone", func() bool { return in.members(hash) == 0 })
		})
	}
	witness.join(hash2, pid("w"))
}

// A code point may be split between fragments.
func TestRuneAcrossFragments(t *testing.T) { onBoth(t, testRuneAcrossFragments) }

func testRuneAcrossFragments(t *testing.T, e engine) {
	in := e.start(t, nil)
	c := in.dial("/")
	text := announce(hash, pid("é"))
	at := strings.Index(text, "é") + 1
	c.write(frame(opText, []byte(text[:at])))
	c.write(frame(fin, []byte(text[at:])))
	if m := c.recvJSON(); m.Interval == 0 {
		t.Errorf("%+v", m)
	}
}

// fakeControls counts control frames.
type fakeControls struct{ log []string }

func (f *fakeControls) ping(p []byte) { f.log = append(f.log, fmt.Sprintf("ping %x", p)) }
func (f *fakeControls) pong()         { f.log = append(f.log, "pong") }
func (f *fakeControls) spend() bool   { return true }
func (f *fakeControls) yield()        {}

// readAll is what a reader makes of a stream: messages and control frames, and
// the error in the end.
func readAll(src io.Reader, limit, ahead int, stream []byte) (log []string, err error) {
	var r reader
	var ctl fakeControls
	r.init(src, &ctl, new(buffers), unbounded(), limit, stream[:ahead])
	for {
		msg, text, err := r.next()
		log = append(log, ctl.log...)
		ctl.log = nil
		if err != nil {
			r.drop()
			return log, err
		}
		log = append(log, fmt.Sprintf("%t %x", text, msg))
	}
}

// However the bytes of a stream arrive, the messages are the same, and they are
// the ones that were sent.
func TestReaderDoesNotDependOnPacking(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var stream []byte
		var want []string
		for range rng.IntN(6) + 1 {
			msg := make([]byte, []int{0, 1, 125, 126, 1500, 1536, 1537, 5000, 20_000, 70_000}[rng.IntN(10)])
			for i := range msg {
				msg[i] = byte(rng.Uint32())
			}
			op := byte(opText + rng.IntN(2))
			rest, first := msg, true
			for {
				n := len(rest)
				if rng.IntN(3) == 0 {
					n = rng.IntN(len(rest) + 1)
				}
				head := op
				if !first {
					head = 0
				}
				last := n == len(rest)
				if last {
					head |= fin
				}
				stream = append(stream, frame(head, rest[:n])...)
				rest, first = rest[n:], false
				if last {
					break
				}
				if rng.IntN(3) == 0 {
					p := make([]byte, rng.IntN(126))
					stream = append(stream, frame(fin|opPing, p)...)
					want = append(want, fmt.Sprintf("ping %x", p))
				}
				if rng.IntN(5) == 0 {
					stream = append(stream, frame(fin|opPong, nil)...)
					want = append(want, "pong")
				}
			}
			want = append(want, fmt.Sprintf("%t %x", op == opText, msg))
		}
		stream = append(stream, frame(fin|opClose, closeBody(1000, ""))...)
		ahead := rng.IntN(min(len(stream), 4096) + 1)
		rest := func() io.Reader { return bytes.NewReader(stream[ahead:]) }
		for name, src := range map[string]io.Reader{
			"at once": rest(), "by the byte": iotest.OneByteReader(rest()), "by halves": iotest.HalfReader(rest()),
		} {
			got, err := readAll(src, 1<<20, ahead, stream)
			var peer *peerClosed
			if !errors.As(err, &peer) || peer.code != 1000 {
				t.Fatalf("round %d, %s: %v", round, name, err)
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Fatalf("round %d, %s: messages differ", round, name)
			}
		}
	}
}

// The length of a header buys no memory: only bytes do.
func TestPromisesCostNothing(t *testing.T) {
	var r reader
	head := frame(opText, make([]byte, 250<<10))[:14]
	r.init(bytes.NewReader(head), new(fakeControls), new(buffers), unbounded(), 256<<10, nil)
	if _, _, err := r.next(); err != io.EOF {
		t.Fatal(err)
	}
	if n := cap(r.msg.b); n > firstChunk {
		t.Errorf("%d bytes for a header", n)
	}
}

// A frame to a client has the shortest header, whatever its length.
func TestAppendText(t *testing.T) {
	for n := range 300 {
		checkText(t, n)
	}
	for _, n := range []int{65_000, 65_400, 65_460, 65_470, 65_480, 65_500, 65_535, 65_536, 70_000, 200_000} {
		for d := range 8 {
			checkText(t, n+d)
		}
	}
}

func checkText(t *testing.T, n int) {
	t.Helper()
	m := &wire.Message{Kind: wire.KindFailure, Reason: strings.Repeat("r", n)}
	want := wire.Append(nil, m)
	b := appendText([]byte("before"), m)[len("before"):]
	h, err := ws.ReadHeader(bytes.NewReader(b))
	if err != nil || ws.CheckHeader(h, ws.StateClientSide) != nil || h.OpCode != ws.OpText || !h.Fin {
		t.Fatalf("%d: %+v %v", n, h, err)
	}
	size := ws.HeaderSize(h)
	if int(h.Length) != len(want) || !bytes.Equal(b[size:], want) {
		t.Fatalf("%d: payload of %d bytes, header of %d says %d", n, len(want), size, h.Length)
	}
}

// Buffers go back where their capacity belongs.
func TestBuffers(t *testing.T) {
	var p buffers
	for _, n := range []int{0, 1, 4096, 4097, 16 << 10, 20_000, 256 << 10, 300_000} {
		b := p.get(n)
		if cap(b.b) < n || len(b.b) != 0 {
			t.Errorf("get(%d): %d of %d", n, len(b.b), cap(b.b))
		}
		b.b = append(b.b, make([]byte, 3*n)...)
		p.put(b)
	}
	for _, n := range []int{1, 5000, 20_000, 200_000} {
		for range 10 {
			if b := p.get(n); cap(b.b) < n || len(b.b) != 0 {
				t.Errorf("get(%d): %d of %d", n, len(b.b), cap(b.b))
			}
		}
	}
	p.put(nil)
}

// FuzzServerBytes: whatever follows the upgrade, the server neither panics nor
// harms another connection.
func FuzzServerBytes(f *testing.F) {
	for _, seed := range [][]byte{
		nil,
		[]byte("GET / HTTP/1.1\r\n\r\n"),
		frame(fin|opText, []byte(announce(hash, pid("f"), "sdp"))),
		append(frame(opText, []byte(`{"action":`)), frame(fin, []byte(`"scrape","info_hash":[]}`))...),
		append(frame(fin|opPing, []byte("p")), frame(fin|opClose, closeBody(1000, ""))...),
		{fin | opText, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4},
		frame(fin|opBinary, bytes.Repeat([]byte{0xff}, 2000)),
		bytes.Repeat(frame(fin|opText, []byte("[")), 20),
	} {
		f.Add(seed)
	}
	trk, err := tracker.New(tracker.DefaultConfig())
	if err != nil {
		f.Fatal(err)
	}
	srv, err := New(Config{Tracker: trk})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(srv.stop)
	connect := func() net.Conn {
		near, far := net.Pipe()
		if !srv.start(near, nil, tracker.Client{}, place{}, 0) {
			f.Fatal("draining")
		}
		return far
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		witness := pipeReader(connect())
		witness.t = t
		defer witness.nc.Close()
		far := connect()
		done := make(chan struct{})
		go func() {
			defer close(done)
			io.Copy(io.Discard, far)
		}()
		far.SetWriteDeadline(time.Now().Add(patience))
		far.Write(b) // fails as soon as the server has hung up
		far.Close()
		<-done
		witness.join(hash2, pid("w"))
	})
}
