package federation_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

func inNetwork(n derive.Network) option {
	return func(c *federation.Config, _ *tracker.Config) {
		c.Network = n
		c.Directory.(*dhtstore.MemoryNode).Join(n.RecordSalt())
	}
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

// What nodes of a closed network publish is found by members alone, and who
// stores it cannot read it; nor do its nodes believe what is in the clear.
// Guards: SealFor in renewRecord, record.Rules.RecordKey in verify.
func TestClosedRecords(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		closed, err := derive.New("test", []byte("a secret of ours"))
		if err != nil {
			t.Fatal(err)
		}
		a := w.start(1, inNetwork(closed))
		b := w.start(2, inNetwork(closed))
		c := w.start(3)
		quiet()
		// Somebody lists each in the other network.
		epoch := derive.Epoch(time.Now().Unix())
		w.dir.Plant(w.net.Swarm(epoch, wire.Raw20([]byte(hash(1)))), a.dir.Addr())
		w.dir.Plant(closed.Swarm(epoch, wire.Raw20([]byte(hash(2)))), c.dir.Addr())
		c.client("carol").announce(hash(1), 5)
		a.client("alice").announce(hash(2), 5)
		time.Sleep(time.Minute)
		for _, n := range []*node{a, c} {
			if n.fed.Stats().Mesh.Sightings == 0 {
				t.Errorf("%s saw nobody listed", n.name)
			}
		}
		if w.dialsTo(c.hp) != 0 || c.fed.Stats().Mesh.Dials != 0 {
			t.Errorf("%d dials to the outsider, %d by it", w.dialsTo(c.hp), c.fed.Stats().Mesh.Dials)
		}
		if n := len(a.fed.Status().Links); n != 1 {
			t.Errorf("%d links between two members", n)
		}

		stranger, member := w.dir.Node(netip.MustParseAddrPort("127.0.0.1:7098")), w.dir.Node(netip.MustParseAddrPort("127.0.0.1:7099"))
		member.Join(closed.RecordSalt())
		for _, n := range []*node{a, b} {
			for name, get := range map[string]func(*dhtstore.MemoryNode) (federation.Item, error){
				"item": func(d *dhtstore.MemoryNode) (federation.Item, error) {
					return d.Fetch(context.Background(), n.key.Public().(ed25519.PublicKey))
				},
				"record": func(d *dhtstore.MemoryNode) (federation.Item, error) {
					return d.Resolve(context.Background(), n.dir.Addr())
				},
			} {
				if _, err := get(stranger); err == nil {
					t.Errorf("a stranger finds the %s of %s", name, n.name)
				}
				item, err := get(member)
				if err != nil {
					t.Fatal(name, err)
				}
				if bytes.Contains(item.Value, []byte(n.hp)) || bytes.Contains(item.Value, item.Key) {
					t.Errorf("%s of %s: %q", name, n.name, item.Value)
				}
				s := record.Signed{Key: record.Key(item.Key), Seq: item.Seq, Sig: item.Sig, Value: item.Value}
				r, err := s.Verify(record.Rules{Now: time.Now().Unix(), AllowPrivate: true, RecordKey: closed.RecordKey(), Salt: closed.RecordSalt()})
				if err != nil || len(r.URLs) != 1 || r.URLs[0] != n.cfg.URLs[0] {
					t.Errorf("a member reads %+v, %v", r, err)
				}
				if r, err := s.Verify(record.Rules{Now: time.Now().Unix(), AllowPrivate: true, Salt: closed.RecordSalt()}); err != record.FaultSealed {
					t.Errorf("an outsider reads %+v, %v", r, err)
				}
			}
		}
	})
}

// A member that restarts finds those it knew, without a directory. Guard:
// RecordKey in learnSaved.
func TestClosedRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		closed, err := derive.New("test", []byte("a secret of ours"))
		if err != nil {
			t.Fatal(err)
		}
		store := &memoryStore{}
		saved := func(c *federation.Config, _ *tracker.Config) { c.Store = store }
		a, b := w.start(1, inNetwork(closed), saved), w.start(2, inNetwork(closed))
		time.Sleep(time.Minute)
		a.stop()
		b.stop()
		w.dir.SetFail(errors.New("down"))
		a, b = w.start(1, inNetwork(closed), saved), w.start(2, inNetwork(closed)) // which knows nobody
		time.Sleep(time.Minute)
		for _, n := range []*node{a, b} {
			if links := n.fed.Status().Links; len(links) != 1 || len(links[0].URLs) != 1 {
				t.Errorf("links of %s: %+v", n.name, links)
			}
		}
	})
}
