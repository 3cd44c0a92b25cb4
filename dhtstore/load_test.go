package dhtstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/mesh"
)

// searchTimeout is that of package federation, which runs a mesh on a
// directory as load does.
const searchTimeout = 30 * time.Second

// load is a node in an ocean under the searches that a mesh with so many
// swarms asks for.
type load struct {
	node  *Node
	epoch time.Time
	hour  int // of the day at epoch, UTC
	wake  chan struct{}

	mu    sync.Mutex
	mesh  *mesh.Mesh
	cut   int // searches that ran out of time
	took  time.Duration
	rand  *rand.Rand
	all   []time.Duration // when packets left
	perTo map[netip.AddrPort][]time.Duration
}

func (l *load) now() time.Duration { return time.Since(l.epoch) }

// fill gives the mesh swarms: of 10 one large one, two small ones that have
// company elsewhere, seven with a lone client.
func (l *load) fill(swarms int) {
	for i := range swarms {
		st := mesh.SwarmState{Local: 1}
		switch i % 10 {
		case 0:
			st = mesh.SwarmState{Local: 4 + i%100}
		case 1, 2:
			st = mesh.SwarmState{Local: 1, Remote: 1}
		}
		l.mesh.Touched(0, fmt.Sprintf("%020d", i), st, true)
	}
}

// run performs what the mesh asks for, for so long.
func (l *load) run(d time.Duration) {
	var searches sync.WaitGroup
	defer searches.Wait()
	// A deadline would have the last searches give up before it.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer time.AfterFunc(d, cancel).Stop()
	var acts []mesh.Action
	for ctx.Err() == nil {
		l.mu.Lock()
		unix := int64(l.hour)*3600 + int64(l.now().Seconds())
		acts = l.mesh.Advance(l.now(), unix, acts[:0])
		next := l.mesh.Next()
		l.mu.Unlock()
		for _, a := range acts {
			if a.Kind == mesh.ActSearch {
				searches.Go(func() { l.search(ctx, a) })
			}
		}
		t := time.NewTimer(max(0, next-l.now()))
		select {
		case <-t.C:
		case <-l.wake:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

func (l *load) search(ctx context.Context, a mesh.Action) {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	start := time.Now()
	var each sync.WaitGroup
	for range a.Epochs {
		l.mu.Lock()
		target := randomID(l.rand, 0)
		l.mu.Unlock()
		each.Go(func() { _ = l.node.Lookup(ctx, [20]byte(target), a.Announce, nil) }) // counted there
	}
	each.Wait()
	l.mu.Lock()
	l.took = max(l.took, time.Since(start))
	if time.Since(start) >= searchTimeout {
		l.cut++
	}
	l.mesh.SearchDone(l.now(), a.ID, false)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// densest is the most that happens within a time d.
func densest(at []time.Duration, d time.Duration) int {
	most, from := 0, 0
	for i := range at {
		for at[i]-at[from] >= d {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// TestBudgetWhateverTheSwarms: a thousand swarms or a million, at noon or when
// two days are searched, cost the same packets; no node of the DHT gets more
// than others tolerate; each class of swarm has its share of the searches.
func TestBudgetWhateverTheSwarms(t *testing.T) {
	million := 1_000_000
	if raceEnabled {
		million = 50_000
	}
	for _, c := range []struct{ swarms, rate, hour int }{
		{1000, DefaultPacketRate, 12}, {million, DefaultPacketRate, 12}, {10_000, MaxPacketRate, 12}, {1000, DefaultPacketRate, 23},
	} {
		t.Run(fmt.Sprintf("%d swarms, %d a second, at %d h", c.swarms, c.rate, c.hour), func(t *testing.T) {
			bubble(t, func(t *testing.T) { testBudget(t, c.swarms, c.rate, c.hour) })
		})
	}
}

func testBudget(t *testing.T, swarms, rate, hour int) {
	f := newFakeNet()
	o := newOcean(f, 20000, 4000)
	n := f.dual(t, "9.1.1.1:7000", "[2a09::1]:7000", func(c *Config) { c.PacketRate = rate }, o.living(ipv4).String(), o.living(ipv6).String())
	defer closeAll(t, n)
	time.Sleep(2 * time.Minute)

	l := &load{
		node: n, epoch: time.Now(), hour: hour, wake: make(chan struct{}, 1),
		rand: rand.New(rand.NewPCG(7, 8)), perTo: make(map[netip.AddrPort][]time.Duration),
	}
	l.mesh = mesh.New(mesh.Config{Rand: rand.New(rand.NewPCG(1, 2))}, 0, int64(hour)*3600)
	f.mu.Lock()
	f.watch = func(_, to netip.AddrPort) {
		l.all = append(l.all, l.now())
		l.perTo[to] = append(l.perTo[to], l.now())
	}
	f.mu.Unlock()
	l.fill(swarms)
	const span = 5 * time.Minute
	l.run(span)
	f.mu.Lock()
	f.watch = nil
	f.mu.Unlock()

	const libtorrent = 10 * time.Second // over which it averages
	toOne := 0
	for _, at := range l.perTo {
		toOne = max(toOne, densest(at, libtorrent))
	}
	st := l.mesh.Stats()
	searches := uint64(0)
	for _, s := range st.Searches {
		searches += s
	}
	t.Logf("%.1f packets a second, at most %d in a second and %d in ten; to one node at most %d in ten",
		float64(len(l.all))/span.Seconds(), densest(l.all, time.Second), densest(l.all, libtorrent), toOne)
	t.Logf("%d searches (young, hungry, small, large: %v), the longest %v; %d packets each", searches, st.Searches, l.took, len(l.all)/int(searches))

	// A bucket holds two seconds' worth, and writes may overdraw it by as much.
	if most := rate*int(span/time.Second) + 4*rate; len(l.all) > most {
		t.Errorf("%d packets in %v, want %d at most", len(l.all), span, most)
	}
	if got, most := densest(l.all, libtorrent), (10+4)*rate; got > most {
		t.Errorf("%d packets within 10 s, want %d at most", got, most)
	}
	if toOne > 4+2*10 {
		t.Errorf("%d packets to one node within 10 s: libtorrent bans at 50, we want 24 at most", toOne)
	}
	if l.cut > 0 {
		t.Errorf("%d searches ran out of time", l.cut)
	}
	if dropped := st.Dropped[mesh.DropSwarms]; dropped > 0 {
		t.Errorf("%d swarms are not known", dropped)
	}
	if least := min(rate, 150) * int(span/time.Second); len(l.all) < least*9/10 {
		t.Errorf("%d packets: the budget is not used", len(l.all))
	}
	// Young 4, hungry 2, refreshes of small and of large ones 1 each.
	for class, weight := range []float64{4, 2, 1, 1} {
		if got := float64(st.Searches[class]) / float64(searches); got < 0.75*weight/8 {
			t.Errorf("class %d has %.0f %% of the searches", class, 100*got)
		}
	}
}

// TestOneNodeIsNotFlooded: in a network of three, all that a node does goes to
// the same two, no faster than others tolerate, whatever the budget allows.
func TestOneNodeIsNotFlooded(t *testing.T) {
	for _, addr := range []func(int) string{v4Addr, v6Addr} {
		bubble(t, func(t *testing.T) {
			f := newFakeNet()
			a := f.node(t, addr(0), nil)
			b := f.node(t, addr(1), nil, addr(0))
			n := f.node(t, addr(2), func(c *Config) { c.PacketRate = MaxPacketRate }, addr(0))
			defer closeAll(t, a, b, n)
			time.Sleep(time.Minute)
			start := time.Now()
			to := make(map[netip.AddrPort][]time.Duration)
			f.mu.Lock()
			f.watch = func(from, dest netip.AddrPort) {
				if from == n.LocalAddr() {
					to[dest] = append(to[dest], time.Since(start))
				}
			}
			f.mu.Unlock()
			var lookups sync.WaitGroup
			for i := range 60 {
				lookups.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), searchTimeout)
					defer cancel()
					_ = n.Lookup(ctx, testTarget(i), true, nil) // some find no room
				})
			}
			lookups.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			for dest, at := range to {
				// 4 at once and 2 a second, and an answer to what it asks itself.
				if got := densest(at, 10*time.Second); got > 4+2*10+2 {
					t.Errorf("%d packets to %v within 10 s", got, dest)
				}
			}
			if len(to) != 2 {
				t.Errorf("packets to %d nodes", len(to))
			}
		})
	}
}
