package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/identity"
	"github.com/draeder/peerservers/federation/reach"
	"github.com/draeder/peerservers/federation/record"
)

// guesses reports whether the node is to find out by itself where others reach
// it. Who has a certificate for a name knows a better URL than an address.
func (c *serveCommand) guesses() bool {
	return len(c.NodeURL) == 0 && !c.Leaf && len(c.ACME) == 0
}

// guess makes a federation find its own place. TLS is what the listen port is
// to serve for links; nil if it serves a certificate already.
func (c *serveCommand) guess(dir string) (*federation.Guess, *tls.Config, error) {
	if c.TLSCert != "" {
		p := &pinOf{file: c.TLSCert}
		if err := p.read(); err != nil {
			return nil, nil, wrong("--tls-cert", c.TLSCert, "give a certificate and its --tls-key in PEM", "%w", err)
		}
		return &federation.Guess{Pin: p.now}, nil, nil
	}
	cert, pin, err := identity.Certificate(dir, time.Now())
	if err != nil {
		return nil, nil, wrong("--data-dir", dir, "give a directory of the node's own", "%w", err)
	}
	return &federation.Guess{Pin: func() [32]byte { return pin }}, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{cert},
	}, nil
}

// pinOf is the pin of a certificate that follows its file.
type pinOf struct {
	file string
	mu   sync.Mutex
	pin  [32]byte
}

func (p *pinOf) read() error {
	b, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return errors.New("no PEM certificate in it")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pin = identity.Pin(cert)
	return nil
}

// now is the pin for a record that is made now. A file that cannot be read has
// not replaced what the server goes on to serve.
func (p *pinOf) now() [32]byte {
	_ = p.read()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pin
}

// directory is the DHT as the federation sees it. It keeps the node's own
// record in a file, for the id command, which must not have to ask the node.
type directory struct {
	*dhtstore.Node
	file federation.FileStore
}

// Publish implements federation.Directory.
func (d directory) Publish(ctx context.Context, item federation.Item) error {
	signed := record.Signed{Key: record.Key(item.Key), Seq: item.Seq, Sig: item.Sig, Value: item.Value}
	if err := d.file.Save([]federation.Saved{{Record: signed, FirstSeen: time.Now()}}); err != nil {
		return err
	}
	return d.Node.Publish(ctx, item)
}

// Heard implements federation.Witness.
func (d directory) Heard() (list []reach.Tally) {
	for _, e := range d.External() {
		list = append(list, reach.Tally{Addr: e.Addr.Addr(), Networks: e.Networks})
	}
	return list
}

// describePlace says where others can dial the node, and what would get it
// further.
func (c *serveCommand) describePlace(p federation.Place) string {
	if p.State == reach.Full {
		return p.String()
	}
	mend := "make a public wss:// URL lead here and give it with --node-url"
	switch {
	case c.Leaf:
		return "a leaf (--leaf): it dials other nodes, and none can dial it"
	case len(c.ACME) > 0:
		return fmt.Sprintf("a leaf: it dials other nodes, and none can dial it; if wss://%s leads here, give that with --node-url", c.ACME[0])
	case p.State == reach.Unverified:
		return p.String() + ". If that never happens, " + mend
	}
	return strings.TrimSuffix(p.String(), ".") + ". To be certain, " + mend
}
