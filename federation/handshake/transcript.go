package handshake

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/draeder/peerservers/federation/nodekey"
)

type role uint8

const (
	dialler role = iota
	acceptor
)

// transcript is what both sides sign. Arrays of two are indexed by role.
type transcript struct {
	versions  [2][]uint32
	network   [32]byte
	nonce     [2][32]byte
	key       [2]Key
	ephemeral [2][32]byte
	url       string
	sequence  uint64
	version   uint32
	member    []byte // Local.Member
}

// take copies the other side's hello, whose role is from, into t.
func (t *transcript) take(from role, versions []uint32, network, nonce, key, ephemeral []byte) Fault {
	if len(versions) == 0 || slices.Contains(versions, 0) {
		return FaultVersion
	}
	if len(network) != 32 || len(nonce) != 32 || len(key) != 32 || len(ephemeral) != 32 {
		return FaultFrame
	}
	if [32]byte(network) != t.network {
		return FaultNetwork
	}
	if Key(key) == t.key[1-from] {
		return FaultOwnKey
	}
	if nodekey.Weak(Key(key)) {
		return FaultWeakKey
	}
	t.versions[from] = slices.Clone(versions)
	t.nonce[from] = [32]byte(nonce)
	t.key[from] = Key(key)
	t.ephemeral[from] = [32]byte(ephemeral)
	return 0
}

// append appends the transcript. Every part is of fixed length or preceded by
// its length, so that no two transcripts share an encoding. The member key is
// never sent: that the other side signed it too shows that it has the secret.
func (t *transcript) append(b []byte) []byte {
	for _, r := range [2]role{dialler, acceptor} {
		b = append(b, byte(len(t.versions[r])))
		for _, v := range t.versions[r] {
			b = binary.BigEndian.AppendUint32(b, v)
		}
	}
	b = append(b, t.network[:]...)
	b = append(append(b, t.nonce[dialler][:]...), t.nonce[acceptor][:]...)
	b = append(append(b, t.key[dialler][:]...), t.key[acceptor][:]...)
	b = append(append(b, t.ephemeral[dialler][:]...), t.ephemeral[acceptor][:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.url)))
	b = append(b, t.url...)
	b = binary.BigEndian.AppendUint64(b, t.sequence)
	b = binary.BigEndian.AppendUint32(b, t.version)
	return append(b, t.member...)
}

// Contexts keep the uses of a transcript apart from each other and from
// whatever else these keys may sign.
const (
	signContext = "peerservers.v1 handshake proof\x00"
	saltContext = "peerservers.v1 handshake keys\x00"
	tagContext  = "peerservers.v1 tag key"
	// swarmContext is followed by the sender's role.
	swarmContext = "peerservers.v1 swarm key "
)

// signed is the message that r signs.
func (t *transcript) signed(r role) []byte {
	b := append([]byte(signContext), "DA"[r])
	return t.append(b)
}

func (t *transcript) sign(r role, key ed25519.PrivateKey) []byte {
	return ed25519.Sign(key, t.signed(r))
}

func (t *transcript) verify(r role, sig []byte) bool {
	return len(sig) == ed25519.SignatureSize && ed25519.Verify(t.key[r][:], t.signed(r), sig)
}

func (t *transcript) session(self role, shared []byte) Session {
	s := Session{
		Peer:     t.key[1-self],
		Version:  t.version,
		URL:      t.url,
		Sequence: t.sequence,
		Dialled:  self == dialler,
	}
	salt := sha256.Sum256(t.append([]byte(saltContext)))
	derive := func(key *[16]byte, context string) {
		b, err := hkdf.Key(sha256.New, shared, salt[:], context, len(key))
		if err != nil {
			// Only a length that HKDF cannot give, or a module that forbids
			// short keys, fails; ours are constant.
			panic(err)
		}
		copy(key[:], b)
	}
	derive(&s.TagKey, tagContext)
	derive(&s.SendKey, swarmContext+"DA"[self:self+1])
	derive(&s.RecvKey, swarmContext+"DA"[1-self:2-self])
	return s
}
