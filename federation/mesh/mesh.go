// Package mesh decides for a federated tracker whom to look for, resolve,
// dial, share a swarm with, and let go. It does nothing itself: inputs go in
// with the time, actions come out, and package federation performs them.
//
// The story of one swarm: a client announces, so the swarm is Touched. Mesh
// asks for a search (ActSearch): one pass over the directory that publishes
// this node under the swarm's target and reads who else is there. Each
// Sighting is an address that somebody, perhaps a liar, stored. A few of them
// are resolved (ActResolve) to signed node records; those nodes are dialled
// (ActDial), and once a link is up and its key proven, the swarm is named
// there (ActNames), and joined when the other side shows that it knows it
// (ActJoin). A swarm that found nobody searches again soon, then less
// and less often. One that has just found company searches a few times more,
// because nodes that start together see each other only once all have
// published; from then on it only refreshes what it published. Where searches
// do not suffice for that, large swarms keep what they published before smaller
// ones (line.go).
//
// Three rules bound what strangers can make a node do:
//
//   - a plain info hash goes only to a node that sent a join for it itself, or
//     its name, which only those can who know it (invariant 6). A node that a
//     search under the swarm's target named is told the name first; one that
//     understands no names is told a few swarms in plain (approach). Every
//     ActJoin comes from a share, and only name, Joined, Asked (with askers) and
//     named make shares;
//   - searches, resolves and dials each have a rate, a cap on how many are
//     under way, and a memory of failures per address, host and key;
//   - every map and queue has a bound, and meeting it is counted.
//
// A list may be full of liars. What a search names and has no resolves left
// for goes to the swarm's backlog, and is asked one address a second, those
// never asked before first and one prefix after the other; so an honest node
// among n silent or lying ones has its turn n seconds later at most, for n up
// to 64, and with the searches that follow beyond that. Two things bound this:
// all swarms share ResolveRate, and a swarm has MaxPartners. Liars who prove
// that many keys over real links, from as many prefixes, keep those places;
// then only the honest node's own search brings the two together.
//
// A record may name somebody else's host. So a host has one dial at a time
// whatever the port, path and key, and failures of different keys there
// together make the pause longer: four dials in the first minute, then fewer. That
// many hosts are one address is seen only when they are dialled (dialguard.Knocks).
//
// Nodes that only guess where they are come last (guess.go).
//
// Linked nodes need no search. Each names its new swarms to the others at once
// (ActNames: keyed hashes, package filter), and when two nodes link, and every
// half hour, the one with fewer swarms sends a filter of all (ActFilter), of
// which the other names what hits. Whoever gets a name and has that swarm joins
// it. So what a filter claims, which anybody can, costs the other side a name at
// most; only a name, which proves that its sender knows the swarm, is answered
// with the info hash. Nothing is kept of filters and names that fit no swarm:
// should it begin here, it is named to the other side, which has it.
//
// In a large network nodes that are not linked find each other by asking three that
// everybody can compute, before they search (registry.go).
//
// A hot swarm is shared with a few of the nodes that have it (partners.go): with
// all of up to 16, beyond that with 8 to 16 that change slowly, of which six are
// picked at random. What each node draws from is then its own peers and those of
// its partners, not the whole swarm: in proportion to where they are among these.
// No single offer is drawn from all; but partners are exchanged every few minutes,
// and the graph of the nodes of one swarm stays connected, so that all of its
// peers remain within reach of each other, and over hours each pair of nodes
// shares the swarm for some time. What clients are told of the swarm's size is
// exact for up to 16 nodes, and beyond that estimated (ActPopulation): if k
// partners are a sample of the n others that are known to have the swarm, and the
// numbers of peers at a node have the coefficient of variation c, the remote part
// has the standard error c √(1/k - 1/n), 0.25 c for 12 of 50. It is unbiased as far
// as large nodes are as likely to be partners as small ones, and misses the nodes
// that are neither linked nor found.
//
// Strangers fill two more tables: that of links, which table.go guards, and of
// handshakes, which package federation does.
//
// A Mesh is deterministic: same inputs, times and random source, same
// actions. It is not safe for concurrent use. Times are durations since an
// epoch of the caller's choice and never go back; Unix time, which only the
// directory's daily targets and the expiry of records need, is given apart,
// because it does go back.
package mesh

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/nodeaddr"
)

// Key is a node's ed25519 public key.
type Key [32]byte

// Record is what a node says of itself, its signature and form checked.
type Record struct {
	Key     Key
	URLs    []nodeaddr.URL // none: a leaf
	Seq     int64
	Expires int64 // Unix seconds
	// Unverified: it guessed its URLs, and nobody has dialled it there yet.
	Unverified bool
	// Registers: it keeps what others register with it (registry.go).
	Registers bool
}

// SwarmState is what mesh needs to know of a swarm of the local tracker.
type SwarmState struct {
	// Local counts the members of this node's own clients; 0: no swarm.
	Local int
	// Remote counts peers of other nodes that are not local members too.
	Remote int
	// Parked counts offers that wait for somebody to take them.
	Parked int
}

// ActionKind says what is to be done.
type ActionKind uint8

const (
	// ActSearch: look InfoHash's target up in each of Epochs (or, with an
	// empty InfoHash, the rendezvous target of Shard) and announce this node
	// there if Announce. Answered by Sighting and one SearchDone, with ID.
	ActSearch ActionKind = iota
	// ActResolve: ask Addr for its record. Answered by Resolved or Unresolved.
	ActResolve
	// ActFetch: look the newest record of Key up. Answered by Learn, or not.
	ActFetch
	// ActDial: dial URL, where Key must answer (zero: anybody). Answered by
	// LinkUp and DialDone, with ID.
	ActDial
	// ActJoin: tell Key the state in which InfoHash is now.
	ActJoin
	// ActLeave: tell Key that InfoHash is gone here; or if Full that it is not,
	// and that others share it.
	ActLeave
	// ActPopulation: Count nodes have InfoHash, of which the partners are a
	// sample; 0: they are all.
	ActPopulation
	// ActClose: let the link with Key go.
	ActClose
	// ActCensus: tell Key that there are Count swarms here.
	ActCensus
	// ActFilter: send Key a filter of all swarms.
	ActFilter
	// ActNames: send Key the names of the swarms in Names, which are info
	// hashes and as such not for Key.
	ActNames
	// ActRegister: tell Key, which is responsible for them, the names Say, and ask
	// for others that registered those in Ask.
	ActRegister
)

// Action is one thing to be done.
type Action struct {
	Kind     ActionKind
	ID       uint64
	InfoHash string
	Epochs   []uint32
	Shard    int
	Announce bool
	Addr     netip.AddrPort
	Key      Key
	URL      nodeaddr.URL
	Reason   CloseReason
	Full     bool
	Count    int
	Names    []string
	Say, Ask []uint64 // names of package registry, at most 512 in all
}

// CloseReason says why a link is let go.
type CloseReason uint8

const (
	// CloseIdle: nothing is shared over the link and enough others are up.
	CloseIdle CloseReason = iota
	// CloseFull: as many links as configured are up.
	CloseFull
)

// Mesh is the state machine. See the package comment.
type Mesh struct {
	cfg   Config
	rand  *rand.Rand
	now   time.Duration
	unix  int64
	out   []Action
	tasks tasks
	done  int // of tasksAtOnce
	stats Stats

	swarms   map[string]*swarm
	nodes    map[Key]*node
	list     []*node // the same nodes, in an order that does not depend on the map's
	seeds    []*seed
	links    int
	closing  int // of them
	hungry   int // swarms without a remote peer
	addrs    map[netip.AddrPort]*address
	addrRing []netip.AddrPort // in the order of arrival, for eviction
	hosts    map[string]*host
	askers   map[string]*askers
	plain    map[netip.AddrPort]*bucket // by prefix: see approach

	barredKeys     map[Key]*bar
	barredPrefixes map[string]*bar

	askRing  []askPlace
	askCount int

	buckets      [][]bucketed // by filter.Key.Bucket
	news         []*swarm     // new ones, for linked nodes
	newsBase     uint64       // the place of the first of them
	talk         task         // the next round of naming
	talked       time.Duration
	filterTokens bucket
	speakers     int // linked nodes that understand names

	lastID        uint64
	searches      map[uint64]*search
	lines         [classes]line
	pass          [classes]float64
	searchTokens  bucket
	resolveQueue  []*address
	retryQueue    []*address // those that were silent before
	backlogged    int        // addresses in the backlogs of swarms
	resolves      int
	resolveTokens bucket
	dials         map[uint64]*dial
	unproven      bool // nobody has dialled us yet: search as a leaf does
	guesses       guesses
	sweep         task // through the buckets, after Reachable
	swept         int  // of them
	dialQueue     []*node
	rendezvous    rendezvous
	baseline      task
	baseTokens    bucket // a saved table may be full of the dead, who refuse at once
	reg           registrar
}

// New makes a Mesh whose first Advance is at now.
func New(cfg Config, now time.Duration, unix int64) *Mesh {
	cfg = cfg.withDefaults()
	m := &Mesh{
		cfg: cfg, rand: cfg.Rand, now: now, unix: unix,
		swarms: make(map[string]*swarm),
		nodes:  make(map[Key]*node),
		addrs:  make(map[netip.AddrPort]*address),
		hosts:  make(map[string]*host),
		askers: make(map[string]*askers),
		plain:  make(map[netip.AddrPort]*bucket),

		barredKeys:     make(map[Key]*bar),
		barredPrefixes: make(map[string]*bar),

		searches: make(map[uint64]*search),
		dials:    make(map[uint64]*dial),
		buckets:  make([][]bucketed, filter.Buckets),
		talked:   now - nameGather,
	}
	m.talk.run = m.tell
	m.sweep.run = m.sweepSome
	m.filterTokens = newBucket(filterRate, filterBurst, now)
	m.searchTokens = newBucket(cfg.SearchRate, cfg.SearchBurst, now)
	m.baseTokens = newBucket(10, 20, now)
	m.resolveTokens = newBucket(cfg.ResolveRate, cfg.ResolveBurst, now)
	for _, u := range cfg.Seeds {
		m.seeds = append(m.seeds, &seed{url: u})
	}
	m.guesses.init(now)
	m.unproven = cfg.Leaf
	m.baseline.run = m.keepBaseline
	m.at(&m.baseline, now)
	m.startRendezvous()
	m.startRegistry()
	return m
}

// tasksAtOnce is how much of what is due one Advance does: the swarms of a
// whole tracker may be due in one instant, and inputs wait for it.
const tasksAtOnce = 1024

// Advance does what is due at now and hands out all actions since the last
// call, appended to buf. Call it after every batch of inputs, and at Next. If
// much is due it does part of that, and Next is at once.
func (m *Mesh) Advance(now time.Duration, unix int64, buf []Action) []Action {
	m.moveTo(now)
	m.unix = unix
	for m.done = 0; m.done < tasksAtOnce; m.done++ {
		t := m.tasks.due(m.now)
		if t == nil {
			break
		}
		t.run()
	}
	m.startSearches()
	m.startResolves()
	m.startDials()
	buf = append(buf, m.out...)
	clear(m.out)
	m.out = m.out[:0]
	return buf
}

// Next is when Advance has something to do even without further input; it may
// have passed already.
func (m *Mesh) Next() time.Duration {
	next := m.tasks.next()
	if m.searchesReady() && len(m.searches) < m.mostSearches() {
		next = min(next, m.searchTokens.when(m.now, 1))
	}
	if m.resolvesReady() && m.resolves < m.cfg.MaxResolves {
		next = min(next, m.resolveTokens.when(m.now, 1))
	}
	return next
}

func (m *Mesh) moveTo(now time.Duration) { m.now = max(m.now, now) }

func (m *Mesh) emit(a Action) { m.out = append(m.out, a) }

func (m *Mesh) id() uint64 { m.lastID++; return m.lastID }

// jitter spreads d evenly over d±part, so that nodes that started together
// do not stay together.
func (m *Mesh) jitter(d time.Duration, part float64) time.Duration {
	return time.Duration(float64(d) * (1 - part + 2*part*m.rand.Float64()))
}
