package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/identity"
)

// TestFreshNodes: two nodes that were told nothing but where the DHT is, on
// addresses of their own, meet, and find out that they are reached.
func TestFreshNodes(t *testing.T) {
	dht := startDHT(t)
	infoHash := "freshfreshfreshfresh"
	var nodes []*process
	var clients []*client
	for i, ip := range []string{"127.0.0.2", "127.0.0.3"} {
		p := start(t, "--listen", ip+":0", "--dht-listen", ip+":0", "--data-dir", t.TempDir(), "--dht-bootstrap", dht, "--allow-private")
		if line := p.line(`federation: (.*)\n`); !strings.Contains(line, "wss://"+ip) {
			t.Errorf("it says %q", line)
		}
		c := dial(t, p.line(`ws://(\S+)`))
		c.announce(infoHash, peerID([]string{"one", "two"}[i]), 0)
		nodes, clients = append(nodes, p), append(clients, c)
	}
	for _, p := range nodes {
		eventually(t, "a node that knows that others reach it", func() bool { return strings.Contains(p.err.String(), "federation: reachable at wss://127.0.0.") }, p)
	}
	clients[0].announce(infoHash, peerID("one"), 5)
	if m := clients[1].offer(); m.PeerID != peerID("one") {
		t.Errorf("offer %+v", m)
	}
	for _, c := range clients {
		c.conn.Close()
	}
}

// TestLeafByChoice: with --leaf nothing is looked for.
func TestLeafByChoice(t *testing.T) {
	p := start(t, "--listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--dht-bootstrap", startDHT(t), "--allow-private", "--leaf")
	if line := p.line(`federation: (.*)\n`); !strings.Contains(line, "--leaf") {
		t.Errorf("it says %q", line)
	}
	status, _, err := command(t, "--leaf", "--node-url", "wss://example.org")
	if status != exitUsage || !strings.Contains(err, "--leaf") {
		t.Errorf("status %d: %s", status, err)
	}
}

// TestPinOf: the pin is that of the certificate that the server serves, today
// and after it was renewed under another key; a file half written changes
// nothing.
func TestPinOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cert.pem")
	write := func() (pin [32]byte) {
		cert, pin, err := identity.Certificate(t.TempDir(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
			t.Fatal(err)
		}
		return pin
	}
	want := write()
	c := serveCommand{TLSCert: file}
	guess, tls, err := c.guess(t.TempDir())
	if err != nil || tls != nil || guess.Pin() != want {
		t.Fatalf("%v; a certificate of its own beside the operator's: %v", err, tls != nil)
	}
	if want = write(); guess.Pin() != want {
		t.Error("the pin is that of the former certificate")
	}
	if err := os.WriteFile(file, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	if guess.Pin() != want {
		t.Error("half a file changes the pin")
	}
	c = serveCommand{}
	guess, tls, err = c.guess(t.TempDir())
	if err != nil || len(tls.Certificates) != 1 {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(tls.Certificates[0].Certificate[0])
	if err != nil || identity.Pin(leaf) != guess.Pin() {
		t.Errorf("the listen port serves another certificate than the pinned one: %v", err)
	}
}
