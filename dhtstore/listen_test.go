package dhtstore

import (
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestListenOnBoth: a port without a host is both families' where the machine
// has both; IPv6 is a gift then, and an order when it is named.
func TestListenOnBoth(t *testing.T) {
	needIPv6(t)
	start := func(listen ...string) (*Node, error) {
		n, err := New(Config{Listen: listen, AllowPrivate: true})
		if err == nil {
			t.Cleanup(func() { closeAll(t, n) })
		}
		return n, err
	}
	n, err := start(":0")
	if err != nil {
		t.Fatal(err)
	}
	want := 1
	if n.cfg.hasIPv6() {
		want = 2
	}
	addrs := n.LocalAddrs()
	if len(addrs) != want || !addrs[0].Addr().Is4() || want == 2 && !addrs[1].Addr().Is6() {
		t.Errorf("listening on %v, want %d", addrs, want)
	}
	for _, listen := range [][]string{{"127.0.0.1:0"}, {"[::1]:0"}} {
		if n, err := start(listen...); err != nil || len(n.LocalAddrs()) != 1 {
			t.Errorf("%v: %v", listen, err)
		}
	}

	busy, err := net.ListenPacket("udp6", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() }) // a socket of the test's
	at, _ := addrPort(busy.LocalAddr())
	port := strconv.Itoa(int(at.Port()))
	if n, err := start(":" + port); err != nil || len(n.LocalAddrs()) != 1 {
		t.Errorf("IPv6's port is taken: %v", err)
	}
	if _, err := start("[::]:" + port); err == nil {
		t.Error("listening twice")
	}
	if _, err := start("127.0.0.1:0", "[::]:"+port); err == nil {
		t.Error("an IPv6 address that was asked for failed, and nobody says so")
	}
}

// TestStateOfBothFamilies outlives a restart, and one with one family only.
func TestStateOfBothFamilies(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		other := f.dual(t, v4Addr(0), v6Addr(0), nil)
		defer closeAll(t, other)
		keep := func(c *Config) { c.Dir = dir }
		n := f.dual(t, v4Addr(1), v6Addr(1), keep, v4Addr(0), v6Addr(0))
		time.Sleep(time.Minute)
		ids := [families]nodeID{n.stacks[0].self(), n.stacks[1].self()}
		closeAll(t, n)

		n = f.node(t, v4Addr(1), keep)
		time.Sleep(time.Minute)
		closeAll(t, n)

		n = f.dual(t, v4Addr(1), v6Addr(1), keep)
		defer closeAll(t, n)
		time.Sleep(time.Second)
		for i, s := range n.stacks {
			if s.goodNodes(time.Now()) != 1 || s.self() != ids[i] {
				t.Errorf("%v: %d nodes, id kept: %v", s.family, s.goodNodes(time.Now()), s.self() == ids[i])
			}
		}
	})
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}
