package record

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// The records of a closed network lie on strangers' DHT nodes. So their value is not the dictionary but a
// string: nonce || AES-256-GCM(record key, nonce, dictionary). The signature
// covers the string, so that nobody needs the key to store or forward it.

const (
	nonceSize = 12
	tagSize   = 16
	// sealSize is what sealing adds to a dictionary of MaxValue bytes or fewer.
	sealSize = len("123:") + nonceSize + tagSize
)

// Seal is how a record is sealed. The zero Seal is that of an open network,
// which has its records in the clear.
type Seal struct {
	// Key is the network's record key, of 32 bytes (derive.Network.RecordKey).
	Key []byte
	// Salt is the network's BEP 44 salt (derive.Network.RecordSalt); empty: Salt.
	Salt string
	// Nonce is random, and used once.
	Nonce [nonceSize]byte
}

// maxValue is the largest dictionary that fits.
func (s *Seal) maxValue() int {
	if len(s.Key) == 0 {
		return MaxValue
	}
	return MaxValue - sealSize
}

// value is the dictionary as it is signed.
func (s *Seal) value(key Key, seq int64, dictionary []byte) ([]byte, Fault) {
	if len(s.Key) == 0 {
		return dictionary, 0
	}
	aead, fault := newAEAD(s.Key)
	if fault != 0 {
		return nil, fault
	}
	text := aead.Seal(s.Nonce[:], s.Nonce[:], dictionary, sealedFor(key, seq))
	return appendBytes(nil, text), 0
}

// sealed returns the sealed text of a record whose reader has that record key;
// nil if neither the record is sealed nor the reader's network closed.
func (s *Signed) sealed(recordKey []byte) ([]byte, Fault) {
	text, rest, ok := parseString(s.Value)
	sealed := ok && len(rest) == 0
	switch {
	case len(recordKey) == 0 && sealed:
		return nil, FaultSealed
	case len(recordKey) == 0:
		return nil, 0
	case !sealed:
		return nil, FaultNotSealed
	case len(text) < nonceSize+tagSize:
		return nil, FaultSealed
	}
	return text, 0
}

// open returns the dictionary of a record whose reader has that record key.
func (s *Signed) open(recordKey []byte) ([]byte, Fault) {
	text, fault := s.sealed(recordKey)
	if fault != 0 {
		return nil, fault
	}
	if text == nil {
		return s.Value, 0
	}
	aead, fault := newAEAD(recordKey)
	if fault != 0 {
		return nil, fault
	}
	dictionary, err := aead.Open(nil, text[:nonceSize], text[nonceSize:], sealedFor(s.Key, s.Seq))
	if err != nil {
		return nil, FaultSealed
	}
	return dictionary, 0
}

// sealedFor is the associated data: what is sealed is of one key and number
// alone.
func sealedFor(key Key, seq int64) []byte {
	return binary.BigEndian.AppendUint64(key[:], uint64(seq))
}

// newAEAD fails only with a key of another length.
func newAEAD(recordKey []byte) (cipher.AEAD, Fault) {
	block, err := aes.NewCipher(recordKey)
	if err != nil {
		return nil, FaultSealed
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, FaultSealed
	}
	return aead, 0
}
