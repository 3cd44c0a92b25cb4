package dhtstore

// A bounded bencode scanner. It never allocates and never converts: it finds
// where values begin and end, so that what is read further on is known to be
// well-formed, shallow and inside the datagram.

const (
	// maxDepth bounds nesting. A KRPC message needs 4 levels (message, r,
	// values, entry); a stored value may bring a few of its own.
	maxDepth = 12
	// maxDigits fits every int64 with its sign; longer numbers are refused, as
	// no field of ours needs them and libraries disagree about them.
	maxDigits = 20
)

// scan returns the length of the bencoded value at the start of b, or 0 when
// there is none. With strict, dictionaries must be sorted and without
// duplicates, as canonical encoding has them.
func scan(b []byte, depth int, strict bool) int {
	if len(b) == 0 || depth <= 0 {
		return 0
	}
	switch b[0] {
	case 'i':
		_, n := scanInt(b)
		return n
	case 'l':
		n := 1
		for n < len(b) && b[n] != 'e' {
			m := scan(b[n:], depth-1, strict)
			if m == 0 {
				return 0
			}
			n += m
		}
		if n == len(b) {
			return 0
		}
		return n + 1
	case 'd':
		n := 1
		var last []byte
		first := true
		for n < len(b) && b[n] != 'e' {
			key, m := scanString(b[n:])
			if m == 0 {
				return 0
			}
			if strict && !first && string(key) <= string(last) {
				return 0
			}
			last, first = key, false
			n += m
			if m = scan(b[n:], depth-1, strict); m == 0 {
				return 0
			}
			n += m
		}
		if n == len(b) {
			return 0
		}
		return n + 1
	default:
		_, n := scanString(b)
		return n
	}
}

// scanString reads a byte string and returns it and its encoded length, or 0.
func scanString(b []byte) (s []byte, n int) {
	size := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		size = size*10 + int(b[n]-'0')
		n++
		// A length that cannot fit ends it before it can overflow, and a
		// length has one form only.
		if size > len(b) || (n > 1 && b[0] == '0') {
			return nil, 0
		}
	}
	if n == 0 || n == len(b) || b[n] != ':' {
		return nil, 0
	}
	n++
	if size > len(b)-n {
		return nil, 0
	}
	return b[n : n+size : n+size], n + size
}

// scanInt reads an integer in its only allowed form and returns it and its
// encoded length, or 0.
func scanInt(b []byte) (v int64, n int) {
	if len(b) < 3 || b[0] != 'i' {
		return 0, 0
	}
	n = 1
	negative := b[n] == '-'
	if negative {
		n++
	}
	digits := n
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		d := int64(b[n] - '0')
		// Counting downwards reaches the lowest int64, which has no positive.
		if v < (-1<<63+d)/10 {
			return 0, 0
		}
		v = v*10 - d
		n++
	}
	length := n - digits
	if length == 0 || length > maxDigits || n == len(b) || b[n] != 'e' {
		return 0, 0
	}
	if b[digits] == '0' && (length > 1 || negative) {
		return 0, 0
	}
	if !negative {
		if v == -1<<63 {
			return 0, 0
		}
		v = -v
	}
	return v, n + 1
}

// canonical reports whether b is exactly one value in canonical encoding.
// Signatures cover the encoded bytes, and libraries that decode and encode
// again would change any other form.
func canonical(b []byte) bool {
	return len(b) > 0 && scan(b, maxDepth, true) == len(b)
}

// eachField calls f with every key and raw value of the dictionary d, which
// scan has found well-formed, and with the value's offset in d. It reports
// false when a key comes twice or there are more than 32, or f refuses.
func eachField(d []byte, f func(key, value []byte, at int) bool) bool {
	var seen [32][]byte
	fields := 0
	for n := 1; d[n] != 'e'; {
		key, m := scanString(d[n:])
		n += m
		if m = scan(d[n:], maxDepth, false); m == 0 || fields == len(seen) {
			return false
		}
		for _, k := range seen[:fields] {
			if string(k) == string(key) {
				return false
			}
		}
		seen[fields] = key
		fields++
		if !f(key, d[n:n+m:n+m], n) {
			return false
		}
		n += m
	}
	return true
}
