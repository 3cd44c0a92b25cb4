package swarm

import (
	"math"
	"time"
)

// extension is what few swarms have: many members, claims, parked offers, or
// nodes. It begins when one of these does, and ends in a Sweep that finds it
// empty, or with the swarm.
type extension struct {
	at   uint32 // where the swarm is; gone, if it is no more
	name []byte // the info hash, in memory that is not written again

	// Many members.
	index index            // slots by peer id
	owned map[Owner]uint32 // members per owner
	pages [][]member

	claims  []*claim
	batches []*batch      // parked offers
	oldest  queue[*batch] // the same, oldest first
	parked  int           // the offers in them

	nodes    []*node
	groups   []*group
	unproven share // of all unproven nodes together
	young    [len(cohorts)]share
	departed []departure // nodes that left a moment ago
	// Sums over the nodes that draw, without those members that are here too.
	remoteComplete, remoteIncomplete int
	population                       int // see Population
}

const gone = math.MaxUint32

// ext is a swarm's extension, or nil.
func (t *Table) ext(s *swarm) *extension {
	if s.ext == 0 {
		return nil
	}
	return *t.exts.at(s.ext - 1)
}

// extend is a swarm's extension, which it has from now on.
func (t *Table) extend(s *swarm) *extension {
	if s.ext == 0 {
		x := &extension{at: t.place(s), name: t.text(nil, &s.hash, s.odd)}
		i := t.exts.push()
		*t.exts.at(i) = x
		s.ext = i + 1
	}
	return t.ext(s)
}

// of is the swarm of an extension that is not gone.
func (t *Table) of(x *extension) *swarm { return t.swarms.at(x.at) }

// retract ends a swarm's extension.
func (t *Table) retract(s *swarm) {
	x := t.ext(s)
	t.stats.Nodes -= len(x.nodes)
	x.at = gone
	at, last := s.ext-1, t.exts.rows-1
	if at != last {
		moved := *t.exts.at(last)
		*t.exts.at(at) = moved
		t.of(moved).ext = at + 1
	}
	*t.exts.at(last) = nil
	t.exts.pop()
	s.ext = 0
}

// tidy ends an extension that is not needed any more. Nodes that left are
// remembered for a while, and what the
// unproven owe together is not forgotten sooner.
func (t *Table) tidy(now time.Duration, s *swarm) {
	x := t.ext(s)
	if x == nil || s.paged || len(x.claims)+len(x.batches)+len(x.nodes) > 0 || x.unproven.balance < 0 {
		return
	}
	for i := range x.departed {
		if now-x.departed[i].at < rememberLeft {
			return
		}
	}
	t.retract(s)
}

// counts is the members of a swarm, remote ones included: of those nodes that
// joined, or if they are a sample, estimated by it.
func (t *Table) counts(s *swarm) (complete, incomplete int) {
	complete, incomplete = int(s.complete), int(s.n-s.complete)
	x := t.ext(s)
	if x == nil {
		return complete, incomplete
	}
	sample := 0
	if x.population > 0 {
		for _, nd := range x.nodes {
			if nd.draws {
				sample++
			}
		}
	}
	all := max(x.population, sample)
	if sample == 0 {
		all, sample = 1, 1
	}
	complete += (x.remoteComplete*all + sample/2) / sample
	incomplete += (x.remoteIncomplete*all + sample/2) / sample
	return complete, incomplete
}

// Population says that so many nodes have a swarm, of which those that joined
// are a random sample; 0: they are all. Only what is told to clients depends on
// it, and it is kept while a node is joined.
func (t *Table) Population(infoHash []byte, nodes int) {
	s := t.swarm(infoHash)
	if s == nil {
		return
	}
	if x := t.ext(s); x != nil {
		x.population = max(0, nodes)
	}
}

// claimTo is the claim to a member, or nil.
func (t *Table) claimTo(s *swarm, m *member) *claim {
	if m.has(rare) {
		for _, c := range t.ext(s).claims {
			if m.is(&c.key) {
				return c
			}
		}
	}
	return nil
}

// parkedBy is a member's parked offers, or nil.
func (t *Table) batchOf(s *swarm, m *member) *batch {
	if m.has(rare) {
		for _, b := range t.ext(s).batches {
			if m.is(&b.key) {
				return b
			}
		}
	}
	return nil
}

// settled brings the flag of a member up to date of which a claim or a batch
// has ended.
func (t *Table) settled(s *swarm, m *member) {
	m.set(rare, t.claimTo(s, m) != nil || t.batchOf(s, m) != nil)
}
