package handshake

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/draeder/peerservers/federation/frame"
)

// TestReplay gives each side the frames of an earlier link between the same
// two nodes.
func TestReplay(t *testing.T) {
	l := between(node("a"), node("b"))
	earlier := l.run(t)
	for i, want := range [3]Fault{FaultSignature, FaultSignature, FaultSignature} {
		l := between(node("a"), node("b"))
		l.name = "2"
		l.tamper[i] = func([]byte) []byte { return earlier.frames[i] }
		if o := l.run(t); o.dialError != want && o.acceptError != want {
			t.Errorf("frame %d: %v, %v", i, o.dialError, o.acceptError)
		}
	}
	// An attacker without any key repeats all that a said.
	a, err := Accept(node("b"), entropy("3"), []string{url})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := a.Handle(earlier.frames[0]); err != nil {
		t.Fatal(err)
	}
	if _, _, done, err := a.Handle(earlier.frames[2]); done || err != FaultSignature {
		t.Errorf("a replayed dialler is let in: %v", err)
	}
}

// edit decodes a handshake frame, changes it, and encodes it again.
func edit(t testing.TB, change func(*frame.Frame)) func([]byte) []byte {
	return func(b []byte) []byte {
		var f frame.Frame
		if err := f.Decode(b, frame.HandshakeLimits()); err != nil {
			t.Fatal(err)
		}
		change(&f)
		return frame.Append(nil, &f)
	}
}

func TestReflected(t *testing.T) {
	// The dialler gets its own hello back, as it was and as a reply.
	l := between(node("a"), node("b"))
	first := l.run(t)
	l.tamper[1] = func([]byte) []byte { return first.frames[0] }
	if o := l.run(t); o.dialError != FaultFrame {
		t.Errorf("hello for a reply: %v", o.dialError)
	}
	l.tamper[1] = func(reply []byte) []byte {
		return edit(t, func(f *frame.Frame) {
			h := f.Hello
			f.Kind = frame.KindHelloReply
			f.HelloReply = frame.HelloReply{
				Versions: h.Versions, Network: h.Network, Nonce: h.Nonce, Key: h.Key, Ephemeral: h.Ephemeral, Version: 1,
				Signature: make([]byte, 64),
			}
		})(first.frames[0])
	}
	if o := l.run(t); o.dialError != FaultOwnKey {
		t.Errorf("own hello as a reply: %v", o.dialError)
	}
	// The acceptor gets its own signature back.
	var signature []byte
	l = between(node("a"), node("b"))
	l.tamper[1] = func(b []byte) []byte {
		edit(t, func(f *frame.Frame) { signature = bytes.Clone(f.HelloReply.Signature) })(b)
		return b
	}
	l.tamper[2] = edit(t, func(f *frame.Frame) { f.Proof.Signature = signature })
	if o := l.run(t); o.acceptError != FaultSignature {
		t.Errorf("own signature as a proof: %v", o.acceptError)
	}
}

// TestRoles: even with one key on both sides, which is refused elsewhere, no
// signature serves both roles.
func TestRoles(t *testing.T) {
	key := privateKey("a")
	tr := transcript{key: [2]Key{public(key), public(key)}, versions: [2][]uint32{{1}, {1}}, version: 1, url: url}
	if !tr.verify(acceptor, tr.sign(acceptor, key)) || tr.verify(dialler, tr.sign(acceptor, key)) || tr.verify(acceptor, tr.sign(dialler, key)) {
		t.Error("roles are not kept apart")
	}
}

func TestDowngraded(t *testing.T) {
	strip := func(v []uint32) []uint32 { return slices.DeleteFunc(v, func(x uint32) bool { return x == 2 }) }
	cases := map[string]struct {
		tamper [3]func([]byte) []byte
		want   Fault
	}{
		"dialler's list": {[3]func([]byte) []byte{0: edit(t, func(f *frame.Frame) { f.Hello.Versions = strip(f.Hello.Versions) })}, FaultVersion},
		"acceptor's list": {[3]func([]byte) []byte{1: edit(t, func(f *frame.Frame) {
			f.HelloReply.Versions, f.HelloReply.Version = strip(f.HelloReply.Versions), 1
		})}, FaultSignature},
		"both lists": {[3]func([]byte) []byte{
			0: edit(t, func(f *frame.Frame) { f.Hello.Versions = strip(f.Hello.Versions) }),
			1: edit(t, func(f *frame.Frame) { f.HelloReply.Versions = strip(f.HelloReply.Versions) }),
		}, FaultSignature},
		"choice":         {[3]func([]byte) []byte{1: edit(t, func(f *frame.Frame) { f.HelloReply.Version = 1 })}, FaultVersion},
		"choice of none": {[3]func([]byte) []byte{1: edit(t, func(f *frame.Frame) { f.HelloReply.Version = 9 })}, FaultVersion},
	}
	for name, c := range cases {
		l := between(node("a"), node("b"))
		l.dialler.Versions, l.acceptor.Versions = []uint32{1, 2}, []uint32{1, 2}
		l.tamper = c.tamper
		if o := l.run(t); o.dialError != c.want {
			t.Errorf("%s: %v, %v", name, o.dialError, o.acceptError)
		}
	}
}

// TestTranscript: no part of it can change without the encoding.
func TestTranscript(t *testing.T) {
	fresh := func() *transcript {
		return &transcript{versions: [2][]uint32{{1, 2}, {2, 3}}, version: 2, url: url, sequence: 7}
	}
	seen := map[string]int{string(fresh().append(nil)): -1}
	for i, change := range []func(*transcript){
		func(t *transcript) { t.versions[dialler][0] = 9 },
		func(t *transcript) { t.versions[acceptor][1] = 9 },
		func(t *transcript) { t.versions = [2][]uint32{{1, 2, 2}, {3}} },
		func(t *transcript) { t.network[31] = 1 },
		func(t *transcript) { t.nonce[dialler][31] = 1 },
		func(t *transcript) { t.nonce[acceptor][31] = 1 },
		func(t *transcript) { t.key[dialler][31] = 1 },
		func(t *transcript) { t.key[acceptor][31] = 1 },
		func(t *transcript) { t.ephemeral[dialler][31] = 1 },
		func(t *transcript) { t.ephemeral[acceptor][31] = 1 },
		func(t *transcript) { t.url += "x" },
		func(t *transcript) { t.sequence++ },
		func(t *transcript) { t.version++ },
		func(t *transcript) { t.member = []byte{0} },
	} {
		tr := fresh()
		change(tr)
		b := string(tr.append(nil))
		if other, ok := seen[b]; ok {
			t.Errorf("changes %d and %d have one encoding", i, other)
		}
		seen[b] = i
	}
}

// TestLowerVersionSigned: an acceptor that itself chooses less than it could
// is refused, however well it signs.
func TestLowerVersionSigned(t *testing.T) {
	l := between(node("a"), node("b"))
	l.dialler.Versions, l.acceptor.Versions = []uint32{1, 2}, []uint32{1, 2}
	l.tamper[1] = edit(t, func(f *frame.Frame) {
		tr := transcript{version: 1, url: l.url, sequence: 7, network: l.dialler.Network}
		for r, n := range [2]Local{l.dialler, l.acceptor} {
			e := entropy(l.name + " " + [2]string{"dialler", "acceptor"}[r])
			tr.versions[r], tr.nonce[r], tr.key[r] = n.Versions, e.Nonce, public(n.Key)
		}
		d, _, err := Dial(l.dialler, entropy(l.name+" dialler"), l.url, 7, Key{})
		if err != nil {
			t.Fatal(err)
		}
		tr.ephemeral = [2][32]byte{d.t.ephemeral[dialler], [32]byte(f.HelloReply.Ephemeral)}
		f.HelloReply.Version, f.HelloReply.Signature = 1, tr.sign(acceptor, l.acceptor.Key)
		if !tr.verify(acceptor, f.HelloReply.Signature) {
			t.Fatal("the test signs nothing valid")
		}
	})
	if o := l.run(t); o.dialError != FaultVersion {
		t.Errorf("%v", o.dialError)
	}
}

// TestOtherURL: m publishes b's URL, or forwards to b what was dialled at its
// own.
func TestOtherURL(t *testing.T) {
	l := between(node("a"), node("b"))
	l.url = "wss://m.example:443/federation"
	if o := l.run(t); o.acceptError != FaultURL {
		t.Errorf("forwarded: %v", o.acceptError)
	}
	l.tamper[0] = edit(t, func(f *frame.Frame) { f.Hello.URL = []byte(url) })
	if o := l.run(t); o.dialError != FaultSignature {
		t.Errorf("forwarded with the URL replaced: %v, %v", o.dialError, o.acceptError)
	}
	l.tamper[0] = nil
	for _, near := range []string{"", "wss://b.example:443", "WSS://b.example:443/federation", "wss://b.example/federation", url + "/"} {
		if l.url = near; l.run(t).acceptError != FaultURL {
			t.Errorf("%q passes for %q", near, url)
		}
	}
	l.url, l.urls = url, nil
	if o := l.run(t); o.acceptError != FaultURL {
		t.Errorf("without URLs: %v", o.acceptError)
	}
}

func TestOwnKey(t *testing.T) {
	if o := between(node("a"), node("a")).run(t); o.acceptError != FaultOwnKey {
		t.Errorf("dialled itself: %v", o.acceptError)
	}
	l := between(node("a"), node("b"))
	l.tamper[1] = edit(t, func(f *frame.Frame) { f.HelloReply.Key = l.dialler.Key.Public().(ed25519.PublicKey) })
	if o := l.run(t); o.dialError != FaultOwnKey {
		t.Errorf("own key answers: %v", o.dialError)
	}
}

func TestUnexpectedKey(t *testing.T) {
	l := between(node("a"), node("b"))
	l.expect = public(privateKey("c"))
	if o := l.run(t); o.dialError != FaultUnexpectedKey {
		t.Errorf("%v", o.dialError)
	}
}

func TestOtherNetwork(t *testing.T) {
	l := between(node("a"), node("b"))
	l.acceptor.Network[31] ^= 1
	if o := l.run(t); o.acceptError != FaultNetwork {
		t.Errorf("acceptor: %v", o.acceptError)
	}
	l = between(node("a"), node("b"))
	l.tamper[1] = edit(t, func(f *frame.Frame) { f.HelloReply.Network[0] ^= 1 })
	if o := l.run(t); o.dialError != FaultNetwork {
		t.Errorf("dialler: %v", o.dialError)
	}
}

// TestTampered changes every byte of every frame, in several ways.
func TestTampered(t *testing.T) {
	frames := between(node("a"), node("b")).run(t).frames
	for i, b := range frames {
		for at := range b {
			for _, x := range []byte{0x01, 0x08, 0x80, 0xff} {
				l := between(node("a"), node("b"))
				l.tamper[i] = func(b []byte) []byte {
					b[at] ^= x
					return b
				}
				if o := l.run(t); o.accepted != (Session{}) || i < 2 && o.dialled != (Session{}) {
					t.Fatalf("frame %d, byte %d ^ %02x: nobody noticed", i, at, x)
				}
			}
		}
	}
}

func TestTruncated(t *testing.T) {
	frames := between(node("a"), node("b")).run(t).frames
	for i, b := range frames {
		for n := range b {
			l := between(node("a"), node("b"))
			l.tamper[i] = func(b []byte) []byte { return b[:n] }
			if o := l.run(t); o.acceptError != FaultFrame && o.dialError != FaultFrame {
				t.Fatalf("frame %d, %d bytes: %v, %v", i, n, o.dialError, o.acceptError)
			}
		}
	}
}

// TestShortFields shortens one field after the other by a byte.
func TestShortFields(t *testing.T) {
	fields := func(f *frame.Frame) []*[]byte {
		if f.Kind == frame.KindHello {
			return []*[]byte{&f.Hello.Network, &f.Hello.Nonce, &f.Hello.Key, &f.Hello.Ephemeral}
		}
		return []*[]byte{&f.HelloReply.Network, &f.HelloReply.Nonce, &f.HelloReply.Key, &f.HelloReply.Ephemeral}
	}
	for k := range 2 {
		for i := range 4 {
			l := between(node("a"), node("b"))
			l.tamper[k] = edit(t, func(f *frame.Frame) {
				b := fields(f)[i]
				*b = (*b)[:31]
			})
			if o := l.run(t); o.acceptError != FaultFrame && o.dialError != FaultFrame {
				t.Errorf("field %d of frame %d: %v, %v", i, k, o.dialError, o.acceptError)
			}
		}
	}
	l := between(node("a"), node("b"))
	l.tamper[2] = edit(t, func(f *frame.Frame) { f.Proof.Signature = f.Proof.Signature[:63] })
	if o := l.run(t); o.acceptError != FaultSignature {
		t.Errorf("short proof: %v", o.acceptError)
	}
}

func TestLaterFields(t *testing.T) {
	later := protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("later"))
	add := func(b []byte) []byte {
		num, _, n := protowire.ConsumeTag(b)
		body, _ := protowire.ConsumeBytes(b[n:])
		b = protowire.AppendTag(bytes.Clone(later), num, protowire.BytesType)
		return append(protowire.AppendBytes(b, slices.Concat(later, body, later)), later...)
	}
	l := between(node("a"), node("b"))
	want := l.run(t)
	l.tamper = [3]func([]byte) []byte{add, add, add}
	if o := l.run(t); o.dialError != nil || o.acceptError != nil || o.accepted != want.accepted || o.dialled != want.dialled {
		t.Errorf("%v, %v", o.dialError, o.acceptError)
	}
}

// TestLowOrder: with these ephemeral keys every X25519 secret is zero.
func TestLowOrder(t *testing.T) {
	for _, s := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		point, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		l := between(node("a"), node("b"))
		l.tamper[0] = edit(t, func(f *frame.Frame) { f.Hello.Ephemeral = point })
		if o := l.run(t); o.acceptError != FaultEphemeral {
			t.Errorf("%s from the dialler: %v", s, o.acceptError)
		}
		// The acceptor may sign what it likes, also such a key.
		d, _, err := Dial(l.dialler, entropy("d"), url, 7, Key{})
		if err != nil {
			t.Fatal(err)
		}
		tr := d.t
		tr.versions[acceptor], tr.version = []uint32{1}, 1
		tr.nonce[acceptor], tr.key[acceptor], tr.ephemeral[acceptor] = [32]byte{1}, public(l.acceptor.Key), [32]byte(point)
		f := frame.Frame{Kind: frame.KindHelloReply, HelloReply: frame.HelloReply{
			Versions: tr.versions[acceptor], Network: tr.network[:], Nonce: tr.nonce[acceptor][:], Key: tr.key[acceptor][:],
			Ephemeral: point, Version: 1, Signature: tr.sign(acceptor, l.acceptor.Key),
		}}
		if _, _, err := d.Handle(frame.Append(nil, &f)); err != FaultEphemeral {
			t.Errorf("%s from the acceptor: %v", s, err)
		}
	}
}

// TestOrder: only the frame that is due is taken, and after an error or the
// end none.
func TestOrder(t *testing.T) {
	frames := between(node("a"), node("b")).run(t).frames
	join := frame.AppendJoin(nil, &frame.Join{InfoHash: []byte("x")})
	for _, first := range [][]byte{join, frames[1], frames[2], nil} {
		a, err := Accept(node("b"), entropy("1 acceptor"), []string{url})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := a.Handle(first); err != FaultFrame {
			t.Errorf("%x first: %v", first, err)
		}
		if _, _, _, err := a.Handle(frames[0]); err != FaultOrder {
			t.Errorf("after a fault: %v", err)
		}
	}
	for _, second := range [][]byte{join, frames[0], frames[1]} {
		a, err := Accept(node("b"), entropy("1 acceptor"), []string{url})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := a.Handle(frames[0]); err != nil {
			t.Fatal(err)
		}
		if _, _, done, err := a.Handle(second); done || err != FaultFrame {
			t.Errorf("%x for a proof: %v", second, err)
		}
		if _, _, _, err := a.Handle(frames[2]); err != FaultOrder {
			t.Errorf("proof after a fault: %v", err)
		}
	}
	for _, reply := range [][]byte{join, frames[0], frames[2]} {
		d, _, err := Dial(node("a"), entropy("1 dialler"), url, 7, Key{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Handle(reply); err != FaultFrame {
			t.Errorf("%x for a reply: %v", reply, err)
		}
		if _, _, err := d.Handle(frames[1]); err != FaultOrder {
			t.Errorf("reply after a fault: %v", err)
		}
	}
}

// TestWeakKey: the identity point as a key, for which everybody can sign.
func TestWeakKey(t *testing.T) {
	weak := Key{1}
	sig := make([]byte, ed25519.SignatureSize)
	sig[0] = 1
	l := between(node("a"), node("b"))
	l.tamper[0] = edit(t, func(f *frame.Frame) { f.Hello.Key = weak[:] })
	l.tamper[2] = edit(t, func(f *frame.Frame) { f.Proof.Signature = sig })
	if o := l.run(t); o.acceptError != FaultWeakKey {
		t.Errorf("dialler: %v, let in as %x", o.acceptError, o.accepted.Peer)
	}
	l = between(node("a"), node("b"))
	l.tamper[1] = edit(t, func(f *frame.Frame) { f.HelloReply.Key, f.HelloReply.Signature = weak[:], sig })
	if o := l.run(t); o.dialError != FaultWeakKey {
		t.Errorf("acceptor: %v, taken for %x", o.dialError, o.dialled.Peer)
	}
}

// TestDenied: each side refuses whom it is not to deal with, before it has said
// more than it must.
func TestDenied(t *testing.T) {
	not := func(k Key) func(Key) bool { return func(other Key) bool { return other != k } }
	l := between(node("a"), node("b"))
	l.acceptor.Admits = not(public(l.dialler.Key))
	if o := l.run(t); o.acceptError != FaultDenied || len(o.frames[1]) > 0 {
		t.Errorf("acceptor: %v, after a reply of %d bytes", o.acceptError, len(o.frames[1]))
	}
	l = between(node("a"), node("b"))
	l.dialler.Admits = not(public(l.acceptor.Key))
	if o := l.run(t); o.dialError != FaultDenied || o.accepted != (Session{}) {
		t.Errorf("dialler: %v", o.dialError)
	}
	l = between(node("a"), node("b"))
	l.dialler.Admits, l.acceptor.Admits = not(Key{}), not(Key{})
	if o := l.run(t); o.dialError != nil || o.acceptError != nil {
		t.Errorf("%v, %v", o.dialError, o.acceptError)
	}
}
