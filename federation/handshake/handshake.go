// Package handshake is how two nodes prove to each other who they are before
// anything else is said on a link.
//
// The dialler sends a Hello; the acceptor answers with a HelloReply, which
// holds its proof; the dialler sends its Proof. Both proofs are signatures
// over everything that either side has sent or assumed: the signer's role,
// both lists of versions, the network, both nonces, both identity keys, both
// ephemeral keys, the URL that was dialled, the dial sequence and the version
// chosen. So a proof is good for one link only: replayed it lacks the nonce,
// reflected the role, forwarded the URL, and an attacker who strikes a
// version from a list spoils both signatures.
//
// The dialler gets the acceptor's proof first. The URL is the one it dialled,
// and the acceptor compares it with the URLs it was configured with, not with
// the Host header, which a proxy in between sets as it likes: a node that
// publishes somebody else's URL makes others dial there, and the handshake
// fails. A link also yields keys that no third party has, from an ephemeral
// X25519 exchange within the same transcript.
//
// The package is pure. It gets randomness and the other side's frames, and
// returns frames; time limits, sockets and the closing of a link that failed
// belong to the caller. ../PROTOCOL.md has the bytes.
package handshake

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"slices"

	"github.com/draeder/peerservers/federation/frame"
)

// Version is the protocol version that this code speaks.
const Version = 1

// Key is a node's ed25519 public key.
type Key = [ed25519.PublicKeySize]byte

// Entropy is fresh randomness for one handshake.
type Entropy struct {
	Nonce  [32]byte
	Scalar [32]byte // X25519 private key
}

// Local is what a node brings to every handshake.
type Local struct {
	Key     ed25519.PrivateKey
	Network [32]byte
	// Member is the network's member key, if it is closed: whoever does not have
	// it, though he saw Network, cannot sign what this side verifies.
	Member []byte
	// Versions are the protocol versions spoken, each at least 1.
	Versions []uint32
	// Admits reports whether the node with a key, which it may not have proved,
	// may be linked with; nil: every one may.
	Admits func(Key) bool
}

func (l *Local) admits(k Key) bool { return l.Admits == nil || l.Admits(k) }

// Session is the outcome of a handshake.
type Session struct {
	// Peer is the key that the other side proved to have.
	Peer Key
	// Version is the highest protocol version that both speak.
	Version uint32
	// URL is the link URL that was dialled, Sequence the dial's number, and
	// Dialled whether this side dialled.
	URL      string
	Sequence uint64
	Dialled  bool
	// TagKey keys the tags of peer ids on this link.
	TagKey [16]byte
	// SendKey and RecvKey key what this side and the other one say of their
	// swarms on this link. They differ, or what was said could be said back.
	SendKey, RecvKey [16]byte
}

// Dialler is the side that dialled.
type Dialler struct {
	local  Local
	secret *ecdh.PrivateKey
	expect Key
	state  state
	t      transcript
	f      frame.Frame
}

// Acceptor is the side that was dialled.
type Acceptor struct {
	local  Local
	secret *ecdh.PrivateKey
	urls   []string
	state  state
	t      transcript
	shared []byte
	f      frame.Frame
}

type state uint8

const (
	waiting state = iota // for the other side's hello
	proving              // acceptor: for the dialler's proof
	over                 // done, or failed
)

// Dial starts a handshake on a link that was dialled at url, which is in
// canonical form. expect is the key that must answer there; the zero Key
// stands for any. hello is the first frame to send.
func Dial(local Local, e Entropy, url string, sequence uint64, expect Key) (d *Dialler, hello []byte, err error) {
	secret, err := ecdh.X25519().NewPrivateKey(e.Scalar[:])
	if err != nil {
		return nil, nil, err
	}
	d = &Dialler{local: local, secret: secret, expect: expect}
	d.t = transcript{
		versions: [2][]uint32{dialler: local.Versions},
		network:  local.Network,
		member:   local.Member,
		nonce:    [2][32]byte{dialler: e.Nonce},
		url:      url,
		sequence: sequence,
	}
	copy(d.t.key[dialler][:], local.Key.Public().(ed25519.PublicKey))
	copy(d.t.ephemeral[dialler][:], secret.PublicKey().Bytes())
	f := frame.Frame{Kind: frame.KindHello, Hello: frame.Hello{
		Versions:  local.Versions,
		Network:   local.Network[:],
		Nonce:     e.Nonce[:],
		Key:       d.t.key[dialler][:],
		Ephemeral: d.t.ephemeral[dialler][:],
		URL:       []byte(url),
		Sequence:  sequence,
	}}
	return d, frame.Append(nil, &f), nil
}

// Handle takes the acceptor's frame. reply is the last frame to send; after it
// the link is open for both sides. The error is a Fault and ends the
// handshake.
func (d *Dialler) Handle(msg []byte) (reply []byte, s Session, err error) {
	if d.state != waiting {
		return nil, Session{}, FaultOrder
	}
	d.state = over
	if err := d.f.Decode(msg, frame.HandshakeLimits()); err != nil || d.f.Kind != frame.KindHelloReply {
		return nil, Session{}, FaultFrame
	}
	m, t := &d.f.HelloReply, &d.t
	if fault := t.take(acceptor, m.Versions, m.Network, m.Nonce, m.Key, m.Ephemeral); fault != 0 {
		return nil, Session{}, fault
	}
	if d.expect != (Key{}) && t.key[acceptor] != d.expect {
		return nil, Session{}, FaultUnexpectedKey
	}
	if !d.local.admits(t.key[acceptor]) {
		return nil, Session{}, FaultDenied
	}
	if t.version = m.Version; t.version != highest(t.versions[dialler], t.versions[acceptor]) || t.version == 0 {
		return nil, Session{}, FaultVersion
	}
	if !t.verify(acceptor, m.Signature) {
		return nil, Session{}, FaultSignature
	}
	shared, fault := exchange(d.secret, t.ephemeral[acceptor])
	if fault != 0 {
		return nil, Session{}, fault
	}
	f := frame.Frame{Kind: frame.KindProof, Proof: frame.Proof{Signature: t.sign(dialler, d.local.Key)}}
	return frame.Append(nil, &f), t.session(dialler, shared), nil
}

// Accept starts a handshake on a link that was accepted. urls are the
// canonical link URLs under which this node can be dialled.
func Accept(local Local, e Entropy, urls []string) (*Acceptor, error) {
	secret, err := ecdh.X25519().NewPrivateKey(e.Scalar[:])
	if err != nil {
		return nil, err
	}
	a := &Acceptor{local: local, secret: secret, urls: urls}
	a.t = transcript{
		versions: [2][]uint32{acceptor: local.Versions},
		network:  local.Network,
		member:   local.Member,
		nonce:    [2][32]byte{acceptor: e.Nonce},
	}
	copy(a.t.key[acceptor][:], local.Key.Public().(ed25519.PublicKey))
	copy(a.t.ephemeral[acceptor][:], secret.PublicKey().Bytes())
	return a, nil
}

// Handle takes the dialler's next frame. After its hello, reply is to be
// sent, and nothing else until Handle reports done; then the link is open for
// both sides. The error is a Fault and ends the handshake.
func (a *Acceptor) Handle(msg []byte) (reply []byte, s Session, done bool, err error) {
	before := a.state
	a.state = over
	if before == over {
		return nil, Session{}, false, FaultOrder
	}
	if err := a.f.Decode(msg, frame.HandshakeLimits()); err != nil {
		return nil, Session{}, false, FaultFrame
	}
	var fault Fault
	switch {
	case before == waiting && a.f.Kind == frame.KindHello:
		if reply, fault = a.hello(&a.f.Hello); fault == 0 {
			a.state = proving
			return reply, Session{}, false, nil
		}
	case before == proving && a.f.Kind == frame.KindProof:
		if a.t.verify(dialler, a.f.Proof.Signature) {
			return nil, a.t.session(acceptor, a.shared), true, nil
		}
		fault = FaultSignature
	default:
		fault = FaultFrame
	}
	return nil, Session{}, false, fault
}

func (a *Acceptor) hello(m *frame.Hello) (reply []byte, fault Fault) {
	t := &a.t
	if fault := t.take(dialler, m.Versions, m.Network, m.Nonce, m.Key, m.Ephemeral); fault != 0 {
		return nil, fault
	}
	if !a.local.admits(t.key[dialler]) {
		return nil, FaultDenied
	}
	t.url, t.sequence = string(m.URL), m.Sequence
	if !slices.Contains(a.urls, t.url) {
		return nil, FaultURL
	}
	if t.version = highest(t.versions[dialler], t.versions[acceptor]); t.version == 0 {
		return nil, FaultVersion
	}
	if a.shared, fault = exchange(a.secret, t.ephemeral[dialler]); fault != 0 {
		return nil, fault
	}
	f := frame.Frame{Kind: frame.KindHelloReply, HelloReply: frame.HelloReply{
		Versions:  a.local.Versions,
		Network:   t.network[:],
		Nonce:     t.nonce[acceptor][:],
		Key:       t.key[acceptor][:],
		Ephemeral: t.ephemeral[acceptor][:],
		Version:   t.version,
		Signature: t.sign(acceptor, a.local.Key),
	}}
	return frame.Append(nil, &f), 0
}

// highest is the highest version in both lists, 0 if there is none.
func highest(a, b []uint32) (v uint32) {
	for _, x := range a {
		if x > v && slices.Contains(b, x) {
			v = x
		}
	}
	return v
}

// exchange is the X25519 secret. A public key of low order, with which the
// secret would be known to everybody, is refused.
func exchange(secret *ecdh.PrivateKey, public [32]byte) ([]byte, Fault) {
	p, err := ecdh.X25519().NewPublicKey(public[:])
	if err != nil {
		return nil, FaultEphemeral
	}
	shared, err := secret.ECDH(p) // fails if the result is all zero
	if err != nil {
		return nil, FaultEphemeral
	}
	return shared, 0
}
