package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/crypto/acme"
)

const certName = "tracker.example.org"

// certified is a node that gets certificates.
type certified struct {
	*process
	addr string
	from *certAuthority
}

func startCertified(tb testing.TB, a *certAuthority, dir string, extra ...string) *certified {
	tb.Helper()
	p := start(tb, append([]string{
		"--no-federation", "--listen", "127.0.0.1:0", "--data-dir", dir, "--acme", certName, "--acme-directory", a.directory(),
	}, extra...)...)
	n := &certified{process: p, addr: p.line(`ws://(\S+)`), from: a}
	a.point(n.addr)
	return n
}

func (n *certified) handshake(conf *tls.Config) (*tls.Conn, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: conf}
	nc, err := d.Dial("tcp", n.addr)
	if err != nil {
		return nil, err
	}
	return nc.(*tls.Conn), nil
}

// refused reports whether a handshake fails.
func (n *certified) refused(conf *tls.Config) bool {
	nc, err := n.handshake(conf)
	if err == nil {
		nc.Close()
	}
	return err != nil
}

// dialSecure is a client that comes by wss://, once there is a certificate.
func (n *certified) dialSecure() *client {
	n.tb.Helper()
	var nc *tls.Conn
	eventually(n.tb, "certificate", func() bool {
		var err error
		nc, err = n.handshake(n.from.clientConfig(certName))
		return err == nil
	}, n.process)
	n.tb.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	if _, _, err := (ws.Dialer{}).Upgrade(nc, &url.URL{Scheme: "wss", Host: certName, Path: "/"}); err != nil {
		n.tb.Fatal(err)
	}
	return &client{n.tb, nc}
}

// meet has a client of wss:// and one of ws:// meet.
func (n *certified) meet() {
	n.tb.Helper()
	one, two := n.dialSecure(), dial(n.tb, n.addr)
	one.announce("ABCDEFGHIJKLMNOPQRST", peerID("one"), 3)
	if m := one.next(); m.Action != "announce" || m.Failure != "" {
		n.tb.Errorf("reply %+v", m)
	}
	two.announce("ABCDEFGHIJKLMNOPQRST", peerID("two"), 1)
	if m := one.offer(); m.PeerID != peerID("two") {
		n.tb.Errorf("offer %+v", m)
	}
	one.conn.Close()
	two.conn.Close()
}

// TestACME: a node gets a certificate, answering the challenge on the port
// that clients use; keeps it over a restart; and for no other name does
// anything happen.
func TestACME(t *testing.T) {
	for _, challenge := range []string{"tls-alpn-01", "http-01"} {
		t.Run(challenge, func(t *testing.T) {
			a := startAuthority(t, challenge)
			dir := filepath.Join(t.TempDir(), "data")
			p := startCertified(t, a, dir, "--acme", "Other.example.org")
			if line := p.line(`certificates: (.*)\n`); !strings.Contains(line, "other.example.org, "+certName+" from "+a.directory()) || !strings.Contains(line, "443") {
				t.Errorf("it says %q", line)
			}
			if !strings.Contains(p.out.String(), "and wss://"+certName+":") {
				t.Errorf("it does not say where clients go: %s", &p.out)
			}
			p.meet()
			eventually(t, "both certificates", func() bool { return strings.Count(p.err.String(), "until=") == 2 }, p.process)
			refusesStrangers(t, p)
			if names := a.names(); !slices.Equal(names, []string{"other.example.org", certName}) {
				t.Errorf("the authority was asked for %q", names)
			}
			if n := a.count("account"); n != 1 {
				t.Errorf("%d accounts", n)
			}
			checkCache(t, filepath.Join(dir, acmeDir))
			if s := p.stop(); s != 0 {
				t.Errorf("exit status %d", s)
			}

			// What is asked of it now would fail.
			a.server.Close()
			p = startCertified(t, a, dir)
			p.meet()
			if s := p.stop(); s != 0 {
				t.Errorf("exit status %d", s)
			}
			if log := p.err.String(); strings.Contains(log, "WARN") {
				t.Error(log)
			}
		})
	}
}

// refusesStrangers tries names that the node was not given.
func refusesStrangers(t *testing.T, n *certified) {
	t.Helper()
	for _, conf := range []*tls.Config{
		{ServerName: "stranger.example.org"},
		{ServerName: "stranger.example.org", NextProtos: []string{acme.ALPNProto}},
		{ServerName: "sub." + certName},
		{ServerName: ""},
	} {
		conf.InsecureSkipVerify = true
		if !n.refused(conf) {
			t.Errorf("a handshake for %q, %q", conf.ServerName, conf.NextProtos)
		}
	}
	// Certificates for challenges are soon taken away.
	eventually(t, "end of the challenge", func() bool {
		return n.refused(&tls.Config{ServerName: certName, NextProtos: []string{acme.ALPNProto}, InsecureSkipVerify: true})
	})
	for path, want := range map[string]int{
		"/.well-known/acme-challenge/none":                        http.StatusForbidden, // by address, not by name
		"/.well-known/acme-challenge/a%2f..%2f..%2fnode.key":      http.StatusNotFound,
		"/.well-known/acme-challenge/%00":                         http.StatusNotFound,
		"/.well-known/acme-challenge/" + strings.Repeat("x", 300): http.StatusNotFound,
		"/.well-known/": http.StatusNotFound,
		"/other":        http.StatusNotFound,
	} {
		if status, body := get(t, "http://"+n.addr+path); status != want || strings.Contains(body, acmeDir+"/") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// checkCache: private keys are nobody else's.
func checkCache(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a challenge's
		}
		if err != nil {
			return err
		}
		if !d.IsDir() {
			files++
		}
		if m := info.Mode().Perm(); m&0o077 != 0 {
			t.Errorf("%s has mode %o", path, m)
		}
		return nil
	})
	if err != nil || files < 3 { // the account's key and two certificates
		t.Errorf("%d files (%v)", files, err)
	}
}

// TestACMERefused: when the authority does not want to, the log says why, once
// until it is asked again, and clients of ws:// notice nothing.
func TestACMERefused(t *testing.T) {
	a := startAuthority(t, "tls-alpn-01")
	a.refusal = "not this name"
	p := startCertified(t, a, t.TempDir())
	eventually(t, "reason in the log", func() bool { return strings.Contains(p.err.String(), "not this name") }, p.process)
	for range 3 {
		if !p.refused(a.clientConfig(certName)) {
			t.Error("a handshake without a certificate")
		}
	}
	c := dial(t, p.addr)
	c.announce("ABCDEFGHIJKLMNOPQRST", peerID("one"), 1)
	if m := c.next(); m.Failure != "" {
		t.Errorf("reply %+v", m)
	}
	c.conn.Close()
	if n := a.count("order"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if s := p.stop(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	if log := p.err.String(); strings.Count(log, "no certificate yet") != 1 {
		t.Error(log)
	}
}

// TestACMEStuck: an authority that does not answer holds up neither clients
// nor the end.
func TestACMEStuck(t *testing.T) {
	asked, end := make(chan struct{}), make(chan struct{})
	stuck := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-end
	}))
	defer stuck.Close()
	defer close(end)
	p := start(t, "--no-federation", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--acme", certName, "--acme-directory", stuck.URL)
	c := dial(t, p.line(`ws://(\S+)`))
	c.announce("ABCDEFGHIJKLMNOPQRST", peerID("one"), 1)
	c.next()
	c.conn.Close()
	<-asked
	if s := p.stop(); s != 0 {
		t.Errorf("exit status %d", s)
	}
}

// TestCertificateIsKept: how a name fares over days, and what is logged.
func TestCertificateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		var log output
		var mu sync.Mutex
		var asked atomic.Int64
		var leaf *x509.Certificate
		failure := errors.New("no")
		change := func(l *x509.Certificate, err error) {
			mu.Lock()
			defer mu.Unlock()
			leaf, failure = l, err
		}
		fresh := func() *x509.Certificate {
			return &x509.Certificate{NotBefore: time.Now(), NotAfter: time.Now().Add(90 * day)}
		}
		get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			asked.Add(1)
			if failure != nil {
				return nil, failure
			}
			return &tls.Certificate{Leaf: leaf}, nil
		}
		h := newHosted(certName, get, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			h.keep(ctx)
		}()
		// lines is what was logged since it was called last.
		seen := 0
		lines := func() []string {
			synctest.Wait()
			all := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
			added := all[seen:]
			seen = len(all)
			return added
		}

		synctest.Wait()
		if _, err := h.certificate(ctx); err == nil || asked.Load() != 1 {
			t.Errorf("a handshake asked: %d, %v", asked.Load(), err)
		}
		time.Sleep(day)
		if n := len(lines()); n != int(asked.Load()) || n < 20 || n > 30 {
			t.Errorf("a day of failures: asked %d times, %d lines", asked.Load(), n)
		}

		before := asked.Load()
		change(nil, &acme.Error{ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: http.Header{"Retry-After": {"36000"}}})
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if n := asked.Load() - before; n > 1 {
			t.Errorf("asked %d times when told to wait", n)
		}

		first := fresh()
		change(first, nil)
		time.Sleep(74 * day) // one day before half of the time for renewal is over
		if got := lines(); !strings.Contains(got[len(got)-1], "until=") {
			t.Errorf("it says %q last", got[len(got)-1])
		}
		if c, err := h.certificate(ctx); err != nil || c.Leaf != first {
			t.Errorf("handshake: %v", err)
		}
		time.Sleep(2 * day)
		if got := lines(); len(got) == 0 || len(got) > 48 || !strings.Contains(got[0], "not renewed") {
			t.Errorf("late for renewal: %q", got)
		}
		change(fresh(), nil)
		time.Sleep(day)
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "until=") {
			t.Errorf("renewed: %q", got)
		}
		cancel()
		<-ended
	})
}

// TestHandshakeWaitsForTheFirst: with a certificate in the cache, clients that
// come at once after a restart are not sent away; without one, not held.
func TestHandshakeWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := &tls.Certificate{Leaf: &x509.Certificate{NotAfter: time.Now().Add(time.Hour)}}
		for delay, ok := range map[time.Duration]bool{acmeGrace - 1: true, acmeGrace + 1: false} {
			h := newHosted(certName, func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				time.Sleep(delay)
				return want, nil
			}, slog.New(slog.NewTextHandler(io.Discard, nil)))
			ctx, cancel := context.WithCancel(t.Context())
			go h.keep(ctx)
			if c, err := h.certificate(ctx); (err == nil) != ok || ok && c != want {
				t.Errorf("after %v: %v", delay, err)
			}
			cancel()
			time.Sleep(2 * acmeGrace)
		}
	})
}

// TestACMEFlags: mistakes name the flag and the mend.
func TestACMEFlags(t *testing.T) {
	for args, want := range map[string][]string{
		"--acme a.example.org --tls-cert x --tls-key y": {"--acme", "--tls-cert"},
		"--acme localhost":                                       {"--acme localhost", "tracker.example.org"},
		"--acme 192.0.2.1":                                       {"--acme 192.0.2.1"},
		"--acme a.example.org:443":                               {"--acme a.example.org:443", "without a port"},
		"--acme wss://a.example.org":                             {"--acme wss://a.example.org"},
		"--acme *.example.org":                                   {"--acme *.example.org"},
		"--acme bücher.example":                                  {"--acme bücher.example", "xn--"},
		"--acme-directory https://a.example":                     {"--acme-directory https://a.example", "with --acme"},
		"--acme a.example.org --acme-directory http://a.example": {"--acme-directory http://a.example", "https://"},
		"--acme a.example.org --acme-directory nonsense":         {"--acme-directory nonsense", "https://"},
		"--acme a.example.org --listen 127.0.0.1:0 --data-dir /dev/null/nowhere": {"--data-dir"},
	} {
		status, _, err := command(t, append(strings.Fields(args), "--no-federation")...)
		if status != exitUsage {
			t.Errorf("%s: exit status %d, want %d", args, status, exitUsage)
		}
		for _, w := range want {
			if !strings.Contains(err, w) {
				t.Errorf("%s: %q does not say %q", args, err, w)
			}
		}
	}
}
