package federation_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/tracker/wire"
)

// What a node cannot do to another, one test for each. Every one fails if the
// guard is removed that it names.
//
// Some of it is shown where the guard is: that nobody speaks for a peer that is
// here, TestInvariant4NodesDoNotSpeakForLocalPeers; that names, filters and links
// alone tell no info hash, TestInvariant6*.

// plantPuppet lists puppet i, which is dialled at hp, for swarms.
func (w *world) plantPuppet(i int, hp string, hashes ...string) {
	w.t.Helper()
	u, err := nodeaddr.Parse("ws://"+hp, true)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := record.Sign(keyOf(i), time.Now().Unix(), record.Record{
		Caps: record.CapRelay, Protocol: handshake.Version, Expires: time.Now().Unix() + 3600, URLs: []nodeaddr.URL{u},
	})
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
// mesh.approach, mesh.mayJoin.
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
