package federation

import (
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
)

// DialNow dials u whatever mesh thinks of it, and returns once the link is up
// or has failed.
func (f *Federation) DialNow(u nodeaddr.URL) {
	f.mu.Lock()
	f.lastSeq++
	seq := f.lastSeq
	f.mu.Unlock()
	f.dial(mesh.Action{URL: u, ID: ^uint64(0)}, seq)
}

// Check reports a broken invariant of mesh.
func (f *Federation) Check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mesh.Check()
}

// DefaultDialer is what dials for f unless its Config says otherwise.
func DefaultDialer(f *Federation) Dialer {
	cfg := f.cfg
	cfg.Dialer = nil
	return cfg.withDefaults().Dialer
}

// DefaultQuota is what a link is allowed unless configured otherwise.
func DefaultQuota() Quota { return Quota{}.withDefaults() }

// Known is how many nodes f has records of, and MaxKnown the most.
func (f *Federation) Known() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.known.nodes)
}

const MaxKnown = maxKnown

// Learn gives f a record.
func (f *Federation) Learn(s record.Signed) error { return f.learn(s) }

// SendRegister registers names with a linked node, and asks it.
func (f *Federation) SendRegister(key mesh.Key, say, ask []uint64) {
	f.mu.Lock()
	p := f.peers[key]
	f.mu.Unlock()
	p.sendRegister(say, ask)
}

// Registered notes with f that a node registered these names.
func (f *Federation) Registered(key mesh.Key, names ...uint64) {
	f.registry.mu.Lock()
	defer f.registry.mu.Unlock()
	f.registry.store.Register(f.now(), key, "", names)
}

// Gather is for how long a link's frames may wait for each other.
const Gather = gather

// Replay makes every handshake of f one of protocol version 1 and of the same
// randomness, so that what was said to it once can be said again.
func Replay(f *Federation, e handshake.Entropy) {
	f.local.Versions = []uint32{1}
	f.entropy = func() handshake.Entropy { return e }
}

// DialFor dials u, where key must answer, whatever mesh thinks of it.
func (f *Federation) DialFor(u nodeaddr.URL, key mesh.Key) {
	f.mu.Lock()
	f.lastSeq++
	seq := f.lastSeq
	f.mu.Unlock()
	f.dial(mesh.Action{URL: u, Key: key, ID: ^uint64(0)}, seq)
}
