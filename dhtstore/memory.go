package dhtstore

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/draeder/peerservers/federation"
)

// Memory is a medium that any number of [MemoryNode] share, in place of a
// DHT. It has no goroutines, sockets or delays of its own and takes the time
// from package time, so that it works inside a testing/synctest bubble. It
// keeps the promises of the DHT that callers depend on: announcements expire,
// nobody is told about itself, old records do not replace new ones.
type Memory struct {
	mu        sync.Mutex
	fail      error
	announced map[federation.Target]map[netip.AddrPort]time.Time
	records   map[netip.AddrPort]memoryRecord
	items     map[nodeID]federation.Item
}

// memoryRecord is what an address answers with to nodes whose records have that
// salt, or with nil to all.
type memoryRecord struct {
	federation.Item
	salt []byte
}

// NewMemory returns an empty medium.
func NewMemory() *Memory {
	return &Memory{
		announced: make(map[federation.Target]map[netip.AddrPort]time.Time),
		records:   make(map[netip.AddrPort]memoryRecord),
		items:     make(map[nodeID]federation.Item),
	}
}

// Node returns a handle on the medium for the node at addr.
func (m *Memory) Node(addr netip.AddrPort) *MemoryNode {
	return &MemoryNode{medium: m, addr: addr, salt: saltOr("")}
}

// SetFail makes every call of every node fail with err, until it is called
// with nil: a dead network.
func (m *Memory) SetFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// Plant announces addr under target, as anybody may in a real DHT.
func (m *Memory) Plant(target federation.Target, addr netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.announce(target, addr)
}

// PlantRecord makes addr answer Resolve with item, whatever that is.
func (m *Memory) PlantRecord(addr netip.AddrPort, item federation.Item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[addr] = memoryRecord{item, nil}
}

// Announced returns the addresses announced under target, sorted.
func (m *Memory) Announced(target federation.Target) []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.alive(target)
}

func (m *Memory) announce(target federation.Target, addr netip.AddrPort) {
	if m.announced[target] == nil {
		m.announced[target] = make(map[netip.AddrPort]time.Time)
	}
	m.announced[target][addr] = time.Now()
}

func (m *Memory) alive(target federation.Target) []netip.AddrPort {
	at := m.announced[target]
	now := time.Now()
	maps.DeleteFunc(at, func(_ netip.AddrPort, since time.Time) bool {
		return now.Sub(since) >= peerExpiry
	})
	return slices.SortedFunc(maps.Keys(at), netip.AddrPort.Compare)
}

// MemoryNode is one node's view of a [Memory].
type MemoryNode struct {
	medium *Memory
	addr   netip.AddrPort
	salt   []byte

	mu   sync.Mutex
	fail error
}

var _ federation.Directory = (*MemoryNode)(nil)

// Join makes the node one of a closed network, as [Config].RecordSalt does. Call
// it before all else.
func (n *MemoryNode) Join(recordSalt string) { n.salt = saltOr(recordSalt) }

// Addr is the address under which the node announces itself.
func (n *MemoryNode) Addr() netip.AddrPort { return n.addr }

// SetFail makes every call of this node fail with err, until it is called
// with nil.
func (n *MemoryNode) SetFail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail = err
}

// Leave takes the node off the network: it does not answer Resolve any more.
// What it announced stays until it expires, as in a DHT.
func (n *MemoryNode) Leave() {
	n.medium.mu.Lock()
	defer n.medium.mu.Unlock()
	delete(n.medium.records, n.addr)
}

func (n *MemoryNode) failure(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail != nil {
		return n.fail
	}
	n.medium.mu.Lock()
	defer n.medium.mu.Unlock()
	return n.medium.fail
}

// Lookup implements [federation.Directory].
func (n *MemoryNode) Lookup(ctx context.Context, target federation.Target, announce bool, found func(netip.AddrPort)) error {
	if err := n.failure(ctx); err != nil {
		return err
	}
	n.medium.mu.Lock()
	at := n.medium.alive(target)
	if announce {
		n.medium.announce(target, n.addr)
	}
	n.medium.mu.Unlock()
	for _, addr := range at {
		if addr != n.addr && found != nil {
			found(addr)
		}
	}
	return nil
}

// Resolve implements [federation.Directory].
func (n *MemoryNode) Resolve(ctx context.Context, addr netip.AddrPort) (federation.Item, error) {
	if err := n.failure(ctx); err != nil {
		return federation.Item{}, err
	}
	n.medium.mu.Lock()
	r, ok := n.medium.records[addr]
	n.medium.mu.Unlock()
	if !ok || r.salt != nil && !bytes.Equal(r.salt, n.salt) {
		return federation.Item{}, errNoAnswer
	}
	if err := verifyItem(r.Item, n.salt); err != nil {
		return federation.Item{}, err
	}
	return cloneItem(r.Item), nil
}

// Fetch implements [federation.Directory].
func (n *MemoryNode) Fetch(ctx context.Context, key ed25519.PublicKey) (federation.Item, error) {
	if err := n.failure(ctx); err != nil {
		return federation.Item{}, err
	}
	if len(key) != ed25519.PublicKeySize {
		return federation.Item{}, errBadKey
	}
	n.medium.mu.Lock()
	item, ok := n.medium.items[recordTarget(key, n.salt)]
	n.medium.mu.Unlock()
	if !ok {
		return federation.Item{}, ErrNotFound
	}
	return cloneItem(item), nil
}

// Publish implements [federation.Directory].
func (n *MemoryNode) Publish(ctx context.Context, item federation.Item) error {
	if err := n.failure(ctx); err != nil {
		return err
	}
	if err := verifyItem(item, n.salt); err != nil {
		return err
	}
	item = cloneItem(item)
	n.medium.mu.Lock()
	defer n.medium.mu.Unlock()
	target := recordTarget(item.Key, n.salt)
	if old, ok := n.medium.items[target]; ok && old.Seq > item.Seq {
		return ErrStale
	}
	n.medium.items[target] = item
	n.medium.records[n.addr] = memoryRecord{item, n.salt}
	return nil
}

var (
	// ErrNotFound says that nobody has the record.
	ErrNotFound = errors.New("dhtstore: no such record")
	// ErrStale says that a newer record of the same key is known.
	ErrStale = errors.New("dhtstore: a newer record of this key is known")

	errNoAnswer = errors.New("dhtstore: no answer")
	errBadKey   = errors.New("dhtstore: not an ed25519 public key")
)
