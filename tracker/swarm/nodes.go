package swarm

import (
	"slices"
	"sort"
	"time"

	"github.com/dchest/siphash"
)

const (
	// What a node claims counts up to so many members, and more while it is
	// proven.
	claimUnproven = 1_000
	claimProven   = 100_000
)

// node is a federated node in a swarm: members that are elsewhere.
type node struct {
	share
	owner     Owner
	group     *group // nil: none but its own
	firstSeen time.Duration
	age       age // as of the last placement; of a proven node

	claimed    [2]int // complete, incomplete, as it says
	tagKey     [16]byte
	tags       []tag // sorted; nil if untagged
	duplicates [2]int
	draws      bool // among the first of its group
	complete   int  // counted and drawn: capped, without duplicates
	incomplete int
	reputation Reputation
	trust      Trust // as of assessed; proven only while there is credit
	assessed   time.Duration
	credit     int     // offers it may still owe an answer for and be proven
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
		if len(x.nodes) >= t.cfg.MaxNodes && !t.displace(now, x, j) {
			return out, Outcome{Drop: t.drop(DropNodesFull)}
		}
		t.joins++
		nd = &node{owner: owner, joined: t.joins, reputation: j.Reputation, assessed: never}
		if nd.reputation == nil {
			nd.reputation = new(Record)
		}
		x.nodes = append(x.nodes, nd)
		t.stats.Nodes++
	}
	if fresh {
		t.restore(now, x, nd)
	}
	t.assess(now, x, nd)
	before := nd.complete + nd.incomplete
	nd.firstSeen = j.FirstSeen
	nd.claimed = [2]int{max(0, j.Complete), max(0, j.Incomplete)}
	x.regroup(nd, j.Group)
	t.retag(s, nd, j)
	x.elect()
	var oc Outcome
	if more := nd.complete + nd.incomplete - before; more > 0 {
		out, oc = t.brought(now, x, nd, more, j.Hold, out)
	}
	oc.Standing = StandingMember
	return out, oc
}

// displace makes room for a node by dropping the latest comer among the
// unproven, if that one was first seen after it, or it is proven: many new keys
// do not keep an old one out, nor a good one. If all are proven, one that is
// as well takes the place of the youngest of those whom it limits by its age.
func (t *Table) displace(now time.Duration, x *extension, j *NodeJoin) bool {
	proven := j.Reputation != nil && j.Reputation.Trust(now).Proven
	a := ageOf(now - j.FirstSeen)
	var last *node
	for _, nd := range x.nodes {
		t.assess(now, x, nd)
		yields := !nd.trust.Proven && nd.firstSeen > j.FirstSeen ||
			proven && (!nd.trust.Proven || a.limits(ageOf(now-nd.firstSeen)))
		if yields && (last == nil || last.before(nd)) {
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
	x.depart(now, nd, t.cfg.MaxNodes)
	nd.draws = false
	x.reweigh(nd)
	x.regroup(nd, "")
	x.nodes = slices.DeleteFunc(x.nodes, func(y *node) bool { return y == nd })
	t.stats.Nodes--
	x.elect()
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

// elect says which nodes draw: of each group, the proven before others, and of
// those the ones first seen.
func (x *extension) elect() {
	for _, nd := range x.nodes {
		before := 0
		for _, y := range x.nodes {
			if nd.group != nil && y.group == nd.group && y != nd && y.before(nd) {
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
	if nd.trust.Proven {
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

// before orders the nodes of a group.
func (nd *node) before(o *node) bool {
	switch {
	case nd.trust.Proven != o.trust.Proven:
		return nd.trust.Proven
	case nd.firstSeen != o.firstSeen:
		return nd.firstSeen < o.firstSeen
	}
	return nd.joined < o.joined
}
