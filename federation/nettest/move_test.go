//go:build linux

package nettest_test

import (
	"slices"
	"testing"

	"github.com/draeder/peerservers/federation/nettest"
)

// TestMoveUnderway: the provider gives a node another address overnight. Its
// name follows, and nobody is told.
func TestMoveUnderway(t *testing.T) {
	t.Parallel()
	l := newLab(t, far)
	l.Name("node.example", "11.1.0.1")
	l.startNode(0, nettest.NodeConfig{URL: "wss://node.example:8000"})
	l.start()
	user := l.Host("user", "11.20.0.1")
	mover := user.Client(l.nodes[0].URL, "mover")
	mover.Announce(hash("move"), 0)
	stay := []*nettest.Client{l.client(1, "stay1", "move"), l.client(2, "stay2", "move")}
	for _, c := range append(stay, mover) {
		members(t, c, "move", 3)
	}

	l.hosts[0].Move("11.5.0.1")
	l.Name("node.example", "11.5.0.1")
	// The page notices nothing at once, and then connects again as who it was.
	mover = user.Client("ws://11.5.0.1:8000", "mover")
	mover.Announce(hash("move"), 0)
	// Those who stay meet all the time.
	for i, c := range stay {
		other := stay[1-i]
		ids := c.Announce(hash("move"), 2)
		nettest.Eventually(t, c.ID+" meets "+other.ID, func() bool { return slices.Contains(answers(c, ids), other.ID) })
	}
	// connections counts those with the new address alone.
	l.linked()
	all := append(stay, mover)
	for _, c := range all {
		members(t, c, "move", 3)
		reaches(t, c, "move", others(all, c)...)
	}
	alive(t, all...)
}

// TestMoveAndRestart: a node is stopped, and started elsewhere with its data:
// another address, another URL, the same key.
func TestMoveAndRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t, far)
	l.start()
	stay := []*nettest.Client{l.client(1, "stay1", "again"), l.client(2, "stay2", "again")}
	key := l.nodes[0].Status().Key
	if status := l.nodes[0].Stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	for _, i := range []int{1, 2} {
		nettest.Eventually(t, "the node is gone", func() bool { return len(l.nodes[i].Status().Links) == 1 })
	}
	l.hosts[0].Move("11.5.0.1")
	l.startNode(0, nettest.NodeConfig{Dir: l.nodes[0].Dir})
	l.start()
	if got := l.nodes[0].Status().Key; got != key {
		t.Errorf("its key was %s and is %s", key, got)
	}
	for _, n := range l.nodes[1:] {
		nettest.Eventually(t, "others know the new URL", func() bool {
			return slices.ContainsFunc(n.Status().Links, func(k nettest.LinkStatus) bool {
				return k.Key == key && slices.Equal(k.URLs, []string{"wss://11.5.0.1:8000"})
			})
		})
	}
	all := append(stay, l.client(0, "moved", "again"))
	for _, c := range all {
		members(t, c, "again", 3)
		reaches(t, c, "again", others(all, c)...)
	}
	alive(t, all...)
}
