package swarm

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing"
	"time"
)

// heap is the live heap, and the CPU time that marking it takes.
func heap() (bytes uint64, mark time.Duration) {
	sample := []metrics.Sample{
		{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
	}
	total := func() (s float64) {
		metrics.Read(sample)
		for i := range sample {
			s += sample[i].Value.Float64()
		}
		return s
	}
	runtime.GC()
	runtime.GC()
	mark = time.Hour
	for range 10 { // others on the machine make it seem more, never less
		before := total()
		runtime.GC()
		mark = min(mark, time.Duration((total()-before)*1e9))
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, mark
}

// silence is no sign of life of anybody.
type silence struct{}

func (silence) LastSeen(Owner) time.Duration { return 0 }
func (silence) LastPing(Owner) time.Duration { return 0 }
func (silence) Source(Owner) uint64          { return 0 }

// population is a table with peers in swarms of a size, under names as they
// are in earnest: hashes of any bytes, which are 30 bytes of UTF-8.
type population struct {
	tb    *Table
	swarm int // members
	now   time.Duration
	hash  []byte
	peer  [20]byte
	out   []Effect
}

func (p *population) name(i int) Announce {
	rng := rand.NewPCG(uint64(i/p.swarm), 7)
	p.hash = p.hash[:0]
	for range 20 {
		p.hash = append(p.hash, string(rune(rng.Uint64()&0xff))...)
	}
	copy(p.peer[:], "-WW0208-")
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	r := rand.NewPCG(uint64(i), 8).Uint64()
	for k := range 12 {
		p.peer[8+k] = digits[r>>(5*k)&63]
	}
	return Announce{InfoHash: p.hash, PeerID: p.peer[:]}
}

func (p *population) add(i int) {
	a := p.name(i)
	p.out, _ = p.tb.Announce(p.now, Owner(i%(1<<30)+1), &a, p.out[:0])
}

func (p *population) remove(i int) {
	a := p.name(i)
	p.out, _ = p.tb.Leave(p.now, Owner(i%(1<<30)+1), a.InfoHash, a.PeerID, p.out[:0])
}

// BenchmarkMemory prints what a million peers take and what they cost the
// garbage collector, as they came, after nine rounds in which every second
// one, at random, left and another came, and when one in ten is left.
func BenchmarkMemory(b *testing.B) {
	const peers = 1_000_000
	for _, size := range []int{10, 1} {
		b.Run(fmt.Sprintf("%dx%d", peers/size, size), func(b *testing.B) {
			for b.Loop() {
				base, idle := heap()
				p := &population{tb: New(Config{MaxMembers: 2 * peers, MaxSwarms: 2 * peers}, silence{}, [32]byte{1}), swarm: size, now: time.Hour}
				report := func(what string) {
					bytes, mark := heap()
					n := p.tb.Stats().Members
					b.ReportMetric(float64(int64(bytes-base))/float64(n), "B/peer-"+what)
					b.ReportMetric(float64((mark - idle).Microseconds()), "µs-mark-"+what)
				}
				in := make([]int32, peers) // which is in each place
				for i := range in {
					p.add(i)
					in[i] = int32(i)
				}
				b.StopTimer()
				base += 4 * peers // in
				report("new")
				rng := rand.New(rand.NewPCG(1, 2))
				next := peers
				for range 9 {
					for i := range in {
						if rng.IntN(2) == 0 {
							p.remove(int(in[i]))
							p.add(next)
							in[i] = int32(next)
							next++
						}
					}
				}
				report("churned")
				for i := range in {
					if i%10 != 0 {
						p.remove(int(in[i]))
					}
				}
				report("tenth-left")
				if err := p.tb.Check(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				runtime.KeepAlive(p)
				runtime.KeepAlive(in)
			}
		})
	}
}

// BenchmarkSlowest prints what the slowest of a million joins took but for one
// in 100,000, which are the machine's doing, and the slowest slice of a sweep
// over them but for one in 100: what growing and expiry cost at worst.
func BenchmarkSlowest(b *testing.B) {
	for b.Loop() {
		p := &population{tb: New(Config{MaxMembers: 2_000_000, MaxSwarms: 2_000_000}, silence{}, [32]byte{1}), swarm: 1, now: time.Hour}
		var took []time.Duration
		for i := range 1_000_000 {
			a := p.name(i)
			start := time.Now()
			p.out, _ = p.tb.Announce(p.now, Owner(i+1), &a, p.out[:0])
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)-len(took)/100_000-1].Microseconds()), "µs-join")
		took = took[:0]
		for range 1_000_000/2048 + 1 {
			start := time.Now()
			p.out = p.tb.Sweep(p.now, 2048, p.out[:0])
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)-len(took)/100-1].Microseconds()), "µs-slice")
	}
}
