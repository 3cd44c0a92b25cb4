//go:build unix

package main

import (
	"encoding/json"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNodeLists: a node that is denied by a list goes when the list is read
// again, and comes back when it is not denied any more.
func TestNodeLists(t *testing.T) {
	guard := make(chan os.Signal, 1) // or the signal would end the test
	signal.Notify(guard, syscall.SIGHUP)
	defer signal.Stop(guard)
	dht := startDHT(t)
	b := startNode(t, dht)
	deny := filepath.Join(t.TempDir(), "deny")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(deny, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# nobody yet\n")
	a := startNode(t, dht, "--deny-nodes", deny)
	infoHash := "ABCDEFGHIJKLMNOPQRST"
	one, two := dial(t, a.addr), dial(t, b.addr)
	one.announce(infoHash, peerID("one"), 5)
	two.announce(infoHash, peerID("two"), 0)
	two.offer()
	links := func() int {
		_, out, err := command(t, "nodes", "--admin", a.admin, "--json")
		var r report
		if e := json.Unmarshal([]byte(out), &r); e != nil {
			t.Fatal(e, err)
		}
		return len(r.Links)
	}
	hangup := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a link", func() bool { return links() == 1 }, a.process, b.process)
	_, id, _ := command(t, "id", "--data-dir", b.dir)
	key, _, _ := strings.Cut(strings.TrimPrefix(id, "key "), "\n")
	write(key + " # found wanting\n")
	hangup()
	eventually(t, "the end of the link", func() bool { return links() == 0 }, a.process, b.process)
	// A list that cannot be read changes nothing, and says so.
	write("nonsense\n")
	hangup()
	eventually(t, "a complaint", func() bool { return strings.Contains(a.err.String(), "the former one stays") }, a.process)
	if links() != 0 {
		t.Error("the former list does not hold")
	}
	one.conn.Close()
	two.conn.Close()
}
