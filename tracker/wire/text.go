package wire

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// hexDigits has, for each hexadecimal digit, one more than its value.
var hexDigits = [256]uint8{
	'0': 1, '1': 2, '2': 3, '3': 4, '4': 5, '5': 6, '6': 7, '7': 8, '8': 9, '9': 10,
	'A': 11, 'B': 12, 'C': 13, 'D': 14, 'E': 15, 'F': 16,
	'a': 11, 'b': 12, 'c': 13, 'd': 14, 'e': 15, 'f': 16,
}

// hex4 is the value of the four hexadecimal digits at i.
func hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	p := b[i : i+4]
	w, x, y, z := rune(hexDigits[p[0]]), rune(hexDigits[p[1]]), rune(hexDigits[p[2]]), rune(hexDigits[p[3]])
	return (w-1)<<12 | (x-1)<<8 | (y-1)<<4 | (z - 1), w*x*y*z != 0
}

// unescape appends the text of a string that was scanned, given without its
// quotes. A surrogate that is not half of a pair has no UTF-8: it is appended
// in three bytes like any other code unit, and whole is false.
func unescape(dst, text []byte) (_ []byte, whole bool) {
	whole = true
	for i := 0; i < len(text); {
		run := bytes.IndexByte(text[i:], '\\')
		if run < 0 {
			return append(dst, text[i:]...), whole
		}
		dst = append(dst, text[i:i+run]...)
		i += run + 2
		c := text[i-1]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(text, i)
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if i+2 <= len(text) && text[i] == '\\' && text[i+1] == 'u' {
					low, ok = hex4(text, i+2)
				}
				if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
					r = pair
					i += 6
				} else {
					whole = false
					dst = append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
					continue
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst, whole
}
