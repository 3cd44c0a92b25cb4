package federation_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/nodelist"
	"github.com/draeder/peerservers/tracker"
)

// listing makes a file of the keys of nodes.
func listing(t *testing.T, name string, nodes ...int) string {
	t.Helper()
	var text strings.Builder
	for _, i := range nodes {
		text.WriteString(hex.EncodeToString(keyOf(i)[32:]) + "\n")
	}
	if err := os.WriteFile(name, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// nodesOf makes a node deal with those that the files name.
func nodesOf(t *testing.T, allow, deny string) (*nodelist.Lists, option) {
	t.Helper()
	l, err := nodelist.Load(allow, deny)
	if err != nil {
		t.Fatal(err)
	}
	return l, func(c *federation.Config, _ *tracker.Config) { c.Nodes = l }
}

// linkedWith reports whether n has a link with node i.
func linkedWith(n *node, i int) bool {
	for _, l := range n.fed.Status().Links {
		if l.Key == hex.EncodeToString(keyOf(i)[32:]) {
			return true
		}
	}
	return false
}

// A denied node gets no link, whoever dials, and a link that there is ends when
// the list is read again. Nothing else changes.
func TestDeniedNode(t *testing.T) {
	dir := t.TempDir()
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		deny := listing(t, filepath.Join(dir, "deny"))
		lists, denying := nodesOf(t, "", deny)
		a, b, c := w.start(1, denying), w.start(2), w.start(3)
		ca, cb, cc := a.client("alice"), b.client("bob"), c.client("carol")
		for _, x := range []*client{ca, cb, cc} {
			x.announce(hash(1), 5)
		}
		introduced(t, ca, cb, 10*time.Second)
		introduced(t, ca, cc, 10*time.Second)

		listing(t, deny, 2)
		if err := lists.Reload(); err != nil {
			t.Fatal(err)
		}
		a.fed.RecheckNodes()
		eventually(t, 10*time.Second, "the link ends", func() bool { return !linkedWith(a, 2) })
		for range 60 {
			a.fed.DialNow(b.cfg.URLs[0])
			b.fed.DialNow(a.cfg.URLs[0])
			if synctest.Wait(); linkedWith(a, 2) {
				t.Fatal("linked with a denied node")
			}
			ca.announce(hash(1), 5)
			cb.announce(hash(1), 5)
			time.Sleep(30 * time.Second)
		}
		if n := w.dialsTo(b.hp); n > 70+60 {
			t.Errorf("the denied node was dialled %d times", n)
		}
		st := a.fed.Stats()
		if st.HandshakeFaults["denied"] < 60 || st.RecordFaults["denied"] == 0 {
			t.Errorf("counted %d handshakes, %d records", st.HandshakeFaults["denied"], st.RecordFaults["denied"])
		}
		if !linkedWith(a, 3) || !linkedWith(b, 3) {
			t.Error("others have lost their links")
		}
		if err := a.fed.Check(); err != nil {
			t.Error(err)
		}

		// Allowed again, it is found again.
		listing(t, deny)
		if err := lists.Reload(); err != nil {
			t.Fatal(err)
		}
		a.fed.RecheckNodes()
		eventually(t, time.Hour, "a link", func() bool {
			ca.announce(hash(1), 5)
			cb.announce(hash(1), 5)
			return linkedWith(a, 2)
		})
	})
}

// With a list of allowed nodes there are no others: those who are there when the
// list comes go.
func TestAllowedNodesOnly(t *testing.T) {
	dir := t.TempDir()
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		allow := listing(t, filepath.Join(dir, "allow"), 2, 3)
		lists, allowing := nodesOf(t, allow, "")
		a, b, c, d := w.start(1, allowing), w.start(2), w.start(3), w.start(4)
		var all []*client
		for _, n := range []*node{a, b, c, d} {
			x := n.client(n.name)
			x.announce(hash(1), 5)
			all = append(all, x)
		}
		introduced(t, all[0], all[1], 10*time.Second)
		time.Sleep(10 * time.Minute)
		if !linkedWith(a, 2) || !linkedWith(a, 3) || linkedWith(a, 4) || !linkedWith(b, 4) {
			t.Errorf("links with 2, 3, 4: %v %v %v", linkedWith(a, 2), linkedWith(a, 3), linkedWith(a, 4))
		}
		listing(t, allow, 3)
		if err := lists.Reload(); err != nil {
			t.Fatal(err)
		}
		a.fed.RecheckNodes()
		eventually(t, 10*time.Second, "one link is left", func() bool { return !linkedWith(a, 2) && linkedWith(a, 3) })
	})
}

// dialsTo is how often somebody dialled hp.
func (w *world) dialsTo(hp string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dials[hp]
}
