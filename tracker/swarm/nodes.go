package swarm

import (
	"slices"
	"sort"
	"time"

	"github.com/dchest/siphash"
)

const (
	// What a node claims counts up to so many members, and more while it is
	// proven: while it has credit. Each answer that came back through it in
	// this swarm, and was delivered, is credit for so many offers, and each
	// offer given to it costs one: whoever brings back less than one answer
	// in sixteen offers does not remain proven, however good the rest looks.
	// Peers who are gone or connected already do not answer, so honest nodes
	// bring back far fewer than all, but not as few as that. Credit is
	// capped, so that a good past pays for no more than a moment of silence;
	// not lower, as answers take seconds to come.
	claimUnproven = 1_000
	claimProven   = 100_000
	creditAnswer  = 16
	creditMax     = 64
	// A node's offers to a swarm refill over this time.
	refill = 15 * time.Second
)

// node is a federated node in a swarm: members that are elsewhere.
type node struct {
	share
	owner     Owner
	group     *group // nil: none but its own
	firstSeen time.Duration

	claimed    [2]int // complete, incomplete, as it says
	tagKey     [16]byte
	tags       []tag // sorted; nil if untagged
	duplicates [2]int
	draws      bool // among the first of its group
	complete   int  // counted and drawn: capped, without duplicates
	incomplete int
	proven     bool    // has credit
	credit     int     // offers it may still be given as a proven node
	tokens     float64 // offers it may send
	refilled   time.Duration
	joined     uint64 // order, to break ties
	held       int    // peers brought for whom parked offers still wait
}

// tag stands for one member of a node.
type tag struct {
	hash uint64
	role uint8 // index into claimed and duplicates
	here bool  // it is a local member too
}

// departure keeps the token bucket of a node that left, so that leaving and
// joining again does not fill it.
type departure struct {
	owner  Owner
	tokens float64
	at     time.Duration
}

// Tag is the tag of a peer id under the key of a link.
func Tag(key [16]byte, peerID []byte) uint64 {
	k0, k1 := words(key)
	return siphash.Hash(k0, k1, peerID)
}

// findTag returns the index of the tag for a peer id, or -1.
func (nd *node) findTag(id []byte) int {
	if len(nd.tags) == 0 {
		return -1
	}
	h := Tag(nd.tagKey, id)
	i := sort.Search(len(nd.tags), func(i int) bool { return nd.tags[i].hash >= h })
	if i < len(nd.tags) && nd.tags[i].hash == h {
		return i
	}
	return -1
}

func (nd *node) has(id []byte) bool { return nd.findTag(id) >= 0 }

func (x *extension) node(owner Owner) *node {
	if x == nil {
		return nil
	}
	for _, nd := range x.nodes {
		if nd.owner == owner {
			return nd
		}
	}
	return nil
}

// NodeJoin makes a node a member of a swarm that has local members, or brings
// what is known of it up to date. New remote peers get parked offers.
func (t *Table) NodeJoin(now time.Duration, owner Owner, j *NodeJoin, out []Effect) ([]Effect, Outcome) {
	t.ledger.turn(now)
	s := t.swarm(j.InfoHash)
	if s == nil {
		return out, Outcome{Drop: t.drop(DropNoSwarm)}
	}
	x := t.extend(s)
	nd := x.node(owner)
	fresh := nd == nil
	if fresh {
		if len(x.nodes) >= t.cfg.MaxNodes && !t.displace(now, x, j.FirstSeen) {
			return out, Outcome{Drop: t.drop(DropNodesFull)}
		}
		t.joins++
		nd = &node{owner: owner, joined: t.joins}
		x.nodes = append(x.nodes, nd)
		t.stats.Nodes++
	}
	before := nd.complete + nd.incomplete
	nd.firstSeen = j.FirstSeen
	nd.claimed = [2]int{max(0, j.Complete), max(0, j.Incomplete)}
	x.regroup(nd, j.Group)
	t.retag(s, nd, j)
	x.elect()
	if fresh {
		t.restore(now, x, nd)
	}
	var oc Outcome
	if more := nd.complete + nd.incomplete - before; more > 0 {
		out, oc = t.brought(now, x, nd, more, j.Hold, out)
	}
	oc.Standing = StandingMember
	return out, oc
}

// displace makes room for a node by dropping the latest comer among the
// unproven, if that one was first seen after it: many new keys do not keep an
// old one out.
func (t *Table) displace(now time.Duration, x *extension, firstSeen time.Duration) bool {
	var last *node
	for _, nd := range x.nodes {
		if !nd.proven && nd.firstSeen > firstSeen && (last == nil || nd.firstSeen > last.firstSeen) {
			last = nd
		}
	}
	if last == nil {
		return false
	}
	t.dismiss(now, x, last)
	t.drop(DropNodeDisplaced)
	return true
}

// NodeLeave ends a node's part in a swarm. Its ledger entries live on.
func (t *Table) NodeLeave(now time.Duration, owner Owner, infoHash []byte, out []Effect) ([]Effect, Outcome) {
	t.ledger.turn(now)
	if s := t.swarm(infoHash); s != nil {
		if nd := t.ext(s).node(owner); nd != nil {
			t.dismiss(now, t.ext(s), nd)
		}
	}
	return out, Outcome{}
}

func (t *Table) dismiss(now time.Duration, x *extension, nd *node) {
	t.refill(now, x, nd)
	x.departed = slices.DeleteFunc(x.departed, func(d departure) bool { return now-d.at >= refill })
	if len(x.departed) >= t.cfg.MaxNodes {
		x.departed = slices.Delete(x.departed, 0, 1)
	}
	x.departed = append(x.departed, departure{nd.owner, nd.tokens, now})
	nd.draws = false
	x.reweigh(nd)
	x.regroup(nd, "")
	x.nodes = slices.DeleteFunc(x.nodes, func(y *node) bool { return y == nd })
	t.stats.Nodes--
	x.elect()
}

// restore gives a node that joins its bucket: a full one, or the one it left.
func (t *Table) restore(now time.Duration, x *extension, nd *node) {
	nd.tokens, nd.refilled = t.capacity(x, nd), now
	i := slices.IndexFunc(x.departed, func(d departure) bool { return d.owner == nd.owner })
	if i >= 0 {
		nd.tokens, nd.refilled = x.departed[i].tokens, x.departed[i].at
		x.departed = slices.Delete(x.departed, i, i+1)
	}
}

// capacity of a node's bucket: what as many peers as there are on either side
// could reasonably send, and something for those who arrive.
func (t *Table) capacity(x *extension, nd *node) float64 {
	complete, incomplete := nd.capped()
	return float64(2*t.cfg.MaxOffers*min(complete+incomplete, t.of(x).len()) + 64)
}

func (t *Table) refill(now time.Duration, x *extension, nd *node) {
	full := t.capacity(x, nd)
	nd.tokens = min(full, nd.tokens+full*float64(now-nd.refilled)/float64(refill))
	nd.refilled = now
}

// regroup moves a node to the group of that name.
func (x *extension) regroup(nd *node, name string) {
	if nd.group != nil {
		if nd.group.name == name {
			return
		}
		if nd.group.nodes--; nd.group.nodes == 0 {
			x.groups = slices.DeleteFunc(x.groups, func(g *group) bool { return g == nd.group })
		}
		nd.group = nil
	}
	if name == "" {
		return
	}
	for _, g := range x.groups {
		if g.name == name {
			nd.group = g
			g.nodes++
			return
		}
	}
	nd.group = &group{name: name, nodes: 1}
	x.groups = append(x.groups, nd.group)
}

// elect says which nodes draw: of each group, those first seen.
func (x *extension) elect() {
	for _, nd := range x.nodes {
		before := 0
		for _, y := range x.nodes {
			if nd.group != nil && y.group == nd.group && y != nd &&
				(y.firstSeen < nd.firstSeen || y.firstSeen == nd.firstSeen && y.joined < nd.joined) {
				before++
			}
		}
		nd.draws = before < drawing
		x.reweigh(nd)
	}
}

// retag takes a join's tags and finds which of them are local members. Only
// tags that were not there before ask for a look at all the members.
func (t *Table) retag(s *swarm, nd *node, j *NodeJoin) {
	old := nd.tags
	if nd.tagKey != j.TagKey {
		old = nil
	}
	nd.tagKey, nd.tags, nd.duplicates = j.TagKey, nil, [2]int{}
	n := len(j.CompleteTags) + len(j.IncompleteTags)
	if !j.Tagged || n == 0 || n > MaxTags {
		return
	}
	tags := make([]tag, 0, n)
	for _, h := range j.CompleteTags {
		tags = append(tags, tag{hash: h, role: 0})
	}
	for _, h := range j.IncompleteTags {
		tags = append(tags, tag{hash: h, role: 1})
	}
	slices.SortStableFunc(tags, byHash)
	tags = slices.CompactFunc(tags, func(a, b tag) bool { return a.hash == b.hash })
	nd.tags = tags
	scan := false
	for i := range tags {
		if k, ok := slices.BinarySearchFunc(old, tags[i], byHash); ok {
			tags[i].here = old[k].here
		} else {
			scan = true
		}
	}
	if scan {
		var buf [256]byte
		for i := range s.len() {
			m := t.member(s, i)
			if k := nd.findTag(t.text(buf[:0], &m.id, m.has(odd))); k >= 0 {
				tags[k].here = true
			}
		}
	}
	for i := range tags {
		if tags[i].here {
			nd.duplicates[tags[i].role]++
		}
	}
}

func byHash(a, b tag) int {
	switch {
	case a.hash < b.hash:
		return -1
	case a.hash > b.hash:
		return 1
	}
	return 0
}

// noteDuplicate tells the nodes' tags that a peer id is, or no longer is, a
// local member.
func (t *Table) noteDuplicate(s *swarm, id []byte, here bool) {
	x := t.ext(s)
	if x == nil {
		return
	}
	for _, nd := range x.nodes {
		i := nd.findTag(id)
		if i < 0 || nd.tags[i].here == here {
			continue
		}
		nd.tags[i].here = here
		if here {
			nd.duplicates[nd.tags[i].role]++
		} else {
			nd.duplicates[nd.tags[i].role]--
		}
		x.reweigh(nd)
	}
}

// capped is what a node claims, in proportion, up to the cap.
func (nd *node) capped() (complete, incomplete int) {
	limit := claimUnproven
	if nd.proven {
		limit = claimProven
	}
	complete, incomplete = nd.claimed[0], nd.claimed[1]
	if complete <= limit && incomplete <= limit-complete {
		return complete, incomplete
	}
	whole := float64(complete) + float64(incomplete)
	complete = int(float64(complete) / whole * float64(limit))
	return complete, limit - complete
}

// reweigh brings a node's counted members, and the swarm's sums, up to date.
func (x *extension) reweigh(nd *node) {
	complete, incomplete := 0, 0
	if nd.draws {
		complete, incomplete = nd.capped()
		complete = max(0, complete-nd.duplicates[0])
		incomplete = max(0, incomplete-nd.duplicates[1])
	}
	x.remoteComplete += complete - nd.complete
	x.remoteIncomplete += incomplete - nd.incomplete
	nd.complete, nd.incomplete = complete, incomplete
}

// awaits charges a node for an offer given to it.
func (x *extension) awaits(nd *node) { x.trust(nd, -1) }

// answered rewards a node for an answer that was delivered.
func (x *extension) answered(nd *node) { x.trust(nd, creditAnswer) }

// trust changes a node's credit, and what hangs on it.
func (x *extension) trust(nd *node, credit int) {
	nd.credit = min(creditMax, max(0, nd.credit+credit))
	if proven := nd.credit > 0; proven != nd.proven {
		nd.proven = proven
		x.reweigh(nd)
	}
}
