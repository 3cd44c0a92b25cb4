package wsserver

import (
	"bufio"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unique"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/tracker"
)

// maxMention is how much of an origin, a path or a token is kept.
const maxMention = 512

// wantsWebSocket reports whether a request asks for an upgrade.
func wantsWebSocket(r *http.Request) bool {
	for _, v := range r.Header["Upgrade"] {
		if httphead.ScanTokens([]byte(v), func([]byte) bool { return true }) &&
			slices.ContainsFunc(strings.Split(v, ","), func(t string) bool {
				return strings.EqualFold(strings.TrimSpace(t), "websocket")
			}) {
			return true
		}
	}
	return false
}

// upgrade answers a request for a WebSocket.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		s.turnAway(w, refuseDraining, http.StatusServiceUnavailable, "going away")
		return
	}
	defer s.live.Done()
	if p := s.protocol(r); p != nil {
		s.upgradeOther(w, r, p)
		return
	}
	who, no := s.judge(r)
	if no != nil {
		s.turnAway(w, no.why, no.status, no.text)
		return
	}
	p, ok := s.admit(w, who.Addr)
	if !ok {
		return
	}
	var extensions string
	var d deflation
	if s.cfg.Compress > 0 {
		extensions, d = negotiateDeflate(r.Header["Sec-Websocket-Extensions"])
	}
	nc, rw, ok := s.handshake(w, r, nil, extensions)
	if !ok {
		s.limits.leaveConn(&p)
		return
	}
	ahead, _ := rw.Peek(rw.Buffered())
	if !s.start(nc, ahead, who, p, d) {
		s.limits.leaveConn(&p)
		nc.Close()
	}
}

// rejection is how a client's request is turned away.
type rejection struct {
	why    refusal
	status int
	text   string
}

// judge decides whether a request for a WebSocket, well formed or not, may be
// a client's, and says what is to be known of that client.
func (s *Server) judge(r *http.Request) (tracker.Client, *rejection) {
	token, ok := s.path(r)
	if !ok {
		return tracker.Client{}, &rejection{refusePath, http.StatusNotFound, "no tracker on this path"}
	}
	origin := r.Header.Get("Origin")
	if !s.cfg.Access.Origin(origin) {
		return tracker.Client{}, &rejection{refuseOrigin, http.StatusForbidden, "origin not allowed"}
	}
	return tracker.Client{
		Addr: s.clientAddr(r), Origin: mention(origin), Path: mention(r.URL.Path), Token: mention(token),
	}, nil
}

// start begins serving a connection that has been upgraded.
func (s *Server) start(nc net.Conn, ahead []byte, who tracker.Client, p place, d deflation) bool {
	c := &conn{srv: s, nc: nc, place: p}
	c.out.init(nc, s)
	c.rd.init(c, c, &s.pool, &s.incoming, s.cfg.MaxMessage, ahead)
	c.out.deflate, c.rd.deflate = d, d
	if !s.cfg.Echo {
		c.session = s.cfg.Tracker.Open(c, who)
	}
	if !s.add(c) {
		if c.session != nil {
			c.session.Close()
		}
		return false
	}
	s.counts.opened.Add(1)
	// A goroutine of its own: net/http's ends here, with its stack and
	// buffers, and would recover from a panic that nobody foresaw.
	go c.run()
	return true
}

// upgradeOther hands the connection to another user of the port.
func (s *Server) upgradeOther(w http.ResponseWriter, r *http.Request, other *Protocol) {
	addr := s.clientAddr(r)
	p, ok := s.admit(w, addr)
	if !ok {
		return
	}
	nc, rw, ok := s.handshake(w, r, func(name string) bool { return name == other.Name }, "")
	if !ok {
		s.limits.leaveConn(&p)
		return
	}
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		s.limits.leaveConn(&p)
		nc.Close()
		return
	}
	s.others[nc] = struct{}{}
	s.live.Add(1)
	s.mu.Unlock()
	r.RemoteAddr = addr.String()
	go func() {
		defer func() {
			s.limits.leaveConn(&p)
			s.mu.Lock()
			delete(s.others, nc)
			s.mu.Unlock()
			s.live.Done()
		}()
		other.Handler(nc, rw, r)
	}()
}

// admit takes a place for a WebSocket, or says that there is none.
func (s *Server) admit(w http.ResponseWriter, addr netip.AddrPort) (place, bool) {
	p, why, ok := s.limits.conn(addr.Addr())
	if !ok {
		w.Header().Set("Retry-After", "60")
		status := http.StatusServiceUnavailable
		if why == refuseIPConns {
			status = http.StatusTooManyRequests
		}
		s.turnAway(w, why, status, "too many connections")
	}
	return p, ok
}

func (s *Server) turnAway(w http.ResponseWriter, why refusal, status int, text string) {
	s.counts.refused[why].Add(1)
	w.Header().Set("Connection", "close")
	http.Error(w, text, status)
}

// handshake upgrades a request, selecting the subprotocol that choose accepts
// and the extensions given.
func (s *Server) handshake(w http.ResponseWriter, r *http.Request, choose func(string) bool, extensions string) (net.Conn, *bufio.Reader, bool) {
	if !validKey(r.Header.Get("Sec-WebSocket-Key")) {
		s.turnAway(w, refuseHandshake, http.StatusBadRequest, "bad Sec-WebSocket-Key")
		return nil, nil, false
	}
	u := ws.HTTPUpgrader{Timeout: s.cfg.HeaderTimeout, Protocol: choose}
	if extensions != "" {
		u.Header = http.Header{"Sec-WebSocket-Extensions": {extensions}}
	}
	nc, rw, _, err := u.Upgrade(r, w)
	if err != nil {
		s.counts.refused[refuseHandshake].Add(1)
		if nc != nil {
			nc.Close()
		}
		return nil, nil, false
	}
	return nc, rw.Reader, true
}

// validKey: by RFC 6455, 4.2.1, the key is 16 bytes in base64. The upgrader
// checks the length of the text only.
func validKey(text string) bool {
	key, err := base64.StdEncoding.DecodeString(text)
	return err == nil && len(key) == 16
}

// protocol is the other user of the port that the request is for, if any.
func (s *Server) protocol(r *http.Request) *Protocol {
	for i := range s.cfg.Protocols {
		p := &s.cfg.Protocols[i]
		if r.URL.Path == p.Path && offers(r, p.Name) {
			return p
		}
	}
	return nil
}

func offers(r *http.Request, name string) bool {
	for _, v := range r.Header["Sec-Websocket-Protocol"] {
		found := false
		httphead.ScanTokens([]byte(v), func(t []byte) bool {
			found = found || string(t) == name
			return !found
		})
		if found {
			return true
		}
	}
	return false
}

// path reports whether clients may connect on the request's path, and the
// token that the URL brings: in its query, or as its last element.
func (s *Server) path(r *http.Request) (token string, ok bool) {
	if r.URL.RawQuery != "" {
		token = r.URL.Query().Get("token")
	}
	if len(s.cfg.Paths) == 0 {
		return token, true
	}
	for _, p := range s.cfg.Paths {
		if base, found := strings.CutSuffix(p, tokenSuffix); found {
			if last, under := strings.CutPrefix(r.URL.Path, base+"/"); under && last != "" && !strings.Contains(last, "/") {
				return last, true
			}
		} else if trimSlash(r.URL.Path) == trimSlash(p) {
			return token, true
		}
	}
	return "", false
}

// trimSlash: the reference client strips one slash from the end of its URLs.
func trimSlash(p string) string {
	if len(p) > 1 {
		p = strings.TrimSuffix(p, "/")
	}
	return p
}

// mention copies a bounded part of a request's text, so that keeping it does
// not keep the request. Most connections of a tracker say the same: those
// share one copy.
func mention(s string) string { return unique.Make(s[:min(len(s), maxMention)]).Value() }
