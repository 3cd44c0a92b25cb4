package wsserver

import (
	"strconv"
	"strings"
)

// negotiateDeflate answers a client's Sec-WebSocket-Extensions, one string for
// each such header: with the first offer of permessage-deflate that can be
// accepted (RFC 7692, 5.1 and 7.1), or with nothing.
//
// Both no_context_takeover parameters are always part of the response, whether
// the client asked for them or not, which 7.1.1 allows. A window asked for with
// server_max_window_bits is agreed to and kept (see deflation.takes);
// client_max_window_bits is a hint that there is no use for. What 7.1 has
// declined is: unknown parameters, the same one twice, values that are missing,
// invalid or too many.
//
// A header that is not of RFC 6455's grammar offers nothing. To fail the
// connection, as its 9.1 says, would shut out clients that can do without.
func negotiateDeflate(offers []string) (response string, d deflation) {
	for _, header := range offers {
		p := offerParser{rest: header}
		for p.skipCommas(); p.rest != ""; p.skipCommas() {
			bits, ok := p.offer()
			if p.bad {
				return "", 0
			}
			if ok && d == 0 {
				d = bits &^ windowNamed
				response = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
				if bits&windowNamed != 0 {
					response += "; server_max_window_bits=" + strconv.Itoa(int(d))
				}
			}
		}
	}
	return response, d
}

// windowNamed marks a window that the client asked for: the response has to
// name it then, the largest one too.
const windowNamed deflation = 0x80

// offerParser reads the list in a Sec-WebSocket-Extensions header (RFC 6455,
// 9.1).
type offerParser struct {
	rest string
	bad  bool // not of the grammar
}

// offer reads one extension with its parameters and reports whether it is one
// of permessage-deflate to accept, and the window.
func (p *offerParser) offer() (window deflation, ok bool) {
	window, ok = largestWindow, p.token() == "permessage-deflate"
	var seen [4]bool
	for !p.bad && p.next(';') {
		name, value, has := p.param()
		which := 0
		switch name {
		case "server_no_context_takeover":
			ok = ok && !has
		case "client_no_context_takeover":
			which = 1
			ok = ok && !has
		case "server_max_window_bits":
			which = 2
			bits := windowBits(value)
			ok = ok && bits != 0
			window = bits | windowNamed
		case "client_max_window_bits":
			which = 3
			ok = ok && (!has || windowBits(value) != 0)
		default:
			ok = false
		}
		ok = ok && !seen[which]
		seen[which] = true
	}
	if !p.bad && p.rest != "" && p.rest[0] != ',' {
		p.bad = true
	}
	return window, ok
}

// windowBits is a value of 8 to 15, without a leading zero, or else 0.
func windowBits(value string) deflation {
	switch value {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		n, _ := strconv.Atoi(value)
		return deflation(n)
	}
	return 0
}

// param reads a parameter. A quoted value stands for the token in it.
func (p *offerParser) param() (name, value string, has bool) {
	name = p.token()
	if p.bad || !p.next('=') {
		return name, "", false
	}
	if strings.HasPrefix(p.rest, `"`) {
		return name, p.quoted(), true
	}
	return name, p.token(), true
}

// token reads a token and the blanks after it.
func (p *offerParser) token() string {
	n := 0
	for n < len(p.rest) && tokenChar(p.rest[n]) {
		n++
	}
	t := p.rest[:n]
	p.bad = p.bad || n == 0
	p.rest = p.rest[n:]
	p.skipBlanks()
	return t
}

// quoted reads a quoted string, which has to hold a token when unquoted, and
// the blanks after it.
func (p *offerParser) quoted() string {
	var text []byte
	for i := 1; i < len(p.rest); i++ {
		c := p.rest[i]
		if c == '"' {
			p.rest = p.rest[i+1:]
			p.skipBlanks()
			p.bad = p.bad || len(text) == 0
			return string(text)
		}
		if c == '\\' {
			if i++; i == len(p.rest) {
				break
			}
			c = p.rest[i]
		}
		if !tokenChar(c) {
			break
		}
		text = append(text, c)
	}
	p.bad = true
	return ""
}

// next passes over c and the blanks after it, if it is next.
func (p *offerParser) next(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	p.skipBlanks()
	return true
}

func (p *offerParser) skipBlanks() { p.rest = strings.TrimLeft(p.rest, " \t") }

// skipCommas passes over what is between the elements of a list, some of which
// may be empty (RFC 9110, 5.6.1.2).
func (p *offerParser) skipCommas() { p.rest = strings.TrimLeft(p.rest, " \t,") }

// tokenChar: RFC 9110, 5.6.2.
func tokenChar(c byte) bool {
	return alphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
