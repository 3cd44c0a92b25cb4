package federation_test

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/federation/registry"
	"github.com/draeder/peerservers/tracker"
)

// registered lowers what it takes for nodes to be responsible for swarms.
func registered(from int) option {
	return func(c *federation.Config, _ *tracker.Config) {
		c.Mesh.RegistryFrom, c.Mesh.RegistryAfter = from, time.Millisecond
	}
}

func keyAt(i int) mesh.Key { return mesh.Key(keyOf(i).Public().(ed25519.PublicKey)) }

// between is a swarm for which nodes 3, 4 and 5 of seven are responsible.
func between(w *world) string {
	network := filter.Key(w.net.BucketKey())
	r := registry.NewRing(network)
	for i := range 7 {
		r.Add(registry.Key(keyAt(1+i)), netip.AddrPort{})
	}
	for i := 0; ; i++ {
		keys := r.Responsible(registry.Bucket(network.Bucket(hash(i)))).Keys()
		if !slices.ContainsFunc(keys, func(k registry.Key) bool {
			return !slices.Contains([]registry.Key{registry.Key(keyAt(3)), registry.Key(keyAt(4)), registry.Key(keyAt(5))}, k)
		}) {
			return hash(i)
		}
	}
}

// apart are two nodes and others, of which both are linked with nodes 3 to 5, and
// not with each other. There is no DHT.
func apart(t testing.TB, start func(i int, opts ...option) *node, from int) (a, b *node, others []*node) {
	t.Helper()
	var urls []string
	started := 0
	more := func(i int) *node {
		n := start(i, deadDHT, seeds(urls...), registered(from))
		reached := min(started, 3)
		until(t, fmt.Sprintf("node %d knows those before", i), func() bool {
			// Those that it dialled name the others to it.
			for _, o := range others[:reached] {
				if links(o) < started {
					return false
				}
			}
			return links(n) >= reached && n.fed.Known() >= started
		})
		started++
		return n
	}
	for i := range 5 {
		n := more(3 + i)
		others = append(others, n)
		urls = append(urls, n.cfg.URLs[0].String())
	}
	a, b = more(1), more(2)
	until(t, "both have responsible nodes", func() bool {
		return from < 0 || a.fed.Stats().Counts.Responsible > 0 && b.fed.Stats().Counts.Responsible > 0
	})
	for _, l := range a.fed.Status().Links {
		if l.Key == fmt.Sprintf("%x", keyAt(2)) {
			t.Fatal("the two are linked already")
		}
	}
	return a, b, others
}

// until waits for ok, for far longer than it takes.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not yet: %s", what)
		}
	}
}

func links(n *node) int { return len(n.fed.Status().Links) }

// Two nodes that are not linked, and have nothing but links with others, find
// each other through those that are responsible for their swarm.
func TestMeetThroughAResponsibleNode(t *testing.T) {
	for _, on := range []bool{true, false} {
		inBubble(t, func(t *testing.T, w *world) {
			toNoon()
			from := 4
			if !on {
				from = -1
			}
			a, b, others := apart(t, w.start, from)
			time.Sleep(time.Second) // all buckets are assigned
			ca, cb := a.client("alice"), b.client("bob")
			ih := between(w)
			ca.announce(ih, 5)
			time.Sleep(3 * time.Second)
			cb.announce(ih, 5)
			if !on {
				time.Sleep(20 * time.Second)
				if ca.met(cb) {
					t.Error("they met otherwise: this test shows nothing")
				}
				return
			}
			introduced(t, ca, cb, 5*time.Second)
			s := b.fed.Stats()
			if s.Mesh.Told == 0 || s.Mesh.Registered == 0 || s.Mesh.Asked == 0 {
				t.Errorf("told of %d nodes after %d names and %d questions", s.Mesh.Told, s.Mesh.Registered, s.Mesh.Asked)
			}
			held, told := 0, uint64(0)
			for _, n := range append(others, a, b) {
				s := n.fed.Stats()
				held, told = held+s.Registry.Held, told+s.Registry.Told
				for why, count := range s.Strikes {
					if count > 0 {
						t.Errorf("%d strikes for %s", count, why)
					}
				}
				if err := n.fed.Check(); err != nil {
					t.Error(err)
				}
			}
			if held < registry.Replicas || held > 2*registry.Replicas || told == 0 {
				t.Errorf("%d registrations, %d records told", held, told)
			}
		})
	}
}

// The same over real sockets.
func TestMeetThroughAResponsibleNodeOnLoopback(t *testing.T) {
	defer goleak.VerifyNone(t)
	w := newWorld(t)
	defer w.close()
	start := func(i int, opts ...option) *node { return onLoopback(t, w, i, nil, opts...) }
	a, b, _ := apart(t, start, 4)
	ca, cb := a.client("alice"), b.client("bob")
	ih := between(w)
	ca.announce(ih, 5)
	cb.announce(ih, 5)
	await(t, ca, cb)
}

// A leaf asks those responsible, and finds who registered; others are never
// told of it.
func TestALeafMeetsThroughAResponsibleNode(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		asLeaf := func(i int, opts ...option) *node {
			if i == 2 {
				opts = append(opts, leaf)
			}
			return w.start(i, opts...)
		}
		a, b, others := apart(t, asLeaf, 4)
		time.Sleep(time.Second) // all buckets are assigned
		ca, cb := a.client("alice"), b.client("bob")
		ih := between(w)
		ca.announce(ih, 5)
		time.Sleep(3 * time.Second)
		cb.announce(ih, 5)
		introduced(t, ca, cb, 5*time.Second)
		if n := b.fed.Stats().Mesh.Registered; n > 0 {
			t.Errorf("a leaf registered %d swarms", n)
		}
		held := 0
		for _, n := range others {
			held += n.fed.Stats().Registry.Held
		}
		if held == 0 || held > registry.Replicas {
			t.Errorf("%d registrations", held)
		}
	})
}

// absentNode is one that others know of, and that is not there.
const absentNode = 99

// askForAbsent has both sides of a play ask each other for a swarm that it
// registered, as they do when a hundred nodes are there.
func (s *stage) askForAbsent() {
	now := time.Now().Unix()
	u, err := nodeaddr.Parse("ws://"+address(absentNode), true)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := record.Sign(keyOf(absentNode), now, record.Record{
		Caps: record.CapRelay | record.CapRegister, Protocol: 1, Expires: now + record.Lifetime, URLs: []nodeaddr.URL{u},
	}, record.Seal{})
	if err != nil {
		s.t.Fatal(err)
	}
	network := filter.Key(s.w.net.BucketKey())
	for _, side := range []int{dialler, acceptor} {
		fed := s.nodes[side].fed
		if err := fed.Learn(r); err != nil {
			s.t.Fatal(err)
		}
		name := registry.Name(network, registry.Key(keyAt(side)), hash(1))
		fed.Registered(keyAt(absentNode), name)
		s.nodes[dialler+acceptor-side].fed.SendRegister(keyAt(side), []uint64{name + 1}, []uint64{name})
	}
}

// Responsible nodes that were restarted know soon again what was registered with
// them, not only when it is repeated.
func TestRegistrationsOutliveThoseWhoKeepThem(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b, others := apart(t, w.start, 4)
		time.Sleep(time.Second) // all buckets are assigned
		ca, cb := a.client("alice"), b.client("bob")
		ih := between(w)
		ca.announce(ih, 5)
		time.Sleep(time.Minute)
		for i, n := range others[:registry.Replicas] {
			if n.fed.Stats().Registry.Held == 0 {
				t.Fatal("nothing was registered")
			}
			n.stop()
			others[i] = w.start(3+i, deadDHT, seeds(a.cfg.URLs[0].String(), b.cfg.URLs[0].String()), registered(4))
		}
		time.Sleep(time.Minute)
		for i, n := range others[:registry.Replicas] {
			if n.fed.Stats().Registry.Held == 0 {
				t.Errorf("node %d knows nothing any more", 3+i)
			}
		}
		cb.announce(ih, 5)
		introduced(t, ca, cb, 5*time.Second)
	})
}
