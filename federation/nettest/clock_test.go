//go:build linux

package nettest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nettest"
)

// TestClocks: one node's clock is an hour ahead of the others', and is then put
// right.
func TestClocks(t *testing.T) {
	t.Parallel()
	l := newLab(t, far)
	l.startNode(1, nettest.NodeConfig{Binary: l.BinaryWithClock(time.Hour)})
	l.start()
	if ahead := dateOf(t, l.nodes[1]).Sub(dateOf(t, l.nodes[0])); ahead < 50*time.Minute || ahead > 70*time.Minute {
		t.Errorf("node 1 is ahead by %v", ahead)
	}
	all := []*nettest.Client{l.client(0, "early0", "clocks"), l.client(1, "late1", "clocks"), l.client(2, "early2", "clocks")}
	meet := func() {
		t.Helper()
		for _, c := range all {
			members(t, c, "clocks", 3)
			reaches(t, c, "clocks", others(all, c)...)
		}
	}
	meet()

	// What it said an hour ahead must not bar it now.
	l.nodes[1].Stop()
	for _, i := range []int{0, 2} {
		nettest.Eventually(t, "the node is gone", func() bool { return len(l.nodes[i].Status().Links) == 1 })
	}
	l.startNode(1, nettest.NodeConfig{Dir: l.nodes[1].Dir})
	l.start()
	all[1] = l.client(1, "right1", "clocks")
	meet()
	alive(t, all...)
}

// dateOf is the time on a node, by what it says in HTTP.
func dateOf(t *testing.T, n *nettest.Node) time.Time {
	t.Helper()
	r, err := n.Host.HTTP().Get("http" + n.URL[len("ws"):] + "/health")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		t.Fatalf("%v: %v", r.Header, err)
	}
	return date
}
