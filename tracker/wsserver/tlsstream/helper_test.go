package tlsstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate returns one for "server" and a pool that trusts it.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "server"}, DNSNames: []string{"server"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
})

func serverConfig() *tls.Config {
	cert, _ := certificate()
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1", "acme-tls/1"},
	}
}

func clientConfig() *tls.Config {
	_, pool := certificate()
	return &tls.Config{RootCAs: pool, ServerName: "server", NextProtos: []string{"http/1.1"}}
}

// newServer returns a server with one configuration.
func newServer(cfg Config, config *tls.Config) *Server {
	cfg.TLS = func() *tls.Config { return config }
	return NewServer(cfg)
}

// shake makes the handshake of raw's client, reading at most cut bytes at once
// (any number, if 0), and returns the stream and what else was read.
func shake(t testing.TB, s *Server, raw net.Conn, cut int) (Stream, []byte, Info, error) {
	t.Helper()
	// News end the read, as they wake a loop.
	var mu sync.Mutex
	over := false
	h := s.Begin(netip.Prefix{}, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			raw.SetReadDeadline(time.Unix(1, 0))
		}
	})
	defer h.Abort()
	buf := make([]byte, 4096)
	for {
		raw.SetReadDeadline(time.Now().Add(hang))
		if out := h.Output(nil); len(out) > 0 {
			raw.Write(out)
		}
		if done, stream, rest, info, err := h.Done(); done {
			mu.Lock()
			over = true
			mu.Unlock()
			raw.SetReadDeadline(time.Now().Add(hang))
			return stream, rest, info, err
		}
		n, err := raw.Read(buf[:1+roll(cut, len(buf))])
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil, Info{}, err
		}
		if err := h.Feed(buf[:n]); err != nil {
			return nil, nil, Info{}, err
		}
	}
}

// hang is when a test that hangs says where.
const hang = 20 * time.Second

func roll(cut, most int) int {
	if cut > 0 {
		return mrand.IntN(cut)
	}
	return most - 1
}

// pair returns a client and the server's net.Conn for it, which both close
// themselves.
func pair(t testing.TB, s *Server, client *tls.Config, cut int) (*tls.Conn, net.Conn, Info) {
	t.Helper()
	c, raw := socketPair(t)
	conn := tls.Client(c, client)
	failed := make(chan error, 1)
	go func() { failed <- conn.Handshake() }()
	stream, rest, info, err := shake(t, s, raw, cut)
	if err != nil {
		t.Fatalf("handshake: %v; the client says %v", err, <-failed)
	}
	if err := <-failed; err != nil {
		t.Fatalf("client's handshake: %v", err)
	}
	return conn, NetConn(raw, stream, rest), info
}

func socketPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	for _, c := range []net.Conn{a, b} {
		c.SetDeadline(time.Now().Add(hang))
	}
	return a, b
}

// echo sends back what conn brings, until it ends.
func echo(conn net.Conn) error {
	_, err := io.Copy(conn, onlyReader{conn})
	return err
}

// onlyReader hides what io.Copy would use instead of Read.
type onlyReader struct{ io.Reader }
