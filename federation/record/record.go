// Package record builds, signs, reads and judges node records: who a node is
// and where it can be dialled, as a BEP 44 mutable item under its own key.
//
// A record comes from the DHT or from another node's gossip, that is from
// anybody. Verify accepts only what a well-behaved node could have published
// now: signed, in canonical bencoding, short-lived, with URLs that may be
// dialled. Even then it is a hint whom to dial, and the handshake decides.
//
// The records of a closed network are sealed for its members (Seal): others
// see the key, the number and that there is a record.
package record

import (
	"crypto/ed25519"
	"encoding/binary"
	"slices"

	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/nodekey"
)

const (
	// Salt is the BEP 44 salt of node records in open networks.
	Salt = "wtfed1/node"
	// MaxValue is the largest bencoded record, sealed if it is.
	MaxValue = 950
	// MaxURLs is how many URLs a record may name.
	MaxURLs = 4
	// MaxPeers is how many other nodes a record may name.
	MaxPeers = 8

	// Lifetime is for how long, in seconds, a node's own record is good.
	Lifetime = 3 * 3600
	// maxLifetime leaves room for a clock that is ahead by two hours.
	maxLifetime = 5 * 3600
	// maxAhead is how far a sequence number, which is a time, may be ahead.
	maxAhead = 90 * 60
)

// Key is a node's ed25519 public key.
type Key = [ed25519.PublicKeySize]byte

// Caps are what a node says of itself.
type Caps uint32

const (
	// CapRelay: it relays offers and answers.
	CapRelay Caps = 1 << iota
	// CapIPv6: it can dial IPv6 addresses.
	CapIPv6
	// CapLeaf: it cannot be dialled.
	CapLeaf
	// CapUnverified: it guessed its URLs, and nobody has dialled it there yet.
	CapUnverified
	// CapRegister: it keeps what others register with it (package registry).
	CapRegister
)

// Record is a node record's contents.
type Record struct {
	Key  Key
	Caps Caps
	// Protocol is the highest protocol version that the node speaks.
	Protocol uint32
	// Expires is in seconds since 1970.
	Expires int64
	// URLs are where it can be dialled.
	URLs []nodeaddr.URL
	// Pin is the SHA-256 of the SubjectPublicKeyInfo of its own certificate,
	// if it has such a one.
	Pin    [32]byte
	Pinned bool
	// Peers are other nodes that it knows.
	Peers []Key
}

// Signed is a record as it travels: a BEP 44 item with the salt left out.
type Signed struct {
	Key   Key
	Seq   int64
	Sig   [ed25519.SignatureSize]byte
	Value []byte
}

// NextSeq is the sequence number of a record that is published at now
// (seconds since 1970) after one with the number last: the time, but always
// rising. Every publication needs a new one, since some nodes refuse to
// refresh an item under the same.
func NextSeq(now, last int64) int64 { return max(now, last+1) }

// Append appends r in canonical bencoding. It does not check it.
func (r *Record) Append(dst []byte) []byte {
	dst = append(dst, 'd')
	dst = appendString(dst, "c")
	dst = appendBytes(dst, binary.BigEndian.AppendUint32(nil, uint32(r.Caps)))
	dst = appendString(dst, "e")
	dst = appendInt(dst, r.Expires)
	dst = appendString(dst, "k")
	dst = appendBytes(dst, r.Key[:])
	dst = appendString(dst, "p")
	dst = appendInt(dst, int64(r.Protocol))
	if len(r.Peers) > 0 {
		dst = append(appendString(dst, "s"), 'l')
		for i := range r.Peers {
			dst = appendBytes(dst, r.Peers[i][:])
		}
		dst = append(dst, 'e')
	}
	if r.Pinned {
		dst = appendString(dst, "t")
		dst = appendBytes(dst, r.Pin[:])
	}
	if len(r.URLs) > 0 {
		dst = append(appendString(dst, "u"), 'l')
		for _, u := range r.URLs {
			dst = appendString(dst, u.String())
		}
		dst = append(dst, 'e')
	}
	return append(dst, 'e')
}

// Sign encodes r, seals it and signs it under key with that sequence number. Peers are
// left off from the end until the value fits; the error is a Fault if it does
// not fit even so, or if r breaks a rule that does not depend on the time.
func Sign(key ed25519.PrivateKey, seq int64, r Record, seal Seal) (Signed, error) {
	copy(r.Key[:], key.Public().(ed25519.PublicKey))
	if len(r.URLs) > MaxURLs {
		return Signed{}, FaultURLs
	}
	r.Peers = r.Peers[:min(len(r.Peers), MaxPeers)]
	value := r.Append(nil)
	for len(value) > seal.maxValue() && len(r.Peers) > 0 {
		r.Peers = r.Peers[:len(r.Peers)-1]
		value = r.Append(nil)
	}
	if len(value) > seal.maxValue() {
		return Signed{}, FaultSize
	}
	if seq < 0 {
		return Signed{}, FaultSeq
	}
	value, fault := seal.value(r.Key, seq, value)
	if fault != 0 {
		return Signed{}, fault
	}
	s := Signed{Key: r.Key, Seq: seq, Value: value}
	copy(s.Sig[:], ed25519.Sign(key, signedBytes(seal.Salt, seq, value)))
	return s, nil
}

// signedBytes are what a BEP 44 signature covers.
func signedBytes(salt string, seq int64, value []byte) []byte {
	if salt == "" {
		salt = Salt
	}
	b := appendString(appendString(nil, "salt"), salt)
	b = appendInt(appendString(b, "seq"), seq)
	b = appendString(b, "v")
	return append(b, value...)
}

// Rules are what Verify holds a record to besides its signature.
type Rules struct {
	// Now is in seconds since 1970.
	Now int64
	// LastSeq is the highest sequence number seen of this key, below which a
	// record is a replay; 0 if none. The caller keeps it, across restarts.
	LastSeq int64
	// AllowPrivate admits ws:// and private addresses.
	AllowPrivate bool
	// RecordKey and Salt are those of the closed network whose records are read
	// (derive.Network.RecordKey, RecordSalt); none for an open one.
	RecordKey []byte
	Salt      string
}

// Verify reads a record and judges it. The error is a Fault. The result
// shares no memory with s.
func (s *Signed) Verify(rules Rules) (Record, error) {
	if len(s.Value) > MaxValue {
		return Record{}, FaultSize
	}
	if s.Seq < 0 || s.Seq > rules.Now+maxAhead {
		return Record{}, FaultSeq
	}
	if s.Seq < rules.LastSeq {
		return Record{}, FaultReplay
	}
	if nodekey.Weak(s.Key) {
		return Record{}, FaultWeakKey
	}
	if _, fault := s.sealed(rules.RecordKey); fault != 0 {
		return Record{}, fault // of another network, which has another salt
	}
	if !ed25519.Verify(s.Key[:], signedBytes(rules.Salt, s.Seq, s.Value), s.Sig[:]) {
		return Record{}, FaultSignature
	}
	r, err := s.Decode(rules.RecordKey, rules.AllowPrivate)
	if err != nil {
		return Record{}, err
	}
	if r.Key != s.Key {
		return Record{}, FaultKey
	}
	if r.Expires <= rules.Now || r.Expires > rules.Now+maxLifetime {
		return Record{}, FaultExpiry
	}
	return r, nil
}

// Decode reads a record without judging it, with the record key of Rules.
// Unknown members are skipped. The error is a Fault.
func (s *Signed) Decode(recordKey []byte, allowPrivate bool) (Record, error) {
	if len(s.Value) > MaxValue {
		return Record{}, FaultSize
	}
	value, fault := s.open(recordKey)
	if fault != 0 {
		return Record{}, fault
	}
	return decode(value, allowPrivate)
}

// decode reads a dictionary.
func decode(value []byte, allowPrivate bool) (Record, error) {
	if !canonical(value) {
		return Record{}, FaultBencode
	}
	var r Record
	var seen [256]bool
	d := reader{rest: value[1:]}
	for !d.end() {
		name := d.bytes()
		var fault Fault
		if len(name) != 1 {
			d.skip()
			continue
		}
		switch seen[name[0]] = true; name[0] {
		case 'c':
			fault = r.setCaps(&d)
		case 'e':
			fault = d.setInt(&r.Expires, FaultExpiry)
		case 'k':
			fault = d.setKey(&r.Key)
		case 'p':
			fault = r.setProtocol(&d)
		case 's':
			fault = r.setPeers(&d)
		case 't':
			r.Pinned = true
			fault = d.setFixed(&r.Pin, FaultPin)
		case 'u':
			fault = r.setURLs(&d, allowPrivate)
		default:
			d.skip()
		}
		if fault != 0 {
			return Record{}, fault
		}
	}
	if !seen['c'] || !seen['e'] || !seen['k'] || !seen['p'] {
		return Record{}, FaultMissing
	}
	return r, nil
}

func (r *Record) setCaps(d *reader) Fault {
	v, ok := d.tryBytes()
	if !ok || len(v) != 4 {
		return FaultCaps
	}
	r.Caps = Caps(binary.BigEndian.Uint32(v))
	return 0
}

func (r *Record) setProtocol(d *reader) Fault {
	var p int64
	if f := d.setInt(&p, FaultProtocol); f != 0 {
		return f
	}
	if p < 1 || p > 1<<32-1 {
		return FaultProtocol
	}
	r.Protocol = uint32(p)
	return 0
}

func (r *Record) setPeers(d *reader) Fault {
	if !d.list() {
		return FaultPeers
	}
	for !d.end() {
		var k Key
		if len(r.Peers) == MaxPeers || d.setKey(&k) != 0 {
			return FaultPeers
		}
		r.Peers = append(r.Peers, k)
	}
	return 0
}

func (r *Record) setURLs(d *reader, allowPrivate bool) Fault {
	if !d.list() {
		return FaultURLs
	}
	for !d.end() {
		v, ok := d.tryBytes()
		if !ok || len(r.URLs) == MaxURLs {
			return FaultURLs
		}
		u, err := nodeaddr.Parse(string(v), allowPrivate)
		if err != nil || u.String() != string(v) || slices.Contains(r.URLs, u) {
			return FaultURLs
		}
		r.URLs = append(r.URLs, u)
	}
	return 0
}

// Fault is why a record is refused. It is an error whose text is a fixed
// label, fit for a metric.
type Fault uint8

const (
	_ Fault = iota
	// FaultSize: over 950 bytes.
	FaultSize
	// FaultSeq: negative, or too far in the future.
	FaultSeq
	// FaultReplay: older than one that was seen before.
	FaultReplay
	// FaultSignature: not signed by its key.
	FaultSignature
	// FaultBencode: not a canonically bencoded dictionary.
	FaultBencode
	// FaultMissing: without a required member.
	FaultMissing
	// FaultKey: the key inside is malformed or another one.
	FaultKey
	// FaultExpiry: expired, or good for too long.
	FaultExpiry
	// FaultCaps, FaultProtocol, FaultPin, FaultPeers: that member is
	// malformed or too large.
	FaultCaps
	FaultProtocol
	FaultPin
	FaultPeers
	// FaultURLs: too many, or one that may not be dialled, or is twice there
	// or not in canonical form.
	FaultURLs
	// FaultWeakKey: a key of small order, for which everybody can sign.
	FaultWeakKey
	// FaultSealed: sealed, and not for the reader: of a closed network, and the
	// reader is in an open one or has another secret; or not sealed for that key
	// and number.
	FaultSealed
	// FaultNotSealed: in the clear, and the reader's network is closed.
	FaultNotSealed
	// FaultDenied: of a node that the reader is not to deal with. It is for
	// those who read records.
	FaultDenied
)

// Faults is how many faults there are, for arrays of counters.
const Faults = int(FaultDenied) + 1

// Error is a fixed label, fit for a metric.
func (f Fault) Error() string {
	names := [Faults]string{
		"none", "size", "sequence", "replay", "signature", "bencoding", "missing member", "key", "expiry",
		"capabilities", "protocol", "pin", "peers", "urls", "weak key", "sealed", "not sealed", "denied",
	}
	if int(f) >= Faults {
		f = 0
	}
	return names[f]
}
