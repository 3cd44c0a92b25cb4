package tlsstream

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// established returns a client and the stream that serves it, with nothing
// between them but a pipe.
func established(t testing.TB, s *Server, client *tls.Config) (c *tls.Conn, raw net.Conn, stream Stream) {
	t.Helper()
	a, raw := net.Pipe()
	c = tls.Client(a, client)
	failed := make(chan error, 1)
	go func() { failed <- c.Handshake() }()
	stream, rest, _, err := shake(t, s, raw, 0)
	if err != nil || len(rest) > 0 {
		t.Fatalf("handshake: %v, and %d bytes read after it", err, len(rest))
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	raw.SetDeadline(time.Time{}) // a pipe's is a timer, which would be measured
	return c, raw, stream
}

// written returns the bytes of what f writes at the client's end.
func written(t testing.TB, raw net.Conn, f func()) []byte {
	t.Helper()
	var out bytes.Buffer
	done := make(chan struct{})
	go func() {
		f()
		raw.SetReadDeadline(time.Unix(1, 0))
		close(done)
	}()
	io.Copy(&out, raw)
	<-done
	raw.SetReadDeadline(time.Time{})
	return out.Bytes()
}

// eachStream runs f with what makes streams of each kind and version.
func eachStream(t *testing.T, f func(t *testing.T, make func() (*tls.Conn, net.Conn, Stream))) {
	eachKind(t, func(t *testing.T, cfg Config) {
		for _, version := range versions {
			t.Run(tls.VersionName(version), func(t *testing.T) {
				client := clientConfig()
				client.MaxVersion = version
				s := newServer(cfg, serverConfig())
				f(t, func() (*tls.Conn, net.Conn, Stream) { return established(t, s, client) })
			})
		}
	})
}

// TestFlippedRecords: whatever byte of a record is changed, nothing of it is
// taken for plaintext, the connection ends and its client is told why.
func TestFlippedRecords(t *testing.T) {
	eachStream(t, func(t *testing.T, make func() (*tls.Conn, net.Conn, Stream)) {
		for i := 0; ; i++ {
			c, raw, stream := make()
			rec := written(t, raw, func() { c.Write([]byte("plaintext")) })
			if i == len(rec) {
				return
			}
			rec[i] ^= 1
			got, err := openCut(stream, append(rec, bytes.Repeat([]byte{1}, 300)...))
			if len(got) > 0 || err == nil {
				t.Errorf("byte %d: %q, %v", i, got, err)
			}
			alert := stream.Control(nil)
			if out := stream.CloseNotify(stream.Seal(nil, []byte("more"))); len(out) > 0 {
				t.Errorf("byte %d: says %d bytes after the alert", i, len(out))
			}
			go func() { raw.Write(alert); raw.Close() }()
			_, err = c.Read([]byte{0})
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "remote error" {
				t.Errorf("byte %d: the client says %v", i, err)
			} else if want := "tls: bad record MAC"; i >= headerLen && op.Err.Error() != want {
				t.Errorf("byte %d: the client says %v, want %s", i, err, want)
			}
		}
	})
}

// TestOversized: a record that is too long is refused when its header is there.
func TestOversized(t *testing.T) {
	eachStream(t, func(t *testing.T, make func() (*tls.Conn, net.Conn, Stream)) {
		_, raw, stream := make()
		defer raw.Close()
		for i, b := range []byte{23, 3, 3, 0xff, 0xff} {
			_, err := stream.Open(nil, []byte{b})
			if (err != nil) != (i == 4) {
				t.Errorf("byte %d: %v", i, err)
			}
		}
		if len(stream.Control(nil)) == 0 {
			t.Error("no alert")
		}
	})
}

// TestTruncated: a stream that ends within a record has given what came before,
// and no error: only close_notify is an end.
func TestTruncated(t *testing.T) {
	eachStream(t, func(t *testing.T, make func() (*tls.Conn, net.Conn, Stream)) {
		c, raw, stream := make()
		one := written(t, raw, func() { c.Write([]byte("one")) })
		two := written(t, raw, func() { c.Write([]byte("two")) })
		end := written(t, raw, func() { c.CloseWrite() })
		raw.Close()
		all := append(append(append([]byte(nil), one...), two...), end...)
		var got []byte
		for i, b := range all {
			var err error
			got, err = stream.Open(got, []byte{b})
			want := ""
			if i+1 >= len(one) {
				want = "one"
			}
			if i+1 >= len(one)+len(two) {
				want = "onetwo"
			}
			if string(got) != want {
				t.Fatalf("%d bytes: %q, want %q", i+1, got, want)
			}
			if (err == io.EOF) != (i == len(all)-1) || err != nil && err != io.EOF {
				t.Fatalf("%d of %d bytes: %v", i+1, len(all), err)
			}
		}
		if out := stream.Control(nil); len(out) > 0 {
			t.Errorf("says %d bytes", len(out))
		}
	})
}

// TestAgainstClient exchanges random messages with crypto/tls's client, in
// streams that are cut anywhere.
func TestAgainstClient(t *testing.T) {
	eachStream(t, func(t *testing.T, make func() (*tls.Conn, net.Conn, Stream)) {
		rapid.Check(t, func(r *rapid.T) {
			c, raw, stream := make()
			defer raw.Close()
			sizes := rapid.SliceOfN(rapid.IntRange(0, 40_000), 1, 5).Draw(r, "sizes")
			var want []byte
			for i, n := range sizes {
				want = append(want, bytes.Repeat([]byte{byte(i + 1)}, n)...)
			}
			in := written(t, raw, func() {
				left := want
				for _, n := range sizes {
					c.Write(left[:n])
					left = left[n:]
				}
				c.CloseWrite()
			})
			var got, out []byte
			var err error
			for len(in) > 0 {
				n := min(len(in), rapid.IntRange(1, 20_000).Draw(r, "cut"))
				at := len(got)
				got, err = stream.Open(got, in[:n])
				in = in[n:]
				out = stream.Seal(out, got[at:])
				stream.Idle()
			}
			if err != io.EOF || !bytes.Equal(got, want) {
				r.Fatalf("%d of %d bytes, %v", len(got), len(want), err)
			}
			out = stream.CloseNotify(out)
			go raw.Write(out)
			back, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(back, want) {
				r.Fatalf("%d of %d bytes came back, %v", len(back), len(want), err)
			}
		})
	})
}

// TestStandardUpdate: crypto/tls's answer to a request for new keys comes before
// what is sealed with them, even if nobody asks for it.
func TestStandardUpdate(t *testing.T) {
	for _, ask := range []bool{false, true} {
		stream, p := standardPeer(t)
		if _, err := openCut(stream, p.update(1)); err != nil {
			t.Fatal(err)
		}
		var out []byte
		if ask {
			out = stream.Control(out)
		}
		said := p.hear(t, stream.Seal(out, []byte("reply")))
		if len(said) != 2 || !isKeyUpdate(said[0]) || string(said[1]) != "reply\x17" {
			t.Errorf("says %q", said)
		}
		if got, err := openCut(stream, p.say(typeApplication, 5, 'x')); string(got) != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// standardPeer is the client of a stream that crypto/tls goes on with.
func standardPeer(t *testing.T) (Stream, *peer) {
	t.Helper()
	secrets := new(takeover)
	config := serverConfig()
	config.KeyLogWriter = secrets
	_, raw, stream := established(t, newServer(Config{}, config), clientConfig())
	raw.Close()
	p := new(peer)
	p.write.start(suites[0], secrets.secrets[clientTraffic])
	p.read.start(suites[0], secrets.secrets[serverTraffic])
	return stream, p
}

// TestStandardFlood: crypto/tls answers each request for new keys, whether its
// answers are read or not, and sets no bound to how many come in a row.
func TestStandardFlood(t *testing.T) {
	for _, record := range []func(p *peer) []byte{
		func(p *peer) []byte { return p.update(1) },
		func(p *peer) []byte { return append(p.update(1), p.say(typeApplication, 0, 'x')...) },
	} {
		stream, p := standardPeer(t)
		var err error
		n, said := 0, 0
		for ; err == nil && n < 1000; n++ {
			_, err = stream.Open(nil, record(p))
			said += len(stream.Control(nil))
		}
		if err == nil || n < 16 || n > 40 {
			t.Errorf("%d requests, %d bytes of answers, %v", n, said, err)
		}
		if out := stream.Seal(nil, []byte("more")); len(out) > 0 {
			t.Errorf("says %d bytes after the end", len(out))
		}
	}
	// Those that data pays for may go on for ever.
	stream, p := standardPeer(t)
	for range 200 {
		in := append(p.update(1), p.say(typeApplication, 0, make([]byte, debtPerRecord)...)...)
		if got, err := openCut(stream, in); len(got) != debtPerRecord || err != nil {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		stream.Control(nil)
	}
}

// TestPromises: a header of a long record costs no more than what follows it.
func TestPromises(t *testing.T) {
	o, p := newPeer(t, suites[0])
	long := p.say(typeApplication, 0, make([]byte, maxPlain)...)
	var got []byte
	at := 0
	for _, part := range []struct{ bytes, kept int }{
		{headerLen, smallPart}, {1, smallPart}, {smallPart - 1, smallPart}, {1, headerLen + maxPayload},
	} {
		var err error
		if got, err = o.Open(got, long[at:at+part.bytes]); err != nil {
			t.Fatal(err)
		}
		if at += part.bytes; cap(*o.part) != part.kept {
			t.Errorf("%d bytes are kept for %d", cap(*o.part), at)
		}
	}
	got, err := o.Open(got, append(long[at:], p.say(typeApplication, 0, 'x')...))
	if err != nil || len(got) != maxPlain+1 || got[maxPlain] != 'x' {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestKept: what a stream keeps between records does not grow with them.
func TestKept(t *testing.T) {
	c, raw, stream := established(t, newServer(Config{}, serverConfig()), clientConfig())
	defer raw.Close()
	s := stream.(*standard)
	in := written(t, raw, func() {
		for range 50 {
			c.Write(make([]byte, 16384))
		}
	})
	dst := make([]byte, 0, 1<<20)
	for len(in) > 0 {
		n := min(len(in), mrand.IntN(40_000))
		var err error
		if dst, err = stream.Open(dst, in[:n]); err != nil {
			t.Fatal(err)
		}
		in = in[n:]
	}
	if s.wire.in != nil || s.wire.out != nil || s.wire.said != nil || s.wire.left != 0 {
		t.Errorf("the adapter keeps %+v", s.wire)
	}
	if len(dst) != 50*16384 {
		t.Errorf("%d bytes", len(dst))
	}
}

// TestStandardAllocs: sealing allocates nothing; opening does what crypto/tls
// does for each record.
func TestStandardAllocs(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector drops what a sync.Pool holds: not counted")
		return
	}
	client := clientConfig()
	client.DynamicRecordSizingDisabled = true // records of one size
	c, raw, stream := established(t, newServer(Config{}, serverConfig()), client)
	defer raw.Close()
	plain := make([]byte, 1200)
	dst := stream.Seal(make([]byte, 0, 4096), plain)
	if n := testing.AllocsPerRun(100, func() { dst = stream.Seal(dst[:0], plain) }); n > 0 {
		t.Errorf("Seal: %v allocations", n)
	}
	in := written(t, raw, func() {
		for range 300 {
			c.Write(plain)
		}
	})
	size := len(in) / 300
	if n := testing.AllocsPerRun(250, func() {
		dst, _ = stream.Open(dst[:0], in[:size])
		in = in[size:]
	}); n > 1 {
		t.Errorf("Open: %v allocations", n)
	}
}

// TestCutAllocs: records that arrive in pieces take their buffer from a pool.
func TestCutAllocs(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector drops what a sync.Pool holds: not counted")
		return
	}
	for _, size := range []int{100, 1200, 10_900, maxPlain} {
		o, p := newPeer(t, suites[0])
		var in []byte
		for range 102 {
			in = append(in, p.say(typeApplication, 0, make([]byte, size)...)...)
		}
		n, dst := len(in)/102, make([]byte, 0, maxPlain+64)
		if allocs := testing.AllocsPerRun(100, func() {
			dst, _ = o.Open(dst[:0], in[:3])
			dst, _ = o.Open(dst, in[3:n/2])
			dst, _ = o.Open(dst, in[n/2:n])
			in = in[n:]
		}); allocs > 0 || len(dst) != size {
			t.Errorf("%d bytes: %v allocations, %d opened", size, allocs, len(dst))
		}
	}
}

// FuzzOpen: nothing that arrives after the handshake makes either kind do
// anything but end, or wait for more.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{23, 3, 3, 0, 1, 0}, uint8(1))
	f.Add([]byte{21, 3, 3, 0, 2, 1, 0}, uint8(3))
	f.Add([]byte("\x16\x03\x03\x00\x05\x18\x00\x00\x01\x00"), uint8(2))
	f.Add(bytes.Repeat([]byte{23, 3, 3, 0, 0}, 50), uint8(200))
	s := newServer(Config{}, serverConfig())
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		o, _ := newPeer(t, suites[int(cut)%len(suites)])
		_, raw, std := established(t, s, clientConfig())
		raw.Close()
		for _, stream := range []Stream{o, std} {
			left := in
			var ended error
			for len(left) > 0 {
				n := min(len(left), int(cut)+1)
				out, err := stream.Open(nil, left[:n])
				left = left[n:]
				if len(out) > 0 {
					t.Fatalf("%q out of nothing", out)
				}
				if ended != nil && err != ended {
					t.Fatalf("%v after %v", err, ended)
				}
				ended = err
			}
			out := stream.CloseNotify(stream.Control(nil))
			if len(out) == 0 && ended == nil {
				t.Fatal("no close_notify")
			}
			if o.part != nil && cap(*o.part) > headerLen+maxPayload {
				t.Fatal(fmt.Sprint(cap(*o.part), " bytes kept"))
			}
		}
	})
}

// FuzzOpenSealed: the same, for whatever a client seals well.
func FuzzOpenSealed(f *testing.F) {
	f.Add([]byte{24, 0, 0, 1, 1, 22}, uint8(6))
	f.Add([]byte{24, 0, 0, 1, 0, 22, 'x', 23, 1, 0, 21}, uint8(2))
	f.Add([]byte{1, 90, 21, 1, 0, 21}, uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		o, p := newPeer(t, suites[int(cut)%len(suites)])
		var want int
		for len(in) > 0 {
			n := min(len(in), int(cut)+1)
			inner := in[:n]
			in = in[n:]
			out, err := o.Open(nil, p.seal(inner))
			if want += n; len(out) >= n {
				t.Fatalf("%d bytes out of %d", len(out), n)
			}
			if err == nil && bytes.Equal(bytes.TrimRight(inner, "\x00"), append(keyUpdate(inner[min(4, n-1)]), byte(typeHandshake))) {
				p.write.next()
			}
			p.hear(t, o.Seal(nil, out))
			if err != nil {
				if _, again := o.Open(nil, []byte{0}); again != err {
					t.Fatalf("%v after %v", again, err)
				}
				return
			}
		}
	})
}
