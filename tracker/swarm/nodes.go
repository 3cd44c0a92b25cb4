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
type node[O Owner] struct {
	share
	owner     O
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
type departure[O Owner] struct {
	owner  O
	tokens float64
	at     time.Duration
}

// Tag is the tag of a peer id under the key of a link.
func Tag(key [16]byte, peerID []byte) uint64 {
	k0, k1 := words(key)
	return siphash.Hash(k0, k1, peerID)
}

// findTag returns the index of the tag for a peer id, or -1.
func (nd *node[O]) findTag(id []byte) int {
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

func (nd *node[O]) hasBytes(id []byte) bool { return nd.findTag(id) >= 0 }

func (nd *node[O]) has(id string) bool {
	var buf [256]byte
	return nd.findTag(append(buf[:0], id...)) >= 0
}

func (s *swarm[O]) node(owner O) *node[O] {
	for _, nd := range s.nodes {
		if nd.owner == owner {
			return nd
		}
	}
	return nil
}

// NodeJoin makes a node a member of a swarm that has local members, or brings
// what is known of it up to date. New remote peers get parked offers.
func (t *Table[O]) NodeJoin(now time.Duration, owner O, j *NodeJoin, out []Effect[O]) ([]Effect[O], Outcome) {
	t.ledger.turn(now)
	s := t.swarms[string(j.InfoHash)]
	if s == nil {
		return out, Outcome{Drop: t.drop(DropNoSwarm)}
	}
	nd := s.node(owner)
	fresh := nd == nil
	if fresh {
		if len(s.nodes) >= t.cfg.MaxNodes && !t.displace(now, s, j.FirstSeen) {
			return out, Outcome{Drop: t.drop(DropNodesFull)}
		}
		t.joins++
		nd = &node[O]{owner: owner, joined: t.joins}
		s.nodes = append(s.nodes, nd)
		t.stats.Nodes++
	}
	before := nd.complete + nd.incomplete
	nd.firstSeen = j.FirstSeen
	nd.claimed = [2]int{max(0, j.Complete), max(0, j.Incomplete)}
	s.regroup(nd, j.Group)
	nd.retag(s, j)
	s.elect()
	if fresh {
		t.restore(now, s, nd)
	}
	var oc Outcome
	if more := nd.complete + nd.incomplete - before; more > 0 {
		out, oc = t.brought(now, s, nd, more, j.Hold, out)
	}
	oc.Standing = StandingMember
	return out, oc
}

// displace makes room for a node by dropping the latest comer among the
// unproven, if that one was first seen after it: many new keys do not keep an
// old one out.
func (t *Table[O]) displace(now time.Duration, s *swarm[O], firstSeen time.Duration) bool {
	var last *node[O]
	for _, nd := range s.nodes {
		if !nd.proven && nd.firstSeen > firstSeen && (last == nil || nd.firstSeen > last.firstSeen) {
			last = nd
		}
	}
	if last == nil {
		return false
	}
	t.dismiss(now, s, last)
	t.drop(DropNodeDisplaced)
	return true
}

// NodeLeave ends a node's part in a swarm. Its ledger entries live on.
func (t *Table[O]) NodeLeave(now time.Duration, owner O, infoHash []byte, out []Effect[O]) ([]Effect[O], Outcome) {
	t.ledger.turn(now)
	if s := t.swarms[string(infoHash)]; s != nil {
		if nd := s.node(owner); nd != nil {
			t.dismiss(now, s, nd)
		}
	}
	return out, Outcome{}
}

func (t *Table[O]) dismiss(now time.Duration, s *swarm[O], nd *node[O]) {
	t.refill(now, s, nd)
	s.departed = slices.DeleteFunc(s.departed, func(d departure[O]) bool { return now-d.at >= refill })
	if len(s.departed) >= t.cfg.MaxNodes {
		s.departed = slices.Delete(s.departed, 0, 1)
	}
	s.departed = append(s.departed, departure[O]{nd.owner, nd.tokens, now})
	nd.draws = false
	s.reweigh(nd)
	s.regroup(nd, "")
	s.nodes = slices.DeleteFunc(s.nodes, func(x *node[O]) bool { return x == nd })
	t.stats.Nodes--
	s.elect()
}

// restore gives a node that joins its bucket: a full one, or the one it left.
func (t *Table[O]) restore(now time.Duration, s *swarm[O], nd *node[O]) {
	nd.tokens, nd.refilled = t.capacity(s, nd), now
	i := slices.IndexFunc(s.departed, func(d departure[O]) bool { return d.owner == nd.owner })
	if i >= 0 {
		nd.tokens, nd.refilled = s.departed[i].tokens, s.departed[i].at
		s.departed = slices.Delete(s.departed, i, i+1)
	}
}

// capacity of a node's bucket: what as many peers as there are on either side
// could reasonably send, and something for those who arrive.
func (t *Table[O]) capacity(s *swarm[O], nd *node[O]) float64 {
	complete, incomplete := nd.capped()
	return float64(2*t.cfg.MaxOffers*min(complete+incomplete, len(s.members)) + 64)
}

func (t *Table[O]) refill(now time.Duration, s *swarm[O], nd *node[O]) {
	full := t.capacity(s, nd)
	nd.tokens = min(full, nd.tokens+full*float64(now-nd.refilled)/float64(refill))
	nd.refilled = now
}

// regroup moves a node to the group of that name.
func (s *swarm[O]) regroup(nd *node[O], name string) {
	if nd.group != nil {
		if nd.group.name == name {
			return
		}
		if nd.group.nodes--; nd.group.nodes == 0 {
			s.groups = slices.DeleteFunc(s.groups, func(g *group) bool { return g == nd.group })
		}
		nd.group = nil
	}
	if name == "" {
		return
	}
	for _, g := range s.groups {
		if g.name == name {
			nd.group = g
			g.nodes++
			return
		}
	}
	nd.group = &group{name: name, nodes: 1}
	s.groups = append(s.groups, nd.group)
}

// elect says which nodes draw: of each group, those first seen.
func (s *swarm[O]) elect() {
	for _, nd := range s.nodes {
		before := 0
		for _, x := range s.nodes {
			if nd.group != nil && x.group == nd.group && x != nd &&
				(x.firstSeen < nd.firstSeen || x.firstSeen == nd.firstSeen && x.joined < nd.joined) {
				before++
			}
		}
		nd.draws = before < drawing
		s.reweigh(nd)
	}
}

// retag takes a join's tags and finds which of them are local members. Only
// tags that were not there before ask for a look at all the members.
func (nd *node[O]) retag(s *swarm[O], j *NodeJoin) {
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
		for i := range s.members {
			if k := nd.findTag(append(buf[:0], s.members[i].id...)); k >= 0 {
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
func (t *Table[O]) noteDuplicate(s *swarm[O], id []byte, here bool) {
	for _, nd := range s.nodes {
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
		s.reweigh(nd)
	}
}

// capped is what a node claims, in proportion, up to the cap.
func (nd *node[O]) capped() (complete, incomplete int) {
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
func (s *swarm[O]) reweigh(nd *node[O]) {
	complete, incomplete := 0, 0
	if nd.draws {
		complete, incomplete = nd.capped()
		complete = max(0, complete-nd.duplicates[0])
		incomplete = max(0, incomplete-nd.duplicates[1])
	}
	s.remoteComplete += complete - nd.complete
	s.remoteIncomplete += incomplete - nd.incomplete
	nd.complete, nd.incomplete = complete, incomplete
}

// awaits charges a node for an offer given to it.
func (s *swarm[O]) awaits(nd *node[O]) { s.trust(nd, -1) }

// answered rewards a node for an answer that was delivered.
func (s *swarm[O]) answered(nd *node[O]) { s.trust(nd, creditAnswer) }

// trust changes a node's credit, and what hangs on it.
func (s *swarm[O]) trust(nd *node[O], credit int) {
	nd.credit = min(creditMax, max(0, nd.credit+credit))
	if proven := nd.credit > 0; proven != nd.proven {
		nd.proven = proven
		s.reweigh(nd)
	}
}
