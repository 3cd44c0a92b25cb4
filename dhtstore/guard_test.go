package dhtstore

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/dht/v2/krpc"
)

// TestRepliesMustBeAskedFor: the right transaction from another address, and
// another transaction from the right address, do not reach the library.
func TestRepliesMustBeAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		n := f.node(t, "5.1.1.1:7000", nil)
		defer closeAll(t, n)
		peer, liar := f.listen("5.1.2.1:7000"), f.listen("5.1.3.1:7000")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		type result struct {
			reply *krpc.Msg
			err   error
		}
		done := make(chan result, 1)
		ask := func() {
			reply, err := n.first().query(ctx, peer.addr, methodPing, krpc.MsgArgs{}, false)
			done <- result{reply, err}
		}
		answer := func(from *fakeConn, tid []byte, id nodeID) {
			if _, err := from.WriteTo(appendReply(nil, tid, n.LocalAddr(), &body{id: id}), n.first().guard.LocalAddr()); err != nil {
				t.Error(err)
			}
		}

		go ask()
		var q message
		p := <-peer.in
		if q.parse(p.b) != faultNone || q.method != methodPing || len(q.tid) != tidSize {
			t.Fatalf("sent %q", p.b)
		}
		answer(liar, q.tid, nodeID{66})
		wrong := bytes.Clone(q.tid)
		wrong[0]++
		answer(peer, wrong, nodeID{66})
		answer(peer, []byte("\x00"), nodeID{66}) // as the library counts
		synctest.Wait()
		if got := n.counts[countDropUnasked].Load(); got != 3 {
			t.Errorf("dropped %d", got)
		}
		answer(peer, q.tid, nodeID{5})
		r := <-done
		if r.err != nil || r.reply.R.ID != (krpc.ID{5}) {
			t.Errorf("%+v, %v", r.reply, r.err)
		}
		answer(peer, q.tid, nodeID{66}) // again
		synctest.Wait()
		if got := n.counts[countDropUnasked].Load(); got != 4 {
			t.Errorf("dropped %d", got)
		}

		go ask()
		p = <-peer.in
		if q.parse(p.b) != faultNone {
			t.Fatal("no query")
		}
		time.Sleep(2 * replyWait)
		if r := <-done; !errors.Is(r.err, errTimeout) {
			t.Errorf("unanswered: %v", r.err)
		}
		answer(peer, q.tid, nodeID{66}) // too late
		synctest.Wait()
		if got := n.counts[countDropUnasked].Load(); got != 5 || n.first().guard.waiting() != 0 {
			t.Errorf("dropped %d, %d outstanding", got, n.first().guard.waiting())
		}
	})
}

// TestPrivateAddressesAreNotServed, nor asked, unless allowed.
func TestPrivateAddressesAreNotServed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		n := f.node(t, "5.1.1.1:7000", nil)
		defer closeAll(t, n)
		r := rawClient{id: nodeID{1}}
		for _, addr := range []string{"10.1.1.1:7000", "127.0.0.1:7000", "169.254.1.1:7000", "192.168.1.1:7000", "100.64.1.1:7000"} {
			c := f.listen(addr)
			if _, err := c.WriteTo([]byte(r.query("ping", "")), n.first().guard.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if len(c.in) != 0 {
				t.Errorf("%s is answered", addr)
			}
			if _, err := n.Resolve(context.Background(), c.addr); !errors.Is(err, errAddress) {
				t.Errorf("resolving %s: %v", addr, err)
			}
			if f.packetsTo(c.addr) != 0 {
				t.Errorf("%s is asked", addr)
			}
		}
	})
}

// TestQueryLimits of one public address, and puts.
func TestQueryLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeNet()
		n := f.node(t, "5.1.1.1:7000", nil)
		defer closeAll(t, n)
		flood, other := f.listen("5.1.2.1:7000"), f.listen("5.1.3.1:7000")
		r := rawClient{id: nodeID{1}}
		send := func(c *fakeConn, datagram string) int {
			if _, err := c.WriteTo([]byte(datagram), n.first().guard.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			got := len(c.in)
			for range got {
				<-c.in
			}
			return got
		}
		answered := 0
		for range 100 { // over 5 seconds
			answered += send(flood, r.query("ping", ""))
			time.Sleep(50 * time.Millisecond)
		}
		if answered < 60 || answered > 72 {
			t.Errorf("answered %d of 100 queries in 5 s", answered)
		}
		if send(other, r.query("ping", "")) != 1 {
			t.Error("another address is not answered")
		}
		n.mu.Lock()
		token := n.tokens.make(time.Now(), other.addr.Addr())
		n.mu.Unlock()
		for i := range 50 {
			m := signedPut(1, int64(i+1), "1:a")
			m.token = token
			send(other, r.query("put", putArgs(m)))
			time.Sleep(200 * time.Millisecond)
		}
		if got := n.counts[countPutRate].Load(); got < 36 || got > 40 {
			t.Errorf("refused %d of 50 puts in 10 s", got)
		}
	})
}

// TestForgedRecords are refused and counted.
func TestForgedRecords(t *testing.T) {
	honest := testRecord(t, testKey(1), 3, "honest")
	for name, change := range map[string]func(*storedItem){
		"value":     func(s *storedItem) { s.value = []byte("d1:t6:hOnest e") },
		"seq":       func(s *storedItem) { s.seq++ },
		"signature": func(s *storedItem) { s.sig = bytes.Repeat([]byte{1}, 64) },
		"key":       func(s *storedItem) { s.key = testRecordKey(2) },
		"order":     func(s *storedItem) { *s = *signedAs(1, 3, "d1:bi1e1:ai1ee") },
		"length":    func(s *storedItem) { *s = *signedAs(1, 3, "951:"+strings.Repeat("x", 951)) },
		"negative":  func(s *storedItem) { *s = *signedAs(1, -3, "1:x") },
	} {
		t.Run(name, func(t *testing.T) {
			a := startNode(t, "127.0.0.2", nil)
			b := startNode(t, "127.0.0.3", nil, a.LocalAddr().String())
			forged := &storedItem{target: recordTarget(honest.Key, []byte(recordSalt)), key: honest.Key, sig: honest.Sig[:], seq: honest.Seq, value: honest.Value}
			change(forged)
			a.mu.Lock()
			a.record = forged
			a.mu.Unlock()
			if got, err := b.Resolve(testContext(t), a.LocalAddr()); err == nil {
				t.Errorf("resolved %+v", got)
			}
			if name != "key" {
				if got, err := b.Fetch(testContext(t), honest.Key); err == nil {
					t.Errorf("fetched %+v", got)
				}
			}
		})
	}
}

func TestConfigErrorsNameTheMistake(t *testing.T) {
	for want, c := range map[string]Config{
		"listen address \"here\"":      {Listen: []string{"here"}},
		"bad port":                     {Listen: []string{"1.2.3.4:x"}},
		"one of IPv4 is enough":        {Listen: []string{"127.0.0.1:1", "127.0.0.2:1"}},
		"one of IPv6 is enough":        {Listen: []string{"[::1]:1", "[::]:2"}},
		"no address":                   {},
		"bootstrap address \"there\"":  {Listen: []string{":0"}, Bootstrap: []string{"there"}},
		"bootstrap address \"a:0\"":    {Listen: []string{":0"}, Bootstrap: []string{"a:0"}},
		"private ones must be allowed": {Listen: []string{":0"}, Bootstrap: []string{"127.0.0.1:1"}},
		"packet rate 251":              {Listen: []string{":0"}, PacketRate: 251},
		"packet rate -1":               {Listen: []string{":0"}, PacketRate: -1},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	ok := Config{Listen: []string{"127.0.0.1:0"}, Bootstrap: append(DefaultBootstrap(), "5.1.1.1:7000")}
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
	busy := listenRaw(t, "127.0.0.1")
	if _, err := New(Config{Listen: []string{busy.LocalAddr().String()}}); err == nil {
		t.Error("listening twice")
	}
	if _, err := New(Config{Listen: []string{"127.0.0.1:0"}, Dir: "/dev/null/x"}); err == nil {
		t.Error("a directory that cannot be")
	}
}

// TestGuardSendsQueriesOnly: should the library ever answer somebody, it would
// not get out.
func TestGuardSendsQueriesOnly(t *testing.T) {
	n := startNode(t, "127.0.0.2", nil)
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.9:9"))
	for _, b := range []string{"d1:rd" + id20 + "e1:t2:aa1:y1:re", "d1:eli201e1:ae1:t2:aa1:y1:ee", "x", "d1:q4:vote1:t2:aa1:y1:qe"} {
		if _, err := n.first().guard.WriteTo([]byte(b), to); !errors.Is(err, errNotQuery) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func signedAs(seed byte, seq int64, value string) *storedItem {
	key := testKey(seed)
	return &storedItem{
		target: recordTarget(testRecordKey(seed), []byte(recordSalt)), key: testRecordKey(seed), seq: seq, value: []byte(value),
		sig: bep44.Sign(key, []byte(recordSalt), seq, []byte(value)),
	}
}
