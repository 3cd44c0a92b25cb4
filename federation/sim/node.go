package sim

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/registry"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/swarm"
)

// node is a tracker that federates: what package federation's Federation is
// to its mesh, its links and its tracker, without sockets and goroutines.
type node struct {
	w     *World
	id    int
	key   mesh.Key
	addr  netip.AddrPort // of its DHT socket
	url   nodeaddr.URL
	group string // its address prefix
	x, y  float64
	side  int // of a partition

	up      bool
	dark    bool // while down: the whole host is, and refuses nothing
	runs    int  // how often it was started
	hostile *hostile

	began       time.Duration // of this run; mesh's times are since then
	tracker     *tracker.Tracker
	mesh        *mesh.Mesh
	store       *registry.Store
	actions     []mesh.Action
	wake        time.Duration // the next event of the mesh that is scheduled
	peers       map[mesh.Key]*peer
	list        []*peer // the same, in an order that does not depend on a map's
	links       []*link
	accepted    map[string]int // handshakes under way, by prefix
	acceptedAll int
	lastSeq     uint64
	packets     packets

	dirty   map[string]touch
	order   []string // of dirty
	looks   bool     // a look at them is scheduled
	known   map[mesh.Key]*knownNode
	own     mesh.Record
	tried   map[string]bool // without retries: swarms searched for, keys dialled
	alias   netip.AddrPort  // see World.seenAs
	watch   string          // a swarm whose searches are counted
	watched int
}

// touch says on which side a swarm changed.
type touch uint8

const (
	touchLocal touch = 1 << iota
	touchRemote
)

func newNode(w *World, id int, ip netip.Addr) *node {
	n := &node{
		w: w, id: id, addr: netip.AddrPortFrom(ip, uint16(20000+id%40000)),
		url:   nodeaddr.URL{Scheme: "wss", Host: fmt.Sprintf("n%d.example", id), Port: 443},
		group: nodeaddr.Group(ip).String(), x: w.rng.Float64(), y: w.rng.Float64(), side: id & 1,
		known: make(map[mesh.Key]*knownNode),
		alias: netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(60 + id>>16), byte(id >> 8), byte(id), 1}), 20000),
	}
	seed := w.seed32(1, id, 0)
	n.key = sha256.Sum256(seed[:])
	return n
}

// run starts the node.
func (n *node) run() {
	w := n.w
	n.up, n.dark = true, false
	n.runs++
	n.began = w.now
	n.peers = make(map[mesh.Key]*peer)
	n.list, n.links = nil, nil
	n.accepted, n.acceptedAll = make(map[string]int), 0
	n.dirty, n.order, n.looks = make(map[string]touch), nil, false
	n.tried = make(map[string]bool)
	n.packets.init(w)
	cfg := tracker.DefaultConfig()
	cfg.Shards = 1
	cfg.Watcher = n
	cfg.Now = w.time
	cfg.Swarm.MaxParkedBytes = 64 << 20
	if w.cfg.Switches.NoParking {
		cfg.Swarm.MaxParkedBytes = 0
	}
	seed := w.seed32(2, n.id, n.runs)
	cfg.Seed = &seed
	tr, err := tracker.New(cfg)
	if err != nil {
		panic(err) // nothing in cfg depends on the run
	}
	n.tracker = tr
	n.mesh = mesh.New(mesh.Config{Self: n.key, BucketKey: w.net.BucketKey(), Rand: rand.New(rand.NewChaCha8(w.seed32(3, n.id, n.runs))), RegistryFrom: w.cfg.registryFrom()}, 0, w.time().Unix())
	n.store = newStore(n)
	n.wake = never
	n.loadKnown()
	n.keepRecord(n.runs, publishRetry)
	n.advance()
	w.queue.push(w.now+w.between(0, w.cfg.sweepEvery()), (*sweeper)(n), uint64(n.runs))
}

// never is a time that does not come.
const never = time.Duration(1<<63 - 1)

// now is the time since the node was started.
func (n *node) now() time.Duration { return n.w.now - n.began }

// later makes fn happen in a while, unless the node was stopped by then.
func (n *node) later(d time.Duration, fn func()) {
	run := n.runs
	n.w.after(d, func() {
		if n.up && n.runs == run {
			fn()
		}
	})
}

// sweeper is a node whose tracker's housekeeping is due.
type sweeper node

func (s *sweeper) fire(w *World, run uint64) {
	n := (*node)(s)
	if !n.up || n.runs != int(run) {
		return
	}
	w.sweep(n.tracker)
	w.queue.push(w.now+w.cfg.sweepEvery(), s, run)
}

// fire implements actor: the mesh's time has come.
func (n *node) fire(w *World, run uint64) {
	if !n.up || n.runs != int(run) || w.now < n.wake {
		return
	}
	n.wake = never
	n.advance()
}

// advance performs what the mesh decides. It is called after every input.
func (n *node) advance() {
	n.actions = n.mesh.Advance(n.now(), n.w.time().Unix(), n.actions[:0])
	for i := range n.actions {
		n.perform(&n.actions[i])
	}
	clear(n.actions)
	next := n.mesh.Next()
	if next == never {
		return
	}
	if next = max(n.w.now, n.began+next); next < n.wake {
		n.wake = next
		n.w.queue.push(next, n, uint64(n.runs))
	}
}

// perform starts one action. Like the real one it never calls back into the
// mesh: what does is an event of its own.
func (n *node) perform(a *mesh.Action) {
	w := n.w
	p := n.peers[a.Key]
	switch a.Kind {
	case mesh.ActSearch:
		n.search(*a)
	case mesh.ActResolve:
		n.resolve(a.Addr)
	case mesh.ActFetch:
		n.fetch(a.Key)
	case mesh.ActDial:
		n.lastSeq = max(n.lastSeq+1, uint64(w.time().UnixMilli()))
		n.dial(*a, n.lastSeq)
	case mesh.ActJoin:
		if p != nil {
			p.join(a.InfoHash)
		}
	case mesh.ActLeave:
		if p != nil {
			p.leave(a.InfoHash, a.Full)
		}
	case mesh.ActCensus:
		if p != nil {
			p.sendCensus(a.Count)
		}
	case mesh.ActFilter:
		if p != nil {
			n.later(0, p.sendFilter)
		}
	case mesh.ActNames:
		if p != nil {
			p.sendNames(a.Names)
		}
	case mesh.ActRegister:
		if p != nil {
			p.sendRegister(a.Say, a.Ask)
		}
	case mesh.ActPopulation:
		n.tracker.Population([]byte(a.InfoHash), a.Count)
	case mesh.ActClose:
		if p != nil {
			code := closeCode(a.Reason)
			n.later(0, func() { p.close(code); n.sync(p) })
		}
	}
}

// Touch implements tracker.Watcher.
func (n *node) Touch(infoHash []byte) { n.touch(infoHash, touchLocal) }

// lookAfter is how soon a touched swarm is looked at. The real loop does it
// at once and gathers what comes while it is busy.
const lookAfter = time.Millisecond

func (n *node) touch(infoHash []byte, t touch) {
	had, ok := n.dirty[string(infoHash)]
	if ok && had|t == had {
		return
	}
	name := string(infoHash)
	n.dirty[name] = had | t
	if !ok {
		n.order = append(n.order, name)
	}
	if !n.looks {
		n.looks = true
		n.w.queue.push(n.w.now+lookAfter, (*looker)(n), uint64(n.runs))
	}
}

// looker is a node whose swarms were touched.
type looker node

func (l *looker) fire(_ *World, run uint64) {
	n := (*node)(l)
	if !n.up || n.runs != int(run) {
		return
	}
	n.looks = false
	order, dirty := n.order, n.dirty
	n.order, n.dirty = nil, make(map[string]touch, 8)
	for _, infoHash := range order {
		n.lookAt(infoHash, dirty[infoHash])
	}
}

// lookAt tells the mesh how a swarm stands.
func (n *node) lookAt(infoHash string, t touch) {
	lost := n.lostPartners(infoHash)
	st, _ := n.tracker.State([]byte(infoHash))
	n.mesh.Touched(n.now(), infoHash, mesh.SwarmState{
		Local:  st.LocalComplete + st.LocalIncomplete,
		Remote: st.RemoteComplete + st.RemoteIncomplete,
		Parked: st.Parked,
	}, t&touchLocal != 0)
	n.advance()
	for _, p := range lost {
		p.rejoin(infoHash)
	}
}

// lostPartners are the peers whose part in a swarm the tracker was given and
// has no more.
func (n *node) lostPartners(infoHash string) (lost []*peer) {
	var buf [64]mesh.Key
	for _, key := range n.mesh.Partners(infoHash, buf[:0]) {
		if p := n.peers[key]; p != nil && p.has(infoHash) {
			lost = append(lost, p)
		}
	}
	if st, ok := n.tracker.State([]byte(infoHash)); !ok || len(lost) <= st.Nodes {
		return nil
	}
	return lost
}

// pin gives the peer with key one more link to come.
func (n *node) pin(key mesh.Key) *peer {
	p := n.peers[key]
	if p == nil {
		p = newPeer(n, key)
		p.place = len(n.list)
		n.peers[key] = p
		n.list = append(n.list, p)
	}
	p.pins++
	return p
}

// release ends what pin began.
func (n *node) release(p *peer) {
	n.sync(p)
	if p.pins--; p.pins == 0 {
		delete(n.peers, p.key)
		last := len(n.list) - 1
		n.list[p.place] = n.list[last]
		n.list[p.place].place = p.place
		n.list[last] = nil
		n.list = n.list[:last]
	}
}

// sync tells the mesh whether p has a link.
func (n *node) sync(p *peer) {
	if p.downs != p.seen {
		p.seen = p.downs
		n.mesh.LinkDown(n.now(), p.key)
	}
	if p.cur != nil {
		n.mesh.LinkUp(n.now(), p.key, n.linkOf(p.cur.o.n, p.cur.dialled))
	}
	n.advance()
}

// linkOf is what the mesh is told of a link.
func (n *node) linkOf(o *node, dialled bool) mesh.Link {
	l := mesh.Link{Dialled: dialled, From: o.addr}
	if k := n.known[o.key]; k != nil {
		l.Age = n.w.now - k.firstSeen
	}
	if n.w.cfg.Switches.NoTrust {
		l.From, l.Age = netip.AddrPort{}, n.now()
	}
	return l
}

// stop ends the node at once, as a crash does. With dark its host goes as
// well: nobody is told, and links end when they have been silent for too long.
func (n *node) stop(dark bool) {
	if !n.up {
		return
	}
	n.up, n.dark = false, dark
	for _, l := range n.links {
		l.closed = true
		if dark {
			l.o.stall()
		} else {
			l.o.expectEnd()
		}
	}
	n.links, n.peers, n.list = nil, nil, nil
	for _, c := range n.w.clients {
		if c.node == n && c.session != nil {
			c.lose()
		}
	}
	n.tracker, n.mesh, n.store = nil, nil, nil
}

// state is how a swarm stands here.
func (n *node) state(infoHash string) swarm.State {
	st, _ := n.tracker.State([]byte(infoHash))
	return st
}
