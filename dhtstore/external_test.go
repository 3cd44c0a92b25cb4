package dhtstore

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestVotesCountByNetwork(t *testing.T) {
	now := time.Unix(1e9, 0)
	us, wrong := netip.MustParseAddrPort("5.1.1.1:7000"), netip.MustParseAddrPort("6.6.6.6:6666")
	from := func(net, host byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, 1, net, host}), 7000)
	}
	var v votes
	for i := range 100 { // one network
		v.note(now, from(0, byte(i)), wrong)
	}
	if got := v.count(now); len(got) != 1 || got[0] != (External{wrong, 1}) {
		t.Errorf("one network voted: %v", got)
	}
	for i := range byte(votesNeeded) {
		if addr, ok := v.address(now); ok {
			t.Errorf("after %d votes: %v", i, addr)
		}
		v.note(now.Add(time.Minute), from(i+1, 1), us)
	}
	if addr, ok := v.address(now); !ok || addr != us {
		t.Errorf("after %d votes: %v, %v", votesNeeded, addr, ok)
	}
	// Who changes its mind has one vote still; the address that changed is
	// known when those asked before have answered again.
	v.note(now, from(0, 1), us)
	if got := v.count(now); len(got) != 1 || got[0] != (External{us, votesNeeded + 1}) {
		t.Errorf("all agree: %v", got)
	}
	if got := v.count(now.Add(voteExpiry + time.Second)); len(got) != 1 || got[0].Networks != votesNeeded {
		t.Errorf("one vote expired: %v", got)
	}
	// A flood of networks pushes the oldest out, not those that vote again.
	for i := range 200 {
		v.note(now.Add(time.Hour), from(1, 1), us)
		v.note(now.Add(time.Hour), from(byte(20+i), 1), wrong)
	}
	if got := v.count(now.Add(time.Hour)); len(got) != 2 || got[0] != (External{wrong, maxVotes - 1}) || got[1] != (External{us, 1}) {
		t.Errorf("after a flood: %v", got)
	}
}

// TestReadOnlyAndBack: what BEP 43 asks of one who does not answer, of those
// whom it asks, and that both end when it begins to answer.
func TestReadOnlyAndBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		a := f.node(t, "5.1.0.1:7000", nil)
		n := f.node(t, "5.1.1.1:7000", func(c *Config) { c.ReadOnly = true }, "5.1.0.1:7000")
		defer closeAll(t, a, n)
		time.Sleep(time.Minute)
		if got := n.External(); len(got) != 1 || got[0] != (External{n.LocalAddr(), 1}) {
			t.Errorf("others see %v", got)
		}
		probe := f.listen("5.1.2.1:7000")
		asked := func() *message { // what n sends
			_, _ = n.Resolve(testContext(t), probe.addr) // nobody answers
			m := new(message)
			if p := <-probe.in; m.parse(p.b) != faultNone {
				t.Fatalf("malformed: %q", p.b)
			}
			for len(probe.in) > 0 {
				<-probe.in
			}
			return m
		}
		answers := func() bool {
			r := rawClient{id: nodeID{1}}
			if _, err := probe.WriteTo([]byte(r.query("ping", "")), n.first().guard.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			got := len(probe.in) > 0
			for len(probe.in) > 0 {
				<-probe.in
			}
			return got
		}
		for i, readOnly := range []bool{true, false, true} {
			n.SetReadOnly(readOnly)
			time.Sleep(10 * time.Second)
			if got := asked().readOnly; got != readOnly {
				t.Errorf("%d: ro in queries: %v", i, got)
			}
			if answers() == readOnly {
				t.Errorf("%d: answers a ping: %v", i, !readOnly)
			}
			if want := min(i, 1); i < 2 && a.GoodNodes() != want {
				t.Errorf("%d: %d nodes know it, want %d", i, a.GoodNodes(), want)
			}
		}
		n.SetReadOnly(true)
		time.Sleep(20 * time.Minute)
		if good := a.GoodNodes(); good != 0 {
			t.Errorf("long silent, and still named to others by %d", good)
		}
	})
}
