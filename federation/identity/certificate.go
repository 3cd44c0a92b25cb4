package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"path/filepath"
	"time"
)

// CertificateFile is the name in the data directory of the key of the node's
// own certificate. The certificate itself is made anew at each start: who
// dials by a pin looks at the key alone.
const CertificateFile = "link.key"

// Certificate is a certificate that no authority signed, under a key that is
// kept in dir and made if it is not there; pin is the SHA-256 of its
// SubjectPublicKeyInfo, by which node records name it.
func Certificate(dir string, now time.Time) (cert tls.Certificate, pin [32]byte, err error) {
	path := filepath.Join(dir, CertificateFile)
	key, err := load[*ecdsa.PrivateKey](path)
	if errors.Is(err, fs.ErrNotExist) {
		// P-256, which every TLS library has; many lack ed25519 there.
		fresh, e := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if e != nil {
			return cert, pin, e
		}
		if _, e := create(dir, CertificateFile, fresh); e != nil {
			return cert, pin, e
		}
		key, err = load[*ecdsa.PrivateKey](path)
	}
	if err != nil {
		return cert, pin, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "peerservers"},
		// Nobody who knows the pin looks at these; clocks differ all the same.
		NotBefore: now.Add(-48 * time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return cert, pin, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return cert, pin, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, Pin(leaf), nil
}

// Pin is the SHA-256 of a certificate's SubjectPublicKeyInfo.
func Pin(c *x509.Certificate) [32]byte { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }
