//go:build linux

package nettest_test

import (
	"fmt"
	"testing"

	"github.com/draeder/peerservers/federation/nettest"
)

// TestMeet: clients of three nodes, which know nothing but a node of the DHT,
// meet across 150 ms and 2 % of loss, although each announces but once.
func TestMeet(t *testing.T) {
	t.Parallel()
	l := newLab(t, far)
	var clients []*nettest.Client
	for i := range l.nodes {
		l.nodes[i] = l.hosts[i].StartNode(nettest.NodeConfig{DHT: []string{l.boot}})
		c := l.hosts[i].Client(l.nodes[i].URL, fmt.Sprintf("meet%d", i))
		c.Announce(hash("meet"), 5)
		clients = append(clients, c)
	}
	for i, a := range clients {
		for _, b := range clients[:i] {
			nettest.Eventually(t, a.ID+" meets "+b.ID, func() bool { return a.Met(b) })
		}
	}
	for i, c := range clients {
		members(t, c, "meet", 3)
		reaches(t, c, "meet", clients[(i+1)%3], clients[(i+2)%3])
	}
	alive(t, clients...)
}
