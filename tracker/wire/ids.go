package wire

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"unicode/utf8"
)

// rawLen is the number of bytes of an info hash or peer id proper, and of
// code points of its textual form.
const rawLen = 20

// ValidID reports whether id, decoded, can be an info hash or a peer id.
func ValidID(id []byte, l Limits) bool {
	l = l.orDefault()
	return len(id) <= utf8.UTFMax*l.MaxID && utf8.Valid(id) && validID(id, &l)
}

// validID is ValidID for what is known to be UTF-8.
func validID(id []byte, l *Limits) bool {
	if l.StrictIDs {
		_, ok := latin1(id)
		return ok
	}
	// Four bytes are the most that one code point takes, so that a long id is
	// refused without a look at it.
	return len(id) > 0 && len(id) <= utf8.UTFMax*l.MaxID && codePoints(id) <= l.MaxID
}

// Raw20 is the 20 bytes that stand for a decoded id in access lists, in
// statistics and in derived keys: the bytes themselves if the id is 20 code
// points up to U+00FF, as it is for BitTorrent's own ids, and the SHA-1 of
// its UTF-8 otherwise.
func Raw20(id []byte) (h [rawLen]byte) {
	if h, ok := latin1(id); ok {
		return h
	}
	return sha1.Sum(id)
}

// latin1 is the inverse of FromRaw, for ids that have one.
func latin1(id []byte) (h [rawLen]byte, ok bool) {
	n := 0
	for i := 0; i < len(id); n++ {
		if n == rawLen {
			return h, false
		}
		if c := id[i]; c < utf8.RuneSelf {
			h[n] = c
			i++
			continue
		}
		r, size := utf8.DecodeRune(id[i:])
		if r > 0xff { // U+FFFD, for what is not UTF-8, among them
			return h, false
		}
		h[n] = byte(r)
		i += size
	}
	return h, n == rawLen
}

// FromRaw is the decoded id of 20 bytes: byte b becomes code point U+00b.
func FromRaw(h [rawLen]byte) []byte {
	id := make([]byte, 0, 2*rawLen)
	for _, b := range h {
		id = utf8.AppendRune(id, rune(b))
	}
	return id
}

// Hex is Raw20 in hexadecimal digits, as people write info hashes.
func Hex(id []byte) string {
	h := Raw20(id)
	return hex.EncodeToString(h[:])
}

// FromHex is the decoded id that 40 hexadecimal digits name.
func FromHex(s string) ([]byte, error) {
	var h [rawLen]byte
	if len(s) != hex.EncodedLen(rawLen) {
		return nil, fmt.Errorf("an info hash is %d hexadecimal digits, not %d", hex.EncodedLen(rawLen), len(s))
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return nil, fmt.Errorf("info hash %q: %w", s, err)
	}
	return FromRaw(h), nil
}
