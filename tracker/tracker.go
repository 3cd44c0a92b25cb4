package tracker

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/dchest/siphash"

	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

const (
	// sweepEvery is how often each shard gets a slice of its housekeeping:
	// often enough that a claim to a peer id is settled within its 5 s.
	sweepEvery = 250 * time.Millisecond
	// sweepBudget bounds one slice, and with it how long a lock is held.
	sweepBudget = 2048
)

// Tracker is safe for concurrent use.
type Tracker struct {
	cfg   Config
	epoch time.Time // all times below are since then
	works sync.Pool
	stats counters

	shards []shard
	// k0 and k1 key the choice of a shard, so that nobody can aim at one.
	k0, k1 uint64

	owners owners
	hoards hoards

	jitter uint64 // where the sequences of intervals begin

	nodesMu sync.RWMutex
	nodes   map[NodeKey]*NodeSession
	numbers map[swarm.Owner]*NodeSession // all that are not forgotten
	number  swarm.Owner                  // the last one given
}

// shard is one table and its lock, on cache lines of its own.
type shard struct {
	mu    sync.Mutex
	table *swarm.Table
	_     [112]byte
}

// New makes a tracker. It does its housekeeping in Run.
func New(cfg Config) (*Tracker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("tracker: %w", err)
	}
	cfg = cfg.withDefaults()
	t := &Tracker{
		cfg:     cfg,
		epoch:   cfg.Now(),
		shards:  make([]shard, cfg.Shards),
		nodes:   make(map[NodeKey]*NodeSession),
		numbers: make(map[swarm.Owner]*NodeSession),
	}
	t.owners.init(max(leastRest, 2*cfg.Swarm.AnswerWindow+cfg.Swarm.TTL))
	t.hoards.init(cfg.MaxPerSource)
	t.works.New = func() any { return &work{parser: wire.NewParser(cfg.Limits)} }
	var seed [32]byte
	if cfg.Seed != nil {
		seed = *cfg.Seed
	} else {
		rand.Read(seed[:])
	}
	for i := range t.shards {
		t.shards[i].table = swarm.New(cfg.Swarm, &t.owners, derive(seed, uint64(i)))
	}
	own := derive(seed, ^uint64(0))
	t.k0 = binary.LittleEndian.Uint64(own[:])
	t.k1 = binary.LittleEndian.Uint64(own[8:])
	t.jitter = binary.LittleEndian.Uint64(own[16:])
	return t, nil
}

func derive(seed [32]byte, n uint64) [32]byte {
	return sha256.Sum256(binary.LittleEndian.AppendUint64(seed[:], n))
}

// now is the time since the tracker was made.
func (t *Tracker) now() time.Duration { return t.cfg.Now().Sub(t.epoch) }

func (t *Tracker) shard(infoHash []byte) *shard {
	return &t.shards[siphash.Hash(t.k0, t.k1, infoHash)&uint64(len(t.shards)-1)]
}

// Run expires what is over, settles claims and forgets nodes, a bounded slice
// at a time, until ctx is done. A tracker serves clients without it, but its
// members never expire.
func (t *Tracker) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.sweep()
		}
	}
}

// sweep gives each shard a slice of housekeeping.
func (t *Tracker) sweep() {
	for i := range t.shards {
		w := t.getWork()
		sh := &t.shards[i]
		sh.mu.Lock()
		w.effects = sh.table.Sweep(t.now(), sweepBudget, w.effects)
		sh.mu.Unlock()
		t.perform(w)
		t.putWork(w)
	}
	t.forgetNodes()
}

// State is how a swarm stands; false if it has no local member.
func (t *Tracker) State(infoHash []byte) (swarm.State, bool) {
	sh := t.shard(infoHash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.table.State(infoHash)
}

// Population says how many nodes have a swarm, of which those that joined it here
// are a random sample: what clients are told of remote members is an estimate
// then. 0: those that joined are all.
func (t *Tracker) Population(infoHash []byte, nodes int) {
	sh := t.shard(infoHash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.table.Population(infoHash, nodes)
}

// Tags appends the tags of a swarm's local members under key; ok is false if
// there are more than swarm.MaxTags of them.
func (t *Tracker) Tags(infoHash []byte, key [16]byte, complete, incomplete []uint64) (c, i []uint64, ok bool) {
	sh := t.shard(infoHash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.table.Tags(infoHash, key, complete, incomplete)
}

// Swarms yields every swarm with a local member. It copies a shard's names at
// a time, so that yield may take its time and may call the tracker: swarms
// that come or go meanwhile may or may not be seen.
func (t *Tracker) Swarms(yield func(infoHash []byte, s swarm.State) bool) {
	type entry struct {
		end   int
		state swarm.State
	}
	var names []byte
	var list []entry
	for i := range t.shards {
		names, list = names[:0], list[:0]
		sh := &t.shards[i]
		sh.mu.Lock()
		sh.table.Swarms(func(infoHash []byte, s swarm.State) bool {
			names = append(names, infoHash...)
			list = append(list, entry{len(names), s})
			return true
		})
		sh.mu.Unlock()
		start := 0
		for _, e := range list {
			if !yield(names[start:e.end:e.end], e.state) {
				return
			}
			start = e.end
		}
	}
}

// Check reports a broken invariant, for tests and for operators who ask.
func (t *Tracker) Check() error {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		err := sh.table.Check()
		sh.mu.Unlock()
		if err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
	}
	return nil
}
