package main

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLookupSelf: a node that others find and reach is told so, and one that
// has gone what is wrong.
func TestLookupSelf(t *testing.T) {
	dht := startDHT(t)
	run := func(extra ...string) (*process, string, string) {
		dir := filepath.Join(t.TempDir(), "data")
		p, addr := startAt(t, func(addr string) []string {
			return append([]string{
				"--listen", addr, "--data-dir", dir, "--dht-listen", addr,
				"--dht-bootstrap", dht, "--allow-private", "--node-url", "ws://" + addr,
			}, extra...)
		})
		return p, "ws://" + addr, dir
	}
	p, url, dir := run()
	_, _, other := run("--no-rendezvous")
	eventually(t, "a good verdict", func() bool {
		status, out, _ := command(t, "lookup", "--data-dir", dir, "--dht-bootstrap", dht)
		return status == 0 && strings.Contains(out, "record  "+url) && strings.Contains(out, "list    at 127.0.0.1:") &&
			strings.Contains(out, "dial    "+url+": it proved its key") && strings.Contains(out, "verdict others find this node, and reach it\n")
	}, p)
	eventually(t, "a verdict about the lists of swarms", func() bool {
		status, out, _ := command(t, "lookup", "--data-dir", other, "--dht-bootstrap", dht)
		return status == 0 && strings.Contains(out, "by its swarms alone")
	}, p)
	// What a closed network's node says of itself is for its members.
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, url, closed := run("--network-secret-file", secret)
	eventually(t, "a good verdict for a member", func() bool {
		status, out, _ := command(t, "lookup", "--data-dir", closed, "--dht-bootstrap", dht, "--network-secret-file", secret)
		return status == 0 && strings.Contains(out, "record  "+url) && strings.Contains(out, "verdict others find this node, and reach it\n")
	}, c)
	if status, out, _ := command(t, "lookup", "--data-dir", closed, "--dht-bootstrap", dht); status != exitFailure || !strings.Contains(out, "record  none in the DHT") {
		t.Errorf("status %d: %s", status, out)
	}
	if status, out, _ := command(t, "id", "--data-dir", closed, "--network-secret-file", secret); status != 0 || !strings.Contains(out, "urls "+url+"\n") || strings.Contains(out, hex.EncodeToString([]byte(url))) {
		t.Errorf("status %d: %s", status, out)
	}
	if status, _, err := command(t, "id", "--data-dir", closed); status != exitUsage || !strings.Contains(err, "--network-secret-file") {
		t.Errorf("status %d: %s", status, err)
	}
	p.stop()
	status, out, err := command(t, "lookup", "--data-dir", dir, "--dht-bootstrap", dht)
	if status != exitFailure || !strings.Contains(out, "cannot reach it") && !strings.Contains(out, "no record") || !strings.Contains(err, "would not find and reach") {
		t.Errorf("status %d: %s%s", status, out, err)
	}
}
