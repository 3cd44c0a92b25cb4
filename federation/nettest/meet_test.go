//go:build linux

package nettest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nettest"
)

// far is a link across an ocean on a bad day.
var far = nettest.Link{Delay: 150 * time.Millisecond, Loss: 0.02}

// lab is three nodes on hosts of their own, and a DHT to find each other.
type lab struct {
	*nettest.Net
	dht   *nettest.Host
	boot  string
	hosts [3]*nettest.Host
	nodes [3]*nettest.Node
}

func newLab(t *testing.T, link nettest.Link) *lab {
	t.Helper()
	l := &lab{Net: nettest.New(t)}
	l.SetLink(link)
	l.dht = l.Host("dht", "11.10.0.1")
	l.boot = l.dht.StartDHT()
	for i := range l.hosts {
		l.hosts[i] = l.Host(fmt.Sprintf("node%d", i), fmt.Sprintf("11.%d.0.1", 1+i))
		l.nodes[i] = l.hosts[i].StartNode(nettest.NodeConfig{DHT: []string{l.boot}})
	}
	return l
}

// hash is an info hash.
func hash(name string) string { return fmt.Sprintf("%-20.20s", name) }

// TestMeet: clients of three nodes, which know nothing but a node of the DHT,
// meet across 150 ms and 2 % of loss.
func TestMeet(t *testing.T) {
	t.Parallel()
	l := newLab(t, far)
	var clients []*nettest.Client
	for i, n := range l.nodes {
		c := l.hosts[i].Client(n.URL, fmt.Sprintf("meet%d", i))
		c.Announce(hash("meet"), 5)
		clients = append(clients, c)
	}
	for i, a := range clients {
		for _, b := range clients[:i] {
			nettest.Eventually(t, a.ID+" meets "+b.ID, func() bool { return a.Met(b) })
		}
	}
}
