package federation_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/reach"
	"github.com/draeder/peerservers/tracker"
)

// town is a world whose nodes have addresses of their own, and nothing else:
// no URL, no certificate that others would trust.
type town struct {
	*world
	mu     sync.Mutex
	houses map[netip.Addr]*house // by the address at which others see it
	dials  map[netip.Addr]int
}

// house is where a node lives.
type house struct {
	*node
	town *town
	cert *tls.Certificate
	// Guarded by town.mu.
	seen     netip.Addr // where others see it
	local    []netip.Addr
	open     bool // links get through to it
	heard    []reach.Tally
	readOnly bool
}

func inTown(t *testing.T, test func(t *testing.T, w *town)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		test(t, &town{world: w, houses: make(map[netip.Addr]*house), dials: make(map[netip.Addr]int)})
	})
}

// fresh starts node i, which others see at addr; local are the addresses of
// its machine, which are behind NAT unless addr is among them.
func (w *town) fresh(i int, addr string, local []string, opts ...option) *house {
	w.t.Helper()
	h := &house{town: w, cert: selfSigned(w.t), seen: netip.MustParseAddr(addr)}
	for _, l := range local {
		h.local = append(h.local, netip.MustParseAddr(l))
		h.open = h.open || l == addr
	}
	leaf, err := x509.ParseCertificate(h.cert.Certificate[0])
	if err != nil {
		w.t.Fatal(err)
	}
	dir := &witness{w.dir.Node(netip.AddrPortFrom(h.seen, 8000)), h}
	h.node = w.make(i, append([]option{func(c *federation.Config, _ *tracker.Config) {
		c.URLs, c.AllowPrivate = nil, false
		c.Own = []netip.AddrPort{netip.MustParseAddrPort("[::]:8000")}
		c.Directory, c.Dialer = dir, h
		c.Guess = &federation.Guess{
			Pin:        func() [32]byte { return sha256.Sum256(leaf.RawSubjectPublicKeyInfo) },
			Interfaces: h.interfaces,
		}
	}}, opts...)...)
	w.mu.Lock()
	w.houses[h.seen] = h
	w.mu.Unlock()
	h.run()
	return h
}

func (h *house) interfaces() ([]netip.Addr, error) {
	h.town.mu.Lock()
	defer h.town.mu.Unlock()
	return append([]netip.Addr(nil), h.local...), nil
}

// hears makes DHT nodes of so many networks see the node at addr.
func (h *house) hears(addr string, networks int) {
	h.town.mu.Lock()
	defer h.town.mu.Unlock()
	h.heard = append(h.heard, reach.Tally{Addr: netip.MustParseAddr(addr), Networks: networks})
}

// witness is the directory of a house.
type witness struct {
	*dhtstore.MemoryNode
	h *house
}

func (w *witness) Heard() []reach.Tally {
	w.h.town.mu.Lock()
	defer w.h.town.mu.Unlock()
	return append([]reach.Tally(nil), w.h.heard...)
}

func (w *witness) SetReadOnly(yes bool) {
	w.h.town.mu.Lock()
	defer w.h.town.mu.Unlock()
	w.h.readOnly = yes
	if yes {
		w.Leave()
	}
}

func (h *house) asksOnly() bool {
	h.town.mu.Lock()
	defer h.town.mu.Unlock()
	return h.readOnly
}

// dialled is how often an address was dialled.
func (w *town) dialled(a netip.Addr) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dials[a]
}

// DialContext implements federation.Dialer: it goes to a house's TLS.
func (h *house) DialContext(_ context.Context, _, address string) (net.Conn, error) {
	w := h.town
	at := netip.MustParseAddrPort(address)
	w.mu.Lock()
	to, from := w.houses[at.Addr()], h.seen
	w.dials[at.Addr()]++
	open := to != nil && to.open
	w.mu.Unlock()
	if !open || at.Port() != 8000 {
		return nil, errUnreachable
	}
	near, far := net.Pipe()
	w.world.mu.Lock()
	w.made++
	ephemeral := netip.AddrPortFrom(from, uint16(20000+w.made))
	w.conns = append(w.conns, near, far)
	w.world.mu.Unlock()
	w.wait.Add(1)
	go func() {
		defer w.wait.Done()
		to.serve(tls.Server(placed{far, ephemeral}, &tls.Config{Certificates: []tls.Certificate{*to.cert}}))
	}()
	return placed{near, at}, nil
}

// placed gives a pipe an address.
type placed struct {
	net.Conn
	at netip.AddrPort
}

func (p placed) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(p.at) }

func (h *house) state() federation.Place { return h.fed.Place() }

// becomes waits for a state.
func (h *house) becomes(s reach.State, within time.Duration) {
	h.town.t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		synctest.Wait()
		if h.state().State == s {
			return
		}
		if time.Since(start) > within {
			h.town.t.Fatalf("%s is %v after %v, want %v", h.name, h.state(), within, s)
		}
	}
}

// Two fresh nodes on public addresses and nobody else: they meet, and each
// proves the other.
func TestTwoFreshNodes(t *testing.T) {
	for name, opts := range map[string][]option{"rendezvous": nil, "lists": {noRendezvous}} {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(t *testing.T, w *town) {
				a, b := w.fresh(1, "11.0.0.5", []string{"11.0.0.5"}, opts...), w.fresh(2, "12.0.0.5", []string{"12.0.0.5"}, opts...)
				ca, cb := a.client("alice"), b.client("bob")
				ca.announce(hash(1), 5)
				cb.announce(hash(1), 5)
				introduced(t, ca, cb, 5*time.Second)
				a.becomes(reach.Full, 20*time.Second)
				b.becomes(reach.Full, 20*time.Second)
				time.Sleep(time.Minute)
				oneLink(t, a.node, b.node)
				for _, h := range []*house{a, b} {
					if h.asksOnly() || h.fed.Status().Leaf || h.fed.Status().URLs[0] != "wss://"+h.seen.String()+":8000" {
						t.Errorf("%s: read only %v, %+v", h.name, h.asksOnly(), h.fed.Status())
					}
				}
				// A third meets them as it would any node.
				c := w.fresh(3, "13.0.0.5", []string{"13.0.0.5"}, opts...)
				cc := c.client("carol")
				cc.announce(hash(1), 5)
				introduced(t, ca, cc, 5*time.Second)
				introduced(t, cb, cc, 5*time.Second)
				c.becomes(reach.Full, 20*time.Second)
			})
		})
	}
}

// Clients come long after: the nodes, who knew nobody, have not given up.
func TestFreshNodesWait(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		a, b := w.fresh(1, "11.0.0.5", []string{"11.0.0.5"}, noRendezvous), w.fresh(2, "12.0.0.5", []string{"12.0.0.5"}, noRendezvous)
		time.Sleep(5 * time.Hour)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
	})
}

// Behind NAT the guess is tried, fails, and is given up; the node says why,
// asks the DHT without answering, and serves its clients by dialling out.
func TestFreshNodeBehindNAT(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		a := w.fresh(1, "11.0.0.5", []string{"11.0.0.5"})
		b := w.fresh(2, "12.0.0.1", []string{"192.168.1.2"})
		b.hears("12.0.0.1", 4)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
		b.becomes(reach.Unverified, 20*time.Second)
		b.becomes(reach.Leaf, time.Minute)
		if s := b.fed.Status(); !s.Leaf || len(s.URLs) != 0 || !strings.Contains(s.Why, "forward TCP port 8000") || !b.asksOnly() {
			t.Errorf("read only %v, %+v", b.asksOnly(), s)
		}
		if a.state().State != reach.Unverified && a.state().State != reach.Full {
			t.Errorf("the node that b dialled is %v", a.state())
		}
		a.becomes(reach.Full, time.Second)
		cd := b.client("dave")
		cd.announce(hash(1), 5)
		introduced(t, ca, cd, time.Second)
		time.Sleep(5 * time.Hour)
		if n := w.dialled(b.seen); n < 1 || n > 5 {
			t.Errorf("%d dials to the router in 5 hours", n)
		}
		// Its operator forwards the port, and it takes part.
		w.mu.Lock()
		b.open = true
		w.mu.Unlock()
		b.becomes(reach.Full, 8*time.Hour)
	})
}

// One network says that we are a victim, and nobody else says anything: all
// that the victim ever gets is a few connections, from all nodes together.
func TestGuessIsAVictim(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		victim := netip.MustParseAddr("99.9.9.9")
		var fooled []*house
		for i := range 6 {
			h := w.fresh(1+i, netip.AddrFrom4([4]byte{20, byte(i), 0, 1}).String(), []string{"192.168.1.2"})
			h.hears(victim.String(), 1)
			fooled = append(fooled, h)
		}
		honest := w.fresh(50, "11.0.0.5", []string{"11.0.0.5"})
		for i, h := range append(fooled, honest) {
			h.client(string(rune('a'+i))).announce(hash(1), 5)
		}
		for range 6 {
			time.Sleep(time.Hour)
			if n := len(honest.fed.Status().Links); n != len(fooled) {
				t.Fatalf("%d links with %d nodes", n, len(fooled))
			}
		}
		for _, h := range fooled {
			if h.state().State == reach.Full {
				t.Errorf("published as proven: %v", h.state())
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		// Each of the seven after half an hour, one more, two more: four times.
		if n := w.dials[victim]; n < 1 || n > 7*4 {
			t.Errorf("%d connections to the victim in 6 hours", n)
		}
	})
}

// What a node guesses goes to nobody but over its own links.
func TestGuessesAreNoGossip(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		a := w.fresh(1, "11.0.0.5", []string{"11.0.0.5"})
		b := w.fresh(2, "12.0.0.1", []string{"192.168.1.2"}, noRendezvous)
		b.hears("12.0.0.1", 4)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
		if b.state().State != reach.Unverified {
			t.Fatalf("b is %v", b.state())
		}
		c := w.fresh(3, "13.0.0.5", []string{"13.0.0.5"})
		a.becomes(reach.Full, 20*time.Second)
		for range 20 {
			time.Sleep(time.Second)
			synctest.Wait()
			if n := c.fed.Status().Known; n > 1 {
				t.Fatalf("c knows %d nodes, b is %v", n, b.state())
			}
		}
	})
}

// The address changes: nothing that was proven of the old one is said of the
// new one, and others follow.
func TestFreshNodeMoves(t *testing.T) {
	inTown(t, func(t *testing.T, w *town) {
		a, b := w.fresh(1, "11.0.0.5", []string{"11.0.0.5"}), w.fresh(2, "12.0.0.5", []string{"12.0.0.5"})
		a.becomes(reach.Full, 30*time.Second)
		b.becomes(reach.Full, 30*time.Second)
		w.mu.Lock()
		delete(w.houses, b.seen)
		b.seen = netip.MustParseAddr("14.0.0.5")
		b.local = []netip.Addr{b.seen}
		w.houses[b.seen] = b
		w.mu.Unlock()
		w.cutAll()
		b.becomes(reach.Unverified, time.Minute)
		if u := b.fed.Status().URLs; len(u) != 1 || u[0] != "wss://14.0.0.5:8000" {
			t.Fatalf("it says %v", u)
		}
		b.becomes(reach.Full, time.Minute)
	})
}
