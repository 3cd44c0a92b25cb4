package wsserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/tracker"
)

// writeCert puts a self-signed certificate for name and its key into dir.
func writeCert(t testing.TB, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, b := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func tlsClient(t testing.TB, nc net.Conn) *tls.Conn {
	t.Helper()
	c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

func prefixes(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// expectCloseOnly checks the close frame and hangs up.
func (c *client) expectCloseOnly(code int) {
	c.t.Helper()
	op, p, err := c.readFrame()
	if err != nil || op != opClose || len(p) < 2 || int(p[0])<<8|int(p[1]) != code {
		c.t.Fatalf("opcode %x, payload %q, %v: want a close with %d", op, p, err, code)
	}
	c.nc.Close()
}

// ws and wss on one port, HTTP too, and they meet.
func TestTLSOnTheSamePort(t *testing.T) { onBoth(t, testTLSOnTheSamePort) }

func testTLSOnTheSamePort(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) { c.CertFile, c.KeyFile = writeCert(t, t.TempDir(), "one") })
	conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}
	secure := in.dialTLS(conf)
	if p := secure.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("ALPN chose %q", p)
	}
	a := upgradeClient(t, secure, "/")
	b := in.dial("/")
	a.join(hash, pid("a"))
	sdp := strings.Repeat("v=0 ", 15_000)
	b.send(announce(hash, pid("b"), sdp))
	b.recvJSON()
	if m := a.recvJSON(); !strings.Contains(string(m.Offer), sdp) {
		t.Errorf("offer over TLS: %d bytes", len(m.Offer))
	}
	a.write(frame(fin|opClose, []byte{3, 232}))
	a.expectClose(1000)

	nc := in.dialTLS(conf)
	defer nc.Close()
	if _, body := request(t, nc, "GET", "/"); !strings.Contains(body, "wss://tracker.example") {
		t.Errorf("/ over TLS: %s", body)
	}
	if resp, _ := in.get("GET", "/health"); resp.StatusCode != 200 {
		t.Errorf("plain: %s", resp.Status)
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}
	raw, err := net.Dial("tcp", in.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := tls.Client(raw, old).Handshake(); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// Without a certificate, what looks like TLS is a bad request and no more.
func TestTLSWithoutCertificate(t *testing.T) { onBoth(t, testTLSWithoutCertificate) }

func testTLSWithoutCertificate(t *testing.T, e engine) {
	in := e.start(t, nil)
	raw, err := net.Dial("tcp", in.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	if err := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("a handshake without a certificate")
	}
	in.dial("/").join(hash, pid("a"))
}

// A renewed certificate is used by the next handshake; open connections stay.
// Files that do not fit each other leave the old one in use.
func TestCertificateReload(t *testing.T) { onBoth(t, testCertificateReload) }

func testCertificateReload(t *testing.T, e engine) {
	dir := t.TempDir()
	in := e.start(t, func(c *Config, _ *tracker.Config) { c.CertFile, c.KeyFile = writeCert(t, dir, "one") })
	name := func() string {
		nc := in.dialTLS(&tls.Config{InsecureSkipVerify: true})
		defer nc.Close()
		return nc.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	nc, err := net.Dial("tcp", in.addr)
	if err != nil {
		t.Fatal(err)
	}
	before := upgradeClient(t, tlsClient(t, nc), "/")
	before.join(hash, pid("a"))

	other := t.TempDir()
	certFile, keyFile := writeCert(t, other, "two")
	move := func(from, to string) {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	move(certFile, "cert.pem")
	if changed, err := in.srv.certs.reload(); changed || err == nil {
		t.Errorf("a certificate without its key: %v %v", changed, err)
	}
	if got := name(); got != "one" {
		t.Errorf("half-way: %s", got)
	}
	move(keyFile, "key.pem")
	if changed, err := in.srv.certs.reload(); !changed || err != nil {
		t.Errorf("both there: %v %v", changed, err)
	}
	if got := name(); got != "two" {
		t.Errorf("afterwards: %s", got)
	}
	before.join(hash, pid("a"))
}

// A program brings its own certificates, another protocol that ends with the
// handshake, and pages, which do not hide the server's.
func TestTLSFromElsewhere(t *testing.T) { onBoth(t, testTLSFromElsewhere) }

func testTLSFromElsewhere(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) {
		pair, err := tls.LoadX509KeyPair(writeCert(t, t.TempDir(), "one"))
		if err != nil {
			t.Fatal(err)
		}
		c.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1", "other"}}
		c.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page "+r.URL.Path) })
	})
	a := upgradeClient(t, in.dialTLS(&tls.Config{InsecureSkipVerify: true}), "/x")
	a.join(hash, pid("a"))
	for path, want := range map[string]string{"/x": "page /x", "/health": "ok\n"} {
		if _, body := in.get("GET", path); body != want {
			t.Errorf("%s: %q", path, body)
		}
	}
	nc := in.dialTLS(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"other"}})
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	io.WriteString(nc, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
	if n, err := nc.Read(make([]byte, 1)); n != 0 {
		t.Errorf("an answer after a handshake for another protocol: %d, %v", n, err)
	}
}

// Nobody has to ask for it.
func TestCertificateIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, err := newCerts(writeCert(t, dir, "one"))
		if err != nil {
			t.Fatal(err)
		}
		var reloads atomic.Int64
		ctx := t.Context()
		go c.watch(ctx, slog.New(slog.NewTextHandler(io.Discard, nil)), &reloads)
		first := c.current.Load()
		time.Sleep(time.Minute)
		if c.current.Load() != first {
			t.Error("replaced without a change")
		}
		os.WriteFile(c.keyFile, []byte("broken"), 0o600)
		time.Sleep(time.Minute)
		if c.current.Load() != first {
			t.Error("replaced by a broken one")
		}
		writeCert(t, dir, "two")
		time.Sleep(time.Minute)
		synctest.Wait()
		if c.current.Load() == first || reloads.Load() != 1 {
			t.Errorf("not replaced, %d reloads", reloads.Load())
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	trk, err := tracker.New(tracker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cert, key := writeCert(t, t.TempDir(), "one")
	for name, c := range map[string]Config{
		"no tracker":      {},
		"no key":          {Tracker: trk, CertFile: "x"},
		"two sources":     {Tracker: trk, CertFile: cert, KeyFile: key, TLS: &tls.Config{}},
		"HTTP/2":          {Tracker: trk, TLS: &tls.Config{NextProtos: []string{"h2", "http/1.1"}}},
		"missing files":   {Tracker: trk, CertFile: "/nowhere/c", KeyFile: "/nowhere/k"},
		"path":            {Tracker: trk, Paths: []string{"announce"}},
		"protocol":        {Tracker: trk, Protocols: []Protocol{{Path: "/x"}}},
		"proxy":           {Tracker: trk, ProxyProtocol: true},
		"negative":        {Tracker: trk, MaxConns: -1},
		"engine":          {Tracker: trk, Engine: "steam"},
		"loops":           {Tracker: trk, Loops: -1},
		"too many loops":  {Tracker: trk, Loops: MaxLoops + 1},
		"compress":        {Tracker: trk, Compress: -1},
		"hard below soft": {Tracker: trk, SoftBacklog: 2, HardBacklog: 1},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
