package wsserver

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// deflateBy compresses with Go's own compressor, as a client would.
func deflateBy(t testing.TB, level int, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		io.WriteString(w, p)
		w.Flush()
	}
	return bytes.TrimSuffix(b.Bytes(), []byte(flushed))
}

// inflateBy decompresses with Go's own decompressor.
func inflateBy(t testing.TB, payload []byte) string {
	t.Helper()
	b, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader(tail))))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// readServerFrame reads a frame that may be compressed.
func readServerFrame(r io.Reader) (op byte, rsv1 bool, payload []byte, err error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return 0, false, nil, err
	}
	if h.Masked || !h.Fin || h.Rsv2() || h.Rsv3() || h.Length > 16<<20 {
		return 0, false, nil, fmt.Errorf("header %+v", h)
	}
	payload = make([]byte, h.Length)
	_, err = io.ReadFull(r, payload)
	return byte(h.OpCode), h.Rsv1(), payload, err
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// offerText is like what a browser's offer becomes: 1.2 KB.
func offerText(rng *rand.Rand) string {
	chars := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"[rng.IntN(64)]
		}
		return string(b)
	}
	var sdp strings.Builder
	sdp.WriteString("v=0\r\no=- " + fmt.Sprint(rng.Int64()) + " 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" +
		"a=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n" +
		"m=application 54321 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 203.0.113.7\r\n")
	for i := range 5 {
		fmt.Fprintf(&sdp, "a=candidate:%d 1 udp %d 10.%d.%d.%d %d typ host generation 0 network-id %d network-cost 10\r\n",
			rng.Uint32(), rng.Uint32(), rng.IntN(256), rng.IntN(256), rng.IntN(256), rng.IntN(1<<16), i)
	}
	sdp.WriteString("a=ice-ufrag:" + chars(4) + "\r\na=ice-pwd:" + chars(24) + "\r\na=fingerprint:sha-256")
	for range 32 {
		fmt.Fprintf(&sdp, ":%02X", rng.IntN(256))
	}
	sdp.WriteString("\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n")
	return announce(chars(20), pid(chars(8)), sdp.String())
}

// RFC 7692, 7.2.3: its examples, and what their rules allow besides.
func TestInflate(t *testing.T) {
	f := newInflater()
	for name, c := range map[string]struct{ payload, want string }{
		"7.2.3.1, one block":                {"f248cdc9c90700", "Hello"},
		"7.2.3.3, stored":                   {"000500faff48656c6c6f00", "Hello"},
		"7.2.3.4, a last block":             {"f348cdc9c9070000", "Hello"},
		"7.2.3.5, two blocks":               {"f24805000000ffffcac9c90700", "Hello"},
		"7.2.3.6, empty":                    {"00", ""},
		"empty, with fixed codes":           {"0200", ""},
		"a last block, nothing after":       {"f348cdc9c90700", "Hello"},
		"a block after the last":            {"f348cdc9c90700 f248cdc9c90700", "HelloHello"},
		"two last blocks":                   {"f348cdc9c90700 f348cdc9c9070000", "HelloHello"},
		"empty stored blocks all over":      {"000000ffff 000000ffff f248cdc9c90700", "Hello"},
		"the sender's own flush left there": {"f248cdc9c907000000ffff00", "Hello"},
	} {
		got, err := f.inflate([]byte("before "), unhex(t, c.payload), 1000)
		if err != nil || string(got) != "before "+c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, payload := range map[string]string{
		"not even an empty block":       "",
		"a reserved kind of block":      "06",
		"a stored block cut off":        "000500faff4865",
		"a stored block's length wrong": "000500fbff48656c6c6f00",
		"garbage":                       "ffffffffffff",
		"garbage after the last block":  "f348cdc9c90700ffff",
		"cut off":                       "f248cd",
	} {
		if got, err := f.inflate(nil, unhex(t, payload), 1000); err != errDeflate {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := f.inflate(nil, bytes.Repeat([]byte{3, 0}, maxFinals-1), 1000); err != nil {
		t.Errorf("%d last blocks: %v", maxFinals-1, err)
	}
	if _, err := f.inflate(nil, bytes.Repeat([]byte{3, 0}, maxFinals+1), 1000); err != errDeflate {
		t.Errorf("%d last blocks: %v", maxFinals+1, err)
	}
}

// A last block may be followed by one that refers to what came before it.
func TestInflateAcrossLastBlock(t *testing.T) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	text := offerText(rand.New(rand.NewPCG(1, 1)))
	io.WriteString(w, text)
	w.Close()
	second, err := flate.NewWriterDict(&b, flate.BestCompression, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	before := b.Len()
	io.WriteString(second, text)
	second.Flush()
	if b.Len()-before > 100 {
		t.Fatalf("the second half does not refer to the first: %d bytes", b.Len()-before)
	}
	got, err := newInflater().inflate(nil, bytes.TrimSuffix(b.Bytes(), []byte(flushed)), 1<<20)
	if err != nil || string(got) != text+text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// No message can reach into the one before it, which may be somebody else's.
func TestInflateForgets(t *testing.T) {
	f := newInflater()
	secret := offerText(rand.New(rand.NewPCG(2, 2)))
	if _, err := f.inflate(nil, deflateBy(t, 9, secret), 1<<20); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, 9, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, secret)
	w.Flush()
	if got, err := f.inflate(nil, b.Bytes(), 1<<20); err != errDeflate {
		t.Errorf("%q, %v", got, err)
	}
}

// What a message becomes is bounded by the limit and by what was sent, and
// memory by the same.
func TestBombs(t *testing.T) {
	const limit = 256 << 10
	f := newInflater()
	bomb := deflateBy(t, 9, strings.Repeat("x", 8<<20))
	small := deflateBy(t, 9, strings.Repeat("x", inflateFloor))
	noise := make([]byte, limit/5)
	for i, rng := 0, rand.New(rand.NewPCG(1, 2)); i < len(noise); i++ {
		noise[i] = byte(rng.Uint32())
	}
	mixed := string(noise) + strings.Repeat("x", limit)
	much := bytes.Repeat(noise, 2)[:inflateMost+1]
	for name, c := range map[string]struct {
		payload []byte
		ok      bool
	}{
		"8 MiB of one letter":      {bomb, false},
		"its beginning":            {bomb[:300], false},
		"as much as always may be": {small, true},
		"some noise, and too long": {deflateBy(t, 9, mixed), false},
		"some noise":               {deflateBy(t, 9, mixed[:limit]), true},
		"too much sent":            {much, false},
		"one byte too much":        {deflateBy(t, 9, mixed[:limit+1]), false},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := f.inflate(nil, c.payload, limit)
		runtime.ReadMemStats(&after)
		if (err == nil) != c.ok || err != nil && err != errTooBig {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		const little = 16 << 10 // sizes of allocations are rounded up
		if n := after.TotalAlloc - before.TotalAlloc; n > limit+inflateUsual+little {
			t.Errorf("%s: %d bytes allocated", name, n)
		} else if most := uint64(inflateFloor + inflateRatio*len(c.payload)); n > most+inflateUsual+little {
			t.Errorf("%s: %d bytes allocated for %d received", name, n, len(c.payload))
		}
	}
}

// What is compressed here, Go's decompressor and our own turn back; every
// message by itself, and with all that came before in the same compressor.
func TestDeflater(t *testing.T) {
	d, f := newDeflater(), newInflater()
	rng := rand.New(rand.NewPCG(3, 4))
	var buf, back []byte
	check := func(text string) {
		t.Helper()
		buf = d.compress(append(buf[:0], "head"...), []byte(text))
		if got := inflateBy(t, buf[4:]); got != text {
			t.Fatalf("%d bytes became %d", len(text), len(got))
		}
		var err error
		if back, err = f.inflate(back[:0], buf[4:], 1<<20); err != nil && len(text) < inflateFloor+inflateRatio*(len(buf)-4) {
			t.Fatalf("%d bytes: %v", len(text), err)
		} else if err == nil && string(back) != text {
			t.Fatalf("%d bytes became %d", len(text), len(back))
		}
	}
	for _, text := range []string{"", "x", "Hello", strings.Repeat("x", 300_000), strings.Repeat("\x00\x00\xff\xff", 1000)} {
		check(text)
	}
	for range 100 {
		check(strings.Repeat(offerText(rng), rng.IntN(4)+1))
		noise := make([]byte, rng.IntN(100_000))
		for i := range noise {
			noise[i] = byte(rng.IntN(1 << rng.IntN(9)))
		}
		check(string(noise))
	}
	// The library's table of what it has seen turns over after 2 GiB of
	// positions, which resets count up fastest.
	const short = "Hello, hello, hello, hello, hello."
	for range 70_000 {
		buf = d.compress(buf[:0], []byte(short))
	}
	check(short)
	check(offerText(rng))
}

// A frame is compressed in place, if it becomes smaller.
func TestShrink(t *testing.T) {
	d := newDeflater()
	for _, n := range []int{1, 20, 125, 126, 500, 1200, 65_535, 65_536, 300_000} {
		text := strings.Repeat("Hello, ", n)[:n]
		b := appendMessage([]byte("before"), ws.OpBinary, []byte(text))
		plain := len(b)
		b = d.shrink(b, len("before"))
		op, rsv1, p, err := readServerFrame(bytes.NewReader(b[len("before"):]))
		if err != nil {
			t.Fatal(err)
		}
		if op != opBinary {
			t.Errorf("%d bytes: opcode %x", n, op)
		}
		switch {
		case rsv1 && (len(b) >= plain || inflateBy(t, p) != text):
			t.Errorf("%d bytes became %d, %q", n, len(b), p[:min(len(p), 100)])
		case !rsv1 && (n > 125 || string(p) != text):
			t.Errorf("%d bytes were left alone, or not: %d", n, len(b))
		}
	}
}

// Neither way allocates, once buffers have their size.
func TestDeflateAllocations(t *testing.T) {
	d, f := newDeflater(), newInflater()
	text := []byte(offerText(rand.New(rand.NewPCG(5, 6))))
	packed, out := make([]byte, 0, 4096), make([]byte, 0, 4096)
	frame := appendMessage(nil, ws.OpText, text)
	b := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		packed = d.compress(packed[:0], text)
		if _, err := f.inflate(out, packed, 1<<20); err != nil {
			t.Error(err)
		}
		b = d.shrink(append(b[:0], frame...), 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzInflate: our bounds aside, Go's decompressor thinks the same.
func FuzzInflate(f *testing.F) {
	for _, s := range []string{"", "00", "f248cdc9c90700", "f348cdc9c9070000", "f24805000000ffffcac9c90700", "0300", "ffff"} {
		f.Add(unhex(f, s))
	}
	f.Add(deflateBy(f, 9, strings.Repeat("x", 100_000)))
	f.Add(deflateBy(f, 6, "one", "two", offerText(rand.New(rand.NewPCG(7, 8)))))
	inf := newInflater()
	f.Fuzz(func(t *testing.T, payload []byte) {
		const limit = 64 << 10
		got, err := inf.inflate([]byte("x"), payload, limit)
		if string(got[:1]) != "x" || len(got)-1 > min(limit, inflateFloor+inflateRatio*len(payload)) {
			t.Fatalf("%d bytes of %d", len(got), len(payload))
		}
		src := bytes.NewReader(append(bytes.Clone(payload), tail...))
		want, refErr := io.ReadAll(io.LimitReader(flate.NewReader(src), limit+2))
		switch {
		case errors.Is(err, errTooBig):
			if len(want) <= min(limit, inflateFloor) {
				t.Fatalf("%v, at %d bytes", err, len(want))
			}
		case src.Len() > 0 || len(want) > limit:
			// It stops at a last block, where we go on.
		case (err == nil) != (refErr == nil) || err == nil && !bytes.Equal(got[1:], want):
			t.Fatalf("%d bytes, %v; want %d, %v", len(got)-1, err, len(want), refErr)
		}
	})
}

// BenchmarkDeflate is one offer there and back.
func BenchmarkDeflate(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 10))
	texts := make([][]byte, 64)
	packed := make([][]byte, len(texts))
	d, f := newDeflater(), newInflater()
	for i := range texts {
		texts[i] = []byte(offerText(rng))
		packed[i] = d.compress(nil, texts[i])
	}
	var out []byte
	b.Run("compress", func(b *testing.B) {
		in, n := 0, 0
		for i := 0; b.Loop(); i++ {
			out = d.compress(out[:0], texts[i%len(texts)])
			in, n = in+len(texts[i%len(texts)]), n+len(out)
		}
		b.ReportMetric(float64(n)/float64(in), "ratio")
	})
	b.Run("inflate", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			out, _ = f.inflate(out[:0], packed[i%len(packed)], 1<<20)
		}
	})
}
