package federation_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws/wsutil"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/dialguard"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/tracker"
)

// Both sides dial each other 500 times at once, while clients announce: one
// link is left, the same one on both sides, and every offer arrives once.
func TestThousandSimultaneousDials(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		many := func(c *federation.Config, _ *tracker.Config) { c.MaxHandshakes = 2000 }
		a, b := w.start(1, many, noRendezvous), w.start(2, many, noRendezvous)
		ca, cb := a.client("alice"), b.client("bob")
		cb.mute = true
		ca.announce(hash(1), 1)
		cb.announce(hash(1), 0)
		var dials sync.WaitGroup
		for range 500 {
			dials.Go(func() { a.fed.DialNow(b.cfg.URLs[0]) })
			dials.Go(func() { b.fed.DialNow(a.cfg.URLs[0]) })
		}
		dials.Wait()
		introduced1 := func() bool { o, _ := cb.got(); return len(o) > 0 }
		eventually(t, 5*time.Second, "the parked offer arrives", introduced1)
		n := 1
		for range 30 {
			time.Sleep(time.Second)
			ca.announce(hash(1), 1)
			n++
		}
		synctest.Wait()
		oneLink(t, a, b)
		if offers, _ := cb.got(); len(offers) != n {
			t.Fatalf("%d of %d offers arrived", len(offers), n)
		}
		for _, x := range []*node{a, b} {
			if st := x.fed.Stats(); st.Links < 1000 {
				t.Fatalf("only %d links came about", st.Links)
			}
			if err := errors.Join(x.fed.Check(), x.tr.Check()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Offers and answers that were being relayed while links come and go are
// neither lost nor doubled, as long as one link is there.
func TestNothingIsLostWhileLinksAreReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		cb.announce(hash(1), 0)
		ca.announce(hash(1), 1)
		introduced1 := func() bool { _, x := ca.got(); return len(x) > 0 }
		eventually(t, 5*time.Second, "they meet", introduced1)
		n := 1
		for i := range 40 {
			var dials sync.WaitGroup
			dials.Go(func() { a.fed.DialNow(b.cfg.URLs[0]) })
			dials.Go(func() { b.fed.DialNow(a.cfg.URLs[0]) })
			ca.announce(hash(1), 1)
			n++
			dials.Wait()
			time.Sleep(time.Duration(i%5) * 4 * time.Second) // within and beyond sameTime
			ca.announce(hash(1), 1)
			n++
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		oneLink(t, a, b)
		offers, _ := cb.got()
		_, answers := ca.got()
		if len(offers) != n || len(answers) != n {
			t.Fatalf("%d offers and %d answers of %d", len(offers), len(answers), n)
		}
	})
}

func TestDeadLinkMidRelay(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb, cc := a.client("alice"), b.client("bob"), a.client("carol")
		for _, c := range []*client{ca, cb} {
			c.announce(hash(1), 5)
		}
		introduced(t, ca, cb, 5*time.Second)
		w.mu.Lock()
		w.cut = true
		w.mu.Unlock()
		go func() { ca.announce(hash(1), 20) }()
		w.cutAll()
		cc.announce(hash(1), 5)
		introduced(t, ca, cc, 0) // those here notice nothing
		eventually(t, 5*time.Second, "the node's members are no longer counted", func() bool {
			st, _ := a.tr.State([]byte(hash(1)))
			return st.Nodes == 0
		})
		w.mu.Lock()
		w.cut = false
		w.mu.Unlock()
		eventually(t, time.Minute, "they share the swarm again", func() bool {
			st, _ := a.tr.State([]byte(hash(1)))
			return st.Nodes == 1
		})
	})
}

// A link whose other side is silently gone ends by missed pings.
func TestSilentLinkEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		w.deafPuppet(50, a)
		if len(a.fed.Status().Links) != 1 {
			t.Fatal("no link")
		}
		eventually(t, 70*time.Second, "it ends", func() bool { return len(a.fed.Status().Links) == 0 })
	})
}

func TestNodeThatNeverAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		sink := w.puppet(50, a)
		ca.announce(hash(1), 5)
		sink.join(hash(1), 0, 1000)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
		met := 0
		for i := range 20 {
			cc := a.client(fmt.Sprint("carol", i))
			cc.announce(hash(1), 5)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if _, answers := cc.got(); len(answers) > 0 {
				met++
			}
		}
		if met < 19 {
			t.Fatalf("%d of 20 clients met anybody next to a node that swallows offers", met)
		}
	})
}

func TestFloodingNodeIsCutOff(t *testing.T) {
	const flood = 100_000 // beyond every burst
	for _, c := range []struct {
		name  string
		frame func(i int) frame.Frame
	}{
		{"joins", func(i int) frame.Frame {
			return frame.Frame{Kind: frame.KindJoin, Join: frame.Join{InfoHash: []byte(hash(i)), Incomplete: 1}}
		}},
		{"frames", func(int) frame.Frame {
			return frame.Frame{Kind: frame.KindLeave, Leave: frame.Leave{InfoHash: []byte("x")}}
		}},
		{"offers", func(int) frame.Frame {
			o := frame.Offer{ID: []byte(`"i"`), Payload: []byte(`{"sdp":"x"}`)}
			return frame.Frame{Kind: frame.KindOffers, Offers: frame.Offers{InfoHash: []byte("x"), PeerID: []byte("y"), Offers: []frame.Offer{o, o, o, o, o, o, o, o}}}
		}},
		{"ids", func(int) frame.Frame { return frame.Frame{Kind: frame.KindLeave} }},
		{"payloads", func(int) frame.Frame {
			return frame.Frame{Kind: frame.KindOffers, Offers: frame.Offers{InfoHash: []byte("x"), PeerID: []byte("y"), Offers: []frame.Offer{{ID: []byte(`"i"`), Payload: []byte(`{"sdp":`)}}}}
		}},
		{"handshakes", func(int) frame.Frame { return frame.Frame{Kind: frame.KindProof} }},
		{"records", func(int) frame.Frame { return frame.Frame{Kind: frame.KindRecords} }},
		{"addresses", func(int) frame.Frame {
			return frame.Frame{Kind: frame.KindSeen, Seen: frame.Seen{Address: []byte{99, 9, 9, 9}}}
		}},
		{"no addresses", func(int) frame.Frame { return frame.Frame{Kind: frame.KindSeen, Seen: frame.Seen{Address: []byte{1}}} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				toNoon()
				a := w.start(1)
				p := w.puppet(50, a)
				sent := 0
				for ; sent < flood && p.send(c.frame(sent)) == nil; sent++ {
				}
				if sent == flood || !p.isClosed() {
					t.Fatalf("%d frames were taken", sent)
				}
				// It is left alone for a while.
				conn := w.dialRaw(a)
				q := &puppet{t: t, key: keyOf(50), conn: conn, side: p.side}
				w.prove(q, 50, a)
				go q.read()
				if synctest.Wait(); !q.isClosed() || len(a.fed.Status().Links) != 0 {
					t.Fatal("it was let in again at once")
				}
			})
		})
	}
}

// A later version's messages cost quota, and nothing else.
func TestUnknownFramesAreSkipped(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		p := w.puppet(50, a)
		for range 100 {
			p.write([]byte{0xfa, 0x07, 3, 1, 2, 3}) // field 127
		}
		a.client("alice").announce(hash(1), 1)
		p.join(hash(1), 0, 1)
		if len(p.sent(frame.KindOffers)) != 1 {
			t.Fatal("the link does not work any more")
		}
	})
}

func TestHandshakesThatFail(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		url := "ws://" + a.hp + "/federation"
		other, err := derive.New("another", nil)
		if err != nil {
			t.Fatal(err)
		}
		var hello, proof []byte // of a handshake that went well
		good := w.dialRaw(a)
		try := func(name string, c net.Conn, local handshake.Local, url string, spoil func(proof []byte) []byte) {
			t.Helper()
			d, first, err := handshake.Dial(local, handshake.Entropy{Nonce: [32]byte{9}, Scalar: [32]byte{9, 1}}, url, 1, handshake.Key{})
			if err != nil {
				t.Fatal(err)
			}
			wsutil.WriteClientBinary(c, first)
			if msg, err := wsutil.ReadServerBinary(c); err == nil {
				last, _, err := d.Handle(msg)
				if err == nil {
					if spoil == nil {
						hello, proof = first, last
					} else {
						last = spoil(last)
					}
					wsutil.WriteClientBinary(c, last)
				}
			}
			synctest.Wait()
			if n := len(a.fed.Status().Links); (n == 1) != (spoil == nil && name == "good") {
				t.Fatalf("%s: %d links", name, n)
			}
		}
		same := func(b []byte) []byte { return b }
		local := w.local(50)
		try("good", good, local, url, nil)
		good.Close()
		time.Sleep(time.Second)
		try("bad signature", w.dialRaw(a), local, url, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		try("another URL", w.dialRaw(a), local, "ws://victim.example:9001/federation", same)
		try("our own key", w.dialRaw(a), w.local(1), url, same)
		try("no common version", w.dialRaw(a), handshake.Local{Key: local.Key, Network: local.Network, Versions: []uint32{99}}, url, same)
		try("another network", w.dialRaw(a), handshake.Local{Key: local.Key, Network: other.ID(), Versions: local.Versions}, url, same)
		// Replayed: hello and proof as they were.
		c := w.dialRaw(a)
		wsutil.WriteClientBinary(c, hello)
		if _, err := wsutil.ReadServerBinary(c); err != nil {
			t.Fatal(err)
		}
		wsutil.WriteClientBinary(c, proof)
		if synctest.Wait(); len(a.fed.Status().Links) != 0 {
			t.Fatal("a replayed handshake was taken")
		}
		// Reflected: its own reply as our frames.
		c = w.dialRaw(a)
		wsutil.WriteClientBinary(c, hello)
		if reply, err := wsutil.ReadServerBinary(c); err == nil {
			wsutil.WriteClientBinary(c, reply)
		}
		if synctest.Wait(); len(a.fed.Status().Links) != 0 {
			t.Fatal("a reflected handshake was taken")
		}
		// Nothing at all is said, for ever: the connection ends.
		w.dialRaw(a)
		time.Sleep(time.Minute)
		if st := a.fed.Stats(); st.HandshakeIO == 0 {
			t.Fatal("an unproven connection is kept for ever")
		}
	})
}

// Connections that prove nothing do not pile up.
func TestUnprovenConnectionsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1, func(c *federation.Config, _ *tracker.Config) { c.MaxHandshakes = 20 })
		for range 100 {
			w.dialRaw(a)
		}
		synctest.Wait()
		if st := a.fed.Stats(); st.AcceptsEvicted != 80 {
			t.Fatalf("%d of 100 had to go for others", st.AcceptsEvicted)
		}
	})
}

// A node that lists a URL which leads into our own network is not dialled:
// the address is judged at the moment of connecting.
func TestSSRFIsRefusedAtTheDial(t *testing.T) {
	network, err := derive.New("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	reached := make(chan struct{}, 1)
	go func() {
		if c, err := listener.Accept(); err == nil {
			c.Close()
			reached <- struct{}{}
		}
	}()
	guard := dialguard.New(dialguard.Config{})
	for _, host := range []string{"127.0.0.1", "10.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.1.1", "100.64.0.1", "0.0.0.0", "[64:ff9b::7f00:1]", "[2002:7f00:1::1]", "224.0.0.1"} {
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		_, err := guard.DialContext(context.Background(), "tcp", host+":"+port)
		var refused *dialguard.RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", host, err)
		}
	}
	// The federation dials through a guard unless told otherwise, and counts
	// what that refuses. The name's address is the resolver's to change.
	watch := federation.NewWatcher()
	tr, err := tracker.New(tracker.Config{Watcher: watch})
	if err != nil {
		t.Fatal(err)
	}
	u, err := nodeaddr.Parse("wss://rebound.example:"+fmt.Sprint(listener.Addr().(*net.TCPAddr).Port), false)
	if err != nil {
		t.Fatal(err)
	}
	f, err := federation.New(federation.Config{
		Key: keyOf(1), Network: network, Tracker: tr, Watcher: watch, Seeds: []nodeaddr.URL{u}, Dialer: resolvesTo{guard, "127.0.0.1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.DialNow(u)
	if _, ok := federation.DefaultDialer(f).(*dialguard.Guard); !ok {
		t.Error("the default dialer is not a guard")
	}
	if n := guard.Stats().Refused[nodeaddr.Loopback]; n < 2 {
		t.Errorf("loopback was refused %d times", n)
	}
	select {
	case <-reached:
		t.Fatal("a loopback address was dialled")
	default:
	}
}

// resolvesTo is a guard behind a name server that says ip for every name.
type resolvesTo struct {
	guard *dialguard.Guard
	ip    string
}

func (r resolvesTo) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return r.guard.DialContext(ctx, network, net.JoinHostPort(r.ip, port))
}

// The swarm goes and comes back before anybody looks, so that the table has
// lost the other node's part while the link believes in it.
func TestSwarmThatWentAndCameBackUnseen(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
		for i := range 20 {
			// Within one turn of the scheduler, so the watcher sees the end.
			ca.s.Close()
			ca = a.client(fmt.Sprint("alice", i))
			ca.announce(hash(1), 5)
			introduced(t, ca, cb, 2*time.Second) // parked offers may wait for one
			synctest.Wait()
			sa, _ := a.tr.State([]byte(hash(1)))
			sb, _ := b.tr.State([]byte(hash(1)))
			if sa.RemoteIncomplete != 1 || sb.RemoteIncomplete != 1 {
				t.Fatalf("round %d: %+v and %+v", i, sa, sb)
			}
		}
	})
}

func TestNodeIsRestarted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
		for i := range 5 {
			b.stop()
			time.Sleep(time.Duration(i*10) * time.Second)
			b = w.start(2)
			cb = b.client(fmt.Sprint("bob", i))
			cb.announce(hash(1), 5)
			introduced(t, ca, cb, 5*time.Second)
		}
	})
}
