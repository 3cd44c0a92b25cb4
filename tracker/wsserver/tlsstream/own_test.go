package tlsstream

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

var suites = []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}

// peer is the client of an own stream: it says whatever a test likes, in
// records that are sealed well.
type peer struct {
	read, write half
}

func newPeer(t testing.TB, id uint16) (*own, *peer) {
	t.Helper()
	s, _ := suiteOf(id)
	o, p := &own{shared: newRecords()}, new(peer)
	for _, ends := range [][2]*half{{&o.read, &p.write}, {&p.read, &o.write}} {
		secret := make([]byte, s.size)
		rand.Read(secret)
		if !ends[0].start(id, secret) || !ends[1].start(id, secret) {
			t.Fatal("the suite does not start")
		}
	}
	return o, p
}

// say seals content in one record, with padding.
func (p *peer) say(typ contentType, padding int, content ...byte) []byte {
	inner := append(content, byte(typ))
	return p.seal(append(inner, make([]byte, padding)...))
}

// seal seals an inner plaintext as it is, which half.seal cannot.
func (p *peer) seal(inner []byte) []byte {
	n := len(inner) + tagLen
	rec := []byte{byte(typeApplication), 3, 3, byte(n >> 8), byte(n)}
	p.write.setNonce()
	p.write.seq++
	return p.write.cipher().Seal(rec, p.write.nonce[:], inner, rec)
}

// hear opens all records of in: the content of each, with its type at the end.
func (p *peer) hear(t testing.TB, in []byte) (said [][]byte) {
	t.Helper()
	for len(in) > 0 {
		n := headerLen + int(in[3])<<8 + int(in[4])
		inner, ok := p.read.open(nil, in[:headerLen], in[headerLen:n])
		if !ok {
			t.Fatal("a record that cannot be opened")
		}
		said = append(said, inner)
		in = in[n:]
		if isKeyUpdate(inner) {
			p.read.next()
		}
	}
	return said
}

func keyUpdate(request byte) []byte { return []byte{messageKeyUpdate, 0, 0, 1, request} }

// isKeyUpdate: the answer is one that asks for none.
func isKeyUpdate(inner []byte) bool {
	return bytes.Equal(inner, append(keyUpdate(0), byte(typeHandshake)))
}

// update returns a KeyUpdate and takes the next key.
func (p *peer) update(request byte) []byte {
	rec := p.say(typeHandshake, 0, keyUpdate(request)...)
	p.write.next()
	return rec
}

func eachSuite(t *testing.T, f func(t *testing.T, suite uint16)) {
	for _, suite := range suites {
		t.Run(tls.CipherSuiteName(suite), func(t *testing.T) { f(t, suite) })
	}
}

// alertOf is the alert in err of one side, or -1.
func alertOf(err error) int {
	var a tls.AlertError
	if errors.As(err, &a) {
		return int(a)
	}
	return -1
}

// TestFaults has everything that a client must not do, and the alert that it
// gets (RFC 8446, 5, 4.6 and 6).
func TestFaults(t *testing.T) {
	app := func(p *peer) []byte { return p.say(typeApplication, 0, 'x') }
	cases := map[string]struct {
		in    func(p *peer) []byte
		alert tls.AlertError
	}{
		"change_cipher_spec":       {func(*peer) []byte { return []byte{20, 3, 3, 0, 1, 1} }, alertUnexpectedMessage},
		"plain alert":              {func(*peer) []byte { return []byte{21, 3, 3, 0, 2, 1, 0} }, alertUnexpectedMessage},
		"plain handshake":          {func(*peer) []byte { return []byte{22, 3, 3, 0, 5, 24, 0, 0, 1, 0} }, alertUnexpectedMessage},
		"unknown outer type":       {func(*peer) []byte { return []byte{99, 3, 3, 0, 5, 24, 0, 0, 1, 0} }, alertUnexpectedMessage},
		"protected change":         {func(p *peer) []byte { return p.say(typeChange, 0, 1) }, alertUnexpectedMessage},
		"unknown inner type":       {func(p *peer) []byte { return p.say(99, 0, 1) }, alertUnexpectedMessage},
		"no inner type":            {func(p *peer) []byte { return p.seal(nil) }, alertUnexpectedMessage},
		"padding only":             {func(p *peer) []byte { return p.seal(make([]byte, 50)) }, alertUnexpectedMessage},
		"empty record":             {func(p *peer) []byte { return []byte{23, 3, 3, 0, 0} }, alertBadRecordMAC},
		"shorter than a tag":       {func(p *peer) []byte { return []byte{23, 3, 3, 0, 3, 1, 2, 3} }, alertBadRecordMAC},
		"header of too much":       {func(*peer) []byte { return []byte{23, 3, 3, 0x41, 0x01} }, alertRecordOverflow},
		"too much content":         {func(p *peer) []byte { return p.say(typeApplication, 0, make([]byte, maxPlain+1)...) }, alertRecordOverflow},
		"too much padding":         {func(p *peer) []byte { return p.say(typeApplication, maxPlain, 'x') }, alertRecordOverflow},
		"replayed":                 {func(p *peer) []byte { r := app(p); return append(r, r...) }, alertBadRecordMAC},
		"reordered":                {func(p *peer) []byte { r := app(p); return append(app(p), r...) }, alertBadRecordMAC},
		"left out":                 {func(p *peer) []byte { app(p); return app(p) }, alertBadRecordMAC},
		"key of before the update": {func(p *peer) []byte { old := *p; return append(p.update(0), app(&old)...) }, alertBadRecordMAC},
		"empty handshake":          {func(p *peer) []byte { return p.say(typeHandshake, 3) }, alertUnexpectedMessage},
		"a ticket":                 {func(p *peer) []byte { return p.say(typeHandshake, 0, 4, 0, 0, 1, 0) }, alertUnexpectedMessage},
		"a certificate":            {func(p *peer) []byte { return p.say(typeHandshake, 0, 11) }, alertUnexpectedMessage},
		"a finished":               {func(p *peer) []byte { return p.say(typeHandshake, 0, 20, 0, 0) }, alertUnexpectedMessage},
		"long KeyUpdate":           {func(p *peer) []byte { return p.say(typeHandshake, 0, 24, 0, 0, 2, 0, 0) }, alertDecodeError},
		"empty KeyUpdate":          {func(p *peer) []byte { return p.say(typeHandshake, 0, 24, 0, 0, 0) }, alertDecodeError},
		"huge KeyUpdate":           {func(p *peer) []byte { return p.say(typeHandshake, 0, 24, 1, 0, 1) }, alertDecodeError},
		"KeyUpdate of 2":           {func(p *peer) []byte { return p.say(typeHandshake, 0, 24, 0, 0, 1, 2) }, alertIllegalParameter},
		"KeyUpdate and more":       {func(p *peer) []byte { return p.say(typeHandshake, 0, append(keyUpdate(0), keyUpdate(0)...)...) }, alertUnexpectedMessage},
		"data in a message": {func(p *peer) []byte {
			return append(p.say(typeHandshake, 0, 24, 0), app(p)...)
		}, alertUnexpectedMessage},
		"alert in a message": {func(p *peer) []byte {
			return append(p.say(typeHandshake, 0, 24, 0), p.say(typeAlert, 0, 1, 0)...)
		}, alertUnexpectedMessage},
		"empty alert": {func(p *peer) []byte { return p.say(typeAlert, 0) }, alertUnexpectedMessage},
		"half alert":  {func(p *peer) []byte { return p.say(typeAlert, 0, 1) }, alertDecodeError},
		"two alerts":  {func(p *peer) []byte { return p.say(typeAlert, 0, 1, 90, 1, 0) }, alertDecodeError},
		"flood of updates": {func(p *peer) (in []byte) {
			for range 40 {
				in = append(in, p.update(1)...)
			}
			return in
		}, alertUnexpectedMessage},
		"flood of updates with a little data": {func(p *peer) (in []byte) {
			for range 40 {
				in = append(append(in, p.update(0)...), app(p)...)
			}
			return in
		}, alertUnexpectedMessage},
		"flood of empty records": {func(p *peer) (in []byte) {
			for range 40 {
				in = append(in, p.say(typeApplication, 9)...)
			}
			return in
		}, alertUnexpectedMessage},
		"flood of user_canceled": {func(p *peer) (in []byte) {
			for range 40 {
				in = append(in, p.say(typeAlert, 0, 1, 90)...)
			}
			return in
		}, alertUnexpectedMessage},
	}
	eachSuite(t, func(t *testing.T, suite uint16) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				o, p := newPeer(t, suite)
				first := p.say(typeApplication, 0, 'a')
				got, err := openCut(o, append(append(first, c.in(p)...), p.say(typeApplication, 0, 'z')...))
				if len(bytes.Trim(got[1:], "x")) > 0 || got[0] != 'a' {
					t.Errorf("data after the fault: %q", got)
				}
				if alertOf(err) != int(c.alert) {
					t.Errorf("%v, want alert %v", err, c.alert)
				}
				said := p.hear(t, o.Control(nil))
				if want := []byte{2, byte(c.alert), byte(typeAlert)}; len(said) == 0 || !bytes.Equal(said[len(said)-1], want) {
					t.Errorf("says %v, want the alert %v", said, want)
				}
				if again, err2 := o.Open(nil, first); len(again) > 0 || err2 != err {
					t.Errorf("then: %q, %v", again, err2)
				}
				if more := o.CloseNotify(o.Seal(o.Control(nil), []byte("more"))); len(more) > 0 {
					t.Errorf("says %d bytes after the alert", len(more))
				}
			})
		}
	})
}

// openCut opens in cut at random.
func openCut(s Stream, in []byte) (out []byte, err error) {
	most := []int{1, 7, 100, 20_000}[mrand.IntN(4)]
	for len(in) > 0 && err == nil {
		n := min(len(in), 1+mrand.IntN(most))
		out, err = s.Open(out, in[:n])
		in = in[n:]
	}
	return out, err
}

// TestFlips flips each byte of a record: nothing of it is ever taken for
// plaintext, and the connection ends.
func TestFlips(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite uint16) {
		o, p := newPeer(t, suite)
		rec := p.say(typeApplication, 5, []byte("some plaintext")...)
		follows := bytes.Repeat([]byte{7}, maxPayload) // a longer length gets its bytes
		for i := range rec {
			for _, mask := range []byte{1, 0x80, 0xff} {
				o := &own{shared: o.shared, read: o.read, write: o.write}
				bad := bytes.Clone(rec)
				bad[i] ^= mask
				got, err := openCut(o, append(bad, follows...))
				want := int(alertBadRecordMAC)
				switch {
				case i == 0:
					want = int(alertUnexpectedMessage)
				case i == 3 && mask != 1:
					want = int(alertRecordOverflow)
				}
				if len(got) > 0 || alertOf(err) != want {
					t.Errorf("byte %d: %q, %v", i, got, err)
				}
			}
		}
	})
}

// TestGood has what a client may do.
func TestGood(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite uint16) {
		o, p := newPeer(t, suite)
		text := func(s string) []byte { return p.say(typeApplication, mrand.IntN(300), []byte(s)...) }
		var in []byte
		in = append(in, text("a")...)
		in = append(in, p.say(typeApplication, 0)...)
		in = append(in, p.say(typeApplication, maxPlain)...)
		in = append(in, p.update(0)...)
		in = append(in, text("b")...)
		for _, b := range keyUpdate(1) {
			in = append(in, p.say(typeHandshake, 1, b)...) // in pieces
		}
		p.write.next()
		in = append(in, text("c")...)
		in = append(in, p.update(1)...)
		in = append(in, p.update(1)...)
		in = append(in, p.update(0)...)
		in = append(in, p.say(typeApplication, 0, make([]byte, maxPlain)...)...)
		in = append(in, p.say(typeApplication, maxPlain-1, 'd')...)
		in = append(in, p.say(typeAlert, 0, 1, 90)...)
		got, err := openCut(o, in)
		if want := "abc" + string(make([]byte, maxPlain)) + "d"; string(got) != want || err != nil {
			t.Fatalf("%d bytes, %v, want %d", len(got), err, len(want))
		}
		// Three requests have one answer, before anything else.
		said := p.hear(t, o.Seal(nil, []byte("reply")))
		if len(said) != 2 || !isKeyUpdate(said[0]) || string(said[1]) != "reply\x17" {
			t.Fatalf("says %q", said)
		}
		if out := o.Control(nil); len(out) > 0 {
			t.Fatalf("says %d bytes more", len(out))
		}
		// close_notify ends one direction only, and what follows it is nothing.
		got, err = openCut(o, append(p.say(typeAlert, 0, 1, 0), text("late")...))
		if len(got) > 0 || err != io.EOF {
			t.Fatalf("after close_notify: %q, %v", got, err)
		}
		out := o.CloseNotify(o.Seal(nil, []byte("bye")))
		said = p.hear(t, o.CloseNotify(o.Seal(o.Control(out), []byte("late"))))
		if len(said) != 2 || string(said[0]) != "bye\x17" || !bytes.Equal(said[1], []byte{1, 0, 21}) {
			t.Fatalf("says %q", said)
		}
	})
}

// TestRemoteAlert: a fatal alert ends both directions, without an answer.
func TestRemoteAlert(t *testing.T) {
	for _, level := range []byte{1, 2, 77} {
		o, p := newPeer(t, suites[0])
		_, err := o.Open(nil, p.say(typeAlert, 0, level, 40))
		if alertOf(err) != 40 {
			t.Errorf("level %d: %v", level, err)
		}
		if out := o.CloseNotify(o.Seal(o.Control(nil), []byte("more"))); len(out) > 0 {
			t.Errorf("level %d: says %d bytes", level, len(out))
		}
	}
}

// TestOwnUpdate: keys are replaced before they have sealed too much.
func TestOwnUpdate(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite uint16) {
		o, p := newPeer(t, suite)
		o.shared.rekeyAfter = 3
		out := o.Seal(nil, make([]byte, 5*maxPlain))
		for range 4 {
			out = o.Seal(out, []byte("text"))
		}
		updates := 0
		for i, inner := range p.hear(t, out) {
			if inner[len(inner)-1] == byte(typeHandshake) {
				updates++
				if (i+1)%4 != 0 {
					t.Errorf("update as record %d", i)
				}
			}
		}
		if updates != 2 {
			t.Errorf("%d updates", updates)
		}
	})
}

// TestSequenceEnds: the numbers do not wrap.
func TestSequenceEnds(t *testing.T) {
	o, p := newPeer(t, suites[0])
	o.read.seq, p.write.seq = 1<<64-2, 1<<64-2
	got, err := o.Open(nil, append(p.say(typeApplication, 0, 'a'), p.say(typeApplication, 0, 'b')...))
	if string(got) != "a" || alertOf(err) != int(alertInternalError) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestOwnAgrees has two ends exchange random messages, with key updates and
// ciphers given back in between, and streams cut anywhere.
func TestOwnAgrees(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		suite := rapid.SampledFrom(suites).Draw(r, "suite")
		o, p := newPeer(t, suite)
		o.shared.rekeyAfter = rapid.Uint64Range(1, 20).Draw(r, "rekey")
		var in, want []byte
		for _, n := range rapid.SliceOfN(rapid.IntRange(-2, maxPlain), 1, 20).Draw(r, "messages") {
			switch {
			case n == -2:
				in = append(in, p.update(0)...)
			case n == -1:
				in = append(in, p.update(1)...)
			default:
				text := bytes.Repeat([]byte{byte(n)}, n)
				want = append(want, text...)
				in = append(in, p.say(typeApplication, min(n%100, maxPlain-n), text...)...)
			}
		}
		var got, out, back []byte
		for len(in) > 0 {
			n := min(len(in), rapid.IntRange(1, 20_000).Draw(r, "cut"))
			at := len(got)
			var err error
			if got, err = o.Open(got, in[:n]); err != nil {
				r.Fatal(err)
			}
			in = in[n:]
			out = o.Seal(out, got[at:])
			if n%3 == 0 {
				o.Idle()
			}
		}
		for _, inner := range p.hear(t, out) {
			if inner[len(inner)-1] == byte(typeApplication) {
				back = append(back, inner[:len(inner)-1]...)
			}
		}
		if !bytes.Equal(got, want) || !bytes.Equal(back, want) {
			r.Fatalf("%d bytes sent, %d arrived and %d came back", len(want), len(got), len(back))
		}
	})
}

// TestAllocs: a record that is there as a whole allocates nothing.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Log("not counted under the race detector")
		return
	}
	for _, suite := range suites {
		o, p := newPeer(t, suite)
		const n = 200
		text := make([]byte, 1200)
		var recs [][]byte
		for range n + 1 {
			recs = append(recs, p.say(typeApplication, 0, text...))
		}
		dst, i := make([]byte, 0, 4096), 0
		if got := testing.AllocsPerRun(n, func() {
			dst, _ = o.Open(dst[:0], recs[i])
			dst = o.Seal(dst[:0], text)
			dst = o.Control(dst)
			i++
		}); got > 0 {
			t.Errorf("%s: %v allocations", tls.CipherSuiteName(suite), got)
		}
		if i != n+1 || o.err != nil {
			t.Error(fmt.Sprint(i, o.err))
		}
	}
}
