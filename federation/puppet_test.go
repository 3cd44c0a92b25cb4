package federation_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/tracker/wire"
)

// puppet is a node that does what the test says: it has a key and a link, and
// no tracker behind.
type puppet struct {
	t    testing.TB
	key  ed25519.PrivateKey
	conn net.Conn
	side ws.State
	s    handshake.Session

	mu     sync.Mutex
	frames []frame.Frame // what it was sent, copied
	raw    [][]byte
	closed bool
}

func (w *world) local(i int) handshake.Local {
	return handshake.Local{Key: keyOf(i), Network: w.net.ID(), Versions: []uint32{handshake.Version}}
}

// dialRaw upgrades a connection to n and does nothing more.
func (w *world) dialRaw(n *node) net.Conn {
	w.t.Helper()
	c, err := dialer{w, nil}.DialContext(context.Background(), "tcp", n.hp)
	if err != nil {
		w.t.Fatal(err)
	}
	d := ws.Dialer{Protocols: []string{federation.Subprotocol}, NetDial: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
	if _, _, _, err := d.Dial(context.Background(), "ws://"+n.hp+"/federation"); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// puppet dials n as node i and proves its key.
func (w *world) puppet(i int, n *node) *puppet {
	w.t.Helper()
	p := &puppet{t: w.t, key: keyOf(i), conn: w.dialRaw(n), side: ws.StateClientSide}
	w.prove(p, i, n)
	go p.read()
	synctest.Wait()
	return p
}

// prove does the dialler's part of the handshake.
func (w *world) prove(p *puppet, i int, n *node) {
	w.t.Helper()
	h, hello, err := handshake.Dial(w.local(i), handshake.Entropy{Nonce: [32]byte{byte(i)}, Scalar: [32]byte{byte(i), 1}}, "ws://"+n.hp+"/federation", 1, handshake.Key{})
	if err != nil {
		w.t.Fatal(err)
	}
	p.write(hello)
	msg, err := wsutil.ReadServerBinary(p.conn)
	if err != nil {
		w.t.Fatal(err)
	}
	proof, s, err := h.Handle(msg)
	if err != nil {
		w.t.Fatal(err)
	}
	p.s = s
	p.write(proof)
}

// deafPuppet is a puppet that reads nothing once it has proved its key.
func (w *world) deafPuppet(i int, n *node) *puppet {
	w.t.Helper()
	p := &puppet{t: w.t, key: keyOf(i), conn: w.dialRaw(n), side: ws.StateClientSide}
	w.prove(p, i, n)
	synctest.Wait()
	return p
}

// listen makes a puppet that is dialled at 127.0.0.1:port.
func (w *world) listen(i int, hp string) *puppet {
	p := &puppet{t: w.t, key: keyOf(i), side: ws.StateServerSide}
	w.mu.Lock()
	w.taps[hp] = func(c net.Conn) {
		if !upgrade(c) {
			return
		}
		p.conn = c
		a, err := handshake.Accept(w.local(i), handshake.Entropy{Nonce: [32]byte{byte(i)}, Scalar: [32]byte{byte(i), 1}}, []string{"ws://" + hp + "/federation"})
		if err != nil {
			w.t.Error(err)
			return
		}
		for {
			msg, err := wsutil.ReadClientBinary(c)
			if err != nil {
				return
			}
			reply, s, done, err := a.Handle(msg)
			if err != nil {
				c.Close()
				return
			}
			if done {
				p.s = s
				p.read()
				return
			}
			p.write(reply)
		}
	}
	w.mu.Unlock()
	return p
}

func (p *puppet) write(b []byte) error {
	f := ws.NewBinaryFrame(b)
	if p.side == ws.StateClientSide {
		f = ws.MaskFrame(f)
	}
	_, err := p.conn.Write(ws.MustCompileFrame(f)) // in one piece: pongs go out at the same time
	return err
}

func (p *puppet) send(f frame.Frame) error { return p.write(frame.Append(nil, &f)) }

func (p *puppet) read() {
	defer func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.conn.Close()
	}()
	for {
		b, op, err := wsutil.ReadData(p.conn, p.side) // answers pings
		if err != nil {
			return
		}
		if op != ws.OpBinary {
			continue
		}
		var f frame.Frame
		if err := f.Decode(b, frame.DefaultLimits()); err != nil {
			p.t.Errorf("a node sent a frame that does not decode: %v", err)
			return
		}
		p.mu.Lock()
		p.frames = append(p.frames, f)
		p.raw = append(p.raw, b)
		p.mu.Unlock()
		if f.Kind == frame.KindBye {
			return
		}
	}
}

// quiet waits until nobody has anything to do or to write any more.
func quiet() {
	synctest.Wait()
	time.Sleep(federation.Gather)
	synctest.Wait()
}

// sent are the frames of a kind that the puppet was sent.
func (p *puppet) sent(k frame.Kind) (list []frame.Frame) {
	quiet()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames {
		if f.Kind == k {
			list = append(list, f)
		}
	}
	return list
}

func (p *puppet) isClosed() bool {
	quiet()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *puppet) join(ih string, complete, incomplete uint64) {
	p.send(frame.Frame{Kind: frame.KindJoin, Join: frame.Join{InfoHash: []byte(ih), Complete: complete, Incomplete: incomplete}})
	quiet()
}

func (p *puppet) offer(ih, peer string, ids ...string) {
	var list []frame.Offer
	for _, id := range ids {
		list = append(list, frame.Offer{ID: jsonOf(id), Payload: []byte(`{"type":"offer","sdp":"` + id + `"}`)})
	}
	p.send(frame.Frame{Kind: frame.KindOffers, Offers: frame.Offers{InfoHash: []byte(ih), PeerID: []byte(peer), Offers: list}})
	quiet()
}

func (p *puppet) answer(ih, to, from string, id []byte) {
	p.send(frame.Frame{Kind: frame.KindAnswer, Answer: frame.Answer{
		InfoHash: []byte(ih), ToPeerID: []byte(to), PeerID: []byte(from), OfferID: id, Payload: []byte(`{"type":"answer","sdp":"x"}`),
	}})
	quiet()
}

func jsonOf(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return b
}

// id20 is s as a peer id, as client makes it.
func id20(s string) string { return fmt.Sprintf("%-20.20s", s) }

// eventually waits up to d of virtual time for ok.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); ; time.Sleep(50 * time.Millisecond) {
		synctest.Wait()
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// tapMessages is a host that takes links, reports every message that it gets
// and says nothing.
func tapMessages(w *world, seen chan<- []byte) func(net.Conn) {
	return func(c net.Conn) {
		if !upgrade(c) {
			return
		}
		for {
			b, err := wsutil.ReadClientBinary(c)
			if err != nil {
				return
			}
			seen <- b
		}
	}
}

// plantNode puts n into the list of a swarm, with its record.
func plantNode(t testing.TB, w *world, n *node, ih string) {
	t.Helper()
	s, err := record.Sign(n.key, time.Now().Unix(), record.Record{
		Caps: record.CapRelay, Protocol: 1, Expires: time.Now().Unix() + 3600, URLs: n.cfg.URLs,
	}, record.Seal{})
	if err != nil {
		t.Fatal(err)
	}
	w.dir.PlantRecord(n.dir.Addr(), federation.Item{Key: s.Key[:], Seq: s.Seq, Sig: s.Sig, Value: s.Value})
	w.dir.Plant(w.net.Swarm(derive.Epoch(time.Now().Unix()), wire.Raw20([]byte(ih))), n.dir.Addr())
}

// blockedDirectory takes as long for everything as it may.
type blockedDirectory struct{}

func (blockedDirectory) Lookup(ctx context.Context, _ federation.Target, _ bool, _ func(netip.AddrPort)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (blockedDirectory) Resolve(ctx context.Context, _ netip.AddrPort) (federation.Item, error) {
	<-ctx.Done()
	return federation.Item{}, ctx.Err()
}

func (blockedDirectory) Fetch(ctx context.Context, _ ed25519.PublicKey) (federation.Item, error) {
	<-ctx.Done()
	return federation.Item{}, ctx.Err()
}

func (blockedDirectory) Publish(ctx context.Context, _ federation.Item) error {
	<-ctx.Done()
	return ctx.Err()
}
