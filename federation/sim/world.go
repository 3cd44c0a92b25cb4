package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

// Switches turn a part of the nodes off, to show that a scenario would notice.
type Switches struct {
	// NoPublish: nodes look swarms up and never announce themselves.
	NoPublish bool
	// NoParking: offers that find no receiver are dropped at once.
	NoParking bool
	// NoRetries: of each swarm only the first search is made, and a node that
	// was dialled in vain, or whose link was lost, is not dialled again.
	NoRetries bool
	// NoTrust: neither prefixes nor age nor quotas limit what other nodes get,
	// and all are taken for good ones, whatever they do.
	NoTrust bool
	// NoRegistry: nobody is responsible for swarms (package registry).
	NoRegistry bool
	// Progress, if it is set, is told of each minute that begins, and how many
	// events there were: a large scenario takes long.
	Progress func(now time.Duration, events uint64)
}

// Config of a World.
type Config struct {
	Seed  uint64
	Nodes int
	// Loss is the share of packets that are lost: a DHT query of its own, a
	// piece of a link that comes late.
	Loss float64
	// PacketRate is the budget of a node's DHT queries, per second.
	PacketRate float64
	// Dead is the share of the DHT's own nodes that do not answer.
	Dead float64
	// Coarse gives trackers their housekeeping once a second only.
	Coarse bool
	// RegistryFrom is how many nodes there must be for swarms to be registered; 0:
	// as many as in a real one.
	RegistryFrom int
	// Switches are what the nodes do without.
	Switches Switches
}

// start is the time of day at which a World begins, so that no run of a few
// hours meets midnight, when targets change.
var start = time.Unix(1_800_014_400, 0).UTC()

// World is a network of nodes, their clients, and a DHT.
type World struct {
	cfg   Config
	rng   *rand.Rand
	pop   *rand.Rand // of the clients, so that they are the same in two worlds
	now   time.Duration
	queue queue
	net   derive.Network

	nodes   []*node
	hosts   map[string]*node
	addrs   map[netip.AddrPort]*node
	swarms  []*group
	clients []*client
	dht     dht
	parted  bool

	frame   frame.Frame // the one that is being taken
	limits  wire.Limits
	sums    maphash.Seed
	tags    [2][]uint64
	keys    [][]byte // memory for the keys of offers
	batch   []swarm.Offer
	scratch []byte
	offers  []frame.Offer
	text    []byte // of a client's frame
	once    turn

	count counts
}

// NewWorld makes a World with its nodes, all of them down.
func NewWorld(cfg Config) *World {
	if cfg.PacketRate == 0 {
		cfg.PacketRate = 40
	}
	network, err := derive.New("sim", nil)
	if err != nil {
		panic(err) // the name is good
	}
	w := &World{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 1)), pop: rand.New(rand.NewPCG(cfg.Seed, 2)), net: network,
		limits: wire.DefaultLimits(), sums: maphash.MakeSeed(),
		hosts: make(map[string]*node), addrs: make(map[netip.AddrPort]*node),
	}
	w.once.init()
	w.dht.init(w)
	w.count.init()
	for i := range cfg.Nodes {
		// Prefixes of their own: 5.x.y.0/24.
		w.addNode(netip.AddrFrom4([4]byte{5, byte(i >> 8), byte(i), 10}))
	}
	return w
}

func (w *World) addNode(ip netip.Addr) *node {
	n := newNode(w, len(w.nodes), ip)
	w.nodes = append(w.nodes, n)
	w.hosts[n.url.Host] = n
	w.addrs[n.addr], w.addrs[n.alias] = n, n
	return n
}

// at makes fn happen at a time.
func (w *World) at(t time.Duration, fn func()) { w.queue.push(max(t, w.now), call(fn), 0) }

// after makes fn happen in a while.
func (w *World) after(d time.Duration, fn func()) { w.at(w.now+d, fn) }

// Run lets the world go on until a time.
func (w *World) Run(until time.Duration) {
	for len(w.queue.heap) > 0 && w.queue.heap[0].at <= until {
		e := w.queue.pop()
		if progress := w.cfg.Switches.Progress; progress != nil && e.at/time.Minute > w.now/time.Minute {
			progress(e.at.Truncate(time.Minute), w.count.events)
		}
		w.now = e.at
		w.count.events++
		e.who.fire(w, e.arg)
	}
	w.now = until
}

// time is the present by a wall clock.
func (w *World) time() time.Time { return start.Add(w.now) }

// between is a random duration.
func (w *World) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(max(hi-lo, 1))))
}

// exponential is a random duration whose mean is given, ten means at most.
func (w *World) exponential(mean time.Duration) time.Duration {
	return time.Duration(float64(mean) * min(10, w.rng.ExpFloat64()))
}

// chance is true with a probability.
func (w *World) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// seed32 derives a seed for a node's own randomness.
func (w *World) seed32(kind, id, more int) (s [32]byte) {
	binary.LittleEndian.PutUint64(s[0:], w.cfg.Seed)
	binary.LittleEndian.PutUint64(s[8:], uint64(kind))
	binary.LittleEndian.PutUint64(s[16:], uint64(id))
	binary.LittleEndian.PutUint64(s[24:], uint64(more))
	return s
}

// reach reports whether two nodes' packets get to each other.
func (w *World) reach(a, b *node) bool { return !w.parted || a.side == b.side }

// latency is how long a packet takes from a to b.
func (w *World) latency(a, b *node) time.Duration {
	d := math.Hypot(a.x-b.x, a.y-b.y)
	return time.Duration((8 + 90*d + 10*w.rng.Float64()) * 1e6)
}

// Check reports what must not be, of all nodes.
func (w *World) Check() error {
	for _, n := range w.nodes {
		if !n.up || n.hostile != nil {
			continue
		}
		if err := n.mesh.Check(); err != nil {
			return fmt.Errorf("node %d: mesh: %w", n.id, err)
		}
		if err := n.tracker.Check(); err != nil {
			return fmt.Errorf("node %d: tracker: %w", n.id, err)
		}
	}
	for _, c := range w.clients {
		if len(c.conns) > c.most {
			return fmt.Errorf("client %d has %d connections", c.id, len(c.conns))
		}
		for i, id := range c.conns {
			o := w.clients[id]
			if !o.alive || o.swarm != c.swarm || o == c || !slices.Contains(o.conns, c.id) || slices.Contains(c.conns[:i], id) {
				return fmt.Errorf("clients %d and %d: a connection that is none", c.id, id)
			}
		}
	}
	return nil
}

func (c *Config) registryFrom() int {
	if c.Switches.NoRegistry {
		return -1
	}
	return c.RegistryFrom
}

// sweepEvery is how often a tracker gets its slice of housekeeping.
func (c *Config) sweepEvery() time.Duration {
	if c.Coarse {
		return time.Second
	}
	return 250 * time.Millisecond
}

// turn is a context that lets tracker.Run go around once.
//
// A tracker does its housekeeping in Run only, by package time's ticker. In a
// testing/synctest bubble whose one goroutine is the simulator's own, waiting
// for that ticker takes no time and nothing else runs meanwhile; so the
// simulator calls Run for one round whenever a round is due on its own clock,
// which is the one that the tracker's times are taken from. Outside a bubble
// all is the same, only each round takes a quarter of a second.
type turn struct {
	context.Context
	done chan struct{}
	left int
}

func (t *turn) init() {
	t.Context = context.Background()
	t.done = make(chan struct{})
	close(t.done)
}

// Done implements context.Context: for one round it is not done.
func (t *turn) Done() <-chan struct{} {
	if t.left > 0 {
		t.left--
		return nil
	}
	return t.done
}

func (w *World) sweep(tr *tracker.Tracker) {
	w.once.left = 1
	tr.Run(&w.once)
}
