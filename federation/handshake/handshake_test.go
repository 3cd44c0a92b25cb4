package handshake

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
)

const url = "wss://b.example:443/federation"

func privateKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(k ed25519.PrivateKey) Key { return Key(k.Public().(ed25519.PublicKey)) }

func node(name string) Local {
	return Local{Key: privateKey(name), Network: sha256.Sum256([]byte("network")), Versions: []uint32{Version}}
}

// entropy is the randomness of a named side of a named link.
func entropy(name string) Entropy {
	return Entropy{Nonce: sha256.Sum256([]byte("nonce " + name)), Scalar: sha256.Sum256([]byte("scalar " + name))}
}

// link is a handshake between two nodes, with a hand in the middle: each
// frame passes through the function of that index, if there is one.
type link struct {
	dialler, acceptor Local
	url               string
	urls              []string
	expect            Key
	name              string // of its randomness
	tamper            [3]func([]byte) []byte
}

func between(dialler, acceptor Local) *link {
	return &link{dialler: dialler, acceptor: acceptor, url: url, urls: []string{"wss://other.example:443/federation", url}, name: "1"}
}

type outcome struct {
	frames      [3][]byte
	dialled     Session
	accepted    Session
	dialError   error // nil if the dialler took the link for open
	acceptError error
}

func (l *link) run(t testing.TB) (o outcome) {
	t.Helper()
	pass := func(i int, b []byte) []byte {
		o.frames[i] = b
		if f := l.tamper[i]; f != nil {
			return f(bytes.Clone(b))
		}
		return b
	}
	d, hello, err := Dial(l.dialler, entropy(l.name+" dialler"), l.url, 7, l.expect)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Accept(l.acceptor, entropy(l.name+" acceptor"), l.urls)
	if err != nil {
		t.Fatal(err)
	}
	reply, _, done, err := a.Handle(pass(0, hello))
	if done {
		t.Fatal("open before the dialler's proof")
	}
	if o.acceptError = err; err != nil {
		if reply != nil {
			t.Fatal("a reply with an error")
		}
		return o
	}
	proof, s, err := d.Handle(pass(1, reply))
	if o.dialled, o.dialError = s, err; err != nil {
		if proof != nil || s != (Session{}) {
			t.Fatal("a proof or a session with an error")
		}
		return o
	}
	rest, s, done, err := a.Handle(pass(2, proof))
	o.accepted, o.acceptError = s, err
	if done != (err == nil) || rest != nil || err != nil && s != (Session{}) {
		t.Fatalf("done %v, reply %x, error %v", done, rest, err)
	}
	return o
}

func TestHandshake(t *testing.T) {
	l := between(node("a"), node("b"))
	for _, expect := range []Key{{}, public(l.acceptor.Key)} {
		l.expect = expect
		o := l.run(t)
		if o.dialError != nil || o.acceptError != nil {
			t.Fatal(o.dialError, o.acceptError)
		}
		d, a := o.dialled, o.accepted
		if d.Peer != public(l.acceptor.Key) || a.Peer != public(l.dialler.Key) {
			t.Error("wrong keys proved")
		}
		if !d.Dialled || a.Dialled || d.TagKey == ([16]byte{}) {
			t.Errorf("%+v, %+v", d, a)
		}
		if d.SendKey != a.RecvKey || a.SendKey != d.RecvKey || d.SendKey == d.RecvKey || d.SendKey == d.TagKey || a.SendKey == a.TagKey {
			t.Error("keys of the directions")
		}
		a.SendKey, a.RecvKey = d.SendKey, d.RecvKey
		a.Peer, a.Dialled = d.Peer, d.Dialled
		if a != d || d.URL != url || d.Sequence != 7 || d.Version != 1 {
			t.Errorf("the sides disagree: %+v, %+v", d, a)
		}
	}
	other := between(l.dialler, l.acceptor)
	other.name = "2"
	if a, b := other.run(t).dialled, l.run(t).dialled; a.TagKey == b.TagKey || a.SendKey == b.SendKey || a.RecvKey == b.RecvKey {
		t.Error("two links with one key")
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		dialler, acceptor []uint32
		want              uint32
	}{
		{[]uint32{1}, []uint32{1}, 1},
		{[]uint32{1, 2}, []uint32{1}, 1},
		{[]uint32{1, 2}, []uint32{2, 1}, 2},
		{[]uint32{3, 1}, []uint32{1, 2, 3, 4}, 3},
		{[]uint32{2}, []uint32{1}, 0},
		{nil, []uint32{1}, 0},
		{[]uint32{1}, nil, 0},
		{[]uint32{0, 1}, []uint32{0, 1}, 0},
	} {
		l := between(node("a"), node("b"))
		l.dialler.Versions, l.acceptor.Versions = c.dialler, c.acceptor
		o := l.run(t)
		if o.dialled.Version != c.want || o.accepted.Version != c.want {
			t.Errorf("%v with %v: %d, %d; want %d", c.dialler, c.acceptor, o.dialled.Version, o.accepted.Version, c.want)
		}
		if c.want == 0 && o.acceptError != FaultVersion && o.dialError != FaultVersion {
			t.Errorf("%v with %v: %v, %v", c.dialler, c.acceptor, o.dialError, o.acceptError)
		}
	}
}

func TestFaultLabels(t *testing.T) {
	seen := map[string]bool{}
	for i := range 256 {
		seen[Fault(i).Error()] = true
	}
	if len(seen) != Faults {
		t.Errorf("%d labels, want %d", len(seen), Faults)
	}
}

// FuzzAccept: nobody without a key gets in, whatever he says.
func FuzzAccept(f *testing.F) {
	frames := between(node("a"), node("b")).run(f).frames
	f.Add(frames[0], frames[2])
	f.Add(frames[2], frames[0])
	f.Fuzz(func(t *testing.T, hello, proof []byte) {
		a, err := Accept(node("b"), entropy("fuzz"), []string{url})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, done, err := a.Handle(hello); done || err != nil {
			return
		}
		if _, _, done, err := a.Handle(proof); done || err == nil {
			t.Fatal("let in")
		}
	})
}

// FuzzDial: nobody without a key answers for a node.
func FuzzDial(f *testing.F) {
	f.Add(between(node("a"), node("b")).run(f).frames[1])
	f.Fuzz(func(t *testing.T, reply []byte) {
		d, _, err := Dial(node("a"), entropy("fuzz"), url, 7, Key{})
		if err != nil {
			t.Fatal(err)
		}
		if proof, _, err := d.Handle(reply); err == nil || proof != nil {
			t.Fatal("proved itself to nobody")
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	l := between(node("a"), node("b"))
	b.ReportAllocs()
	for b.Loop() {
		l.run(b)
	}
}
