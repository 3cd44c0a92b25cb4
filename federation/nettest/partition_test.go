//go:build linux

package nettest_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/draeder/peerservers/federation/nettest"
)

// TestPartition cuts one of three nodes off, first for so short that no link
// notices, then until all have.
func TestPartition(t *testing.T) {
	t.Parallel()
	l := newLab(t, far)
	l.start()
	var all []*nettest.Client
	for i := range l.nodes {
		for j := range 2 {
			all = append(all, l.client(i, fmt.Sprintf("part%d%d", i, j), "part"))
		}
	}
	near, rest := all[:2], all[2:]
	for _, c := range all {
		members(t, c, "part", len(all))
	}
	had := l.connections(0)

	// What is sent into a short cut is late, not lost.
	l.Partition(l.hosts[0])
	fromNear, fromRest := near[0].Announce(hash("part"), len(all)-1), rest[0].Announce(hash("part"), len(all)-1)
	answered := func(c *nettest.Client, ids []string, n int) {
		t.Helper()
		nettest.Eventually(t, fmt.Sprintf("%s has %d answers", c.ID, n), func() bool { return len(answers(c, ids)) >= n })
	}
	answered(near[0], fromNear, len(near)-1)
	answered(rest[0], fromRest, len(rest)-1)
	for _, h := range l.hosts[1:] {
		nettest.Eventually(t, "packets are cut off both ways", func() bool {
			return l.Traffic(l.hosts[0], h).Cut > 2 && l.Traffic(h, l.hosts[0]).Cut > 2
		})
	}
	l.HealPartition(l.hosts[0])
	answered(near[0], fromNear, len(all)-1)
	answered(rest[0], fromRest, len(all)-1)
	if got := l.connections(0); !maps.Equal(got, had) {
		t.Errorf("connections %v, before the short cut %v", got, had)
	}

	// After a long one, both sides are swarms of their own, then one again.
	l.Partition(l.hosts[0])
	for i, want := range []int{0, 1, 1} {
		nettest.Eventually(t, fmt.Sprintf("node %d has %d links", i, want), func() bool { return len(l.nodes[i].Status().Links) == want })
	}
	for _, side := range [][]*nettest.Client{near, rest} {
		for _, c := range side {
			members(t, c, "part", len(side))
			reaches(t, c, "part", others(side, c)...)
		}
	}
	l.HealPartition(l.hosts[0])
	l.linked()
	for _, c := range all {
		members(t, c, "part", len(all))
		reaches(t, c, "part", others(all, c)...)
	}
	alive(t, all...)
}
