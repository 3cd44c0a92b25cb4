package dhtstore

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha1"
	"errors"
	"slices"

	"github.com/anacrolix/dht/v2/bep44"
	"github.com/draeder/peerservers/federation"
)

const (
	// recordSalt sets the node records of open networks apart from other items
	// of the same key.
	recordSalt = "wtfed1/node"
	// MaxRecord is the most that a record's value may have. BEP 44 says 1000,
	// but bittorrent-dht refuses exactly 1000, and headers need room as well.
	MaxRecord = 950
	maxValue  = 1000
	maxSalt   = 64
)

var (
	errTooLong      = errors.New("dhtstore: record longer than 950 bytes")
	errNotCanonical = errors.New("dhtstore: record is not canonical bencode")
	errBadSignature = errors.New("dhtstore: record's signature is wrong")
)

// SignRecord signs value as the node record of key in an open network. It is
// the form in which [federation.Directory] takes and gives records.
func SignRecord(key ed25519.PrivateKey, seq int64, value []byte) (federation.Item, error) {
	if len(value) > MaxRecord {
		return federation.Item{}, errTooLong
	}
	if !canonical(value) {
		return federation.Item{}, errNotCanonical
	}
	item := federation.Item{Key: key.Public().(ed25519.PublicKey), Seq: seq, Value: slices.Clone(value)}
	copy(item.Sig[:], bep44.Sign(key, []byte(recordSalt), seq, value))
	return item, nil
}

// saltOr is the salt of a closed network, or, if it is empty, that of open ones.
func saltOr(salt string) []byte { return []byte(cmp.Or(salt, recordSalt)) }

// verifyItem checks everything about a record but its contents.
func verifyItem(item federation.Item, salt []byte) error {
	switch {
	case len(item.Key) != ed25519.PublicKeySize:
		return errBadKey
	case len(item.Value) > MaxRecord:
		return errTooLong
	case !canonical(item.Value):
		return errNotCanonical
	case item.Seq < 0 || !bep44.Verify(item.Key, salt, item.Seq, item.Value, item.Sig[:]):
		return errBadSignature
	}
	return nil
}

// recordTarget is where the DHT keeps the record of key.
func recordTarget(key ed25519.PublicKey, salt []byte) nodeID {
	return sha1.Sum(slices.Concat(key, salt))
}

func cloneItem(item federation.Item) federation.Item {
	item.Key = slices.Clone(item.Key)
	item.Value = slices.Clone(item.Value)
	return item
}
