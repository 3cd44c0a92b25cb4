package mesh

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/filter"
)

// throng is many meshes that have one swarm, on virtual time, with links that
// only carry what the overlay of a swarm needs.
type throng struct {
	t       *testing.T
	r       *rand.Rand
	now     time.Duration
	queue   throngQueue
	seq     uint64
	members []*throngMember
	traffic bool
	joins   int // sent
	leaves  int
}

// throngMember is a node; without a mesh it is hostile: it accepts everything,
// asks everybody to share the swarm, and brings nothing.
type throngMember struct {
	c      *throng
	i      int
	m      *Mesh
	up     bool
	began  time.Duration
	wake   time.Duration
	links  map[int]bool
	sent   map[int]bool          // our joins
	shared map[int]bool          // both joined
	known  map[int]time.Duration // when another was met first
	last   map[int]time.Duration // when what was said to another arrives
}

type throngEvent struct {
	at  time.Duration
	seq uint64
	do  func()
}

type throngQueue []throngEvent

func (q throngQueue) Len() int { return len(q) }
func (q throngQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q throngQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *throngQueue) Push(x any)   { *q = append(*q, x.(throngEvent)) }
func (q *throngQueue) Pop() any {
	e := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return e
}

func newThrong(t *testing.T, seed uint64) *throng {
	return &throng{t: t, r: rand.New(rand.NewPCG(seed, 77))}
}

func (c *throng) after(d time.Duration, do func()) {
	c.seq++
	heap.Push(&c.queue, throngEvent{c.now + d, c.seq, do})
}

// way is how long something takes from one node to another.
func (c *throng) way() time.Duration { return 40*time.Millisecond + time.Duration(c.r.Int64N(60e6)) }

func (c *throng) run(until time.Duration) {
	for len(c.queue) > 0 && c.queue[0].at <= until {
		e := heap.Pop(&c.queue).(throngEvent)
		c.now = e.at
		e.do()
	}
	c.now = until
}

func throngKey(i int) filter.Key { return filter.Key{1: byte(i >> 8), 2: byte(i), 3: 9} }

func (c *throng) add(hostile bool) *throngMember {
	n := &throngMember{c: c, i: len(c.members), known: map[int]time.Duration{}, last: map[int]time.Duration{}}
	c.members = append(c.members, n)
	if hostile {
		n.up, n.links, n.shared = true, map[int]bool{}, map[int]bool{}
		c.after(c.way(), n.press)
		return n
	}
	n.start()
	return n
}

func (n *throngMember) start() {
	n.up, n.began, n.wake = true, n.c.now, never
	n.links, n.sent, n.shared = map[int]bool{}, map[int]bool{}, map[int]bool{}
	n.m = New(Config{Self: key(n.i), Rand: rand.New(rand.NewPCG(n.c.r.Uint64(), 1)), NoRendezvous: true}, 0, noon)
	n.touched()
	n.step()
	n.bring()
}

func (n *throngMember) stop() {
	n.up = false
	for j := range n.links {
		o := n.c.members[j]
		delete(o.links, n.i)
		delete(o.shared, n.i)
		delete(o.sent, n.i)
		if o.m != nil && o.up {
			o.m.LinkDown(o.time(), key(n.i))
			o.touched()
			o.step()
		}
	}
}

func (n *throngMember) time() time.Duration { return n.c.now - n.began }

func (n *throngMember) touched() {
	n.m.Touched(n.time(), "x", SwarmState{Local: 5, Remote: 5 * len(n.shared)}, false)
}

// bring lets answers come from partners that are honest.
func (n *throngMember) bring() {
	if m := n.m; n.up && n.c.traffic {
		for j := range n.shared {
			if n.c.members[j].m != nil {
				m.Brought(n.time(), key(j), "x")
			}
		}
	}
	n.c.after(10*time.Second, func() {
		if n.up {
			n.bring()
		}
	})
}

func (n *throngMember) step() {
	if !n.up || n.m == nil {
		return
	}
	m := n.m
	for _, a := range m.Advance(n.time(), noon, nil) {
		n.perform(a)
	}
	if at := m.Next(); at != never && (at < n.wake || n.wake <= n.time()) {
		n.wake = at
		n.c.after(max(at-n.time(), 0), func() {
			if n.m == m && n.up && n.time() >= n.wake {
				n.step()
			}
		})
	}
}

// to lets another member take something a while later, if it is there then.
func (n *throngMember) to(j int, do func(o *throngMember)) {
	o := n.c.members[j]
	m := o.m
	at := max(n.c.now+n.c.way(), n.last[j]) // in order, as on a link
	n.last[j] = at
	n.c.after(at-n.c.now, func() {
		if o.up && o.m == m && o.links[n.i] {
			do(o)
			o.step()
		}
	})
}

func indexOf(k Key) int { return int(k[30])<<8 + int(k[31]) - 1 }

func (n *throngMember) perform(a Action) {
	c, m, j := n.c, n.m, indexOf(a.Key)
	switch a.Kind {
	case ActSearch:
		c.after(time.Second, func() {
			if n.m != m || !n.up {
				return
			}
			for range 30 {
				if o := c.members[c.r.IntN(len(c.members))]; o != n && o.up {
					m.Sighting(n.time(), a.ID, addr(o.i))
				}
			}
			m.SearchDone(n.time(), a.ID, false)
			n.step()
		})
	case ActResolve:
		c.after(2*c.way(), func() {
			if n.m != m || !n.up {
				return
			}
			b := a.Addr.Addr().As4()
			m.Resolved(n.time(), a.Addr, recordOf(int(b[0]-20)<<8+int(b[1])))
			n.step()
		})
	case ActDial:
		c.after(4*c.way(), func() {
			if n.m != m || !n.up {
				return
			}
			ok := n.connect(c.members[j])
			if !ok {
				m.DialDone(n.time(), a.ID, DialFailed, Key{})
			} else {
				m.DialDone(n.time(), a.ID, DialOK, a.Key)
			}
			n.step()
		})
	case ActJoin:
		n.join(j)
	case ActLeave:
		delete(n.shared, j)
		delete(n.sent, j)
		c.leaves++
		n.to(j, func(o *throngMember) { o.left(n.i, a.Full) })
		n.touched()
	case ActCensus:
		n.to(j, func(o *throngMember) {
			if o.m != nil {
				o.m.Census(o.time(), key(n.i), a.Count)
			}
		})
	case ActFilter:
		n.to(j, func(o *throngMember) {
			if o.m != nil {
				o.m.Hits(o.time(), key(n.i), []string{"x"})
			}
		})
	case ActNames:
		n.to(j, func(o *throngMember) {
			if o.m != nil {
				o.m.Named(o.time(), key(n.i), throngKey(n.i), []uint64{throngKey(n.i).Name(o.m.cfg.BucketKey.Bucket("x"), "x")})
			}
		})
	case ActClose:
		n.disconnect(c.members[j])
	}
}

// connect opens a link.
func (n *throngMember) connect(o *throngMember) bool {
	if !o.up || o.m != nil && !o.m.Admits(o.time(), key(n.i), Link{From: addr(n.i), Age: o.age(n.i)}) {
		return false
	}
	if n.links[o.i] {
		return true
	}
	n.links[o.i], o.links[n.i] = true, true
	if o.m != nil {
		o.m.LinkUp(o.time(), key(n.i), Link{From: addr(n.i), Age: o.age(n.i)})
		o.step()
	}
	if n.m != nil {
		n.m.LinkUp(n.time(), key(o.i), Link{Dialled: true, From: addr(o.i), Age: n.age(o.i)})
	}
	return true
}

// age is for how long another has been known; that survives a restart.
func (n *throngMember) age(j int) time.Duration {
	if _, ok := n.known[j]; !ok {
		n.known[j] = n.c.now
	}
	return n.c.now - n.known[j]
}

func (n *throngMember) disconnect(o *throngMember) {
	for _, e := range [2][2]*throngMember{{n, o}, {o, n}} {
		a, b := e[0], e[1]
		delete(a.links, b.i)
		delete(a.shared, b.i)
		delete(a.sent, b.i)
		if a.m != nil && a.up {
			n.c.after(0, func() {
				if a.up && !a.links[b.i] {
					a.m.LinkDown(a.time(), key(b.i))
					a.touched()
					a.step()
				}
			})
		}
	}
}

func (n *throngMember) join(j int) {
	if n.sent[j] || !n.links[j] {
		return
	}
	n.sent[j] = true
	n.c.joins++
	n.to(j, func(o *throngMember) { o.joined(n.i) })
}

func (n *throngMember) joined(j int) {
	switch {
	case n.shared[j]:
	case n.m == nil:
		n.shared[j] = true
		n.to(j, func(o *throngMember) { o.joined(n.i) })
	case !n.sent[j] && !n.m.Accepts(n.time(), key(j), "x"):
		n.c.leaves++
		n.to(j, func(o *throngMember) { o.left(n.i, true) })
	default:
		n.join(j)
		n.shared[j] = true
		n.m.Joined(n.time(), key(j), "x")
		n.touched()
	}
}

func (n *throngMember) left(j int, full bool) {
	delete(n.shared, j)
	if n.m != nil {
		delete(n.sent, j)
		n.touched()
		n.m.Left(n.time(), key(j), "x", full)
	}
}

// press is what a hostile node does each half minute: it links with everybody
// and asks to share the swarm.
func (n *throngMember) press() {
	for _, o := range n.c.members {
		if o.m != nil && o.up && n.connect(o) && !n.shared[o.i] {
			n.to(o.i, func(o *throngMember) { o.joined(n.i) })
		}
	}
	n.c.after(30*time.Second, n.press)
}

// degrees are the partners of honest members: how many in all and how many of
// them honest, and how large a part of the honest ones is one graph. Those that
// have just begun do not count.
func (c *throng) degrees() (all, honest []int, part float64) {
	seen := map[int]bool{}
	size, largest := 0, 0
	for _, n := range c.members {
		if !n.settled() {
			continue
		}
		size++
		h := 0
		for j := range n.shared {
			if c.edge(n, j) {
				h++
			}
		}
		all, honest = append(all, len(n.shared)), append(honest, h)
		if seen[n.i] {
			continue
		}
		seen[n.i] = true
		found := 0
		for stack := []*throngMember{n}; len(stack) > 0; found++ {
			n := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for j := range n.shared {
				if c.edge(n, j) && !seen[j] {
					seen[j] = true
					stack = append(stack, c.members[j])
				}
			}
		}
		largest = max(largest, found)
	}
	return all, honest, float64(largest) / float64(size)
}

func (n *throngMember) settled() bool { return n.m != nil && n.up && n.time() >= time.Minute }

func (c *throng) edge(n *throngMember, j int) bool {
	o := c.members[j]
	return o.settled() && o.shared[n.i]
}
