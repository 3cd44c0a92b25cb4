package tracker

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draeder/peerservers/tracker/swarm"
)

const (
	// nodeLinger is how long a node without a link is remembered: for as long as
	// an offer that it relayed, or was given, may still be answered.
	nodeLinger = 150 * time.Second
	// provenLinger is how long if it is proven, unless there are too many: to
	// prove itself again would take it a while, which a link that was lost is
	// no reason for. Who is not proven gains as much by another key.
	provenLinger = time.Hour
	maxLingering = 4096
)

// NodeKey is a federated node's public key, which the federation has verified.
type NodeKey [32]byte

// NodeInfo is what the federation knows of a node beyond its key.
type NodeInfo struct {
	// Group stands for what many keys are cheap to have behind, such as an
	// address prefix; nodes of one group share limits. Empty: one of its own.
	Group string
	// FirstSeen is when the key was first met.
	FirstSeen time.Time
	// Trusted: somebody vouches for it, so that it is proven whatever it does.
	Trusted bool
}

// NodeJoin is a node's part in a swarm. It is whole state: sent again, it is
// an update. See swarm.NodeJoin.
type NodeJoin struct {
	InfoHash                     []byte
	Complete, Incomplete         int
	Tagged                       bool
	TagKey                       [16]byte
	CompleteTags, IncompleteTags []uint64
	Hold                         time.Duration
}

// NodeSession is a federated node, whichever link it comes by. Its methods may
// be called from any goroutine.
type NodeSession struct {
	t         *Tracker
	key       NodeKey
	firstSeen time.Duration
	owner     atomic.Uint32            // what tables know it as; 0: forgotten
	link      atomic.Pointer[nodeLink] // nil without one; changed under mu

	deeds deeds

	mu       sync.Mutex
	detached time.Duration // since when it has had no link
	// joined are the swarms to leave when the link goes. An entry is stale
	// once the last local member has left; see trim.
	joined  map[string]struct{}
	trimmed int // entries after the last trim
}

// deeds is what a node did, in the tables of all shards.
type deeds struct {
	trusted bool
	mu      sync.Mutex // taken with a shard's lock held, and none after it
	record  swarm.Record
}

// Note implements swarm.Reputation.
func (d *deeds) Note(now time.Duration, deed swarm.Deed, pair, source uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.record.Note(now, deed, pair, source)
}

// Trust implements swarm.Reputation.
func (d *deeds) Trust(now time.Duration) swarm.Trust {
	if d.trusted {
		return swarm.Trust{Met: true, Proven: true, Receivers: math.MaxInt32}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.record.Trust(now)
}

// nodeLink is the link in use, with what is known of the node over it.
type nodeLink struct {
	sink  NodeSink
	group string
}

// OpenNode is the session of the node with this key: the one there is, if it
// is linked or was a short while ago, so that answers to its offers still
// find it, and a new one otherwise.
func (t *Tracker) OpenNode(key NodeKey, info NodeInfo) *NodeSession {
	t.nodesMu.Lock()
	defer t.nodesMu.Unlock()
	n := t.nodes[key]
	if n == nil {
		n = &NodeSession{
			t: t, key: key, detached: t.now(),
			firstSeen: info.FirstSeen.Sub(t.epoch), deeds: deeds{trusted: info.Trusted}, joined: make(map[string]struct{}),
		}
		t.remember(n)
	}
	return n
}

// remember enters a session, which has, or had, no number. Caller holds
// t.nodesMu.
func (t *Tracker) remember(n *NodeSession) {
	t.nodes[n.key] = n
	if n.owner.Load() != 0 {
		return
	}
	// One number after the other: 2^31 come between a number and its return.
	for {
		t.number = nodeBit | (t.number + 1)
		if t.numbers[t.number] == nil {
			break
		}
	}
	t.numbers[t.number] = n
	n.owner.Store(uint32(t.number))
}

// forgetNodes drops the sessions of nodes that have been without a link for
// longer than they are remembered.
func (t *Tracker) forgetNodes() {
	now := t.now()
	t.nodesMu.Lock()
	defer t.nodesMu.Unlock()
	for o, n := range t.numbers {
		n.mu.Lock()
		idle := time.Duration(0)
		if n.link.Load() == nil {
			idle = now - n.detached
		}
		n.mu.Unlock()
		gone := idle > provenLinger || idle > nodeLinger && (len(t.numbers) > maxLingering || !n.deeds.Trust(now).Proven)
		if !gone {
			continue
		}
		delete(t.numbers, o)
		n.owner.Store(0)
		if t.nodes[n.key] == n {
			delete(t.nodes, n.key)
		}
	}
}

// Trust is what the node's deeds say of it.
func (n *NodeSession) Trust() swarm.Trust { return n.deeds.Trust(n.t.now()) }

// number is what tables know the node as.
func (n *NodeSession) number() swarm.Owner { return swarm.Owner(n.owner.Load()) }

// Key is the node's key.
func (n *NodeSession) Key() NodeKey { return n.key }

// Attach makes s the link in use from now on. A former one is replaced
// silently: the node's memberships move without leave and join.
func (n *NodeSession) Attach(s NodeSink, group string) {
	// A session that was forgotten meanwhile is remembered again.
	n.t.nodesMu.Lock()
	defer n.t.nodesMu.Unlock()
	n.t.remember(n)
	n.mu.Lock()
	n.link.Store(&nodeLink{sink: s, group: group})
	n.mu.Unlock()
}

// Detach says that the link s is gone. If it is the one in use, the node
// leaves its swarms; what was relayed over it may still be answered over the
// next link.
func (n *NodeSession) Detach(s NodeSink) {
	n.mu.Lock()
	l := n.link.Load()
	if l == nil || l.sink != s {
		n.mu.Unlock()
		return
	}
	n.link.Store(nil)
	n.detached = n.t.now()
	joined := n.joined
	n.joined = make(map[string]struct{})
	n.trimmed = 0
	n.mu.Unlock()
	for infoHash := range joined {
		n.leave([]byte(infoHash))
	}
}

// Join makes the node a member of a swarm, or updates what it said of its
// part. It reports false if there is no local member to share the swarm with,
// or no room, or no link.
func (n *NodeSession) Join(j NodeJoin) bool {
	n.t.stats.NodeJoins.Add(1)
	w := n.t.getWork()
	defer n.t.putWork(w)

	// The lock is held across the table's operation, so that a Detach at the
	// same time either sees the entry or comes first.
	n.mu.Lock()
	l := n.link.Load()
	if l == nil {
		n.mu.Unlock()
		return false
	}
	w.join = swarm.NodeJoin{
		InfoHash: j.InfoHash, Complete: j.Complete, Incomplete: j.Incomplete,
		Tagged: j.Tagged, TagKey: j.TagKey, CompleteTags: j.CompleteTags, IncompleteTags: j.IncompleteTags,
		Group: l.group, FirstSeen: n.firstSeen, Reputation: &n.deeds, Hold: j.Hold,
	}
	sh := n.t.shard(j.InfoHash)
	var out swarm.Outcome
	sh.mu.Lock()
	w.effects, out = sh.table.NodeJoin(n.t.now(), n.number(), &w.join, w.effects)
	sh.mu.Unlock()
	member := out.Standing == swarm.StandingMember
	if member {
		n.trim()
		n.joined[string(j.InfoHash)] = struct{}{}
	} else {
		delete(n.joined, string(j.InfoHash))
	}
	n.mu.Unlock()

	n.t.perform(w)
	if out.Touched {
		n.t.touch(j.InfoHash)
	}
	return member
}

// trim forgets swarms that are gone, each time the index has doubled since.
// Caller holds n.mu.
func (n *NodeSession) trim() {
	if len(n.joined) < 2*n.trimmed+64 {
		return
	}
	for infoHash := range n.joined {
		if _, ok := n.t.State([]byte(infoHash)); !ok {
			delete(n.joined, infoHash)
		}
	}
	n.trimmed = len(n.joined)
}

// Leave ends the node's part in a swarm.
func (n *NodeSession) Leave(infoHash []byte) {
	n.mu.Lock()
	delete(n.joined, string(infoHash))
	n.mu.Unlock()
	n.leave(infoHash)
}

func (n *NodeSession) leave(infoHash []byte) {
	w, sh := n.begin(infoHash)
	var out swarm.Outcome
	w.effects, out = sh.table.NodeLeave(n.t.now(), n.number(), infoHash, w.effects)
	n.end(w, sh, infoHash, out)
}

// Offers takes offers of one announce at the node, for members here. The
// outcome says how many were handed on, and why the others were not.
func (n *NodeSession) Offers(infoHash, peerID []byte, offers []swarm.Offer) swarm.Outcome {
	n.t.stats.NodeOffers.Add(int64(len(offers)))
	w, sh := n.begin(infoHash)
	var out swarm.Outcome
	w.effects, out = sh.table.NodeOffers(n.t.now(), n.number(), infoHash, peerID, offers, w.effects)
	n.end(w, sh, infoHash, out)
	return out
}

// Answer takes an answer that came back through the node. Unless the outcome
// is a drop, it went on to who had made the offer.
func (n *NodeSession) Answer(a swarm.Answer) swarm.Outcome {
	n.t.stats.NodeAnswers.Add(1)
	w, sh := n.begin(a.InfoHash)
	w.answer = a
	var out swarm.Outcome
	w.effects, out = sh.table.NodeAnswer(n.t.now(), n.number(), &w.answer, w.effects)
	n.end(w, sh, a.InfoHash, out)
	return out
}

// Refused takes back an offer of ours that the node could not place.
func (n *NodeSession) Refused(infoHash, peerID []byte, offer swarm.Offer, reason swarm.RefuseReason) {
	n.t.stats.NodeRefusals.Add(1)
	w, sh := n.begin(infoHash)
	var out swarm.Outcome
	w.effects, out = sh.table.NodeRefused(n.t.now(), n.number(), infoHash, peerID, offer, reason, w.effects)
	n.end(w, sh, infoHash, out)
}

// begin locks the swarm's shard for one operation on its table.
func (n *NodeSession) begin(infoHash []byte) (*work, *shard) {
	w, sh := n.t.getWork(), n.t.shard(infoHash)
	sh.mu.Lock()
	return w, sh
}

// end unlocks it and performs what came of the operation.
func (n *NodeSession) end(w *work, sh *shard, infoHash []byte, out swarm.Outcome) {
	sh.mu.Unlock()
	n.t.perform(w)
	n.t.putWork(w)
	if out.Touched {
		n.t.touch(infoHash)
	}
}
