package federation_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/tracker"
)

// puppet methods for the frames of swarms.

func (p *puppet) census(swarms uint64) {
	p.send(frame.Frame{Kind: frame.KindCensus, Census: frame.Census{Swarms: swarms}})
	quiet()
}

func (p *puppet) sumKey(generation uint32) filter.Key {
	return filter.Key(p.s.SendKey).Generation(generation)
}

func (p *puppet) filter(generation uint32, from, to int, data []byte) error {
	return p.send(frame.Frame{Kind: frame.KindFilter, Filter: frame.Filter{Generation: generation, From: uint32(from), To: uint32(to), Data: data}})
}

func (p *puppet) name(names ...uint64) error {
	return p.send(frame.Frame{Kind: frame.KindNames, Names: frame.Names{Names: names}})
}

func (w *world) nameOf(k filter.Key, ih string) uint64 {
	return k.Name(filter.Key(w.net.BucketKey()).Bucket(ih), ih)
}

// namesSent are the names that the puppet was sent.
func (p *puppet) namesSent() (names []uint64) {
	for _, f := range p.sent(frame.KindNames) {
		names = append(names, f.Names.Names...)
	}
	return names
}

// told counts frames to the puppet in which one of the info hashes stands.
func (p *puppet) told(hashes ...string) (n int) {
	quiet()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.raw {
		if slices.ContainsFunc(hashes, func(ih string) bool { return bytes.Contains(b, []byte(ih)) }) {
			n++
		}
	}
	return n
}

// The privacy of info hashes (invariant 6): whatever a node claims in filters,
// repeats of what it was told, or makes up, it is told no info hash that it
// does not know. What it does know, it is.
func TestInvariant6FiltersTellNoInfoHash(t *testing.T) {
	const swarms = 600
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1, deadDHT)
		ca := a.client("alice")
		var hashes []string
		for i := range swarms {
			hashes = append(hashes, hash(i))
			ca.announce(hash(i), 0)
		}
		p, other := w.puppet(50, a), w.puppet(51, a)
		p.census(1)
		other.census(1)
		r := rand.New(rand.NewPCG(1, 2))
		for round := range uint32(200) {
			// As full as a part can be; and all ones, which is none.
			sums := make([]uint64, filter.MaxPart)
			for i := range sums {
				sums[i] = r.Uint64()
			}
			p.filter(1+round, 0, filter.Buckets, filter.Append(nil, sums))
			if round%50 == 0 {
				p.filter(1+round, 0, filter.Buckets, append([]byte{1, 0x80, 0x80, 1}, bytes.Repeat([]byte{0xff}, 20_000)...))
			}
			time.Sleep(200 * time.Millisecond)
		}
		names := p.namesSent()
		if len(names) < 50 {
			t.Fatalf("%d names for 200 filters: this was no attack", len(names))
		}
		time.Sleep(5 * time.Second)
		// Said back, by itself and by another that it tells them.
		for names := range slices.Chunk(names, 500) {
			p.name(names...)
			other.name(names...)
		}
		other.name(w.nameOf(p.sumKey(0), hash(7)), p.sumKey(0).Sum(hash(7)))
		for range 10 {
			p.name(r.Uint64(), r.Uint64()>>10, 0)
		}
		time.Sleep(10 * time.Second)
		if n := p.told(hashes...) + other.told(hashes...); n > 0 {
			t.Fatalf("%d info hashes were told to nodes that do not know them", n)
		}
		p.name(w.nameOf(p.sumKey(0), hash(7)))
		if j := p.sent(frame.KindJoin); len(j) != 1 || string(j[0].Join.InfoHash) != hash(7) || p.told(hashes...) != 1 {
			t.Fatalf("%d joins for a name", len(j))
		}
	})
}

// A filter proves nothing, but one hit leads to a name, and that to both
// having joined.
func TestFilterIsAnsweredWithNames(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1, deadDHT)
		ca := a.client("alice")
		for i := range 40 {
			ca.announce(hash(i), 0)
		}
		p := w.puppet(50, a)
		p.census(3)
		bucket := filter.Key(w.net.BucketKey()).Bucket
		k, mine := p.sumKey(5), filter.Key(p.s.RecvKey).Generation(0)
		part := filter.Append(nil, []uint64{k.Sum(hash(3)), k.Sum(hash(30)), k.Sum(hash(300))})
		// Parts in any order, twice, and of buckets where the swarm is not.
		p.filter(5, bucket(hash(3))+1, filter.Buckets, part)
		p.filter(5, 0, bucket(hash(3))+1, part)
		p.filter(5, 0, bucket(hash(3))+1, part)
		time.Sleep(3 * time.Second)
		names := p.namesSent()
		for _, want := range []string{hash(3), hash(30)} {
			if name := w.nameOf(mine, want); !slices.Contains(names, name) {
				t.Errorf("%s is not named", want)
			}
		}
		if len(names) > 8 {
			t.Errorf("%d names for two swarms in common", len(names))
		}
		if n := len(p.sent(frame.KindJoin)); n > 0 {
			t.Errorf("%d joins", n)
		}
		p.join(hash(3), 0, 1)
		if len(p.sent(frame.KindJoin)) != 1 {
			t.Error("not joined")
		}
	})
}

// Who floods with filters or names is cut off, and takes nothing.
func TestFloodsOfFiltersAndNames(t *testing.T) {
	part := filter.Append(nil, make([]uint64, filter.MaxPart))
	for name, send := range map[string]func(p *puppet, i uint32) error{
		"filters":   func(p *puppet, i uint32) error { return p.filter(1+i, 0, filter.Buckets, part) },
		"names":     func(p *puppet, i uint32) error { return p.name(make([]uint64, 512)...) },
		"bad parts": func(p *puppet, i uint32) error { return p.filter(1, 0, filter.Buckets, []byte{1, 0xff, 0xff, 3, 1}) },
		"no range":  func(p *puppet, i uint32) error { return p.filter(1, 9, 9, part) },
		"beyond":    func(p *puppet, i uint32) error { return p.filter(1, 0, filter.Buckets+1, part) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				toNoon()
				a := w.start(1, deadDHT)
				ca := a.client("alice")
				for i := range 100 {
					ca.announce(hash(i), 0)
				}
				p := w.puppet(50, a)
				p.census(1 << 40)
				i := uint32(0)
				for ; i < 1000 && send(p, i) == nil; i++ {
				}
				if i == 1000 || !p.isClosed() {
					t.Fatalf("%d frames were taken", i)
				}
				time.Sleep(time.Second)
				if err := a.fed.Check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A census that claims much is answered with one filter, of what there is,
// however often it comes.
func TestCensusIsNoAmplifier(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1, deadDHT)
		ca := a.client("alice")
		for i := range 1000 {
			ca.announce(hash(i), 0)
		}
		p := w.puppet(50, a)
		for range 300 {
			p.census(^uint64(0))
			time.Sleep(time.Second)
		}
		f := p.sent(frame.KindFilter)
		if len(f) != 1 || len(f[0].Filter.Data) > 1300 {
			t.Fatalf("%d parts", len(f))
		}
		// Every swarm is in it, and nobody else can read it.
		var part filter.Part
		if err := part.Decode(f[0].Filter.Data); err != nil {
			t.Fatal(err)
		}
		k := filter.Key(p.s.RecvKey).Generation(f[0].Filter.Generation)
		wrong := 0
		for i := range 1000 {
			if !part.Has(k.Sum(hash(i))) {
				t.Fatal("a swarm is missing")
			}
			if part.Has(p.sumKey(f[0].Filter.Generation).Sum(hash(i))) {
				wrong++
			}
		}
		if wrong > 15 {
			t.Errorf("%d of 1000 under another key", wrong)
		}
	})
}

// A large filter comes in parts, with pauses; nothing of it is missing.
func TestLargeFilterComesInParts(t *testing.T) {
	const swarms = 2*filter.MaxPart + 1000
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1, deadDHT, func(c *federation.Config, tc *tracker.Config) {
			c.Mesh = mesh.Config{MaxSwarms: swarms}
		})
		var c *client
		for i := range swarms {
			if i%4096 == 0 { // a connection may be in so many swarms
				c = a.client(fmt.Sprint("c", i))
			}
			c.announce(hash(i), 0)
		}
		synctest.Wait()
		p := w.puppet(50, a)
		p.census(1 << 30)
		time.Sleep(5 * time.Second)
		parts := p.sent(frame.KindFilter)
		if len(parts) < 3 || len(parts) > 4 {
			t.Fatalf("%d parts", len(parts))
		}
		total, next := 0, uint32(0)
		k := filter.Key(p.s.RecvKey).Generation(parts[0].Filter.Generation)
		in := make([]filter.Part, filter.Buckets)
		for _, f := range parts {
			var part filter.Part
			if err := part.Decode(f.Filter.Data); err != nil || f.Filter.From != next {
				t.Fatal(err, f.Filter.From, next)
			}
			for i := f.Filter.From; i < f.Filter.To; i++ {
				in[i] = part
			}
			next, total = f.Filter.To, total+part.Len()
		}
		for i := range swarms {
			if !in[filter.Key(w.net.BucketKey()).Bucket(hash(i))].Has(k.Sum(hash(i))) {
				t.Fatal("a swarm is missing")
			}
		}
		if total != swarms || next != filter.Buckets {
			t.Fatalf("%d swarms up to bucket %d", total, next)
		}
	})
}
