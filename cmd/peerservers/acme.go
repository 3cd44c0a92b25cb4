package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

const (
	// acmeDir is the directory in the data directory with a directory for
	// each authority: a test authority's certificates are no good later.
	acmeDir = "acme"

	// acmeWait and acmeMaxWait are how long after a failure the authority is
	// asked again, four times as long each time. Let's Encrypt allows five
	// failed validations an hour, and one failure here is two of them.
	acmeWait    = 2 * time.Minute
	acmeMaxWait = time.Hour
	// acmeTries is how often one request to the authority is made that it
	// failed to answer.
	acmeTries = 4
	// acmeCheck is how often a certificate is looked at, which autocert renews.
	acmeCheck = time.Hour
	// acmeGrace is how long a handshake waits for the first certificate: long
	// enough to read it from the disk, and not so long that the server's
	// deadline for handshakes passes.
	acmeGrace = 5 * time.Second
)

// certificates gets certificates for the names of --acme and keeps them. The
// work is autocert's. What is added here is that the authority is asked when
// the node starts and not in a client's handshake, that what goes wrong is
// logged at a bounded rate, and that strangers' names get nowhere.
type certificates struct {
	authority  string
	hosts      map[string]*hosted
	manager    *autocert.Manager
	challenges http.Handler
}

// hosted is a name with its certificate.
type hosted struct {
	name string
	get  func(*tls.ClientHelloInfo) (*tls.Certificate, error) // may take minutes
	log  *slog.Logger
	// tried is closed after the first attempt, there after a success.
	tried, there chan struct{}
}

// newCertificates keeps certificates and the account's key below dataDir.
func (c *serveCommand) newCertificates(dataDir string, log *slog.Logger) (*certificates, error) {
	authority := cmp.Or(c.ACMEDirectory, autocert.DefaultACMEDirectory)
	dir := filepath.Join(dataDir, acmeDir, fileName(authority))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, wrong("--data-dir", dataDir, "name a directory that can be written", "%w", err)
	}
	k := &certificates{authority: authority, hosts: make(map[string]*hosted)}
	k.manager = &autocert.Manager{
		Prompt:     autocert.AcceptTOS, // the help of --acme says so
		Cache:      autocert.DirCache(dir),
		HostPolicy: k.policy,
		Client: &acme.Client{
			DirectoryURL: authority,
			UserAgent:    "peerservers",
			HTTPClient:   &http.Client{Timeout: 30 * time.Second},
			RetryBackoff: retryAuthority,
		},
	}
	k.challenges = k.manager.HTTPHandler(http.NotFoundHandler())
	for _, name := range c.ACME {
		name = strings.ToLower(name)
		k.hosts[name] = newHosted(name, k.manager.GetCertificate, log)
	}
	return k, nil
}

func newHosted(name string, get func(*tls.ClientHelloInfo) (*tls.Certificate, error), log *slog.Logger) *hosted {
	return &hosted{
		name: name, get: get, log: log.With("name", name),
		tried: make(chan struct{}), there: make(chan struct{}),
	}
}

// retryAuthority is how long to wait before a request is made again: not for
// minutes, because failures are to be logged, and not at all by an authority
// that wants fewer requests.
func retryAuthority(n int, _ *http.Request, r *http.Response) time.Duration {
	if n >= acmeTries || r.StatusCode == http.StatusTooManyRequests {
		return 0
	}
	return time.Duration(n) * time.Second
}

// run gets certificates and watches over them until ctx is done.
func (k *certificates) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, h := range k.hosts {
		all.Go(func() { h.keep(ctx) })
	}
	all.Wait()
}

// describe says what will happen and what it needs.
func (k *certificates) describe() string {
	return fmt.Sprintf("for %s from %s, which must reach this node at port 443 (TLS-ALPN-01) or port 80 (HTTP-01) of each name",
		strings.Join(k.names(), ", "), k.authority)
}

func (k *certificates) names() (list []string) {
	for name := range k.hosts {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// config is how the server speaks TLS.
func (k *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1", acme.ALPNProto},
		GetCertificate: k.certificate,
	}
}

// certificate answers a handshake, the authority's included, and never asks
// the authority.
func (k *certificates) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	h := k.hosts[strings.ToLower(hello.ServerName)]
	if h == nil {
		return nil, nil // which makes an alert, unrecognized_name
	}
	if slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) {
		return k.manager.GetCertificate(hello)
	}
	return h.certificate(hello.Context())
}

// policy is autocert's last question before it asks the authority, and before
// it answers it over HTTP.
func (k *certificates) policy(_ context.Context, host string) error {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if k.hosts[strings.ToLower(host)] == nil {
		return fmt.Errorf("no certificate for %q here", host)
	}
	return nil
}

// ServeHTTP answers HTTP-01 challenges. Tokens become names of files, so what
// cannot be one (RFC 8555, 8.1) goes no further.
func (k *certificates) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := path.Base(r.URL.Path)
	if len(token) > 128 || strings.ContainsFunc(token, func(c rune) bool { return !isNameChar(c) && c != '_' }) {
		http.NotFound(w, r)
		return
	}
	k.challenges.ServeHTTP(w, r)
}

// keep gets the certificate, again and again if need be, and reports how it
// does until ctx is done.
func (h *hosted) keep(ctx context.Context) {
	var until time.Time // of the certificate seen last
	wait, got := acmeWait, false
	for first := true; ; first = false {
		next := acmeCheck
		cert, err := h.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			next, wait = wait, min(4*wait, acmeMaxWait)
			if d, limited := acme.RateLimit(err); limited {
				next = max(next, min(d, 24*time.Hour))
			}
			h.log.Warn("no certificate yet; ws:// goes on", "err", err, "again_in", next)
		default:
			if !got {
				got = true
				close(h.there)
			}
			if leaf := cert.Leaf; !leaf.NotAfter.Equal(until) {
				until = leaf.NotAfter
				h.log.Info("certificate", "until", until)
			} else if left := time.Until(until); left < renewal(leaf.NotAfter.Sub(leaf.NotBefore))/2 {
				h.log.Warn("certificate not renewed; can the authority reach this node?", "left", left.Round(time.Minute))
			}
		}
		if first {
			close(h.tried)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// renewal is how long before its end autocert renews a certificate.
func renewal(life time.Duration) time.Duration { return min(life/3, 30*24*time.Hour) }

// ask gets the certificate from memory, the cache or the authority. Whoever
// ends does not wait for the authority; autocert takes no context.
func (h *hosted) ask(ctx context.Context) (*tls.Certificate, error) {
	type answer struct {
		cert *tls.Certificate
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		cert, err := h.get(h.hello())
		got <- answer{cert, err}
	}()
	select {
	case a := <-got:
		return a.cert, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hello asks for the kind of key that all clients with WebRTC take. That of a
// client could make autocert get a second certificate.
func (h *hosted) hello() *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: h.name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	}
}

// certificate is for a client's handshake. There is nothing to wait for once
// the first attempt has failed.
func (h *hosted) certificate(ctx context.Context) (*tls.Certificate, error) {
	grace, cancel := context.WithTimeout(ctx, acmeGrace)
	defer cancel()
	select {
	case <-h.tried:
	case <-grace.Done():
	}
	select {
	case <-h.there:
		return h.get(h.hello()) // from memory
	default:
		return nil, fmt.Errorf("no certificate for %s yet", h.name)
	}
}

// isNameChar reports whether c can be in a label of a DNS name.
func isNameChar(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-'
}

// fileName makes a directory's name of a URL, legible to a person.
func fileName(u string) string {
	_, rest, _ := strings.Cut(u, "://")
	return strings.Map(func(c rune) rune {
		if isNameChar(c) || c == '.' {
			return c
		}
		return '-'
	}, rest)
}

func (c *serveCommand) validateACME() (errs []error) {
	add := func(err error) { errs = append(errs, err) }
	if len(c.ACME) > 0 && (c.TLSCert != "" || c.TLSKey != "") {
		add(wrong("--acme", "", "leave it out, or --tls-cert and --tls-key", "the certificate is in files already"))
	}
	for _, name := range c.ACME {
		if !isPublicName(name) {
			add(wrong("--acme", name, "give a name such as tracker.example.org, in ASCII (xn--), without a port", "not a public DNS name"))
		}
	}
	if c.ACMEDirectory == "" {
		return errs
	}
	if len(c.ACME) == 0 {
		add(wrong("--acme-directory", c.ACMEDirectory, "name the hosts with --acme", "there is nothing to get certificates for"))
	}
	u, err := url.Parse(c.ACMEDirectory)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		add(wrong("--acme-directory", c.ACMEDirectory, "give the https:// URL of an ACME directory", "not safe to ask for certificates"))
	}
	return errs
}

// isPublicName reports whether an authority could give name a certificate, as
// far as can be told from the name.
func isPublicName(name string) bool {
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.ContainsFunc(l, func(c rune) bool { return !isNameChar(c) }) {
			return false
		}
	}
	_, err := netip.ParseAddr(name)
	return len(labels) >= 2 && len(name) <= 253 && err != nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
