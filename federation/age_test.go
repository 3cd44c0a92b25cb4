package federation

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/record"
)

func keyNumber(i int) (k mesh.Key) {
	binary.BigEndian.PutUint64(k[:], uint64(i)+1)
	return k
}

// How long nodes have been known outlives a flood of new keys, whether or not they
// are proven, and those before it that never were proven.
func TestAgeOutlivesAFlood(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, met := range []bool{false, true} {
		b := newNodeBook()
		for i := range 100 {
			n := b.get(keyNumber(i), now.Add(-24*time.Hour+time.Duration(i)*time.Minute))
			n.met = met
		}
		for i := range maxKnown + 500 {
			n := b.get(keyNumber(1000+i), now.Add(time.Duration(i)*time.Millisecond))
			n.met = met && i%3 == 0
		}
		for i := range 100 {
			if n := b.nodes[keyNumber(i)]; n == nil || now.Sub(n.firstSeen) < 22*time.Hour {
				t.Fatalf("met %v: node %d was forgotten: %+v", met, i, n)
			}
		}
		b.get(keyNumber(500), now.Add(time.Hour)).met = true
		b.get(keyNumber(501), now.Add(2*time.Hour))
		if b.nodes[keyNumber(500)] == nil {
			t.Fatal("one that was met was forgotten for one that was not")
		}
		if len(b.nodes) != maxKnown {
			t.Fatalf("%d nodes are known", len(b.nodes))
		}
	}
}

// bookStore is a Store in memory.
type bookStore struct{ list []Saved }

func (s *bookStore) Load() ([]Saved, error)  { return s.list, nil }
func (s *bookStore) Save(list []Saved) error { s.list = list; return nil }

// When a key was first seen, and that it was proven, is known again after a restart.
// A time that is yet to come, because a clock was wrong, is not believed.
func TestAgeOutlivesARestart(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	store := new(bookStore)
	f := &Federation{cfg: Config{Store: store, Now: func() time.Time { return now }}, known: newNodeBook()}
	seen := []time.Duration{-72 * time.Hour, -time.Hour, 0}
	for i, d := range seen {
		n := f.known.get(keyNumber(i), now.Add(d))
		n.signed = record.Signed{Key: record.Key(keyNumber(i)), Value: []byte("x")}
	}
	if f.firstSeen(keyNumber(0)); !f.known.nodes[keyNumber(0)].met {
		t.Fatal("a key that is proven is not met")
	}
	f.save()
	store.list = append(store.list, Saved{Record: record.Signed{Key: record.Key(keyNumber(3))}, FirstSeen: now.Add(time.Hour)})
	seen = append(seen, 0)
	network, err := derive.New("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	g := &Federation{cfg: Config{Store: store, Network: network, Now: func() time.Time { return now }}, known: newNodeBook()}
	g.load()
	for i, d := range seen {
		n := g.known.nodes[keyNumber(i)]
		if n == nil || !n.firstSeen.Equal(now.Add(d)) || n.met != (i == 0) {
			t.Errorf("key %d, first seen %v ago: %+v", i, -d, n)
		}
	}
}
