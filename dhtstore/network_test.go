package dhtstore

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/draeder/peerservers/federation"
)

// closestNodes are the nodes that are closest to target, except one.
func closestNodes(nodes []*Node, target nodeID, except *Node) []*Node {
	out := slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool { return n == except })
	slices.SortFunc(out, func(a, b *Node) int {
		return compareDistance(&target, &a.first().table.self, &b.first().table.self)
	})
	return out[:min(bucketSize, len(out))]
}

func holdsPeer(n *Node, target nodeID, addr netip.AddrPort) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	el, ok := n.first().peers.hashes[target]
	return ok && slices.ContainsFunc(el.Value.(*peerSet).peers, func(p storedPeer) bool { return p.addr == addr })
}

func holdsItem(n *Node, target nodeID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.first().items.items[target]
	return ok
}

// TestNetwork runs 50 nodes in one process: what is announced is found by
// all, records are resolved and fetched by all, and both lie on the nodes that
// are truly closest.
func TestNetwork(t *testing.T) {
	const count, targets = 50, 12
	nodes := startNetwork(t, count)
	// Joining is done when lookups of one's own place end; a second round makes
	// all known to their neighbours.
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() { n.first().findNodes(n.ctx, n.first().self(), nil, nil) })
	}
	wg.Wait()

	placed, places := 0, 0
	for i := range targets {
		target := testTarget(i)
		announcers := []*Node{nodes[(7*i)%count], nodes[(7*i+3)%count], nodes[(7*i+11)%count]}
		for _, a := range announcers {
			lookupAll(t, a, target, true)
			for _, n := range closestNodes(nodes, nodeID(target), a) {
				places++
				if holdsPeer(n, nodeID(target), a.LocalAddr()) {
					placed++
				}
			}
		}
		for j := 0; j < count; j += 5 {
			n := nodes[j]
			found := lookupAll(t, n, target, false)
			for _, a := range announcers {
				if a != n && found[a.LocalAddr()] == 0 {
					t.Errorf("node %d does not find an announcer of target %d", j, i)
				}
			}
			if found[n.LocalAddr()] != 0 {
				t.Errorf("node %d finds itself", j)
			}
			if len(found) > len(announcers) {
				t.Errorf("node %d finds %d announcers", j, len(found))
			}
		}
	}
	t.Logf("announcements on the true closest: %d of %d", placed, places)
	if placed < places*95/100 {
		t.Errorf("announcements on the true closest: %d of %d", placed, places)
	}

	placed, places = 0, 0
	for i := range 8 {
		item := testRecord(t, testKey(byte(i)), int64(i+1), fmt.Sprint("node ", i))
		publisher := nodes[i*6]
		if err := publisher.Publish(testContext(t), item); err != nil {
			t.Fatal(err)
		}
		for _, n := range closestNodes(nodes, recordTarget(item.Key, []byte(recordSalt)), publisher) {
			places++
			if holdsItem(n, recordTarget(item.Key, []byte(recordSalt))) {
				placed++
			}
		}
		for _, reader := range []*Node{nodes[(i+1)%count], nodes[(i+25)%count]} {
			for name, get := range map[string]func() (federation.Item, error){
				"fetch":   func() (federation.Item, error) { return reader.Fetch(testContext(t), item.Key) },
				"resolve": func() (federation.Item, error) { return reader.Resolve(testContext(t), publisher.LocalAddr()) },
			} {
				if name == "resolve" && reader == publisher {
					continue
				}
				got, err := get()
				if err != nil || got.Seq != item.Seq || string(got.Value) != string(item.Value) || got.Sig != item.Sig {
					t.Errorf("%s %d: %v, %v", name, i, got, err)
				}
			}
		}
	}
	t.Logf("records on the true closest: %d of %d", placed, places)
	if placed < places*95/100 {
		t.Errorf("records on the true closest: %d of %d", placed, places)
	}
	for i, n := range nodes {
		n.mu.Lock()
		if wrong := n.first().table.check(); wrong != "" {
			t.Errorf("table of node %d: %s", i, wrong)
		}
		n.mu.Unlock()
	}
}
