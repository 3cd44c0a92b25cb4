package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/draeder/peerservers/federation"
)

// TestNodes: what a node says of its links, to a person and to a machine.
func TestNodes(t *testing.T) {
	dht := startDHT(t)
	a, b := startNode(t, dht), startNode(t, dht)
	infoHash := "ABCDEFGHIJKLMNOPQRST"
	one, two := dial(t, a.addr), dial(t, b.addr)
	one.announce(infoHash, peerID("one"), 5)
	two.announce(infoHash, peerID("two"), 0)
	two.offer()

	// One is dialled by the other; each is told the same of it.
	var dirs []string
	for _, n := range []*node{a, b} {
		other := b
		if n == b {
			other = a
		}
		var r report
		eventually(t, "a link in the report", func() bool {
			status, out, _ := command(t, "nodes", "--data-dir", n.dir, "--json")
			r = report{}
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("status %d: %v: %s", status, err, out)
			}
			return len(r.Links) == 1 && r.Links[0].Shared == 1
		}, n.process)
		l := r.Links[0]
		dirs = append(dirs, l.Direction)
		if len(r.URLs) != 1 || r.URLs[0] != "ws://"+n.addr || len(l.URLs) != 1 || l.URLs[0] != "ws://"+other.addr {
			t.Errorf("URLs %v, of the other %v", r.URLs, l.URLs)
		}
		if sent, got := l.Offers.Sent, l.Offers.Received; n == a && (sent != 1 || got != 0) || n == b && (sent != 0 || got != 1) {
			t.Errorf("offers %+v", l.Offers)
		}
		if l.Address == "" || l.Prefix == "" || len(l.Key) != 64 || l.Bytes.Sent == 0 || l.Bytes.Received == 0 {
			t.Errorf("link %+v", l)
		}
		if r.DHT == nil || r.DHT.PacketLimit != 250 || r.DHT.PacketRate <= 0 || len(r.DHT.Families) == 0 {
			t.Errorf("DHT %+v", r.DHT)
		}
		_, table, _ := command(t, "nodes", "--admin", n.admin)
		for _, want := range []string{"node " + r.Key, "ws://" + n.addr, l.Key[:12], l.Direction, "ws://" + other.addr, "packets/s", "OFFERS"} {
			if !strings.Contains(table, want) {
				t.Errorf("the table lacks %q:\n%s", want, table)
			}
		}
	}
	if dirs[0] == dirs[1] {
		t.Errorf("both directions are %s", dirs[0])
	}
	one.conn.Close()
	two.conn.Close()

	// Of a node that has ended, the address of its listener is not kept.
	a.stop()
	if status, _, err := command(t, "nodes", "--data-dir", a.dir); status != exitUsage || !strings.Contains(err, "--admin 127.0.0.1:9100") {
		t.Errorf("status %d: %s", status, err)
	}
	if status, _, err := command(t, "nodes", "--admin", a.admin); status != exitUsage || !strings.Contains(err, "nobody answers") {
		t.Errorf("status %d: %s", status, err)
	}
	// The public port is not the admin listener.
	if status, _, err := command(t, "nodes", "--admin", b.addr); status != exitUsage || !strings.Contains(err, "not that of --listen") {
		t.Errorf("status %d: %s", status, err)
	}
}

// TestNodesWithoutAdmin: the error says what the node lacks.
func TestNodesWithoutAdmin(t *testing.T) {
	dht := startDHT(t)
	dir := t.TempDir()
	p := start(t, "--listen", "127.0.0.1:0", "--data-dir", dir, "--dht-listen", "127.0.0.1:0", "--dht-bootstrap", dht, "--allow-private")
	p.line(`announce to (\S+)`)
	status, out, err := command(t, "nodes", "--data-dir", dir)
	if status != exitUsage || out != "" || !strings.Contains(err, "start the node with --admin") {
		t.Errorf("status %d: %s%s", status, out, err)
	}
}

// TestNodesOff: a tracker alone says so.
func TestNodesOff(t *testing.T) {
	p := start(t, "--no-federation", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	p.line(`announce to (\S+)`)
	admin := adminOf(t, p)
	if status, out, err := command(t, "nodes", "--admin", admin); status != 0 || !strings.Contains(out, "--no-federation") {
		t.Errorf("status %d: %s%s", status, out, err)
	}
}

// TestReport: how figures look.
func TestReport(t *testing.T) {
	for seconds, want := range map[float64]string{0.5: "0s", 59: "59s", 61: "1m", 3600: "1h00m", 86400 + 7200: "1d02h"} {
		if got := age(seconds); got != want {
			t.Errorf("%v seconds: %s, want %s", seconds, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1500: "1.5k", 2_500_000: "2.5M", 1e18: "1000000.0T"} {
		if got := bytesOf(n); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
	r := report{Status: federation.Status{Key: strings.Repeat("ab", 32), Leaf: true, Why: "no URL", Links: []federation.LinkStatus{
		{Key: strings.Repeat("cd", 32), Direction: "in", Dropped: map[string]uint64{"no_peer": 3}, Strikes: map[string]uint64{"quota": 1}},
	}}}
	var out bytes.Buffer
	r.print(&out)
	for _, want := range []string{"a leaf: no URL", "no_peer:3", "quota:1", "(leaf)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &out)
		}
	}
}
