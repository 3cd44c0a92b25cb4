package federation_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/tracker/wire"
)

// What a node cannot do to another, one test for each. Every one fails if the
// guard that it names is removed. Some are where the guard is:
//
//   - learn the hash of a swarm that it did not know: TestAbuseHarvestOfInfoHashes;
//     by links, names and filters alone, TestInvariant6*
//   - try all the hashes that there may be: TestAbuseGuesses
//   - evict or impersonate a peer: TestInvariant4NodesDoNotSpeakForLocalPeers, and
//     TestNodeCannotSpeakForLocalPeer and TestOwnership of tracker/swarm; or a
//     node: TestWeakKey and TestRoles of package handshake
//   - make us dial a victim: TestManyRecordsNamingOneHost of package mesh,
//     TestOtherURL of package handshake; ourselves: TestSSRFIsRefusedAtTheDial
//   - amplify through our DHT port: TestGain of package dhtstore
//   - replay an old record: TestAbuseReplayedRecord; an old handshake:
//     TestHandshakesThatFail, and TestReplay of package handshake
//   - grow our memory: TestAbuseMemory, TestInvariant8*, TestFloodingNodeIsCutOff
//   - starve honest links: TestAbuseStarvation
//   - come back under another key: TestAbuseFreshKeys

// plantPuppet lists puppet i, which is dialled at hp, for swarms.
func (w *world) plantPuppet(i int, hp string, hashes ...string) {
	w.t.Helper()
	u, err := nodeaddr.Parse("ws://"+hp, true)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := record.Sign(keyOf(i), time.Now().Unix(), record.Record{
		Caps: record.CapRelay, Protocol: handshake.Version, Expires: time.Now().Unix() + 3600, URLs: []nodeaddr.URL{u},
	}, record.Seal{})
	if err != nil {
		w.t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(7000+i))
	w.dir.PlantRecord(at, federation.Item{Key: s.Key[:], Seq: s.Seq, Sig: s.Sig, Value: s.Value})
	for _, ih := range hashes {
		w.dir.Plant(w.net.Swarm(derive.Epoch(time.Now().Unix()), wire.Raw20([]byte(ih))), at)
	}
}

// A node cannot learn the hash of a swarm that it did not know. Who stores a
// swarm's list in the DHT sees the target, and lists himself. Guard:
// mesh.approach, mesh.mayJoin; when swarms end, sh.known in mesh.dropSwarm.
func TestAbuseHarvestOfInfoHashes(t *testing.T) {
	const swarms = 40
	for name, census := range map[string]bool{"understands names": true, "says it does not": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				toNoon()
				var hashes []string
				for i := range swarms {
					hashes = append(hashes, hash(i))
				}
				p := w.listen(50, "127.0.0.1:9950")
				w.plantPuppet(50, "127.0.0.1:9950", hashes...)
				a := w.start(1)
				c := a.client("alice")
				for _, ih := range hashes {
					c.announce(ih, 0)
				}
				eventually(t, time.Minute, "a link", func() bool { return len(a.fed.Status().Links) == 1 })
				if census {
					p.census(0)
				}
				time.Sleep(4 * time.Minute) // its members live for 5
				told, most := 0, 0
				if !census {
					most = 8
				}
				for _, ih := range hashes {
					told += min(1, p.told(ih))
				}
				if told > most {
					t.Fatalf("%d info hashes were told to a node that knows their targets only, want %d at most", told, most)
				}
				if census && len(p.namesSent()) < swarms {
					t.Fatalf("%d of %d swarms were named", len(p.namesSent()), swarms)
				}
				// Nor does the end of a swarm tell it.
				for _, ih := range hashes[:swarms/2] {
					c.announce(ih, 0, "event", "stopped")
				}
				time.Sleep(10 * time.Second)
				told = 0
				for _, ih := range hashes {
					told += min(1, p.told(ih))
				}
				if told > most {
					t.Fatalf("%d info hashes were told when their swarms ended", told)
				}
				// Knowing the swarm, it has what it came for.
				last := hashes[swarms-1]
				if census {
					p.name(w.nameOf(p.sumKey(0), last))
				} else {
					p.join(last, 0, 1)
				}
				eventually(t, time.Second, "a join", func() bool {
					for _, f := range p.sent(frame.KindJoin) {
						if string(f.Join.InfoHash) == last {
							return true
						}
					}
					return false
				})
			})
		})
	}
}

// A node cannot try all the hashes that there may be, nor make us remember
// them: joins for swarms that are not here are limited for a key and a prefix,
// and others notice nothing. Guard: strays.left.
func TestAbuseGuesses(t *testing.T) {
	const here, guessed = 100, 12_000
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		c := a.client("alice")
		for i := range here {
			c.announce(hash(1_000_000+i), 0)
		}
		p, honest := w.puppet(50, a), w.puppet(51, a)
		for i := range guessed {
			ih := hash(i)
			if i%(guessed/here) == guessed/here-1 {
				ih = hash(1_000_000 + i/(guessed/here))
			}
			if p.send(frame.Frame{Kind: frame.KindJoin, Join: frame.Join{InfoHash: []byte(ih), Incomplete: 1}}) != nil {
				t.Fatalf("cut off after %d joins", i)
			}
			time.Sleep(4 * time.Millisecond)
		}
		// 2,000 wrong ones at once and 5 a second, of which every 120th is right.
		if found := len(p.sent(frame.KindJoin)); found > 25 {
			t.Errorf("it found %d swarms by %d guesses", found, guessed)
		}
		if n := a.fed.Stats().StraysRefused; n < guessed-3000 {
			t.Errorf("%d refusals counted", n)
		}
		honest.join(hash(1_000_000), 0, 1)
		if len(honest.sent(frame.KindJoin)) != 1 {
			t.Error("another node is answered for it")
		}
		// It may go on in what it shares, and guesses again some day.
		time.Sleep(time.Minute)
		c.announce(hash(1_000_099), 0)
		p.join(hash(1_000_099), 0, 1)
		eventually(t, time.Second, "a join", func() bool {
			for _, f := range p.sent(frame.KindJoin) {
				if string(f.Join.InfoHash) == hash(1_000_099) {
					return true
				}
			}
			return false
		})
	})
}

// A node cannot bring an old record back, of itself or another. Guard:
// record.Rules.LastSeq.
func TestAbuseReplayedRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		p := w.puppet(50, a)
		now := time.Now().Unix()
		at := func(port int) []nodeaddr.URL {
			u, err := nodeaddr.Parse(fmt.Sprintf("ws://127.0.0.1:%d", port), true)
			if err != nil {
				t.Fatal(err)
			}
			return []nodeaddr.URL{u}
		}
		say := func(seq int64, port int) {
			s, err := record.Sign(keyOf(60), seq, record.Record{Caps: record.CapRelay, Protocol: 1, Expires: now + 3600, URLs: at(port)}, record.Seal{})
			if err != nil {
				t.Fatal(err)
			}
			p.send(frame.Frame{Kind: frame.KindRecords, Records: frame.Records{Records: []frame.Record{{Key: s.Key[:], Seq: s.Seq, Signature: s.Sig[:], Value: s.Value}}}})
			quiet()
		}
		say(now, 9961)
		say(now-100, 9962) // where it was once
		if n := a.fed.Stats().RecordFaults["replay"]; n != 1 {
			t.Errorf("%d replays counted", n)
		}
		time.Sleep(30 * time.Minute)
		if w.dialsTo("127.0.0.1:9961") == 0 || w.dialsTo("127.0.0.1:9962") != 0 {
			t.Errorf("dialled %d times where it is, %d where it was", w.dialsTo("127.0.0.1:9961"), w.dialsTo("127.0.0.1:9962"))
		}
	})
}

// Many nodes cannot grow our memory with what they say of others and of
// swarms. Guard: maxKnown in nodeBook.get; Check holds the bounds of mesh.
func TestAbuseMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		c := a.client("alice")
		for i := range 10 {
			c.announce(hash(i), 0)
		}
		now := time.Now().Unix()
		r := rand.New(rand.NewPCG(1, 2))
		key := 1000
		for i := range 48 {
			p := w.puppet(100+i, a)
			p.census(1 << 40)
			for range 6 {
				var list []frame.Record
				for range 9 {
					u, err := nodeaddr.Parse(fmt.Sprintf("ws://127.0.0.1:%d", 10_000+key), true)
					if err != nil {
						t.Fatal(err)
					}
					s, err := record.Sign(keyOf(key), now, record.Record{Caps: record.CapRelay, Protocol: 1, Expires: now + 3600, URLs: []nodeaddr.URL{u}}, record.Seal{})
					if err != nil {
						t.Fatal(err)
					}
					list = append(list, frame.Record{Key: s.Key[:], Seq: s.Seq, Signature: s.Sig[:], Value: s.Value})
					key++
				}
				p.send(frame.Frame{Kind: frame.KindRecords, Records: frame.Records{Records: list}})
			}
			for range 500 {
				ih := fmt.Sprintf("%020d", r.Uint64())
				p.send(frame.Frame{Kind: frame.KindJoin, Join: frame.Join{InfoHash: []byte(ih), Incomplete: 1 << 40}})
			}
			p.name(r.Uint64(), r.Uint64())
		}
		quiet()
		if n := a.fed.Known(); n > federation.MaxKnown || n < federation.MaxKnown/2 {
			t.Errorf("%d nodes are known of, want %d at most", n, federation.MaxKnown)
		}
		if err := a.fed.Check(); err != nil {
			t.Error(err)
		}
		if err := a.tr.Check(); err != nil {
			t.Error(err)
		}
		if st := a.tr.Stats(); st.Swarm.Swarms != 10 {
			t.Errorf("%d swarms are here", st.Swarm.Swarms)
		}
	})
}

// Many nodes that claim many peers, and answer for none, cannot starve those
// that do. Guard: the share of unproven nodes in tracker/swarm (seat.open).
func TestAbuseStarvation(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
		for i := range 24 {
			w.puppet(100+i, a).join(hash(1), 0, 1<<40)
			w.puppet(200+i, b).join(hash(1), 0, 1<<40)
		}
		met := 0
		for i := range 20 {
			time.Sleep(10 * time.Second)
			ca.announce(hash(1), 5) // alice and bob are there all the time
			cb.announce(hash(1), 5)
			cc := a.client(fmt.Sprint("carol", i))
			cc.announce(hash(1), 5)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if _, answers := cc.got(); len(answers) > 0 {
				met++
			}
		}
		if met < 19 {
			t.Errorf("%d of 20 clients met anybody", met)
		}
	})
}

// A node that was cut off cannot come back at once under other keys for ever:
// after some, its prefix is barred, but not for those who were known before.
// Guard: BarredAt in newLink.
func TestAbuseFreshKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		come := func(i int, ip string) *puppet {
			near, far := w.pipe()
			go func() {
				if upgrade(far) {
					a.fed.AcceptLink(far, nil, &http.Request{RemoteAddr: ip + ":5000"})
				}
			}()
			p := &puppet{t: t, key: keyOf(i), conn: near, side: ws.StateClientSide}
			d := ws.Dialer{Protocols: []string{federation.Subprotocol}, NetDial: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
			if _, _, _, err := d.Dial(context.Background(), "ws://"+a.hp+"/federation"); err != nil {
				t.Fatal(err)
			}
			w.prove(p, i, a)
			go p.read()
			quiet()
			return p
		}
		neighbour := come(90, "203.0.112.9")
		neighbour.conn.Close()
		time.Sleep(time.Minute)
		taken := 0
		for i := range 20 {
			p := come(100+i, fmt.Sprintf("203.0.112.%d", 10+i))
			if !linkedWith(a, 100+i) {
				continue
			}
			taken++
			for range 100 {
				p.send(frame.Frame{Kind: frame.KindProof}) // out of place
			}
			quiet()
		}
		if taken != 4 {
			t.Errorf("%d fresh keys were taken, want 4", taken)
		}
		bars := a.fed.Status().Barred
		if len(bars) != 5 || bars[0].For > 1800 || bars[0].For < 1700 {
			t.Errorf("bars %+v", bars)
		}
		if come(90, "203.0.112.9"); !linkedWith(a, 90) {
			t.Error("who was known before is barred with its neighbours")
		}
		if come(91, "203.0.111.9"); !linkedWith(a, 91) {
			t.Error("another prefix is barred")
		}
		time.Sleep(time.Hour)
		if come(92, "203.0.112.10"); !linkedWith(a, 92) {
			t.Error("barred for ever")
		}
	})
}
