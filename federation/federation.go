package federation

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draeder/peerservers/federation/dialguard"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/reach"
	"github.com/draeder/peerservers/tracker/swarm"
)

// Federation joins one tracker with those of other nodes. It is safe for
// concurrent use.
type Federation struct {
	// Fixed.
	cfg       Config
	log       *slog.Logger
	key       mesh.Key
	local     handshake.Local
	epoch     time.Time
	seed      maphash.Seed
	maxShared int

	ctx    context.Context // ends with Run
	cancel context.CancelFunc
	wake   chan struct{} // the loop is to look at mesh's Next again
	renew  chan struct{} // our record is to be made again
	fresh  chan struct{} // the store is to be written
	stats  counters
	// backlog is of the outboxes of all links.
	backlog backlog

	workMu   sync.Mutex
	closed   bool
	work     sync.WaitGroup
	randMu   sync.Mutex
	rand     *rand.Rand
	accepts  acceptances
	registry registrations
	strays   strays
	knocks   *dialguard.Knocks
	entropy  func() handshake.Entropy // of each handshake; tests replay theirs

	place   atomic.Pointer[Place]
	locator locator

	filterMu sync.Mutex // before mu
	filters  filterWork

	mu      sync.Mutex
	mesh    *mesh.Mesh
	actions []mesh.Action
	next    time.Duration
	peers   map[mesh.Key]*peer
	lastSeq uint64 // of our dials
	known   nodeBook
	own     ownRecord
}

// New makes a Federation. It does nothing until Run.
func New(cfg Config) (*Federation, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("federation: %w", err)
	}
	cfg = cfg.withDefaults()
	f := &Federation{
		cfg: cfg, log: cfg.Logger, epoch: cfg.Now(), seed: maphash.MakeSeed(),
		key:   mesh.Key(cfg.Key.Public().(ed25519.PublicKey)),
		local: handshake.Local{Key: cfg.Key, Network: cfg.Network.ID(), Member: cfg.Network.MemberKey(), Versions: []uint32{handshake.Version}, Admits: cfg.Nodes.Allows},
		wake:  make(chan struct{}, 1), fresh: make(chan struct{}, 1), renew: make(chan struct{}, 1),
		rand:  rand.New(rand.NewPCG(cfg.Rand.Uint64(), cfg.Rand.Uint64())),
		peers: make(map[mesh.Key]*peer),
		known: newNodeBook(), entropy: entropy, knocks: dialguard.NewKnocks(),
	}
	f.backlog.limit = maxBacklog
	f.accepts.init()
	f.registry.init(cfg.Registry, rand.New(rand.NewPCG(cfg.Rand.Uint64(), cfg.Rand.Uint64())))
	f.strays.init(f.now())
	f.maxShared = cfg.Mesh.MaxSwarmsPerNode
	if f.maxShared <= 0 {
		f.maxShared = 10_000
	}
	f.startPlace()
	cfg.Mesh.Leaf = f.place.Load().State == reach.Leaf
	f.mesh = mesh.New(cfg.Mesh, 0, f.epoch.Unix())
	f.next = f.mesh.Next()
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f, nil
}

// now is the time since the federation was made.
func (f *Federation) now() time.Duration { return f.cfg.Now().Sub(f.epoch) }

func (f *Federation) random(n int64) int64 {
	f.randMu.Lock()
	defer f.randMu.Unlock()
	return f.rand.Int64N(n)
}

// Run joins in until ctx is done; then it says goodbye to everybody and
// returns once nothing of it is left running. It may be called once.
func (f *Federation) Run(ctx context.Context) error {
	f.load()
	f.spawn(f.publishRecord)
	if f.guesses() {
		f.spawn(f.locate)
	}
	if f.cfg.Store != nil {
		f.spawn(f.keepStore)
	}
	f.loop(ctx)
	f.shutdown()
	f.work.Wait()
	return nil
}

// loop advances mesh when it is time, and looks at touched swarms.
func (f *Federation) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		f.step(func(*mesh.Mesh, time.Duration) {})
		f.mu.Lock()
		pause := f.next - f.now()
		f.mu.Unlock()
		timer.Reset(max(min(pause, time.Minute), 0))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-f.wake:
		case <-f.cfg.Watcher.wake:
			f.lookAtSwarms()
		}
	}
}

// shutdown says bye on every link and ends all work.
func (f *Federation) shutdown() {
	f.workMu.Lock()
	f.closed = true
	f.workMu.Unlock()
	f.mu.Lock()
	peers := make([]*peer, 0, len(f.peers))
	for _, p := range f.peers {
		peers = append(peers, p)
	}
	f.mu.Unlock()
	f.cancel()
	for _, p := range peers {
		p.close(frame.CodeShutdown)
	}
}

// spawn runs fn on a goroutine that Run waits for; false once it is over.
func (f *Federation) spawn(fn func()) bool {
	f.workMu.Lock()
	defer f.workMu.Unlock()
	if f.closed {
		return false
	}
	f.work.Add(1)
	go func() {
		defer f.work.Done()
		fn()
	}()
	return true
}

// after runs fn in a while unless dead is closed before.
func (f *Federation) after(d time.Duration, dead <-chan struct{}, fn func()) {
	f.spawn(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			fn()
		case <-dead:
		case <-f.ctx.Done():
		}
	})
}

// step gives mesh an input and starts what it decides. It is called without
// any lock. Actions never wait: what does has a goroutine of its own.
func (f *Federation) step(input func(m *mesh.Mesh, now time.Duration)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	input(f.mesh, f.now())
	f.actions = f.mesh.Advance(f.now(), f.cfg.Now().Unix(), f.actions[:0])
	for i := range f.actions {
		f.perform(f.actions[i])
	}
	clear(f.actions)
	if next := f.mesh.Next(); next != f.next {
		f.next = next
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// perform starts one action. Caller holds f.mu.
func (f *Federation) perform(a mesh.Action) {
	p := f.peers[a.Key]
	switch a.Kind {
	case mesh.ActSearch:
		f.begin(func() { f.search(a) })
	case mesh.ActResolve:
		f.begin(func() { f.resolve(a.Addr) })
	case mesh.ActFetch:
		f.begin(func() { f.fetch(a.Key) })
	case mesh.ActDial:
		f.lastSeq = max(f.lastSeq+1, uint64(max(f.cfg.Now().UnixMilli(), 0)))
		seq := f.lastSeq
		f.begin(func() { f.dial(a, seq) })
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
			f.begin(func() { f.sendFilter(p) })
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
		f.cfg.Tracker.Population([]byte(a.InfoHash), a.Count)
	case mesh.ActClose:
		if p != nil {
			code := frame.CodeIdle
			if a.Reason == mesh.CloseFull {
				code = frame.CodeLimit
			}
			f.begin(func() { p.close(code); f.sync(p) })
		}
	}
}

// begin spawns an action; at the end of Run it does not matter any more.
func (f *Federation) begin(fn func()) { f.spawn(fn) }

// lookAtSwarms tells mesh how the touched swarms stand.
func (f *Federation) lookAtSwarms() {
	dirty, all := f.cfg.Watcher.take()
	if all {
		f.cfg.Tracker.Swarms(func(infoHash []byte, _ swarm.State) bool {
			dirty[string(infoHash)] |= touchLocal
			return true
		})
		f.mu.Lock()
		f.mesh.Each(func(infoHash string) { dirty[infoHash] |= touchLocal })
		f.mu.Unlock()
	}
	for infoHash, t := range dirty {
		f.lookAt(infoHash, t)
	}
}

func (f *Federation) lookAt(infoHash string, t touch) {
	lost := f.lostPartners(infoHash)
	st, _ := f.cfg.Tracker.State([]byte(infoHash))
	f.step(func(m *mesh.Mesh, now time.Duration) {
		m.Touched(now, infoHash, mesh.SwarmState{
			Local:  st.LocalComplete + st.LocalIncomplete,
			Remote: st.RemoteComplete + st.RemoteIncomplete,
			Parked: st.Parked,
		}, t&touchLocal != 0)
	})
	for _, p := range lost {
		f.stats.rejoins.Add(1)
		p.rejoin(infoHash)
	}
}

// lostPartners are the peers whose part in a swarm the tracker was given and
// has no more, because the swarm went and came back unseen: all of those that
// were given, if they are more than the tracker has.
func (f *Federation) lostPartners(infoHash string) (lost []*peer) {
	f.mu.Lock()
	keys := f.mesh.Partners(infoHash, nil)
	for _, key := range keys {
		if p := f.peers[key]; p != nil {
			lost = append(lost, p)
		}
	}
	f.mu.Unlock()
	n := 0
	for _, p := range lost {
		if p.has(infoHash) {
			lost[n] = p
			n++
		}
	}
	st, ok := f.cfg.Tracker.State([]byte(infoHash))
	if !ok || n <= st.Nodes {
		return nil
	}
	return lost[:n]
}

// pin gives the peer with key, made if need be, one more link to come.
func (f *Federation) pin(key mesh.Key) *peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.peers[key]
	if p == nil {
		p = f.newPeer(key)
		f.peers[key] = p
	}
	p.pins++
	return p
}

// release ends what pin began; with the last link the peer is forgotten. Its
// ledger lives on in the tracker for a while.
func (f *Federation) release(p *peer) {
	f.sync(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.pins--; p.pins == 0 {
		delete(f.peers, p.key)
	}
}

// sync tells mesh whether p has a link. It is level-triggered: two calls at
// the same time both tell the state by then.
func (f *Federation) sync(p *peer) {
	f.step(func(m *mesh.Mesh, now time.Duration) {
		downs, cur := p.downs.Load(), p.cur.Load()
		if downs != p.seen {
			p.seen = downs
			m.LinkDown(now, p.key)
		}
		if cur != nil {
			m.LinkUp(now, p.key, f.linkOf(p.key, cur.session.Dialled, cur.from))
		}
	})
}

// linkOf is what mesh is told of a link. Caller holds f.mu.
func (f *Federation) linkOf(key mesh.Key, dialled bool, from netip.AddrPort) mesh.Link {
	l := mesh.Link{Dialled: dialled, From: from}
	if n := f.known.nodes[key]; n != nil {
		l.Age = max(f.cfg.Now().Sub(n.firstSeen), 0)
	}
	return l
}

// errClosed: the federation has ended.
var errClosed = errors.New("federation: closed")

// urlStrings is for the log and the status.
func urlStrings(urls []nodeaddr.URL) (s []string) {
	for _, u := range urls {
		s = append(s, u.String())
	}
	return s
}
