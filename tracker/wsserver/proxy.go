package wsserver

import (
	"net/http"
	"net/netip"
	"strings"
)

// trusted reports whether a is a proxy whose word counts.
func (s *Server) trusted(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// clientAddr is the address of the client behind a request: the socket's,
// unless that is a trusted proxy's.
func (s *Server) clientAddr(r *http.Request) netip.AddrPort {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	if !s.trusted(peer.Addr()) {
		return peer
	}
	return s.forwarded(peer, r.Header["X-Forwarded-For"])
}

// forwarded walks the hops from the nearest to the farthest, as long as the
// one that reported a hop is trusted. Whatever lies beyond the first untrusted
// address is that client's own invention.
func (s *Server) forwarded(peer netip.AddrPort, headers []string) netip.AddrPort {
	for i := len(headers) - 1; i >= 0; i-- {
		for rest := headers[i]; rest != ""; {
			var hop string
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, hop = rest[:at], rest[at+1:]
			} else {
				rest, hop = "", rest
			}
			a, ok := parseHop(strings.TrimSpace(hop))
			if !ok {
				return peer
			}
			peer = a
			if !s.trusted(a.Addr()) {
				return peer
			}
		}
	}
	return peer
}

// parseHop reads an address with or without port.
func parseHop(s string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), true
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return netip.AddrPortFrom(a.Unmap(), 0), err == nil
}

// secure reports whether the client speaks TLS, to us or to a trusted proxy.
func (s *Server) secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	if c, ok := r.Context().Value(connKey{}).(*sniffConn); ok && c.isTLS() {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && s.trusted(peer.Addr()) && r.Header.Get("X-Forwarded-Proto") == "https"
}
