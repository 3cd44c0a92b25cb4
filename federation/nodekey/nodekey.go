// Package nodekey reads the ed25519 public keys of nodes as people write them,
// and knows which keys are none.
package nodekey

import (
	"encoding/base32"
	"encoding/hex"
	"errors"
	"strings"
)

// Key is a node's ed25519 public key.
type Key = [32]byte

// Parse reads a key: 64 hex digits, or 52 characters of base32 (RFC 4648,
// without padding), in either case.
func Parse(s string) (k Key, err error) {
	switch len(s) {
	case hex.EncodedLen(len(k)):
		_, err = hex.Decode(k[:], []byte(s))
	case base.EncodedLen(len(k)):
		s = strings.ToUpper(s)
		var b []byte
		if b, err = base.DecodeString(s); err != nil {
			break
		}
		// The decoder skips line breaks, and bits that no key has.
		if len(b) != len(k) || base.EncodeToString(b) != s {
			return k, errSpelling
		}
		copy(k[:], b)
	default:
		return k, errLength
	}
	return k, err
}

var (
	base        = base32.StdEncoding.WithPadding(base32.NoPadding)
	errLength   = errors.New("a node's key has 64 hex digits, or 52 characters of base32")
	errSpelling = errors.New("not the base32 of a node's key")
)

// Weak reports whether k is a point of small order. No private key belongs to
// it, and signatures under it can be made by everybody: a node that took it for
// an identity would be whoever likes to be.
func Weak(k Key) bool {
	k[31] &= 0x7f // the sign: a point and its negative are equally weak
	for _, y := range weak() {
		if k == y {
			return true
		}
	}
	return false
}

// weak are the y coordinates of the eight points of small order, in all their
// encodings: 0, 1, the two of order eight, p-1, and again 0 and 1 as p and p+1.
func weak() [7]Key {
	p := func(low byte) (k Key) {
		for i := range k {
			k[i] = 0xff
		}
		k[0], k[31] = low, 0x7f
		return k
	}
	return [7]Key{
		{}, {1},
		{
			0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
			0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
		},
		{
			0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
			0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
		},
		p(0xec), p(0xed), p(0xee),
	}
}
