package tlsstream

import (
	"crypto/tls"
	"slices"
)

// config is the configuration of a handshake.
func (s *Server) config() *tls.Config {
	base := s.cfg.TLS()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.base != base {
		s.base, s.wrapped = base, wrap(base)
	}
	return s.wrapped
}

// wrap returns what crypto/tls is given in place of base. It is made once for
// all handshakes, because session ticket keys that crypto/tls makes and
// replaces belong to one Config. What differs for each handshake comes from
// GetConfigForClient: crypto/tls uses all of its result but such keys. Keys
// that were given to SetSessionTicketKeys it does use, those of base as of now
// included.
func wrap(base *tls.Config) *tls.Config {
	outer := base.Clone()
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		h := hello.Conn.(*wire).handshake
		use := base
		if base.GetConfigForClient != nil {
			var c *tls.Config
			var err error
			h.idle(func() { c, err = base.GetConfigForClient(hello) })
			if err != nil {
				return nil, err
			}
			if c != nil {
				use = c
			}
		}
		use = use.Clone()
		if get := use.GetCertificate; get != nil {
			use.GetCertificate = func(hello *tls.ClientHelloInfo) (cert *tls.Certificate, err error) {
				hello.Conn.(*wire).handshake.idle(func() { cert, err = get(hello) })
				return cert, err
			}
		}
		if h.s.cfg.OwnRecords && slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
			h.takeover = &takeover{log: use.KeyLogWriter}
			use.KeyLogWriter = h.takeover
		}
		return use, nil
	}
	return outer
}

// idle calls f as one that does not compute: callbacks may wait, for a
// certificate that is being issued, and perhaps for another handshake, in which
// the authority asks about it.
func (h *Handshake) idle(f func()) {
	<-h.s.compute
	defer func() { h.s.compute <- struct{}{} }()
	f()
}
