package wsserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// fakeFrames notes what a decoder says.
type fakeFrames struct{ fakeControls }

func (f *fakeFrames) message(msg []byte, op ws.OpCode, deflated bool) error {
	if deflated {
		f.log = append(f.log, fmt.Sprintf("deflated %x", msg))
		return nil
	}
	f.log = append(f.log, fmt.Sprintf("%t %x", op == ws.OpText, msg))
	return nil
}

// decodeAll is what a decoder makes of a stream that arrives in pieces, which
// are used again at once.
func decodeAll(rng *rand.Rand, limit int, stream []byte) (log []string, err error) {
	d := decoder{limit: limit, pool: new(buffers)}
	var f fakeFrames
	var at *partial
	buf := make([]byte, 200_000)
	for len(stream) > 0 {
		n := min(len(stream), rng.IntN([]int{2, 20, 2000, len(buf)}[rng.IntN(4)])+1)
		in := buf[:copy(buf[:n], stream)]
		stream = stream[n:]
		if err := d.feed(&at, in, &f, 0); err != nil {
			d.drop(&at)
			return f.log, err
		}
		for i := range in {
			in[i] = 0xa5
		}
	}
	if at != nil {
		err = errors.New("something is left over")
	}
	return f.log, err
}

// streamOfFrames is frames, most of them right.
func streamOfFrames(rng *rand.Rand) (stream []byte) {
	payload := func() []byte {
		p := make([]byte, []int{0, 1, 125, 126, 300, 5000, 65_535, 65_536, 100_000}[rng.IntN(9)])
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		return p
	}
	for range rng.IntN(8) + 1 {
		switch rng.IntN(12) {
		case 0:
			stream = append(stream, frame(fin|opPing, make([]byte, rng.IntN(126)))...)
		case 1:
			stream = append(stream, frame(fin|opPong, nil)...)
		case 2: // any header at all
			f := frame(byte(rng.Uint32()), payload())
			f[1] ^= byte(rng.IntN(2)) << 7
			stream = append(stream, f...)
		case 3:
			stream = append(stream, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()))
		case 4, 5, 6:
			stream = append(stream, frame(opText, payload())...)
			for range rng.IntN(3) {
				stream = append(stream, frame(0, payload())...)
				stream = append(stream, frame(fin|opPing, make([]byte, rng.IntN(126)))...)
			}
			stream = append(stream, frame(fin, payload())...)
		default:
			stream = append(stream, frame(fin|opText+byte(rng.IntN(2)), payload())...)
		}
	}
	return append(stream, frame(fin|opClose, closeBody(1000+rng.IntN(20), "bye"))...)
}

// The decoder says of every stream, right or wrong and however it is cut, what
// the portable engine's reader says.
func TestDecoderIsLikeReader(t *testing.T) {
	ends := map[string]int{}
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		stream := streamOfFrames(rng)
		ends[strings.Fields(fmt.Sprint(compareDecoder(t, rng, stream)))[0]]++
	}
	if len(ends) < 3 {
		t.Errorf("too few ways to end: %v", ends)
	}
}

// compareDecoder fails if the two differ on a stream, and returns how it ends.
func compareDecoder(t *testing.T, rng *rand.Rand, stream []byte) error {
	t.Helper()
	const limit = 250_000
	want, end := readAll(bytes.NewReader(stream), limit, 0, stream)
	got, err := decodeAll(rng, limit, bytes.Clone(stream))
	wantErr := end
	if wantErr == io.EOF || errors.Is(wantErr, io.ErrUnexpectedEOF) {
		wantErr, err = nil, nil // cut off, within a frame or not
	}
	if fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("%v, want %v", err, wantErr)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("messages differ: %.300q, want %.300q", got, want)
	}
	return end
}

func FuzzDecoder(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(streamOfFrames(rand.New(rand.NewPCG(seed, 9))), seed)
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		compareDecoder(t, rand.New(rand.NewPCG(seed, 3)), stream)
	})
}

// A header buys no memory, and what has arrived is kept once.
func TestDecoderPromisesCostNothing(t *testing.T) {
	d := decoder{limit: 256 << 10, pool: new(buffers)}
	var f fakeFrames
	var at *partial
	whole := frame(opText, make([]byte, 250<<10))
	if err := d.feed(&at, whole[:14], &f, 0); err != nil {
		t.Fatal(err)
	}
	if at.msg != nil {
		t.Errorf("%d bytes for a header", cap(at.msg.b))
	}
	if err := d.feed(&at, whole[14:15], &f, 0); err != nil {
		t.Fatal(err)
	}
	if n := cap(at.msg.b); n > firstChunk {
		t.Errorf("%d bytes for one", n)
	}
	d.drop(&at)
	if at != nil || len(d.free) != 1 || d.free[0].msg != nil || !d.free[0].clean() {
		t.Error("it is not given back")
	}
}

// Whole frames cost nothing, and neither do messages in pieces, once there are
// buffers.
func TestDecoderDoesNotAllocate(t *testing.T) {
	d := decoder{limit: 256 << 10, pool: new(buffers)}
	s := new(countFrames)
	var at *partial
	stream := append(frame(fin|opText, make([]byte, 10_900)), frame(fin|opPing, []byte("x"))...)
	stream = append(append(stream, frame(opText, make([]byte, 3000))...), frame(fin, make([]byte, 3000))...)
	in := make([]byte, len(stream))
	feed := func(cuts []int) {
		copy(in, stream)
		from := 0
		for _, to := range cuts {
			if err := d.feed(&at, in[from:to], s, 0); err != nil {
				t.Fatal(err)
			}
			from = to
		}
	}
	whole, cuts := []int{len(in)}, []int{1, 7, 5000, 10_920, 15_000, len(in)}
	if n := testing.AllocsPerRun(200, func() { feed(whole); feed(cuts) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	if at != nil || s.messages%2 != 0 {
		t.Errorf("%d messages, left over %v", s.messages, at)
	}
}

type countFrames struct{ messages int }

func (c *countFrames) ping([]byte)                           {}
func (c *countFrames) pong()                                 {}
func (c *countFrames) spend() bool                           { return true }
func (c *countFrames) yield()                                {}
func (c *countFrames) message([]byte, ws.OpCode, bool) error { c.messages++; return nil }

// BenchmarkDecoder is the framing alone: an announce of 11 KB.
func BenchmarkDecoder(b *testing.B) {
	stream := frame(fin|opText, bytes.Repeat([]byte("x"), 10_900))
	d := decoder{limit: 256 << 10, pool: new(buffers)}
	s := new(countFrames)
	var at *partial
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.feed(&at, stream, s, 0); err != nil {
			b.Fatal(err)
		}
	}
}
