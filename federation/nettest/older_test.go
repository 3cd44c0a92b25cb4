//go:build linux

package nettest_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/nettest"
)

// older is a node of before there were censuses, filters and names: it knows
// the first ten messages of the protocol, and a swarm with one peer.
type older struct {
	t     *testing.T
	conn  net.Conn
	swarm string
	peer  string

	write sync.Mutex
	mu    sync.Mutex
	kinds []frame.Kind // of the frames that it got
	from  []string     // whose offers it got
	known []string     // whose answers
}

// dial links an older node on h with n.
func (l *lab) dial(h *nettest.Host, n *nettest.Node, swarm, peer string) *older {
	t := l.t
	t.Helper()
	network, err := derive.New(derive.DefaultName, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), nettest.Patience)
	defer cancel()
	url := "wss" + strings.TrimPrefix(n.URL, "ws") + "/federation"
	d := ws.Dialer{Protocols: []string{federation.Subprotocol}, NetDial: h.DialContext, TLSConfig: l.TLS()}
	conn, _, _, err := d.Dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	o := &older{t: t, conn: conn, swarm: swarm, peer: peer}
	var e handshake.Entropy
	rand.Read(e.Nonce[:])
	rand.Read(e.Scalar[:])
	local := handshake.Local{Key: key, Network: network.ID(), Versions: []uint32{1}}
	hs, hello, err := handshake.Dial(local, e, url, 1, handshake.Key{})
	if err != nil {
		t.Fatal(err)
	}
	o.raw(hello)
	reply, err := wsutil.ReadServerBinary(conn)
	if err != nil {
		t.Fatal(err)
	}
	proof, _, err := hs.Handle(reply)
	if err != nil {
		t.Fatal(err)
	}
	o.raw(proof)
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.read()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return o
}

func (o *older) raw(b []byte) {
	o.write.Lock()
	defer o.write.Unlock()
	if err := wsutil.WriteClientBinary(o.conn, b); err != nil {
		o.t.Errorf("older node: %v", err)
	}
}

func (o *older) send(f frame.Frame) { o.raw(frame.Append(nil, &f)) }

func (o *older) join() {
	o.send(frame.Frame{Kind: frame.KindJoin, Join: frame.Join{InfoHash: []byte(o.swarm), Incomplete: 1}})
}

// offer is one of its peer's, to somebody over there.
func (o *older) offer(id string) {
	o.send(frame.Frame{Kind: frame.KindOffers, Offers: frame.Offers{
		InfoHash: []byte(o.swarm), PeerID: []byte(o.peer),
		Offers: []frame.Offer{{ID: []byte(strconv.Quote(id)), Payload: []byte(`{"type":"offer","sdp":"older"}`)}},
	}})
}

// read answers the offers that it gets.
func (o *older) read() {
	for {
		b, err := wsutil.ReadServerBinary(o.conn)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
				o.t.Errorf("older node: %v", err)
			}
			return
		}
		var f frame.Frame
		if err := f.Decode(b, frame.DefaultLimits()); err != nil {
			o.t.Errorf("older node: %v", err)
			return
		}
		o.mu.Lock()
		o.kinds = append(o.kinds, f.Kind)
		switch f.Kind {
		case frame.KindOffers:
			o.from = append(o.from, string(f.Offers.PeerID))
		case frame.KindAnswer:
			o.known = append(o.known, string(f.Answer.PeerID))
		}
		o.mu.Unlock()
		if f.Kind == frame.KindOffers {
			for _, offer := range f.Offers.Offers {
				o.send(frame.Frame{Kind: frame.KindAnswer, Answer: frame.Answer{
					InfoHash: f.Offers.InfoHash, ToPeerID: f.Offers.PeerID, PeerID: []byte(o.peer),
					OfferID: offer.ID, Payload: []byte(`{"type":"answer","sdp":"older"}`),
				}})
			}
		}
	}
}

// got reports whether a frame of that kind has come.
func (o *older) got(k frame.Kind) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Contains(o.kinds, k)
}

// TestOlderNode puts a node of an older version beside new ones: it is served
// with the frames that it knows, while the new ones use all among themselves.
func TestOlderNode(t *testing.T) {
	t.Parallel()
	l := newLab(t, far)
	l.start()
	all := []*nettest.Client{l.client(0, "new0", "older"), l.client(1, "new1", "older"), l.client(2, "new2", "older")}
	o := l.dial(l.Host("older", "11.6.0.1"), l.nodes[0], hash("older"), "-OL0001-000000000001")
	o.join()
	nettest.Eventually(t, "a join for the older node", func() bool { return o.got(frame.KindJoin) })
	// The older node is linked with node 0 alone.
	members(t, all[0], "older", 4)
	members(t, all[1], "older", 3)
	members(t, all[2], "older", 3)

	ids := all[0].Announce(hash("older"), 3)
	nettest.Eventually(t, "answers of all three", func() bool { return len(answers(all[0], ids)) == 3 })
	if !slices.Contains(answers(all[0], ids), o.peer) {
		t.Errorf("answers of %q", answers(all[0], ids))
	}
	o.offer("one")
	nettest.Eventually(t, "an answer for the older node", func() bool { return o.got(frame.KindAnswer) })

	// A swarm that begins is named to the new nodes, and not to it.
	named := l.nodes[1].Metric("peerservers_federation_frames_total", `kind="names"`)
	l.client(0, "name", "named")
	nettest.Eventually(t, "a name for node 1", func() bool {
		return l.nodes[1].Metric("peerservers_federation_frames_total", `kind="names"`) > named
	})
	o.offer("two") // whatever was sent to it before comes before the answer
	nettest.Eventually(t, "another answer for the older node", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.known) == 2
	})
	for _, k := range []frame.Kind{frame.KindFilter, frame.KindNames} {
		if o.got(k) {
			t.Errorf("it was sent %v", k)
		}
	}
	for i, n := range l.nodes {
		if strikes := n.Metric("peerservers_federation_strikes_total", ""); strikes != 0 {
			t.Errorf("node %d counts %v strikes", i, strikes)
		}
	}
	alive(t, all...)
}
