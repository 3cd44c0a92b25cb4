//go:build linux

package nettest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// authority is a certificate authority, the only one that a Net has.
type authority struct {
	tb     testing.TB
	dir    string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial atomic.Int64
}

func newAuthority(tb testing.TB) *authority {
	a := &authority{tb: tb, dir: tb.TempDir()}
	a.serial.Store(1)
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		tb.Fatal(err)
	}
	der := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nettest"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, &a.key.PublicKey, nil)
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

// sign completes a certificate. It is good for nodes whose clocks are wrong,
// as a real one of some weeks is.
func (a *authority) sign(c *x509.Certificate, public *ecdsa.PublicKey, parent *x509.Certificate) []byte {
	a.tb.Helper()
	c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(48*time.Hour)
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, a.key)
	if err != nil {
		a.tb.Fatal(err)
	}
	return der
}

func (a *authority) write(name, kind string, der []byte) (path string) {
	a.tb.Helper()
	path = filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.tb.Fatal(err)
	}
	return path
}

// CAFile is the Net's authority, for SSL_CERT_FILE.
func (n *Net) CAFile() string { return filepath.Join(n.ca.dir, "ca.pem") }

// TLS trusts the Net's authority alone.
func (n *Net) TLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(n.ca.cert)
	return &tls.Config{RootCAs: pool}
}

// Certificate is one of the Net's authority for some names and addresses, in
// two files.
func (n *Net) Certificate(hosts ...string) (certFile, keyFile string) {
	a := n.ca
	a.tb.Helper()
	serial := a.serial.Add(1)
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: hosts[0]}}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatal(err)
	}
	name := big.NewInt(serial).String()
	return a.write(name+".pem", "CERTIFICATE", a.sign(c, &key.PublicKey, a.cert)), a.write(name+".key", "PRIVATE KEY", secret)
}
