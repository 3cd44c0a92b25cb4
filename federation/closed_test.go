package federation_test

import (
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

func inNetwork(n derive.Network) option {
	return func(c *federation.Config, _ *tracker.Config) { c.Network = n }
}

// A closed network beside an open one of the same name and a closed one with
// another secret, in one DHT and with one swarm: its nodes meet, and outsiders
// do not find them by any list, and are not let in where they know the URL.
func TestClosedNetwork(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		network := func(secret string) derive.Network {
			n, err := derive.New("test", []byte(secret))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		closed, other := network("a secret of ours"), network("a secret of theirs")
		a := w.start(1, inNetwork(closed), seeds("ws://127.0.0.1:9003"))
		b := w.start(2, inNetwork(closed))
		c := w.start(3, seeds("ws://127.0.0.1:9001"))
		d := w.start(4, inNetwork(other), seeds("ws://127.0.0.1:9001", "ws://127.0.0.1:9002"))
		var clients []*client
		for _, n := range []*node{a, b, c, d} {
			x := n.client(n.name)
			x.announce(hash(1), 5)
			clients = append(clients, x)
		}
		introduced(t, clients[0], clients[1], 10*time.Second)
		time.Sleep(4 * time.Minute)
		for _, n := range []*node{c, d} {
			if len(n.fed.Status().Links) != 0 {
				t.Errorf("%s is let in", n.name)
			}
			if n.fed.Stats().Mesh.Dials == 0 {
				t.Errorf("%s did not try", n.name)
			}
		}
		if n := len(a.fed.Status().Links); n != 1 {
			t.Errorf("%d links between two nodes", n)
		}
		if a.fed.Stats().HandshakeFaults["network"] == 0 {
			t.Error("nobody was refused")
		}
		for _, x := range clients[2:] {
			if offers, answers := x.got(); len(offers)+len(answers) > 0 {
				t.Errorf("%s met somebody", x.id)
			}
		}
		// In the lists that outsiders can derive there are only themselves.
		epoch := derive.Epoch(time.Now().Unix())
		for _, l := range []struct {
			net  derive.Network
			want []*node
		}{{closed, []*node{a, b}}, {w.net, []*node{c}}, {other, []*node{d}}} {
			targets := []derive.Target{l.net.Swarm(epoch, wire.Raw20([]byte(hash(1))))}
			for shard := range uint8(derive.Shards) {
				targets = append(targets, l.net.Node(epoch, shard))
			}
			found := 0
			for i, target := range targets {
				for _, at := range w.dir.Announced(target) {
					if !slices.ContainsFunc(l.want, func(n *node) bool { return n.dir.Addr() == at }) {
						t.Errorf("%v is in list %d of another network", at, i)
					}
					found++
				}
			}
			if found < 2*len(l.want) {
				t.Errorf("%d places in lists for %d nodes", found, len(l.want))
			}
		}
	})
}
