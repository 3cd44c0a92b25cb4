// Package derive computes the names under which nodes find each other: the
// directory's targets, and the id by which two nodes see that they belong to
// one network.
//
// A target names a swarm or a network to those who know it and nothing to
// others, and changes at midnight UTC so that nobody can sit next to one for
// ever. Clocks differ, so within two hours of midnight both days count.
// A closed network mixes its secret into everything here: without it, its
// members and its swarms cannot be looked up, nor even recognised.
package derive

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// Target is a key of the directory; it equals federation.Target.
type Target = [20]byte

// Shards is over how many rendezvous targets a network's nodes spread.
const Shards = 4

const (
	day    = 86400
	margin = 2 * 3600

	// MaxName is the longest network name, and MaxSecret the longest secret,
	// in bytes; MinSecret is the shortest: a secret that can be guessed can
	// be checked against what the DHT shows.
	MaxName   = 255
	MinSecret = 16
	MaxSecret = 255
)

// linkPath is that of open networks.
const linkPath = "/federation"

// DefaultName is the open network that a node joins unless told otherwise.
const DefaultName = "peerservers"

// Network is a set of nodes that look for each other. The zero Network has
// no name and is not valid; use New.
type Network struct {
	name   string
	secret string
	id     [32]byte
	bucket [16]byte
	member []byte
	record []byte
	query  []byte
	salt   string
	path   string
}

// New returns the network of that name; with a secret it is closed to those
// who do not have it.
func New(name string, secret []byte) (Network, error) {
	if name == "" || len(name) > MaxName {
		return Network{}, errors.New("network name must have 1 to 255 bytes")
	}
	if len(secret) > 0 && (len(secret) < MinSecret || len(secret) > MaxSecret) {
		return Network{}, errors.New("network secret must have 16 to 255 bytes")
	}
	n := Network{name: name, secret: string(secret), path: linkPath}
	// One-way, and each use of the secret distinct from every other.
	var failed error
	key := func(use string, size int) []byte {
		k, err := hkdf.Key(sha256.New, secret, []byte("wtfed1:"+use), name, size)
		failed = errors.Join(failed, err)
		return k
	}
	copy(n.id[:], key("network", len(n.id)))
	copy(n.bucket[:], key("bucket", len(n.bucket)))
	if n.Closed() {
		n.member, n.record, n.query = key("member", 32), key("record", 32), key("query", 32)
		n.salt = string(key("salt", 16))
		n.path = "/" + base64.RawURLEncoding.EncodeToString(key("path", 9))
	}
	return n, failed
}

// Name is the network's name.
func (n Network) Name() string { return n.name }

// Closed reports whether the network has a secret.
func (n Network) Closed() bool { return n.secret != "" }

// ID is what two nodes compare in their handshake.
func (n Network) ID() [32]byte { return n.id }

// MemberKey is 32 bytes that only members of a closed network know, and enters
// what they sign in a handshake; nil for an open one. The id does not do for
// that: whoever is dialled by a member, or dials one who errs, has seen it.
func (n Network) MemberKey() []byte { return n.member }

// RecordKey is the key of 32 bytes with which the node records of a closed
// network are sealed; nil for an open one.
func (n Network) RecordKey() []byte { return n.record }

// RecordSalt is the BEP 44 salt of a closed network's node records: 16 bytes
// that tell those who store one nothing. Empty for an open network, whose salt
// is record.Salt.
func (n Network) RecordSalt() string { return n.salt }

// QueryKey is the key of 32 bytes by which members of a closed network know
// the query for a record from any other get; nil for an open one.
func (n Network) QueryKey() []byte { return n.query }

// LinkPath is what a node's URL is followed by to reach its link endpoint. In
// a closed network only members know it: to others there is nothing there.
func (n Network) LinkPath() string { return n.path }

// BucketKey is the key under which the network's swarms are spread over the
// buckets of package filter.
func (n Network) BucketKey() [16]byte { return n.bucket }

// Node is the rendezvous target of a shard: NH(e,s).
func (n Network) Node(epoch uint32, shard uint8) Target {
	net := n.name
	if n.Closed() {
		net = n.secret
	}
	b := prefix("wtfed1:node\x00", epoch, net)
	return sha1.Sum(append(b, shard))
}

// Swarm is the target of an info hash: PH(e,ih). The info hash is in its
// 20-byte form (tracker/wire.Raw20).
func (n Network) Swarm(epoch uint32, infoHash [20]byte) Target {
	b := prefix("wtfed1:peer\x00", epoch, n.secret)
	return sha1.Sum(append(b, infoHash[:]...))
}

func prefix(label string, epoch uint32, s string) []byte {
	b := make([]byte, 0, len(label)+4+1+len(s)+20)
	b = append(b, label...)
	b = binary.BigEndian.AppendUint32(b, epoch)
	b = append(b, byte(len(s)))
	return append(b, s...)
}

// Shard is the shard on which the node with that key announces itself.
func Shard(key ed25519.PublicKey) uint8 {
	sum := sha1.Sum(key)
	return sum[0] & (Shards - 1)
}

// Epoch is the day of a time in seconds since 1970.
func Epoch(unix int64) uint32 { return uint32(unix / day) }

// Epochs are the days to announce and look up under at that time: today, and
// the neighbour while its border is less than two hours away.
func Epochs(unix int64) (epochs [2]uint32, n int) {
	e := Epoch(unix)
	switch into := unix % day; {
	case into < margin && e > 0:
		return [2]uint32{e, e - 1}, 2
	case into >= day-margin:
		return [2]uint32{e, e + 1}, 2
	}
	return [2]uint32{e}, 1
}
