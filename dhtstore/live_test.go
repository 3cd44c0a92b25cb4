package dhtstore

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// found runs a lookup and returns what it finds.
func found(t *testing.T, n *Node, target [20]byte, announce bool) map[netip.AddrPort]int {
	t.Helper()
	got := make(map[netip.AddrPort]int)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Lookup(ctx, target, announce, func(a netip.AddrPort) { got[a]++ }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestNodesThatStartTogetherMeet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		// Neither is there when the other asks first.
		a := f.node(t, "5.1.1.1:7000", nil, "5.1.1.2:7000")
		b := f.node(t, "5.1.1.2:7000", nil, "5.1.1.1:7000")
		defer closeAll(t, a, b)
		time.Sleep(time.Second)
		if a.GoodNodes() != 1 || b.GoodNodes() != 1 {
			t.Errorf("after a second: %d and %d nodes", a.GoodNodes(), b.GoodNodes())
		}
	})
}

func TestBootstrapComesLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		boot := netip.MustParseAddrPort("5.1.1.1:7000")
		n := f.node(t, "5.1.1.2:7000", nil, boot.String())
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.Lookup(ctx, testTarget(1), true, nil); !errors.Is(err, errNoAnswer) {
			t.Errorf("lookup without a network: %v", err)
		}
		time.Sleep(time.Hour)
		hour := f.packetsTo(boot)
		if hour < 40 || hour > 120 {
			t.Errorf("%d packets to a dead bootstrap address in an hour", hour)
		}
		first := f.node(t, boot.String(), nil)
		defer closeAll(t, n, first)
		time.Sleep(2 * lastRetry)
		if n.GoodNodes() != 1 || first.GoodNodes() != 1 {
			t.Errorf("after the network came: %d and %d nodes", n.GoodNodes(), first.GoodNodes())
		}
	})
}

// TestNetworkGoesAndComes: the table decays, the bootstrap address is asked
// again, lookups work again.
func TestNetworkGoesAndComes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		var nodes []*Node
		for i := range 6 {
			nodes = append(nodes, f.node(t, fmt.Sprintf("5.1.%d.1:7000", i), nil, "5.1.0.1:7000"))
			time.Sleep(time.Second)
		}
		defer closeAll(t, nodes...)
		time.Sleep(2 * time.Minute)
		f.isolate(true)
		time.Sleep(3 * time.Hour)
		for i, n := range nodes {
			if n.GoodNodes() != 0 {
				t.Errorf("node %d counts %d nodes of a dead network", i, n.GoodNodes())
			}
		}
		f.isolate(false)
		time.Sleep(5 * time.Minute)
		for i, n := range nodes {
			if n.GoodNodes() < 3 {
				t.Errorf("node %d has %d nodes after the network came back", i, n.GoodNodes())
			}
		}
		found(t, nodes[1], testTarget(1), true)
		if got := found(t, nodes[4], testTarget(1), false); got[nodes[1].LocalAddr()] == 0 {
			t.Error("an announcement is not found")
		}
	})
}

// TestBootstrapNodeIsReplaced: the only node that one knows dies, and another
// comes up at its address.
func TestBootstrapNodeIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		first := f.node(t, "5.1.0.1:7000", nil)
		n := f.node(t, "5.1.1.1:7000", nil, "5.1.0.1:7000")
		time.Sleep(time.Minute)
		closeAll(t, first)
		second := f.node(t, "5.1.0.1:7000", nil)
		defer closeAll(t, n, second)
		time.Sleep(2 * time.Minute)
		if n.GoodNodes() != 1 || second.GoodNodes() != 1 {
			t.Errorf("%d and %d nodes", n.GoodNodes(), second.GoodNodes())
		}
	})
}

// TestSavedTableOfDeadNodes: a restart with 200 nodes that are all gone finds
// the network through the bootstrap address as fast as without.
func TestSavedTableOfDeadNodes(t *testing.T) {
	dir := t.TempDir()
	writeDeadState(t, dir)
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		boot := f.node(t, "5.1.0.1:7000", nil)
		n := f.node(t, "5.1.1.1:7000", func(c *Config) { c.Dir = dir }, "5.1.0.1:7000")
		defer closeAll(t, n, boot)
		if len(n.first().saved) != maxSaved {
			t.Fatalf("%d nodes loaded", len(n.first().saved))
		}
		time.Sleep(10 * time.Millisecond)
		if n.GoodNodes() != 1 {
			t.Error("the bootstrap node is not known at once")
		}
		start := time.Now()
		found(t, n, testTarget(1), true)
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("the first lookup took %v", d)
		}
	})
}

// TestSavedTableIsEnough: without any bootstrap address, the saved table leads
// back.
func TestSavedTableIsEnough(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		other := f.node(t, "5.1.0.1:7000", nil)
		defer closeAll(t, other)
		keep := func(c *Config) { c.Dir = dir }
		n := f.node(t, "5.1.1.1:7000", keep, "5.1.0.1:7000")
		time.Sleep(time.Minute)
		id := n.first().table.self
		closeAll(t, n)

		n = f.node(t, "5.1.1.1:7000", keep)
		defer closeAll(t, n)
		time.Sleep(time.Second)
		if n.GoodNodes() != 1 || n.first().table.self != id {
			t.Errorf("%d nodes, id kept: %v", n.GoodNodes(), n.first().table.self == id)
		}
	})
}

// TestAnnouncementsExpire: nobody renews, nobody is found.
func TestAnnouncementsExpire(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		a := f.node(t, "5.1.0.1:7000", nil)
		b := f.node(t, "5.1.1.1:7000", nil, "5.1.0.1:7000")
		defer closeAll(t, a, b)
		time.Sleep(time.Second)
		found(t, b, testTarget(1), true)
		time.Sleep(peerExpiry - time.Minute)
		if got := found(t, a, testTarget(1), false); len(got) != 1 {
			t.Errorf("found %v before the expiry", got)
		}
		time.Sleep(2 * time.Minute)
		if got := found(t, a, testTarget(1), false); len(got) != 0 {
			t.Errorf("found %v after the expiry", got)
		}
		if s := a.Stats(); s.Hashes != 0 {
			t.Errorf("%d hashes kept", s.Hashes)
		}
	})
}

// TestPacketBudget: however many lookups run, no more packets leave than are
// allowed, in all and to one address; and a write is not lost for it.
func TestPacketBudget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		var others []*Node
		for i := range 20 {
			others = append(others, f.node(t, fmt.Sprintf("5.1.%d.1:7000", i), nil, "5.1.0.1:7000"))
			time.Sleep(time.Second)
		}
		n := f.node(t, "5.2.0.1:7000", func(c *Config) { c.PacketRate = 10 }, "5.1.0.1:7000")
		defer closeAll(t, append(others, n)...)
		time.Sleep(time.Minute)

		before, beforeOne := f.packetsFrom(n.LocalAddr()), f.packetsTo(others[3].LocalAddr())
		done := make(chan error)
		const lookups = 12
		start := time.Now()
		for i := range lookups {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
				defer cancel()
				done <- n.Lookup(ctx, testTarget(i), true, nil)
			}()
		}
		for range lookups {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		took := time.Since(start).Seconds()
		// Replies to others and their pings are in the count; few here.
		sent := f.packetsFrom(n.LocalAddr()) - before
		if most := 20 + 10*took + 30; float64(sent) > most {
			t.Errorf("%d packets in %.0f s", sent, took)
		}
		if one := f.packetsTo(others[3].LocalAddr()) - beforeOne; float64(one) > 4+2*took+20 {
			t.Errorf("%d packets to one node in %.0f s", one, took)
		}
		if got := n.counts[countAnnounces].Load(); got < lookups*4 {
			t.Errorf("only %d announcements written", got)
		}
	})
}

// TestResolveRate: strangers' addresses are asked slowly.
func TestResolveRate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		n := f.node(t, "5.2.0.1:7000", func(c *Config) { c.PacketRate = MaxPacketRate })
		defer closeAll(t, n)
		done := make(chan error)
		start := time.Now()
		const count = 60
		for i := range count {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				_, err := n.Resolve(ctx, netip.AddrPortFrom(netip.AddrFrom4([4]byte{6, 1, byte(i), 1}), 7000))
				done <- err
			}()
		}
		for range count {
			if err := <-done; !errors.Is(err, errTimeout) {
				t.Error(err)
			}
		}
		if took := time.Since(start); took < 10*time.Second || took > 15*time.Second {
			t.Errorf("%d resolves took %v", count, took)
		}
	})
}

// TestCallsEndWithTheirContext, and with the node.
func TestCallsEndWithTheirContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		n := f.node(t, "5.2.0.1:7000", nil, "5.1.0.1:7000")
		ctx, cancel := context.WithCancel(context.Background())
		start := time.Now()
		time.AfterFunc(100*time.Millisecond, cancel)
		if err := n.Lookup(ctx, testTarget(1), true, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("lookup: %v", err)
		}
		if d := time.Since(start); d > 150*time.Millisecond {
			t.Errorf("the lookup ended %v after its start", d)
		}
		time.AfterFunc(100*time.Millisecond, func() { closeAll(t, n) })
		if _, err := n.Resolve(context.Background(), netip.MustParseAddrPort("6.1.1.1:7000")); !errors.Is(err, ErrClosed) {
			t.Errorf("resolve while closing: %v", err)
		}
		if err := n.Lookup(context.Background(), testTarget(1), true, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("lookup after closing: %v", err)
		}
	})
}

// TestLeafAsksOnly: a read-only node finds, is not listed, and answers nobody.
func TestLeafAsksOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		a := f.node(t, "5.1.0.1:7000", nil)
		b := f.node(t, "5.1.1.1:7000", nil, "5.1.0.1:7000")
		leaf := f.node(t, "5.1.2.1:7000", func(c *Config) { c.ReadOnly = true }, "5.1.0.1:7000")
		defer closeAll(t, a, b, leaf)
		time.Sleep(time.Minute)
		found(t, b, testTarget(1), true)
		if got := found(t, leaf, testTarget(1), false); len(got) != 1 {
			t.Errorf("the leaf finds %v", got)
		}
		if a.GoodNodes() != 1 {
			t.Errorf("a lists %d nodes, want b only", a.GoodNodes())
		}
		if leaf.GoodNodes() != 2 {
			t.Errorf("the leaf knows %d nodes", leaf.GoodNodes())
		}
		// A long record reaches the leaf although nobody can verify it by a ping.
		item := testRecord(t, testKey(3), 1, string(make([]byte, 900)))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Publish(ctx, item); err != nil {
			t.Fatal(err)
		}
		if got, err := leaf.Fetch(ctx, item.Key); err != nil || got.Seq != 1 {
			t.Errorf("the leaf fetches %v, %v", got.Seq, err)
		}
		if got, err := leaf.Resolve(ctx, b.LocalAddr()); err != nil || got.Seq != 1 {
			t.Errorf("the leaf resolves %v, %v", got.Seq, err)
		}
	})
}

func writeDeadState(t *testing.T, dir string) {
	t.Helper()
	out := `{"version":1,"id":"","nodes":[`
	for i := range maxSaved + 50 {
		if i > 0 {
			out += ","
		}
		out += fmt.Sprintf(`{"id":"%040x","addr":"7.%d.%d.1:7000"}`, i*7919+1, i/200, i%200)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(out+"]}"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSilentTableFallsBack: when all of a large table goes silent, the
// bootstrap addresses are asked after 30 s, not when the last node has been
// given up.
func TestSilentTableFallsBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		n := f.node(t, "5.2.0.1:7000", nil, "5.1.0.1:7000", "5.3.0.1:7000")
		var others []*Node
		for i := range 40 {
			others = append(others, f.node(t, fmt.Sprintf("5.1.%d.1:7000", i), nil, "5.2.0.1:7000"))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		// Buckets of 8, ids drawn at random: 17 to 29 of the 40 find room.
		if n.GoodNodes() < 15 {
			t.Fatalf("only %d nodes; the test proves nothing", n.GoodNodes())
		}
		closeAll(t, others...)
		late := f.node(t, "5.3.0.1:7000", nil)
		defer closeAll(t, n, late)
		time.Sleep(deadAfter + 2*maintenance)
		if late.GoodNodes() != 1 {
			t.Error("the bootstrap address was not asked")
		}
	})
}

// TestNobodyFindsItself, even if others list it and do not say where they see
// it, as bittorrent-dht does.
func TestNobodyFindsItself(t *testing.T) {
	for addr, want := range map[string]bool{"5.2.0.1:7000": false, "5.4.0.1:7000": false, "5.4.0.1:7001": true, "5.5.0.1:7000": true} {
		bubble(t, func(t *testing.T) {
			f := newFakeNet()
			n := f.node(t, "5.2.0.1:7000", nil)
			defer closeAll(t, n)
			n.mu.Lock()
			n.first().peers.announce(time.Now(), nodeID(testTarget(1)), netip.MustParseAddrPort(addr))
			for i := range 3 { // that many say that we are behind 5.4.0.1
				n.first().external.note(time.Now(), netip.AddrPortFrom(netip.AddrFrom4([4]byte{6, 1, byte(i), 1}), 0), netip.MustParseAddrPort("5.4.0.1:7000"))
			}
			n.mu.Unlock()
			reported := false
			if err := n.Lookup(context.Background(), testTarget(1), false, func(netip.AddrPort) { reported = true }); !errors.Is(err, errNoAnswer) {
				t.Error(err)
			}
			if reported != want {
				t.Errorf("%s reported: %v", addr, reported)
			}
		})
	}
}
