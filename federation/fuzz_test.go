package federation

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

// strict is a client's connection that fails if it is handed anything that
// would break a browser.
type strict struct{ t testing.TB }

func (s strict) Deliver(m *wire.Message) {
	b := wire.Append(nil, m)
	var v struct {
		Action   string          `json:"action"`
		InfoHash string          `json:"info_hash"`
		Offer    json.RawMessage `json:"offer"`
		Answer   json.RawMessage `json:"answer"`
	}
	if !utf8.Valid(b) || json.Unmarshal(b, &v) != nil || v.Action != "announce" || v.InfoHash == "" {
		s.t.Fatalf("a client was sent %q", b)
	}
}
func (strict) Ping()                 {}
func (strict) Close(_ int, _ string) {}

// FuzzLinkFrames plays any frames of a hostile node, one after the other
// (each preceded by its length in two bytes), into a link of a node with a
// client. Nothing breaks, and the client is handed only what is well-formed.
func FuzzLinkFrames(f *testing.F) {
	join := frame.AppendJoin(nil, &frame.Join{InfoHash: []byte("swarm"), Incomplete: 3})
	offer := frame.AppendOffers(nil, &frame.Offers{InfoHash: []byte("swarm"), PeerID: []byte("p"), Offers: []frame.Offer{{ID: []byte(`"1"`), Payload: []byte(`{"sdp":"x"}`)}}})
	bad := frame.AppendOffers(nil, &frame.Offers{InfoHash: []byte("swarm"), PeerID: []byte("p"), Offers: []frame.Offer{{ID: []byte(`"1"`), Payload: []byte("{\"sdp\":\"\xff\"}")}}})
	answer := frame.AppendAnswer(nil, &frame.Answer{InfoHash: []byte("swarm"), ToPeerID: []byte("client"), PeerID: []byte("p"), OfferID: []byte(`"o"`), Payload: []byte(`{"sdp":"x"}`)})
	refused := frame.AppendRefused(nil, &frame.Refused{InfoHash: []byte("swarm"), PeerID: []byte("client"), Offer: frame.Offer{ID: []byte(`"o"`), Payload: []byte(`{"type":"offer","sdp":"s"}`)}, Reason: 99})
	records := frame.AppendRecords(nil, []frame.Record{{Key: make([]byte, 32), Seq: 1, Signature: make([]byte, 64), Value: []byte("de")}})
	seed := func(frames ...[]byte) {
		var b []byte
		for _, m := range frames {
			b = binary.BigEndian.AppendUint16(b, uint16(len(m)))
			b = append(b, m...)
		}
		f.Add(b)
	}
	seed(join, offer, answer, refused)
	seed(offer, bad, join, frame.AppendLeave(nil, []byte("swarm"), false), offer)
	seed(records, frame.AppendBye(nil, frame.CodeDuplicate))
	// The keys of the link are all zero here: this names its swarm.
	network, err := derive.New("fuzz", nil)
	if err != nil {
		f.Fatal(err)
	}
	census, k := frame.AppendCensus(nil, 1<<40), filter.Key{}
	name := k.Generation(0).Name(filter.Key(network.BucketKey()).Bucket("swarm"), "swarm")
	part := filter.Append(nil, []uint64{k.Generation(1).Sum("swarm")})
	whole := frame.AppendFilter(nil, &frame.Filter{Generation: 1, To: filter.Buckets, Data: part})
	empty := frame.AppendFilter(nil, &frame.Filter{Generation: 2, From: 5, To: 5, Data: part[:2]})
	seed(census, whole, empty, census, whole)
	seed(frame.AppendNames(nil, []uint64{name, 1, name}), join, offer, frame.AppendLeave(nil, []byte("swarm"), false), frame.AppendNames(nil, []uint64{name}))
	seed(frame.AppendRegister(nil, []uint64{1, 2, name}, []uint64{2, name}), frame.AppendRegister(nil, nil, []uint64{1}), frame.AppendRegister(nil, []uint64{1}, nil))
	seed(records, frame.AppendTold(nil, &frame.Told{
		Records: []frame.Record{{Key: make([]byte, 32), Seq: 1, Signature: make([]byte, 64), Value: []byte("de")}},
		Found:   []frame.Found{{Name: 1, Nodes: []byte{0, 1, 0}}, {Name: name, Nodes: []byte{0}}},
	}), frame.AppendTold(nil, &frame.Told{}))
	seed([]byte{0xfa, 0x07, 1, 1}, nil, bytes.Repeat([]byte{0xff}, 40))

	f.Fuzz(func(t *testing.T, script []byte) {
		watch := NewWatcher()
		tr, err := tracker.New(tracker.Config{Shards: 1, Watcher: watch})
		if err != nil {
			t.Fatal(err)
		}
		s := tr.Open(strict{t}, tracker.Client{})
		s.Handle([]byte(`{"action":"announce","info_hash":"swarm","peer_id":"client","numwant":1,"offers":[{"offer_id":"o","offer":{"type":"offer","sdp":"s"}}]}`))
		fed, err := New(Config{Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Network: network, Tracker: tr, Watcher: watch, Dialer: nobody{}, Mesh: mesh.Config{RegistryFrom: 1, RegistryAfter: 1}})
		if err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		l, err := fed.newLink(near, newCarrier(near, nil, false), newOutbox(false), handshake.Session{Peer: handshake.Key{1}}, netip.AddrPort{})
		if err != nil || !l.peer.addLink(l) {
			t.Fatal("no link", err)
		}
		fed.cancel() // nothing is waited for
		limits := frame.DefaultLimits()
		for len(script) >= 2 {
			n := min(int(binary.BigEndian.Uint16(script)), len(script)-2)
			l.now = fed.now()
			if done, err := l.take(script[2:2+n], &limits); done || err != nil {
				break
			}
			script = script[2+n:]
			fed.lookAtSwarms()
		}
		fed.mu.Lock()
		err = fed.mesh.Check()
		fed.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Check(); err != nil {
			t.Fatal(err)
		}
		if st, ok := tr.State([]byte("swarm")); !ok || st.LocalIncomplete != 1 {
			t.Fatalf("the client's membership is %+v", st)
		}
		fed.work.Wait()
	})
}

// nobody is a Dialer for which there is nobody.
type nobody struct{ Dialer }

// FuzzCarrier reads any bytes as a WebSocket connection, and once more with a
// buffer that holds next to nothing, byte by byte, which says the same.
func FuzzCarrier(f *testing.F) {
	mask := [4]byte{1, 2, 3, 4}
	whole := appendFrame(nil, ws.OpBinary, []byte("hello"), &mask)
	f.Add(whole, false)
	f.Add(append(appendFrame(nil, ws.OpPing, nil, &mask), whole...), false)
	f.Add(appendFrame(nil, ws.OpBinary, bytes.Repeat([]byte("x"), 70_000), nil), true)
	f.Add([]byte{0x02, 0x01, 'a', 0x89, 0x00, 0x80, 0x01, 'b'}, true) // fragmented, with a ping between
	f.Add([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, false)
	f.Fuzz(func(t *testing.T, data []byte, client bool) {
		c := newCarrier(bytesConn{r: bytes.NewReader(data)}, nil, client)
		small := newCarrier(nil, bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(data)), 16), client)
		const most = 100_000
		for {
			op, msg, err := c.read(most)
			sop, smsg, serr := small.read(most)
			if (err == nil) != (serr == nil) || sop != op || !bytes.Equal(smsg, msg) {
				t.Fatalf("%v %q %v, and in pieces %v %q %v", op, msg, err, sop, smsg, serr)
			}
			if err != nil {
				return
			}
			if len(msg) > most || op.IsControl() && len(msg) > 125 || op == ws.OpText || op == ws.OpContinuation {
				t.Fatalf("%v of %d bytes", op, len(msg))
			}
			if cap(c.partial) > 4*len(data)+2*keptBuffer {
				t.Fatalf("%d bytes of memory for %d", cap(c.partial), len(data))
			}
		}
	})
}

type bytesConn struct {
	net.Conn
	r *bytes.Reader
}

func (b bytesConn) Read(p []byte) (int, error)    { return b.r.Read(p) }
func (bytesConn) SetReadDeadline(time.Time) error { return nil }

// What a fragmented message with a ping in between says, it says whole.
func TestCarrierJoinsFragments(t *testing.T) {
	data := []byte{0x02, 0x01, 'a', 0x89, 0x00, 0x00, 0x00, 0x80, 0x02, 'b', 'c'}
	c := newCarrier(bytesConn{r: bytes.NewReader(data)}, nil, true)
	if op, _, err := c.read(100); op != ws.OpPing || err != nil {
		t.Fatal(op, err)
	}
	if op, msg, err := c.read(100); op != ws.OpBinary || string(msg) != "abc" || err != nil {
		t.Fatalf("%v %q %v", op, msg, err)
	}
}

func TestCarrierRefuses(t *testing.T) {
	mask := [4]byte{1, 2, 3, 4}
	for name, c := range map[string]struct {
		data   []byte
		client bool
	}{
		"masked by a server":       {appendFrame(nil, ws.OpBinary, []byte("x"), &mask), true},
		"not masked by a client":   {appendFrame(nil, ws.OpBinary, []byte("x"), nil), false},
		"text":                     {appendFrame(nil, ws.OpText, []byte("x"), nil), true},
		"too big":                  {appendFrame(nil, ws.OpBinary, make([]byte, 101), nil), true},
		"too big in pieces":        {append([]byte{0x02, 60}, append(make([]byte, 60), append([]byte{0x80, 60}, make([]byte, 60)...)...)...), true},
		"continues nothing":        {[]byte{0x80, 0}, true},
		"reserved bit":             {[]byte{0xc2, 0}, true},
		"large control frame":      {append([]byte{0x89, 126, 0, 126}, make([]byte, 126)...), true},
		"fragmented control frame": {[]byte{0x09, 0}, true},
	} {
		if op, _, err := newCarrier(bytesConn{r: bytes.NewReader(c.data)}, nil, c.client).read(100); err == nil {
			t.Errorf("%s: read as %v", name, op)
		}
	}
}

// Frames that are no message, or little of one, are counted like any others:
// what a stranger sends must not keep a reader busy at no cost.
func TestSmallFramesCountAsFrames(t *testing.T) {
	pieces := func(n int) []byte {
		b := append([]byte{0x02, 0}, bytes.Repeat([]byte{0x00, 0}, n)...)
		return append(b, 0x80, 0)
	}
	for name, data := range map[string][]byte{
		"pongs":            bytes.Repeat([]byte{0x8a, 0}, 100_000),
		"pings":            bytes.Repeat([]byte{0x89, 0}, 100_000),
		"empty fragments":  bytes.Repeat(pieces(1000), 120),
		"an endless frame": pieces(100_000),
	} {
		var now atomic.Int64
		_, l := oneLink(t, Quota{}, &now, 0, nil)
		r := bytes.NewReader(data)
		l.conn = bytesConn{r: r}
		l.car = newCarrier(l.conn, nil, true)
		err := l.read()
		if r.Len() == 0 || errors.Is(err, io.EOF) {
			t.Errorf("%s: all of them were read: %v", name, err)
		}
	}
}
