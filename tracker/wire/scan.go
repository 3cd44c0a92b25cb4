package wire

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is the deepest nesting that a scanner can follow: it keeps one bit
// for each open container.
const maxDepth = 64

// maxName is the most bytes that a name, or a value, of ours can take: they
// are at most ten letters, and a letter escaped takes six.
const maxName = 64

// scanner walks one JSON text (RFC 8259), and refuses what is none, as well
// as text that is not UTF-8. Containers that the caller wants to look into it
// opens with enter and walks with member or element; everything else is
// passed over by skip. Every byte is looked at once.
type scanner struct {
	buf   []byte
	pos   int
	depth int // containers that the caller has open
	max   int // how deep containers may nest
	name  [maxName]byte
}

// enter consumes the bracket or brace at pos.
func (s *scanner) enter() Fault {
	if s.depth >= s.max {
		return FaultDepth
	}
	s.depth++
	s.pos++
	return FaultNone
}

// element moves to the next element of the array that was entered last, and
// past the array's end when there is none.
func (s *scanner) element(first bool) (more bool, f Fault) {
	i := space(s.buf, s.pos)
	if i >= len(s.buf) {
		return false, FaultSyntax
	}
	switch c := s.buf[i]; {
	case c == ']':
		s.pos = i + 1
		s.depth--
		return false, FaultNone
	case first:
	case c != ',':
		return false, FaultSyntax
	default:
		i = space(s.buf, i+1)
	}
	s.pos = i
	return true, FaultNone
}

// member moves to the value of the next member of the object that was entered
// last, and past the object's end when there is none. The name is decoded if
// it is short enough to be one of ours; it is valid until the next call.
func (s *scanner) member(first bool) (name []byte, more bool, f Fault) {
	i := space(s.buf, s.pos)
	if i >= len(s.buf) {
		return nil, false, FaultSyntax
	}
	switch c := s.buf[i]; {
	case c == '}':
		s.pos = i + 1
		s.depth--
		return nil, false, FaultNone
	case first:
	case c != ',':
		return nil, false, FaultSyntax
	default:
		i = space(s.buf, i+1)
	}
	end, value, escapes, f := scanName(s.buf, i)
	if f != FaultNone {
		return nil, false, f
	}
	s.pos = value
	name = s.buf[i+1 : end-1]
	if escapes {
		if len(name) > maxName {
			return nil, true, FaultNone
		}
		name, _ = unescape(s.name[:0], name)
	}
	return name, true, FaultNone
}

// value passes over the value at pos and returns its bytes.
func (s *scanner) value() (raw []byte, f Fault) {
	start := s.pos
	f = s.skip()
	return s.buf[start:s.pos], f
}

// skip passes over the value at pos.
func (s *scanner) skip() Fault {
	b, i := s.buf, s.pos
	var (
		objects uint64 // one bit for each container opened here, 1 for objects; the lowest is the innermost
		open    int
		f       Fault
	)
	for {
		// A value begins at i.
		if i >= len(b) {
			return FaultSyntax
		}
		switch c := b[i]; c {
		case '"':
			i, _, f = scanString(b, i+1)
		case '{', '[':
			if s.depth+open >= s.max {
				return FaultDepth
			}
			open++
			objects <<= 1
			i = space(b, i+1)
			if i >= len(b) {
				return FaultSyntax
			}
			if c == '[' {
				if b[i] != ']' {
					continue
				}
				break // the end of the empty array is found below
			}
			objects |= 1
			if b[i] != '}' {
				if _, i, _, f = scanName(b, i); f != FaultNone {
					return f
				}
				continue
			}
		case 't':
			i, f = scanLiteral(b, i, "true")
		case 'f':
			i, f = scanLiteral(b, i, "false")
		case 'n':
			i, f = scanLiteral(b, i, "null")
		default:
			i, f = scanNumber(b, i)
		}
		if f != FaultNone {
			return f
		}
		// A value has ended before i, and with it perhaps the containers that
		// it was the last of.
		for {
			if open == 0 {
				s.pos = i
				return FaultNone
			}
			i = space(b, i)
			if i >= len(b) {
				return FaultSyntax
			}
			object := objects&1 != 0
			c := b[i]
			if c == ',' {
				i = space(b, i+1)
				if object {
					if _, i, _, f = scanName(b, i); f != FaultNone {
						return f
					}
				}
				break
			}
			if object != (c == '}') || !object && c != ']' {
				return FaultSyntax
			}
			i++
			objects >>= 1
			open--
		}
	}
}

// space is the index of the first byte from i on that is not white space.
func space(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// scanName passes over a member's name at i and the colon after it: end is
// the index after the name's closing quote, value that of the value.
func scanName(b []byte, i int) (end, value int, escapes bool, f Fault) {
	if i >= len(b) || b[i] != '"' {
		return i, i, false, FaultSyntax
	}
	end, escapes, f = scanString(b, i+1)
	if f != FaultNone {
		return end, end, escapes, f
	}
	value = space(b, end)
	if value >= len(b) || b[value] != ':' {
		return end, value, escapes, FaultSyntax
	}
	return end, space(b, value+1), escapes, FaultNone
}

func scanLiteral(b []byte, i int, literal string) (end int, f Fault) {
	end = i + len(literal)
	if end > len(b) || string(b[i:end]) != literal {
		return i, FaultSyntax
	}
	return end, FaultNone
}

// scanNumber passes over the number at i:
// -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func scanNumber(b []byte, i int) (end int, f Fault) {
	if b[i] == '-' {
		i++
	}
	first := i
	if i = digits(b, i); i == first || b[first] == '0' && i > first+1 {
		return i, FaultSyntax
	}
	if i < len(b) && b[i] == '.' {
		first = i + 1
		if i = digits(b, first); i == first {
			return i, FaultSyntax
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		first = i
		if i = digits(b, first); i == first {
			return i, FaultSyntax
		}
	}
	return i, FaultNone
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// scanString passes over a string whose opening quote is before i: end is the
// index after its closing quote, and escapes reports whether there are any.
func scanString(b []byte, i int) (end int, escapes bool, f Fault) {
	for {
		for from := i; i+8 <= len(b); {
			m := stops(binary.LittleEndian.Uint64(b[i:]))
			if m == 0 {
				if i += 8; i >= from+24 {
					// No name is as long, nor an id.
					i += lines(b[i:])
					escapes = true // perhaps
					from = len(b)
				}
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
			if b[i] == '"' {
				return i + 1, escapes, FaultNone
			}
			if i+4 > len(b) || binary.LittleEndian.Uint32(b[i:]) != lineEnd {
				break
			}
			i += 4
			escapes = true
		}
		if i >= len(b) {
			return i, escapes, FaultSyntax
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escapes, FaultNone
		case c == '\\':
			escapes = true
			for i < len(b) && b[i] == '\\' {
				if i = skipEscape(b, i+1); i < 0 {
					return len(b), escapes, FaultSyntax
				}
			}
		case c < ' ':
			return i, escapes, FaultSyntax
		case c < utf8.RuneSelf:
			i++ // within the last seven bytes of the text
		default:
			var ok bool
			if i, ok = wide(b, i); !ok {
				return i, escapes, FaultUTF8
			}
		}
	}
}

// skipEscape is the index after the escape whose backslash is before i, or
// negative if it is none.
func skipEscape(b []byte, i int) int {
	if i < len(b) {
		switch b[i] {
		case 'n', 'r', '"', '\\', '/', 't', 'b', 'f':
			return i + 1
		case 'u':
			if _, ok := hex4(b, i+1); ok {
				return i + 5
			}
		}
	}
	return -1
}
