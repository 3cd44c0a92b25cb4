package federation_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

// Bubbles start at midnight UTC of 1 January 2000. Most tests first go on to
// noon, where one epoch counts.
func toNoon() { time.Sleep(12 * time.Hour) }

func TestAnnounceOnceCold(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		time.Sleep(time.Second)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
	})
}

// The first client's offers are long gone by the time the second comes: only
// the second's can introduce them.
func TestAnnounceOnceLongBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1, noRendezvous), w.start(2, noRendezvous)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		time.Sleep(4 * time.Minute)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
	})
}

func TestAnnounceOnceWhenSharing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
		cc := a.client("carol")
		cc.announce(hash(1), 5)
		introduced(t, cc, cb, 100*time.Millisecond)
	})
}

// The swarm was shared, one side's clients left, and come back: the link and
// the other side's word that it has the swarm are still there.
func TestAnnounceOnceWhenSharedBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
		cb.s.Close()
		time.Sleep(3 * time.Minute)
		ca.announce(hash(1), 0)
		cd := b.client("dave")
		cd.announce(hash(1), 5)
		introduced(t, ca, cd, 500*time.Millisecond)
	})
}

func TestTwoNodesAtTheSameMoment(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.make(1), w.make(2)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		a.run()
		b.run()
		introduced(t, ca, cb, 5*time.Second)
		oneLink(t, a, b)
	})
}

func TestListsCarryItAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1, noRendezvous), w.start(2, noRendezvous)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(a.fed.Status().Links) + len(b.fed.Status().Links); n != 0 {
			t.Fatalf("%d links without a swarm in common", n)
		}
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		time.Sleep(time.Second)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
	})
}

func TestLeafLast(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1, noRendezvous)
		ca := a.client("alice")
		ca.announce(hash(1), 5)
		time.Sleep(2 * time.Minute)
		b := w.start(2, leaf, noRendezvous)
		cb := b.client("bob")
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
	})
}

// A leaf is in no list, so its own search must find the other side, while the
// offers there wait (45 s).
func TestLeafFirst(t *testing.T) {
	for _, before := range []time.Duration{time.Second, 10 * time.Second, time.Minute, 4 * time.Minute} {
		inBubble(t, func(t *testing.T, w *world) {
			toNoon()
			a := w.start(1, leaf, noRendezvous)
			ca := a.client("alice")
			ca.announce(hash(1), 5)
			time.Sleep(before)
			b := w.start(2, noRendezvous)
			cb := b.client("bob")
			cb.announce(hash(1), 5)
			introduced(t, ca, cb, 45*time.Second)
			for _, addr := range w.dir.Announced(w.net.Swarm(derive.Epoch(time.Now().Unix()), wire.Raw20([]byte(hash(1))))) {
				if addr == a.dir.Addr() {
					t.Error("a leaf announced itself")
				}
			}
		})
	}
}

func TestLeafKeepsThreeLinks(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		for i := 1; i <= 5; i++ {
			w.start(i)
		}
		time.Sleep(5 * time.Second)
		l := w.start(9, leaf)
		l.client("alice").announce(hash(1), 5)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := len(l.fed.Status().Links); n < 3 {
			t.Fatalf("leaf has %d links", n)
		}
		if st := l.fed.Status(); !st.Leaf || st.Why == "" {
			t.Fatalf("status does not say that this is a leaf: %+v", st)
		}
	})
}

func TestClocksAnHourApart(t *testing.T) {
	for _, at := range []time.Duration{0, 30 * time.Minute, 12 * time.Hour, 23*time.Hour + 30*time.Minute} {
		inBubble(t, func(t *testing.T, w *world) {
			time.Sleep(24*time.Hour + at)
			a, b := w.start(1, clock(-30*time.Minute)), w.start(2, clock(30*time.Minute))
			ca, cb := a.client("alice"), b.client("bob")
			ca.announce(hash(1), 5)
			time.Sleep(time.Second)
			cb.announce(hash(1), 5)
			introduced(t, ca, cb, 5*time.Second)
		})
	}
}

func TestBothSidesOfMidnight(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		time.Sleep(24*time.Hour - 10*time.Second)
		a := w.start(1, noRendezvous)
		ca := a.client("alice")
		ca.announce(hash(1), 5)
		time.Sleep(20 * time.Second) // a new day
		b := w.start(2, noRendezvous)
		cb := b.client("bob")
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
	})
}

// memoryStore is a Store that outlives its node.
type memoryStore struct{ list []federation.Saved }

func (s *memoryStore) Load() ([]federation.Saved, error)  { return s.list, nil }
func (s *memoryStore) Save(list []federation.Saved) error { s.list = list; return nil }

func TestRestartWithDeadNodesSaved(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		dead := &memoryStore{}
		for i := range 200 {
			n := w.make(300 + i)
			s, err := record.Sign(n.key, time.Now().Unix(), record.Record{
				Caps: record.CapRelay, Protocol: 1, Expires: time.Now().Unix() + 3600, URLs: n.cfg.URLs,
			}, record.Seal{})
			if err != nil {
				t.Fatal(err)
			}
			dead.list = append(dead.list, federation.Saved{Record: s, FirstSeen: time.Now().Add(-time.Hour)})
			n.run()
			n.stop()
		}
		saved := func(c *federation.Config, _ *tracker.Config) { c.Store = dead }
		a, b := w.start(1), w.start(2, saved)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		time.Sleep(time.Second)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
	})
}

// A node that comes back finds the others by what it saved, although the
// directory is dead.
func TestSavedNodesReplaceTheDirectory(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		store := &memoryStore{}
		saved := func(c *federation.Config, _ *tracker.Config) { c.Store = store }
		a, b := w.start(1), w.start(2, saved)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		oneLink(t, a, b)
		b.stop()
		w.dir.SetFail(errors.New("no network"))
		b = w.start(2, saved)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		oneLink(t, a, b)
	})
}

func TestSameClientOnBothNodes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b, c := w.start(1), w.start(2), w.start(3)
		ca, cb := a.client("alice"), b.client("alice")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		for range 4 {
			time.Sleep(30 * time.Second)
			ca.announce(hash(1), 5)
			cb.announce(hash(1), 5)
		}
		synctest.Wait()
		for _, cl := range []*client{ca, cb} {
			if offers, _ := cl.got(); len(offers) > 0 {
				t.Fatalf("a client got its own offer: %v", offers)
			}
			last := cl.replies[len(cl.replies)-1]
			if last.Complete+last.Incomplete != 1 {
				t.Fatalf("one client counts as %d", last.Complete+last.Incomplete)
			}
		}
		if a.fed.Status().Hungry != 1 || b.fed.Status().Hungry != 1 {
			t.Fatal("nodes with nothing but the same client are not hungry")
		}
		// Hungry nodes go on looking, and find somebody new.
		cc := c.client("carol")
		cc.announce(hash(1), 5)
		introduced(t, ca, cc, 5*time.Second)
	})
}

func TestLinkIsRedialledAfterALoss(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
		for i := range 5 {
			w.cutAll()
			time.Sleep(20 * time.Second)
			cc := a.client(fmt.Sprint("carol", i))
			cc.announce(hash(1), 10) // one for everybody, however they are drawn
			introduced(t, cc, cb, time.Second)
		}
		oneLink(t, a, b)
	})
}

// An answer finds its way although the link over which the offer came is gone:
// the ledger belongs to the node, not to the link.
func TestAnswerAfterTheLinkWasReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		cb.mute = true
		cb.announce(hash(1), 0)
		time.Sleep(time.Second)
		ca.announce(hash(1), 1)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		offers, _ := cb.got()
		if len(offers) != 1 {
			t.Fatalf("%d offers arrived", len(offers))
		}
		w.cutAll()
		time.Sleep(20 * time.Second)
		cb.answer(hash(1), offers[0])
		cb.answer(hash(1), offers[0]) // at most one answer each
		time.Sleep(time.Second)
		synctest.Wait()
		if _, answers := ca.got(); len(answers) != 1 {
			t.Fatalf("%d answers came back", len(answers))
		}
	})
}

func TestDeadDirectory(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		w.dir.SetFail(errors.New("no network"))
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cc := a.client("carol")
		cc.announce(hash(1), 5)
		introduced(t, ca, cc, 0) // local clients notice nothing
		cb.announce(hash(1), 5)
		time.Sleep(30 * time.Second)
		w.dir.SetFail(nil)
		introduced(t, ca, cb, 2*time.Minute)
	})
}

// oneLink fails unless a and b have exactly one link, the same one.
func oneLink(t *testing.T, a, b *node) {
	t.Helper()
	sa, sb := a.fed.Status(), b.fed.Status()
	if len(sa.Links) != 1 || len(sb.Links) != 1 {
		t.Fatalf("%d and %d peers", len(sa.Links), len(sb.Links))
	}
	if sa.Links[0].Direction == sb.Links[0].Direction {
		t.Fatal("the two sides use different links")
	}
}
