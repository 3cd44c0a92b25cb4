package wsserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// certCheck is how often the files are looked at. Whoever renews certificates
// does so weeks ahead.
const certCheck = 10 * time.Second

// certs is a certificate that follows its files.
type certs struct {
	certFile, keyFile string
	config            *tls.Config
	current           atomic.Pointer[tls.Certificate]
	// Owned by whoever calls reload.
	certPEM, keyPEM []byte
}

func newCerts(certFile, keyFile string) (*certs, error) {
	c := &certs{certFile: certFile, keyFile: keyFile}
	if _, err := c.reload(); err != nil {
		return nil, err
	}
	c.config = &tls.Config{
		MinVersion: tls.VersionTLS12,
		// A WebSocket is upgraded from HTTP/1.1; a browser that was offered
		// HTTP/2 would take it.
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
	return c, nil
}

// reload reads the files and reports whether they hold something new. After an
// error the former certificate stays: a file may be half written, or the key
// not there yet.
func (c *certs) reload() (changed bool, err error) {
	certPEM, err := os.ReadFile(c.certFile)
	if err != nil {
		return false, fmt.Errorf("certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(c.keyFile)
	if err != nil {
		return false, fmt.Errorf("key: %w", err)
	}
	if bytes.Equal(certPEM, c.certPEM) && bytes.Equal(keyPEM, c.keyPEM) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return false, fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current.Store(&pair)
	c.certPEM, c.keyPEM = certPEM, keyPEM
	return true, nil
}

// watch reloads when the files change, until ctx is done.
func (c *certs) watch(ctx context.Context, log *slog.Logger, reloads *atomic.Int64) {
	tick := time.NewTicker(certCheck)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed, err := c.reload()
		switch {
		case err != nil:
			// Once is enough: it is tried again each time.
			if err.Error() != said {
				said = err.Error()
				log.Warn("keeping the certificate in use", "err", err)
			}
		case changed:
			said = ""
			reloads.Add(1)
			log.Info("certificate reloaded", "file", c.certFile)
		}
	}
}
