package wire

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// Append appends the JSON of one text frame to dst.
//
// Decoded members are escaped such that decoding gives the same string again.
// OfferID and Payload go out byte for byte and must be valid JSON: they are
// what Parse gave, or passed OfferKey and ValidPayload.
//
// Each frame has the members that the reference client requires and no
// others: an unknown action, or an announce without info_hash, makes it drop
// the socket of all its torrents, or crash.
func Append(dst []byte, m *Message) []byte {
	switch m.Kind {
	case KindReply:
		dst = append(dst, `{"action":"announce","info_hash":`...)
		dst = appendString(dst, m.InfoHash)
		dst = append(dst, `,"interval":`...)
		dst = strconv.AppendInt(dst, int64(m.Interval), 10)
		dst = appendCounts(dst, m.Complete, m.Incomplete)
	case KindOffer:
		dst = appendPayload(dst, m, `,"offer":`)
	case KindAnswer:
		dst = appendPayload(dst, m, `,"answer":`)
	case KindScrape:
		dst = append(dst, `{"action":"scrape","files":{`...)
		for i := range m.Files {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendFile(dst, &m.Files[i])
		}
		dst = append(dst, '}')
	default: // KindFailure
		dst = append(dst, `{"action":"`...)
		dst = append(dst, m.Action.String()...)
		dst = append(dst, `","info_hash":`...)
		dst = appendString(dst, m.InfoHash)
		dst = append(dst, `,"failure reason":`...)
		dst = appendString(dst, []byte(m.Reason))
	}
	return append(dst, '}')
}

func appendPayload(dst []byte, m *Message, member string) []byte {
	dst = append(dst, `{"action":"announce","info_hash":`...)
	dst = appendString(dst, m.InfoHash)
	dst = append(dst, member...)
	dst = append(dst, m.Payload...)
	dst = append(dst, `,"offer_id":`...)
	dst = append(dst, m.OfferID...)
	dst = append(dst, `,"peer_id":`...)
	return appendString(dst, m.PeerID)
}

func appendFile(dst []byte, f *File) []byte {
	dst = appendString(dst, f.InfoHash)
	dst = append(dst, `:{"downloaded":`...)
	dst = strconv.AppendInt(dst, int64(f.Downloaded), 10)
	dst = appendCounts(dst, f.Complete, f.Incomplete)
	return append(dst, '}')
}

func appendCounts(dst []byte, complete, incomplete int) []byte {
	dst = append(dst, `,"complete":`...)
	dst = strconv.AppendInt(dst, int64(complete), 10)
	dst = append(dst, `,"incomplete":`...)
	return strconv.AppendInt(dst, int64(incomplete), 10)
}

// AppendID appends a decoded id, or any other text, as a JSON string. What is
// not UTF-8 becomes U+FFFD: whatever comes in, the frame stays one that a
// browser accepts.
func AppendID(dst, id []byte) []byte { return appendString(dst, id) }

func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	done := 0 // s[:done] is in dst
	for i := 0; i < len(s); {
		if i+8 <= len(s) {
			m := stops(binary.LittleEndian.Uint64(s[i:]))
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
		}
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			var ok bool
			if i, ok = wide(s, i); ok {
				continue
			}
			c = s[i]
		}
		dst = append(dst, s[done:i]...)
		dst = appendEscaped(dst, c)
		i++
		done = i
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}

// appendEscaped appends the escape of a byte that cannot stand in a string.
func appendEscaped(dst []byte, c byte) []byte {
	const digits = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	if c >= utf8.RuneSelf {
		return append(dst, `\ufffd`...)
	}
	return append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
}
