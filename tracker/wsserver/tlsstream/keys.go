package tlsstream

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	tagLen   = 16 // of all three AEADs, as is
	nonceLen = 12
	// maxSecret is the length of SHA-384.
	maxSecret = sha512.Size384
)

// suite is one of TLS 1.3's that crypto/tls has (RFC 8446, B.4).
type suite struct {
	hash   func() hash.Hash
	size   int // of hash
	keyLen int
	aead   func(key []byte) (cipher.AEAD, error)
}

func suiteOf(id uint16) (suite, bool) {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return suite{sha256.New, sha256.Size, 16, newGCM}, true
	case tls.TLS_AES_256_GCM_SHA384:
		return suite{sha512.New384, sha512.Size384, 32, newGCM}, true
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return suite{sha256.New, sha256.Size, chacha20poly1305.KeySize, chacha20poly1305.New}, true
	}
	return suite{}, false
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// expand is HKDF-Expand-Label without a context (RFC 8446, 7.1).
func (s suite) expand(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := make([]byte, 0, 2+1+len(label)+1)
	info = binary.BigEndian.AppendUint16(info, uint16(n))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(s.hash, secret, string(info), n)
}

// half protects one direction (RFC 8446, 5.2 and 5.3).
type half struct {
	aead   cipher.AEAD // nil: to be made of secret again
	seq    uint64      // of the next record
	suite  uint16
	iv     [nonceLen]byte
	nonce  [nonceLen]byte // of the current record; here, so that it is not allocated
	secret [maxSecret]byte
}

// start begins with a new traffic secret and reports whether that is possible.
func (h *half) start(suiteID uint16, secret []byte) bool {
	s, ok := suiteOf(suiteID)
	if !ok || len(secret) != s.size {
		return false
	}
	h.suite = suiteID
	copy(h.secret[:], secret)
	iv, err := s.expand(secret, "iv", nonceLen)
	if err != nil {
		return false
	}
	copy(h.iv[:], iv)
	h.seq = 0
	h.aead = nil
	return h.cipher() != nil
}

// cipher is nil only if it was in start: for a key that it has made before, it
// is made again.
func (h *half) cipher() cipher.AEAD {
	if h.aead != nil {
		return h.aead
	}
	s, _ := suiteOf(h.suite)
	key, err := s.expand(h.secret[:s.size], "key", s.keyLen)
	if err != nil {
		return nil
	}
	if h.aead, err = s.aead(key); err != nil {
		return nil
	}
	return h.aead
}

// next replaces the secret by the one that follows it after a KeyUpdate
// (RFC 8446, 7.2), and reports whether that was possible.
func (h *half) next() bool {
	s, _ := suiteOf(h.suite)
	secret, err := s.expand(h.secret[:s.size], "traffic upd", s.size)
	return err == nil && h.start(h.suite, secret)
}

// setNonce makes the nonce of record seq.
func (h *half) setNonce() {
	binary.BigEndian.PutUint64(h.nonce[nonceLen-8:], h.seq)
	clear(h.nonce[:nonceLen-8])
	for i := range h.nonce {
		h.nonce[i] ^= h.iv[i]
	}
}

// open appends the inner plaintext of a record to dst, or returns false if it
// was not made with the key and the sequence number that are due.
func (h *half) open(dst, header, payload []byte) ([]byte, bool) {
	h.setNonce()
	out, err := h.cipher().Open(dst, h.nonce[:], payload, header)
	if err != nil {
		return dst, false
	}
	h.seq++
	return out, true
}

// seal appends a record to dst, which has room for it.
func (h *half) seal(dst []byte, typ contentType, content []byte) []byte {
	n := len(content) + 1 + tagLen
	at := len(dst)
	dst = append(dst, byte(typeApplication), 3, 3, byte(n>>8), byte(n))
	dst = append(dst, content...)
	dst = append(dst, byte(typ))
	head, body := dst[at:at+headerLen], dst[at+headerLen:]
	h.setNonce()
	dst = h.cipher().Seal(dst[:at+headerLen], h.nonce[:], body, head)
	h.seq++
	return dst
}
