package handshake

import (
	"crypto/ecdh"
	"testing"

	"github.com/draeder/peerservers/federation/frame"
)

// Whoever has seen the id of a closed network, and has not its secret, is let in
// by neither side; nor does one secret do for another.
func TestOutsiderWithTheNetworksID(t *testing.T) {
	member := func(name, secret string) Local {
		l := node(name)
		l.Member = []byte(secret)
		return l
	}
	if o := between(member("a", "ours"), member("b", "ours")).run(t); o.dialError != nil || o.acceptError != nil {
		t.Fatalf("two members: %v, %v", o.dialError, o.acceptError)
	}
	for _, secret := range []string{"", "their"} {
		// A dialler who does not care what it is told.
		l := between(member("a", secret), member("b", "ours"))
		tr := transcript{}
		l.tamper[1] = func(b []byte) []byte {
			var f frame.Frame
			if err := f.Decode(b, frame.HandshakeLimits()); err != nil {
				t.Fatal(err)
			}
			r := f.HelloReply
			e := entropy("1 dialler")
			tr = transcript{
				versions: [2][]uint32{l.dialler.Versions, r.Versions}, network: l.dialler.Network,
				nonce: [2][32]byte{e.Nonce, [32]byte(r.Nonce)}, key: [2]Key{public(l.dialler.Key), Key(r.Key)},
				ephemeral: [2][32]byte{[32]byte(scalarPublic(t, e.Scalar)), [32]byte(r.Ephemeral)},
				url:       url, sequence: 7, version: r.Version, member: []byte(secret),
			}
			r.Signature = tr.sign(acceptor, l.acceptor.Key) // as if the acceptor were no member
			return frame.Append(nil, &frame.Frame{Kind: frame.KindHelloReply, HelloReply: r})
		}
		if o := l.run(t); o.dialError != nil || o.acceptError != FaultSignature {
			t.Errorf("secret %q: dialler %v, acceptor %v", secret, o.dialError, o.acceptError)
		}
		// An acceptor.
		if o := between(member("a", "ours"), member("b", secret)).run(t); o.dialError != FaultSignature {
			t.Errorf("secret %q: dialler %v", secret, o.dialError)
		}
	}
}

func scalarPublic(t *testing.T, scalar [32]byte) []byte {
	k, err := ecdh.X25519().NewPrivateKey(scalar[:])
	if err != nil {
		t.Fatal(err)
	}
	return k.PublicKey().Bytes()
}
