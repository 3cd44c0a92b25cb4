package reach

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// Random words, truths and lies, at random times: what is published may
// always be dialled, and what is published as proven has been, by somebody
// outside, with enough voices if it is not an address of this machine.
func TestWalk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		private := rapid.Bool().Draw(rt, "private")
		r := New(Config{
			Listen:       rapid.SliceOfN(rapid.SampledFrom(listeners), 1, 2).Draw(rt, "listen"),
			AllowPrivate: private,
		}, 0)
		var now time.Duration
		var local []netip.Addr
		proofs := map[netip.Addr][]time.Duration{}
		named := map[netip.Addr]map[netip.AddrPort]bool{}
		tallied := map[netip.Addr]int{}
		name := func(from netip.AddrPort, a netip.Addr) {
			if named[a] == nil {
				named[a] = map[netip.AddrPort]bool{}
			}
			named[a][network(from)] = true
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			from := rapid.SampledFrom(speakers).Draw(rt, "from")
			a := rapid.SampledFrom(places).Draw(rt, "addr")
			switch rapid.IntRange(0, 5).Draw(rt, "kind") {
			case 0:
				local = rapid.SliceOfN(rapid.SampledFrom(places), 0, 3).Draw(rt, "local")
				r.Interfaces(now, local)
			case 1:
				var said []Tally
				for _, x := range rapid.SliceOfNDistinct(rapid.SampledFrom(places), 0, 4, rapid.ID).Draw(rt, "said") {
					n := rapid.IntRange(0, 5).Draw(rt, "networks")
					said = append(said, Tally{x, n})
					tallied[x] = max(tallied[x], n)
				}
				r.Heard(now, said)
			case 2:
				r.Seen(now, from, a)
				name(from, a)
			case 3:
				r.Proven(now, from, a)
				if outside(from, a) {
					proofs[a] = append(proofs[a], now)
					name(from, a)
				}
			case 4:
				r.Linked(now, rapid.SliceOfN(rapid.SampledFrom(speakers), 0, 3).Draw(rt, "linked"))
			}
			now += time.Duration(rapid.IntRange(0, 4000).Draw(rt, "ms")) * time.Duration(rapid.SampledFrom([]int{1e6, 1e7, 1e9}).Draw(rt, "unit"))
			r.Advance(now)
			v := r.View()
			if (v.State == Leaf) != (len(v.Addrs) == 0) || (v.State == Full) != (v.Why == "") || len(v.Accept) > 2 {
				rt.Fatalf("%+v", v)
			}
			for i := range r.families {
				f := &r.families[i]
				g := &f.guess
				at := netip.AddrPortFrom(g.addr, g.port)
				if slices.Contains(v.Addrs, at) != slices.Contains(v.Accept, at) && g.state != Leaf && v.State != Full {
					rt.Fatalf("%v %v: %+v", g.state, at, v)
				}
				if !g.addr.IsValid() {
					continue
				}
				if !nodeaddr.Classify(g.addr).Allowed(private) || !dialled(g.port) {
					rt.Fatalf("nobody may dial %v", at)
				}
				own := slices.Contains(local, g.addr) || r.listens(g.addr)
				if !own && len(named[g.addr])+tallied[g.addr] == 0 {
					rt.Fatalf("nobody named %v", at)
				}
				if g.state != Full {
					continue
				}
				recent := slices.ContainsFunc(proofs[g.addr], func(t time.Duration) bool { return now-t < proofLife })
				if !recent {
					rt.Fatalf("%v is proven by nobody", at)
				}
				if !g.own && max(len(named[g.addr]), tallied[g.addr]) < quorum {
					rt.Fatalf("%v is proven by %d networks' words", at, len(named[g.addr]))
				}
			}
		}
	})
}

var (
	listeners = []netip.AddrPort{
		listen("[::]:8000"), listen("0.0.0.0:443"), listen("[::]:80"), listen("127.0.0.1:8000"), listen("11.0.0.5:8000"), listen("192.168.1.2:8000"),
	}
	places = []netip.Addr{
		ip("11.0.0.5"), ip("12.0.0.1"), ip("12.0.0.2"), ip("127.0.0.1"), ip("192.168.1.2"), ip("2a00:1::5"), ip("2a00:1::6"), ip("0.0.0.0"), ip("13.0.0.1"), {},
	}
	speakers = []netip.AddrPort{
		from(1), from(2), from(3), from(4), listen("11.0.0.9:4"), listen("12.0.0.9:4"), listen("[2a00:1::9]:4"), listen("[2a00:2::9]:4"), listen("127.0.0.1:4"), listen("10.0.0.1:4"), {},
	}
)

// However liars mix their words into those of an honest majority, nothing but
// the truth is published once the honest have spoken, and it is proven once
// dialled.
func TestMajority(t *testing.T) {
	truth := ip("12.0.0.1")
	rapid.Check(t, func(rt *rapid.T) {
		honest := rapid.IntRange(quorum, 12).Draw(rt, "honest")
		liars := rapid.IntRange(0, honest-1).Draw(rt, "liars")
		r := New(Config{Listen: []netip.AddrPort{listen("[::]:8000")}}, 0)
		var now time.Duration
		directory := rapid.Bool().Draw(rt, "directory")
		speak := func() {
			if directory {
				r.Heard(now, []Tally{{truth, honest}})
			} else {
				for i := range honest {
					r.Seen(now, from(i), truth)
				}
			}
		}
		if rapid.Bool().Draw(rt, "first") {
			speak()
		}
		for i := range rapid.IntRange(0, 100).Draw(rt, "lies") {
			lie := rapid.SampledFrom(places[2:]).Draw(rt, "lie")
			if rapid.Bool().Draw(rt, "dial") {
				r.Proven(now, from(100+i%max(liars, 1)), lie)
			}
			if liars > 0 {
				r.Seen(now, from(100+i%liars), lie)
			}
			now += time.Second
			r.Advance(now)
		}
		speak()
		now += 2 * stay
		r.Advance(now)
		if v := r.View(); !slices.Contains(v.Addrs, netip.AddrPortFrom(truth, 8000)) || v.State != Unverified {
			rt.Fatalf("%d honest, %d liars: %+v", honest, liars, v)
		}
		r.Proven(now, from(500), truth)
		r.Advance(now)
		if v := r.View(); v.State != Full || v.Addrs[0].Addr() != truth {
			rt.Fatalf("%d honest, %d liars: dialled, and %+v", honest, liars, v)
		}
	})
}
