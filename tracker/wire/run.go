package wire

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// The text of frames is long runs of plain ASCII (session descriptions) and
// short ones of two-byte characters (ids, whose bytes no processor can
// foresee). Both are taken eight bytes at a time, without a branch for each.

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080

	// lineEnd is `\r\n` as JSON has it.
	lineEnd = '\\' | 'r'<<8 | '\\'<<16 | 'n'<<24
)

// stops has the high bit of a byte set where a byte of w ends a plain run of
// a string: a quote, a backslash, a control character, or a byte that is not
// ASCII. In the bytes above the lowest such one bits may be set wrongly, by a
// borrow.
func stops(w uint64) uint64 {
	return ((w ^ '"'*ones - ones) | (w ^ '\\'*ones - ones) | (w - ' '*ones) | w) & highs
}

// asciiStops is stops without the bytes that are not ASCII.
func asciiStops(w uint64) uint64 {
	return ((w ^ '"'*ones - ones) | (w ^ '\\'*ones - ones) | (w - ' '*ones)) &^ w & highs
}

// wide passes over UTF-8 from i on, where a byte that is not ASCII is: end is
// the first one after it at which a run of a string ends, or which is ASCII.
// It is not ok if what is at end is not UTF-8.
func wide(b []byte, i int) (end int, ok bool) {
	for i < len(b) && b[i] >= utf8.RuneSelf {
		if i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			stop := asciiStops(w)
			within := uint64(1)<<(bits.TrailingZeros64(stop)&^7) - 1 // the bytes before it; all, if there is none
			high := w & highs
			lead := high & (w << 1)
			// After a byte that begins a character of two, and only there, is one
			// that goes on. In the upper five bits of its six payload bits (C2 to
			// DF) one is set, or the character would have been one of one byte.
			wrong := high&^(w<<1) ^ lead<<8
			wrong |= lead & (w<<2 | ^(w<<3 | w<<4 | w<<5 | w<<6))
			if wrong&(within<<8|0xff) == 0 {
				n := bits.Len64(within) >> 3
				if stop == 0 {
					n -= int(lead >> 63) // begins in the last byte
				}
				i += n
				continue
			}
		}
		_, size := utf8.DecodeRune(b[i:])
		if size == 1 {
			return i, false
		}
		i += size
	}
	return i, true
}

// codePoints counts the characters of UTF-8: the bytes that do not go on with
// one.
func codePoints(b []byte) int {
	n := len(b)
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		n -= bits.OnesCount64(w & highs &^ (w << 1))
		b = b[8:]
	}
	for _, c := range b {
		if c&0xc0 == 0x80 {
			n--
		}
	}
	return n
}
