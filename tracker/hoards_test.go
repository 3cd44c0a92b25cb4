package tracker

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// One address prefix cannot fill the tables by sessions each of which has no more
// than it may, and others notice nothing of its trying.
func TestOneSourceHasAPartOfAllMemberships(t *testing.T) {
	const most = 40
	trk := newTracker(t, func(c *Config) { c.MaxMemberships, c.MaxPerSource = 20, most })
	at := func(addr string) peer {
		return open(trk, Client{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 1000)})
	}
	join := func(p peer, i int, event string) (refused bool) {
		p.Handle(fmt.Appendf(nil, `{"action":"announce","info_hash":"%020d","peer_id":"%s","event":"%s"}`, i, pid("p"), event))
		m := p.one(t)
		reason, _ := m["failure reason"].(string)
		if reason != "" && !strings.Contains(reason, "network") {
			t.Error(reason)
		}
		return reason != ""
	}
	var hoarders []peer
	joined := 0
	for i := range 5 {
		p := at(fmt.Sprintf("93.184.216.%d", i))
		for k := range 20 {
			if !join(p, 100*i+k, "started") {
				joined++
			}
		}
		hoarders = append(hoarders, p)
	}
	// The last ones have few, which are granted.
	if want := most + 3*maxFew; joined != want {
		t.Errorf("%d memberships, want %d", joined, want)
	}
	for i, addr := range []string{"93.184.217.1", "2a00:1450:4001::1", "127.0.0.1"} {
		p := at(addr)
		for k := range 20 {
			if join(p, 1000*(i+1)+k, "started") {
				t.Fatalf("%s refused at %d", addr, k)
			}
		}
		p.Session.Close()
	}
	// What is left, or closed, is free again.
	if join(hoarders[0], 0, "stopped") || join(hoarders[0], 50, "started") || !join(hoarders[0], 51, "started") {
		t.Error("one stopped does not make room for one")
	}
	for _, p := range hoarders {
		p.Session.Close()
	}
	if n := len(trk.hoards.of); n != 0 {
		t.Errorf("%d sources are kept", n)
	}
}
