//go:build linux

package nettest_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/draeder/peerservers/federation/nettest"
)

// fresh starts a node that is told nothing but where the DHT is.
func fresh(h *nettest.Host, boot string, args ...string) *nettest.Node {
	return h.StartNode(nettest.NodeConfig{DHT: []string{boot}, URL: nettest.Leaf, Args: args})
}

// places are the lines in which a node says how far others can reach it.
func places(n *nettest.Node) (list []string) {
	return regexp.MustCompile(`federation: [^\n]*`).FindAllString(n.Output(), -1)
}

// isFull waits until a node has been dialled at its address.
func isFull(t *testing.T, n *nettest.Node) {
	t.Helper()
	nettest.Eventually(t, "others reach "+n.Host.Name, func() bool { return strings.Contains(n.Output(), "federation: reachable at wss://") })
	if s := n.Status(); s.Leaf || s.Why != "" {
		t.Errorf("%s says %+v", n.Host.Name, s)
	}
}

// meet lets a client of each node announce once, and waits until all have met.
func meet(t *testing.T, swarm string, nodes ...*nettest.Node) {
	t.Helper()
	var clients []*nettest.Client
	for _, n := range nodes {
		c := n.Host.Client(n.URL, n.Host.Name)
		c.Announce(hash(swarm), 5)
		clients = append(clients, c)
	}
	for i, a := range clients {
		for _, b := range clients[:i] {
			nettest.Eventually(t, a.ID+" meets "+b.ID, func() bool { return a.Met(b) })
		}
	}
}

// TestTwoFreshNodes: two nodes with public addresses, no flags, and nobody
// else but a node of the DHT. Their clients meet by the list of the info hash
// alone, as by the network's own; both nodes find out that others reach them.
func TestTwoFreshNodes(t *testing.T) {
	for name, args := range map[string][]string{"rendezvous": nil, "lists": {"--no-rendezvous"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := nettest.New(t)
			n.SetLink(far)
			boot := n.Host("dht", "11.10.0.1").StartDHT()
			a, b := fresh(n.Host("a", "11.1.0.1"), boot, args...), fresh(n.Host("b", "11.2.0.1"), boot, args...)
			if p := places(a); !strings.Contains(p[0], "wss://11.1.0.1:8000") {
				t.Errorf("it says %q", p)
			}
			meet(t, "fresh", a, b)
			isFull(t, a)
			isFull(t, b)
			// And then they are nodes like any other.
			meet(t, "more", a, b, fresh(n.Host("c", "11.3.0.1"), boot, args...))
		})
	}
}

// TestFreshNodeBehindNAT: it serves its clients by dialling out, and says why
// nobody dials it, and what to do.
func TestFreshNodeBehindNAT(t *testing.T) {
	t.Parallel()
	n := nettest.New(t)
	n.SetLink(far)
	boot := n.Host("dht", "11.10.0.1").StartDHT()
	a := fresh(n.Host("a", "11.1.0.1"), boot)
	r := n.NAT("router", "11.2.0.1", nettest.NATConfig{})
	b := fresh(r.Host("b", "192.168.1.2"), boot)
	meet(t, "nat", a, b)
	isFull(t, a)
	nettest.Eventually(t, "b gives its guess up", func() bool {
		p := places(b)
		return len(p) > 1 && strings.Contains(p[len(p)-1], "is not dialled")
	})
	if s := b.Status(); !s.Leaf || !strings.Contains(s.Why, "11.2.0.1:8000") || !strings.Contains(s.Why, "forward TCP port 8000") {
		t.Errorf("b says %+v", s)
	}
	if out := n.Traffic(r.Router, a.Host); out.Carried == 0 {
		t.Error("b and a do not talk")
	}
	meet(t, "nat2", a, b)
}

// TestFreshNodeWithAForwardedPort: three networks see it, and reach it.
func TestFreshNodeWithAForwardedPort(t *testing.T) {
	t.Parallel()
	n := nettest.New(t)
	boot := n.Host("dht", "11.10.0.1").StartDHT()
	r := n.NAT("router", "11.2.0.1", nettest.NATConfig{Forward: map[uint16]string{8000: "192.168.1.2"}})
	b := fresh(r.Host("b", "192.168.1.2"), boot)
	a, c := fresh(n.Host("a", "11.1.0.1"), boot), fresh(n.Host("c", "11.3.0.1"), boot)
	meet(t, "forwarded", a, b, c)
	isFull(t, a)
	isFull(t, b)
	isFull(t, c)
	if !strings.Contains(b.Output(), "federation: reachable at wss://11.2.0.1:8000") {
		t.Errorf("b says %q", places(b))
	}
}

// TestFreshNodeBehindAFirewall: its address is public, and nothing comes in.
func TestFreshNodeBehindAFirewall(t *testing.T) {
	t.Parallel()
	n := nettest.New(t)
	boot := n.Host("dht", "11.10.0.1").StartDHT()
	a, h := fresh(n.Host("a", "11.1.0.1"), boot), n.Host("b", "11.2.0.1")
	h.Firewall()
	b := fresh(h, boot)
	meet(t, "firewall", a, b)
	nettest.Eventually(t, "b gives its guess up", func() bool {
		p := places(b)
		return len(p) > 1 && strings.Contains(p[len(p)-1], "open TCP port 8000")
	})
}

// TestFreshNodeMoves: a provider gives another address to a node that finds
// its address out by itself. Nothing that was proven of the old one is said of
// the new one, which others prove anew, and clients on both sides meet again.
func TestFreshNodeMoves(t *testing.T) {
	t.Parallel()
	n := nettest.New(t)
	n.SetLink(far)
	boot := n.Host("dht", "11.10.0.1").StartDHT()
	a, b := fresh(n.Host("a", "11.1.0.1"), boot), fresh(n.Host("b", "11.2.0.1"), boot)
	meet(t, "before", a, b)
	isFull(t, a)
	isFull(t, b)
	b.Host.Move("11.3.0.1")
	b.URL = "ws://11.3.0.1:8000"
	b.Line(`federation: a leaf until .* wss://11\.3\.0\.1:8000`)
	b.Line(`federation: reachable at wss://11\.3\.0\.1:8000`)
	meet(t, "after", a, b)
}

// TestFreshNodesIPv6: what a link over IPv6 tells is published beside the
// IPv4 address.
func TestFreshNodesIPv6(t *testing.T) {
	t.Parallel()
	n := nettest.New(t)
	boot := n.Host("dht", "11.10.0.1").StartDHT()
	// It cannot find b, or it might dial first, over IPv4.
	six := n.Host("six", "11.1.0.1", "2a11:1::1").StartNode(nettest.NodeConfig{URL: "wss://[2a11:1::1]:8000"})
	b := fresh(n.Host("b", "11.2.0.1", "2a11:2::1"), boot, "--seed", "wss://[2a11:1::1]:8000")
	meet(t, "six", six, b)
	nettest.Eventually(t, "b publishes both addresses", func() bool {
		return strings.Contains(b.Output(), "reachable at wss://11.2.0.1:8000, wss://[2a11:2::1]:8000") ||
			strings.Contains(b.Output(), "reachable at wss://[2a11:2::1]:8000, wss://11.2.0.1:8000")
	})
}
