package federation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/tracker"
)

// deadDHT leaves a node only its links.
func deadDHT(c *federation.Config, _ *tracker.Config) { c.Directory = blockedDirectory{} }

func seedOf(i int) string { return fmt.Sprintf("ws://127.0.0.1:%d", 9000+i) }

// linked are two nodes with a link and no DHT.
func linked(t testing.TB, w *world, opts ...option) (a, b *node) {
	t.Helper()
	a = w.start(1, deadDHT)
	b = w.start(2, append([]option{deadDHT, seeds(seedOf(1))}, opts...)...)
	eventually(t, 5*time.Second, "a link", func() bool {
		return len(a.fed.Status().Links) == 1 && len(b.fed.Status().Links) == 1
	})
	return a, b
}

// common is how many swarms the nodes share.
func common(n *node) (shared int) {
	for _, l := range n.fed.Status().Links {
		shared += l.Shared
	}
	return shared
}

func TestLinkedNodesMeetWithoutTheDHT(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := linked(t, w)
		ca, cb := a.client("alice"), b.client("bob")
		for i, pause := range []time.Duration{0, 10 * time.Millisecond, time.Second, time.Minute} {
			ca.announce(hash(i), 5)
			time.Sleep(pause)
			cb.announce(hash(i), 5)
			eventually(t, time.Second, fmt.Sprint("a swarm in common ", pause, " apart"), func() bool {
				return common(a) == i+1 && common(b) == i+1
			})
		}
		introduced(t, ca, cb, time.Second)
	})
}

// A leaf is in no list. What begins there first is found by what begins later
// at the node that it is linked to, at once.
func TestLeafAndItsNodeMeetAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := linked(t, w, leaf)
		ca, cb := a.client("alice"), b.client("bob")
		cb.announce(hash(1), 5)
		time.Sleep(10 * time.Second)
		ca.announce(hash(1), 5)
		introduced(t, ca, cb, time.Second)
	})
}

func TestManySwarmsAtOnceWithoutTheDHT(t *testing.T) {
	const swarms = 500
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := linked(t, w)
		ca, cb := a.client("alice"), b.client("bob")
		for i := range swarms {
			ca.announce(hash(i), 1)
			cb.announce(hash(i), 1)
		}
		eventually(t, 5*time.Second, "500 swarms in common", func() bool { return common(a) == swarms && common(b) == swarms })
		introduced(t, ca, cb, 2*time.Second)
	})
}

// Thousands of swarms in common, old ones and such as begin everywhere at
// once, are shared without a strike on either side.
func TestThousandsOfSwarmsWithoutAStrike(t *testing.T) {
	const swarms = 4000
	for _, before := range []bool{true, false} {
		inBubble(t, func(t *testing.T, w *world) {
			toNoon()
			w.unplug(before)
			a, b := w.start(1, deadDHT), w.start(2, deadDHT, seeds(seedOf(1)))
			time.Sleep(5 * time.Second)
			var ca, cb *client
			for i := range swarms {
				if i%1000 == 0 {
					ca, cb = a.client(fmt.Sprint("a", i)), b.client(fmt.Sprint("b", i))
				}
				ca.announce(hash(i), 1)
				cb.announce(hash(i), 1)
			}
			time.Sleep(100 * time.Millisecond)
			w.unplug(false)
			eventually(t, 40*time.Second, "all in common", func() bool { return common(a) == swarms && common(b) == swarms })
			for _, n := range []*node{a, b} {
				for why, count := range n.fed.Stats().Strikes {
					if count > 0 {
						t.Errorf("%d strikes for %s", count, why)
					}
				}
				if err := n.fed.Check(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What was there before the link is compared by filter, and what the nodes do
// not share stays unshared.
func TestSwarmsOfBeforeTheLink(t *testing.T) {
	for _, c := range []struct{ a, b, both int }{{400, 400, 100}, {3000, 10, 10}, {3, 2000, 1}, {300, 300, 300}, {500, 500, 0}} {
		inBubble(t, func(t *testing.T, w *world) {
			toNoon()
			w.unplug(true)
			a, b := w.start(1, deadDHT), w.start(2, deadDHT, seeds(seedOf(1)))
			ca, cb := a.client("alice"), b.client("bob")
			for i := range c.a {
				ca.announce(hash(i), 0)
			}
			for i := range c.b {
				cb.announce(hash(c.a-c.both+i), 0)
			}
			time.Sleep(100 * time.Millisecond)
			w.unplug(false)
			eventually(t, 5*time.Second, fmt.Sprint(c), func() bool { return common(a) == c.both && common(b) == c.both })
			time.Sleep(time.Minute)
			sa, sb := a.fed.Stats(), b.fed.Stats()
			if common(a) != c.both || sa.Mesh.Filters+sb.Mesh.Filters != 1 {
				t.Errorf("%+v: %d in common, %d and %d filters", c, common(a), sa.Mesh.Filters, sb.Mesh.Filters)
			}
			if joins := sa.Frames["join"] + sb.Frames["join"]; joins > uint64(3*c.both) {
				t.Errorf("%+v: %d joins", c, joins)
			}
		})
	}
}

// unplug makes dials fail, or work again.
func (w *world) unplug(cut bool) {
	w.mu.Lock()
	w.cut = cut
	w.mu.Unlock()
}

// A filter is repeated now and then, and finds what got lost.
func TestFiltersAreRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := linked(t, w)
		ca, cb := a.client("alice"), b.client("bob")
		for range 4 * 60 {
			ca.announce(hash(1), 0)
			cb.announce(hash(2), 0)
			time.Sleep(time.Minute)
		}
		if n := a.fed.Stats().Mesh.Filters + b.fed.Stats().Mesh.Filters; n < 6 || n > 24 {
			t.Errorf("%d filters in 4 hours", n)
		}
	})
}

// A node of before these frames is sent none but the census, and is served as
// it always was.
func TestOldNodeIsNotToldOfSwarms(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		p := w.puppet(50, a)
		ca := a.client("alice")
		for i := range 50 {
			ca.announce(hash(i), 2)
			time.Sleep(time.Second)
		}
		for range 60 {
			time.Sleep(2 * time.Minute)
			ca.announce(hash(3), 0)
		}
		if c, f, n := p.sent(frame.KindCensus), p.sent(frame.KindFilter), p.sent(frame.KindNames); len(c) != 1 || len(f)+len(n) > 0 {
			t.Fatalf("%d censuses, %d filters, %d names", len(c), len(f), len(n))
		}
		p.join(hash(3), 0, 1)
		if j := p.sent(frame.KindJoin); len(j) != 1 || string(j[0].Join.InfoHash) != hash(3) {
			t.Fatal("the join of an old node is not answered")
		}
	})
}
