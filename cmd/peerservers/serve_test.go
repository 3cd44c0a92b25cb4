package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/draeder/peerservers/federation"
)

// TestTwoNodes runs the command lines that the README shows: a private DHT
// and two nodes that know nothing of each other but it.
func TestTwoNodes(t *testing.T) {
	dht := startDHT(t)
	a, b := startNode(t, dht), startNode(t, dht)
	infoHash := "ABCDEFGHIJKLMNOPQRST"

	one, two := dial(t, a.addr), dial(t, b.addr)
	one.announce(infoHash, peerID("one"), 5)
	if m := one.next(); m.Action != "announce" || m.Interval < 108 || m.Interval > 132 {
		t.Errorf("reply %+v", m)
	}
	two.announce(infoHash, peerID("two"), 0)
	if m := two.offer(); m.PeerID != peerID("one") || m.InfoHash != infoHash {
		t.Errorf("offer %+v", m)
	}
	for _, n := range []*node{a, b} {
		n.line(`federation: first link up after`)
		if !strings.Contains(n.out.String(), "reachable at ws://"+n.addr) {
			t.Errorf("it does not say where others reach it: %s", &n.out)
		}
		if status, _ := get(t, "http://"+n.addr+"/health"); status != 200 {
			t.Errorf("/health: %d", status)
		}
	}

	t.Run("lookup", func(t *testing.T) {
		// In hex, and as it is. Announcements may still be on their way.
		for _, form := range []string{"4142434445464748494a4b4c4d4e4f5051525354", infoHash} {
			eventually(t, "both nodes in a lookup", func() bool {
				status, out, _ := command(t, "lookup", form, "--dht-bootstrap", dht)
				return status == 0 && strings.Contains(out, "ws://"+a.addr) && strings.Contains(out, "ws://"+b.addr) &&
					strings.Count(out, "\n") == 2
			}, a.process, b.process)
		}
	})

	t.Run("admin", func(t *testing.T) {
		_, metrics := get(t, "http://"+a.admin+"/metrics")
		for _, want := range []string{
			"peerservers_links 1", "peerservers_members 1", "peerservers_swarms 1", `peerservers_offers_total{fate="relayed"} 1`,
			`peerservers_faults_total{fault="syntax"} 0`, "peerservers_dht_good_nodes", "go_goroutines",
			`peerservers_links_by_direction{direction="`, "peerservers_shared_swarms 1", "peerservers_loops ", "peerservers_dht_packets_per_second_limit 250",
		} {
			if !strings.Contains(metrics, want) {
				t.Errorf("/metrics lacks %s", want)
			}
		}
		if strings.Contains(metrics, infoHash) {
			t.Error("/metrics names an info hash")
		}
		_, body := get(t, "http://"+a.admin+"/federation.json")
		var s federation.Status
		if err := json.Unmarshal([]byte(body), &s); err != nil || len(s.Links) != 1 || s.Leaf {
			t.Errorf("/federation.json: %v %s", err, body)
		}
		for _, page := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
			if status, _ := get(t, "http://"+a.admin+page); status != 200 {
				t.Errorf("%s: %d", page, status)
			}
		}
		if status, _ := get(t, "http://"+a.addr+"/metrics"); status == 200 {
			t.Error("the public port serves /metrics")
		}
	})

	t.Run("id", func(t *testing.T) {
		var status int
		var out string
		eventually(t, "a published record", func() bool {
			status, out, _ = command(t, "id", "--data-dir", a.dir)
			return !strings.Contains(out, "urls leaf")
		}, a.process)
		_, body := get(t, "http://"+a.admin+"/federation.json")
		var s federation.Status
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			t.Fatal(err)
		}
		if status != 0 || !strings.Contains(out, "key "+s.Key+"\n") || !strings.Contains(out, "urls ws://"+a.addr+"\n") || !strings.Contains(out, "signature ") {
			t.Errorf("status %d, %s; the node says %s", status, out, s.Key)
		}
	})

	one.conn.Close()
	two.conn.Close()
	for _, n := range []*node{a, b} {
		if s := n.stop(); s != 0 {
			t.Errorf("exit status %d", s)
		}
	}
	// What was published stays to be shown.
	if status, out, _ := command(t, "id", "--data-dir", a.dir); status != 0 || !strings.Contains(out, "urls ws://"+a.addr+"\n") {
		t.Errorf("status %d: %s", status, out)
	}
	// Other URLs can be asked about, and a new directory gets a key.
	status, out, err := command(t, "id", "--data-dir", t.TempDir(), "--node-url", "wss://Tracker.Example.org/x/")
	if status != 0 || !strings.Contains(out, "urls wss://tracker.example.org:443/x\n") || !strings.Contains(err, "made a new key") {
		t.Errorf("status %d: %s%s", status, out, err)
	}
}

// TestDrain: SIGTERM closes clients with 1001 and ends with status 0.
func TestDrain(t *testing.T) {
	p := start(t, "--no-federation", "--listen", "127.0.0.1:0")
	addr := p.line(`ws://(\S+)`)
	c := dial(t, addr)
	c.announce("ABCDEFGHIJKLMNOPQRST", peerID("one"), 1)
	c.next()
	p.cancel()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	_, err := wsutil.ReadServerText(c.conn)
	var closed wsutil.ClosedError
	if !errors.As(err, &closed) || closed.Code != ws.StatusGoingAway {
		t.Errorf("closed with %v, want 1001", err)
	}
	c.conn.Close()
	if s := p.wait(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the port is still open")
	}
}

// TestDrainEnds: a client that does not answer the close does not hold the
// end up for longer than --drain.
func TestDrainEnds(t *testing.T) {
	p := start(t, "--no-federation", "--listen", "127.0.0.1:0", "--drain", "10ms")
	c := dial(t, p.line(`ws://(\S+)`))
	c.announce("ABCDEFGHIJKLMNOPQRST", peerID("one"), 1)
	c.next()
	if s := p.stop(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c.conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
}

// TestDataDirIsOneNodes: two nodes with one key would cut each other off.
func TestDataDirIsOneNodes(t *testing.T) {
	dht := startDHT(t)
	a := startNode(t, dht)
	args := []string{"--listen", "127.0.0.1:0", "--dht-listen", "127.0.0.1:0", "--data-dir", a.dir, "--dht-bootstrap", dht, "--allow-private"}
	status, _, err := command(t, args...)
	if status != exitUsage || !strings.Contains(err, "--data-dir "+a.dir) || !strings.Contains(err, "in use") {
		t.Errorf("status %d: %s", status, err)
	}
	// With its end the directory is free, and the key stays the same.
	key := a.line(`node (\w+) is reachable`)
	a.stop()
	p := start(t, args...)
	if again := p.line(`node (\w+) is a leaf`); again != key {
		t.Errorf("key %s, then %s", key, again)
	}
}

// TestLeaf: without --node-url a node dials out, says so, and says what to do
// about it. It meets others all the same.
func TestLeaf(t *testing.T) {
	dht := startDHT(t)
	b := startNode(t, dht)
	p := start(t, "--listen", "127.0.0.1:0", "--dht-listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--dht-bootstrap", dht, "--allow-private", "--no-rendezvous")
	if line := p.line(`federation: (.*)\n`); !strings.Contains(line, "leaf") || !strings.Contains(line, "--node-url") {
		t.Errorf("it says %q", line)
	}
	infoHash := "leafleafleafleafleaf"
	two, one := dial(t, b.addr), dial(t, p.line(`ws://(\S+)`))
	two.announce(infoHash, peerID("two"), 1)
	two.next()
	one.announce(infoHash, peerID("one"), 0)
	if m := one.offer(); m.PeerID != peerID("two") {
		t.Errorf("offer %+v", m)
	}
	one.conn.Close()
	two.conn.Close()
}

// TestAlone: with nothing but defaults, in a place without a network, a node
// serves its clients and keeps its peace.
func TestAlone(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("AppData", filepath.Join(home, "config"))
	// In place of the public routers, somebody who is not there.
	p := start(t, "--listen", "127.0.0.1:0", "--dht-listen", "127.0.0.1:0", "--allow-private", "--dht-bootstrap", "127.0.0.1:1")
	c := dial(t, p.line(`ws://(\S+)`))
	c.announce("ABCDEFGHIJKLMNOPQRST", peerID("one"), 5)
	if m := c.next(); m.Failure != "" || m.Interval == 0 {
		t.Errorf("reply %+v", m)
	}
	c.conn.Close()
	found := false
	err := filepath.WalkDir(home, func(path string, _ os.DirEntry, err error) error {
		found = found || filepath.Base(path) == "node.key"
		return err
	})
	if err != nil || !found {
		t.Errorf("no key below the user's settings (%v)", err)
	}
	if s := p.stop(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	if n := strings.Count(p.err.String(), "\n"); n > 5 {
		t.Errorf("%d lines of log:\n%s", n, &p.err)
	}
}

// TestPortTaken: the error names the flag.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	status, _, text := command(t, "--no-federation", "--listen", l.Addr().String())
	if status != exitUsage || !strings.Contains(text, "--listen "+l.Addr().String()) || !strings.Contains(text, "free the port") {
		t.Errorf("status %d: %s", status, text)
	}
}

// TestDHTListen: which port the DHT gets when nobody says.
func TestDHTListen(t *testing.T) {
	listeners := func(port int) []net.Listener { return []net.Listener{fakeListener(port)} }
	for _, c := range []struct {
		cmd  serveCommand
		port int
		want string
	}{
		{serveCommand{}, 8001, ":8001"},
		{serveCommand{Leaf: true}, 8001, ":0"},
		{serveCommand{ACME: []string{"example.org"}}, 443, ":0"},
		{serveCommand{NodeURL: []string{"wss://example.org"}}, 8001, ":8001"},
		{serveCommand{NodeURL: []string{"wss://example.org"}}, 443, ":8000"},
		{serveCommand{NodeURL: []string{"wss://example.org"}, DHTListen: []string{"127.0.0.1:7"}}, 443, "127.0.0.1:7"},
	} {
		if got := c.cmd.dhtListen(listeners(c.port)); len(got) != 1 || got[0] != c.want {
			t.Errorf("%v, port %d: %s, want %s", c.cmd.NodeURL, c.port, got, c.want)
		}
	}
}

// fakeListener has an address and nothing else.
type fakeListener int

func (f fakeListener) Addr() net.Addr            { return &net.TCPAddr{IP: net.IPv4zero, Port: int(f)} }
func (f fakeListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (f fakeListener) Close() error              { return nil }

// TestRegistryFrom: no flag means what mesh takes by itself, a number that number,
// and 0 never, not mesh's default.
func TestRegistryFrom(t *testing.T) {
	for args, want := range map[string]int{"": 100, "--registry-from 1": 1, "--registry-from 1024": 1024, "--registry-from 0": -1} {
		var c serveCommand
		p, err := kong.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if got := c.mesh().RegistryFrom; got != want {
			t.Errorf("%q: from %d nodes on, want %d", args, got, want)
		}
		if got := c.mesh().MaxLinks; got != 1024 {
			t.Errorf("%q: %d links", args, got)
		}
	}
}
