package record

import (
	"bytes"
	"crypto/ed25519"
	"strconv"
)

func appendString(dst []byte, s string) []byte {
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, ':')
	return append(dst, s...)
}

func appendBytes(dst, b []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(b)), 10)
	dst = append(dst, ':')
	return append(dst, b...)
}

func appendInt(dst []byte, n int64) []byte {
	dst = append(dst, 'i')
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, 'e')
}

// maxDepth is how deep lists and dictionaries may nest; a record itself needs
// two levels.
const maxDepth = 8

// canonical reports whether b is one dictionary in the only encoding that
// bencode has for it: sorted, distinct keys, no leading zeros, nothing after
// the end. Whoever signs records may rely on that two of one meaning are
// equal.
func canonical(b []byte) bool {
	if len(b) == 0 || b[0] != 'd' {
		return false
	}
	rest, ok := scan(b, maxDepth)
	return ok && len(rest) == 0
}

// scan checks one value and returns what follows it.
func scan(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) == 0 || depth == 0 {
		return nil, false
	}
	switch b[0] {
	case 'i':
		i := bytes.IndexByte(b, 'e')
		if i < 0 {
			return nil, false
		}
		_, ok := parseInt(b[1:i])
		return b[i+1:], ok
	case 'l':
		for b = b[1:]; len(b) > 0 && b[0] != 'e'; {
			if b, ok = scan(b, depth-1); !ok {
				return nil, false
			}
		}
	case 'd':
		var last []byte
		first := true
		for b = b[1:]; len(b) > 0 && b[0] != 'e'; first = false {
			var name []byte
			if name, b, ok = parseString(b); !ok || !first && bytes.Compare(last, name) >= 0 {
				return nil, false
			}
			if last = name; len(b) == 0 {
				return nil, false
			}
			if b, ok = scan(b, depth-1); !ok {
				return nil, false
			}
		}
	default:
		_, rest, ok = parseString(b)
		return rest, ok
	}
	if len(b) == 0 {
		return nil, false
	}
	return b[1:], true
}

// parseInt reads digits that strconv would write the same way.
func parseInt(b []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != string(b) {
		return 0, false
	}
	return n, true
}

func parseString(b []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(b, ':')
	if i < 0 || i > 4 { // lengths up to 9999
		return nil, nil, false
	}
	n, ok := parseInt(b[:i])
	if !ok || n < 0 || n > int64(len(b)-i-1) {
		return nil, nil, false
	}
	return b[i+1 : i+1+int(n)], b[i+1+int(n):], true
}

// reader walks the inside of a value that scan has accepted.
type reader struct{ rest []byte }

// end consumes the end of the list or dictionary that is being read, if it is
// there.
func (d *reader) end() bool {
	if len(d.rest) > 0 && d.rest[0] != 'e' {
		return false
	}
	if len(d.rest) > 0 {
		d.rest = d.rest[1:]
	}
	return true
}

// list consumes the start of a list, if it is there.
func (d *reader) list() bool {
	if len(d.rest) == 0 || d.rest[0] != 'l' {
		return false
	}
	d.rest = d.rest[1:]
	return true
}

func (d *reader) bytes() []byte {
	s, _ := d.tryBytes()
	return s
}

func (d *reader) tryBytes() ([]byte, bool) {
	s, rest, ok := parseString(d.rest)
	if ok {
		d.rest = rest
	}
	return s, ok
}

func (d *reader) skip() {
	d.rest, _ = scan(d.rest, maxDepth)
}

func (d *reader) setInt(to *int64, f Fault) Fault {
	i := bytes.IndexByte(d.rest, 'e')
	if len(d.rest) == 0 || d.rest[0] != 'i' || i < 0 {
		return f
	}
	n, ok := parseInt(d.rest[1:i])
	if !ok {
		return f
	}
	*to, d.rest = n, d.rest[i+1:]
	return 0
}

func (d *reader) setKey(to *[ed25519.PublicKeySize]byte) Fault { return d.setFixed(to, FaultKey) }

func (d *reader) setFixed(to *[32]byte, f Fault) Fault {
	v, ok := d.tryBytes()
	if !ok || len(v) != len(to) {
		return f
	}
	copy(to[:], v)
	return 0
}
