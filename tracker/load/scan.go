package load

import (
	"bytes"
	"encoding/json"
)

// fields are the members of a server's frame, as the bytes that stand for
// them; nil where there is none.
type fields struct {
	action, infoHash, peerID, offerID, offer, answer []byte
	complete, incomplete, interval, failure          []byte
}

// scan finds the members of a frame. It looks at the structure only: whether
// what is between two quotes is text is for the frames that are decoded as a
// whole.
func scan(b []byte, f *fields) bool {
	*f = fields{}
	i := space(b, 0)
	if i >= len(b) || b[i] != '{' {
		return false
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return space(b, i+1) == len(b)
	}
	for {
		end := value(b, i)
		if end < 0 || b[i] != '"' {
			return false
		}
		key := b[i+1 : end-1]
		i = space(b, end)
		if i >= len(b) || b[i] != ':' {
			return false
		}
		i = space(b, i+1)
		if end = value(b, i); end < 0 {
			return false
		}
		if p := f.member(key); p != nil {
			*p = b[i:end]
		}
		i = space(b, end)
		if i >= len(b) {
			return false
		}
		switch b[i] {
		case ',':
			i = space(b, i+1)
		case '}':
			return space(b, i+1) == len(b)
		default:
			return false
		}
	}
}

func (f *fields) member(key []byte) *[]byte {
	switch string(key) {
	case "action":
		return &f.action
	case "info_hash":
		return &f.infoHash
	case "peer_id":
		return &f.peerID
	case "offer_id":
		return &f.offerID
	case "offer":
		return &f.offer
	case "answer":
		return &f.answer
	case "complete":
		return &f.complete
	case "incomplete":
		return &f.incomplete
	case "interval":
		return &f.interval
	case "failure reason":
		return &f.failure
	}
	return nil
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// value is the end of the value at b[i:], or -1.
func value(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return text(b, i)
	case '{', '[':
		return nested(b, i)
	}
	from := i
	for i < len(b) && (b[i] >= '0' && b[i] <= '9' || b[i] >= 'a' && b[i] <= 'z' || b[i] == '-' || b[i] == '+' || b[i] == '.' || b[i] == 'E') {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// text is the end of the string at b[i:], or -1.
func text(b []byte, i int) int {
	start := i + 1
	for i = start; ; i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		// An odd number of backslashes escapes the quote.
		k := i
		for k > start && b[k-1] == '\\' {
			k--
		}
		if (i-k)%2 == 0 {
			return i + 1
		}
	}
}

// nested is the end of the object or array at b[i:], or -1.
func nested(b []byte, i int) int {
	for depth := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			if i = text(b, i); i < 0 {
				return -1
			}
			i--
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// integer is the number that raw stands for, if it is one of the size that
// counts are.
func integer(raw []byte) (n int, ok bool) {
	if len(raw) == 0 || len(raw) > 9 {
		return 0, false
	}
	for _, c := range raw {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// same reports whether raw is the JSON of s, in the form that is at hand or in
// any other.
func same(raw, form []byte, s string) bool {
	if bytes.Equal(raw, form) {
		return true
	}
	if bytes.IndexByte(raw, '\\') < 0 { // each text has one form without escapes
		return len(raw) == len(s)+2 && raw[0] == '"' && string(raw[1:len(raw)-1]) == s
	}
	var got string
	return json.Unmarshal(raw, &got) == nil && got == s
}
