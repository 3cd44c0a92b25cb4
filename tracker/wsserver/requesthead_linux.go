package wsserver

import (
	"bufio"
	"bytes"
	"net/http"
	"net/netip"
	"strings"

	"github.com/pires/go-proxyproto"
)

// What the first bytes of a socket are, as far as a loop has to know.

// startsLike reports whether p begins with want, as far as it goes.
func startsLike(p []byte, want string) bool {
	n := min(len(p), len(want))
	return string(p[:n]) == want[:n]
}

// headEnd is where the head of a request ends, 0 if it does not yet; false if
// it does not end its lines as it should.
func headEnd(p []byte) (int, bool) {
	part, n := p, 0
	if i := bytes.Index(p, []byte("\n\r\n")); i >= 0 {
		n = i + len("\n\r\n")
		part = p[:n]
		if !bytes.HasSuffix(part, []byte("\r\n\r\n")) {
			return 0, false
		}
	}
	return n, !bytes.Contains(part, []byte("\n\n"))
}

// proxied reads the header of the PROXY protocol, if there is one: its length
// and the address in it.
func proxied(p []byte) (n int, client netip.AddrPort, _ outcome) {
	const v2Header = 16
	switch {
	case startsLike(p, string(proxyproto.SIGV2)):
		if len(p) < v2Header {
			return 0, client, isPart
		}
		if n = v2Header + int(p[14])<<8 + int(p[15]); len(p) < n {
			return 0, client, isPart
		}
	case startsLike(p, string(proxyproto.SIGV1)):
		const longest = 107
		if n = bytes.IndexByte(p[:min(len(p), longest)], '\n') + 1; n == 0 {
			if len(p) >= longest {
				return 0, client, isBroken
			}
			return 0, client, isPart
		}
	default:
		return 0, client, isOpen // health checks come without
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(p[:n])))
	if err != nil {
		return 0, client, isBroken
	}
	if h.Command.IsLocal() {
		return n, client, isOpen
	}
	return n, addrOf(h.SourceAddr), isOpen
}

// plain reports whether a request is beyond doubt: what an HTTP server would
// look at twice is for one.
func plain(r *http.Request, head []byte) bool {
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.Host == "" || r.ContentLength != 0 || len(r.TransferEncoding) > 0 ||
		r.Header.Get("Expect") != "" || countFold(head, "\nhost:") != 1 {
		return false
	}
	for _, b := range []byte(r.Host) {
		if !alphanumeric(b) && !bytes.ContainsRune([]byte("-._:[]"), rune(b)) {
			return false
		}
	}
	for name, values := range r.Header {
		for _, b := range []byte(name) {
			if !alphanumeric(b) && b != '-' && b != '_' {
				return false
			}
		}
		for _, v := range values {
			for _, b := range []byte(v) {
				if b < ' ' && b != '\t' || b == 0x7f {
					return false
				}
			}
		}
	}
	return true
}

// countFold counts what, which is in lower case, in whatever case.
func countFold(p []byte, what string) int { return bytes.Count(bytes.ToLower(p), []byte(what)) }

// upgradable reports whether a request is a WebSocket's in every respect
// (RFC 6455, 4.2.1).
func upgradable(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		hasToken(r.Header.Get("Connection"), "upgrade") && r.Header.Get("Sec-WebSocket-Version") == "13" &&
		validKey(r.Header.Get("Sec-WebSocket-Key"))
}

func hasToken(list, token string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(t), token) {
			return true
		}
	}
	return false
}
