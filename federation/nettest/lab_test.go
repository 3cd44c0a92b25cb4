//go:build linux

package nettest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nettest"
)

// far is a link across an ocean on a bad day.
var far = nettest.Link{Delay: 150 * time.Millisecond, Loss: 0.02}

// lab is three nodes on hosts of their own, and a DHT to find each other.
type lab struct {
	*nettest.Net
	t     *testing.T
	boot  string
	hosts [3]*nettest.Host
	nodes [3]*nettest.Node
}

func newLab(t *testing.T, link nettest.Link) *lab {
	t.Helper()
	l := &lab{Net: nettest.New(t), t: t}
	l.SetLink(link)
	l.boot = l.Host("dht", "11.10.0.1").StartDHT()
	for i := range l.hosts {
		l.hosts[i] = l.Host(fmt.Sprintf("node%d", i), fmt.Sprintf("11.%d.0.1", 1+i))
	}
	return l
}

// start starts all nodes that are not there yet and waits until they are
// linked.
func (l *lab) start() {
	l.t.Helper()
	for i := range l.nodes {
		if l.nodes[i] == nil {
			l.startNode(i, nettest.NodeConfig{})
		}
	}
	l.linked()
}

// startNode starts node i, with a client in a swarm that all nodes have: nodes
// with nothing in common need no links.
func (l *lab) startNode(i int, c nettest.NodeConfig) {
	l.t.Helper()
	c.DHT = []string{l.boot}
	l.nodes[i] = l.hosts[i].StartNode(c)
	l.client(i, fmt.Sprint("keeper", i), "kept")
}

// linked waits until there is one link between each two nodes, and none that
// is about to come or to go: when both dial, one of two links goes again.
func (l *lab) linked() {
	l.t.Helper()
	nettest.Linked(l.t, l.nodes[:]...)
	nettest.Eventually(l.t, "one connection between each two nodes", func() bool {
		for i, n := range l.nodes {
			if n.Metric("peerservers_federation_events_total", `event="dial"`) != n.Metric("peerservers_federation_dials_total", "") || len(l.connections(i)) != 2 {
				return false
			}
		}
		return true
	})
}

// connections are those of node i with the others.
func (l *lab) connections(i int) map[nettest.Connection]bool {
	l.t.Helper()
	set := make(map[nettest.Connection]bool)
	for _, c := range l.hosts[i].Connections(l.hosts[:]...) {
		if c.Remote.Addr() != l.hosts[i].Addr {
			set[c] = true
		}
	}
	return set
}

// client connects to node i from its host, and joins a swarm without offers.
func (l *lab) client(i int, name, swarm string) *nettest.Client {
	l.t.Helper()
	c := l.hosts[i].Client(l.nodes[i].URL, name)
	c.Announce(hash(swarm), 0)
	return c
}

// hash is an info hash.
func hash(name string) string { return fmt.Sprintf("%-20.20s", name) }

// members waits until the swarm has so many members for c.
func members(t *testing.T, c *nettest.Client, swarm string, n int) {
	t.Helper()
	nettest.Eventually(t, fmt.Sprintf("%s sees %d members", c.ID, n), func() bool {
		before := c.Log().Replies
		c.Announce(hash(swarm), 0)
		nettest.Eventually(t, c.ID+" gets a reply", func() bool { return c.Log().Replies > before })
		return c.Log().Members == n
	})
}

// reaches lets c make an offer for each of the others, who are the whole rest
// of the swarm, and waits until each of them has answered one.
func reaches(t *testing.T, c *nettest.Client, swarm string, others ...*nettest.Client) {
	t.Helper()
	ids := c.Announce(hash(swarm), len(others))
	nettest.Eventually(t, fmt.Sprintf("%s has %d answers", c.ID, len(ids)), func() bool { return len(answers(c, ids)) >= len(ids) })
	got, want := answers(c, ids), make([]string, 0, len(others))
	for _, o := range others {
		want = append(want, o.ID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: answers of %q, want %q", c.ID, got, want)
	}
}

// answers are those from whom c has answers to some of its offers.
func answers(c *nettest.Client, ids []string) (from []string) {
	for _, a := range c.Log().Answers {
		if slices.Contains(ids, a.OfferID) {
			from = append(from, a.From)
		}
	}
	return from
}

// alive fails if a client has lost its connection.
func alive(t *testing.T, clients ...*nettest.Client) {
	t.Helper()
	for _, c := range clients {
		if err := c.Closed(); err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
	}
}

// others are clients without one.
func others(clients []*nettest.Client, one *nettest.Client) (list []*nettest.Client) {
	for _, c := range clients {
		if c != one {
			list = append(list, c)
		}
	}
	return list
}
