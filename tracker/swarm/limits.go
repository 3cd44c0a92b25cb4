package swarm

import "time"

// Structural limits. Keys are free and nobody can verify what a node claims
// or answers, so what a node may draw is limited by what it is, whatever it
// says: each key and each address prefix gets at most half, all unproven
// nodes together a tenth, of the contested offers. An offer is contested, as
// a group sees it, if it could go to a receiver outside the group instead; of
// n offers with distinct receivers and c receivers outside, min(n, c) are.
// The others are free: a lone peer's offers all go to the only seeder,
// wherever it is.
//
// "Outside" counts local members and proven nodes, for groups with a proven
// node in them; for groups of unproven nodes, everybody. A proven node must
// not have to yield to peers that an unproven one merely claims, while among
// unproven ones nobody has earned more than half.
//
// Cohorts of young nodes have shares as well: ages.go. Who is limited by the age of
// another does not count as a receiver outside for that one's key and prefix.
//
// Shares are kept as running accounts: contested offers earn a group its part
// of them, contested offers taken cost one each. Nothing is lent, so leaving
// and joining gains nothing; what is earned and not used is kept up to a
// burst, without which a node with just half of a swarm would be cut by the
// noise of the draw. Fractions are rounded at random, or two offerers in turn
// could get nothing and everything.
const (
	shareGroup    = 0.5
	shareUnproven = 0.1
	burstGroup    = 32
	burstUnproven = 4
	// drawing is how many nodes of one prefix draw offers in one swarm.
	drawing = 4
)

// share is the account of one group, and its part in the placement at hand.
type share struct {
	balance float64 // contested offers earned and not taken; above -1
	free    int     // offers of this placement that nobody else could take
	limit   int     // offers it may take
	given   int     // offers it took
}

// begin opens the account for a placement of n offers, with so many other
// receivers.
func (a *share) begin(n, outside int, part, burst, random float64) {
	contested := min(n, outside)
	a.free = n - contested
	a.balance = min(burst, a.balance+part*float64(contested))
	a.limit = a.free + max(0, int(a.balance+random))
	a.given = 0
}

func (a *share) end() { a.balance -= float64(max(0, a.given-a.free)) }

// group is the nodes behind one address prefix, as far as they are in a swarm.
type group struct {
	share
	name  string
	nodes int
	// During a placement: receivers behind seated nodes, and whose elders the proven
	// ones are.
	proven byAge
	all    int
	elder  int
}

// seat is a node that may take offers of the placement at hand.
type seat struct {
	node        *node
	left, given int // receivers not yet drawn, and drawn
}

func (c *seat) open(x *extension) bool {
	nd := c.node
	if c.left <= 0 || nd.given >= nd.limit || nd.group != nil && nd.group.given >= nd.group.limit {
		return false
	}
	if !nd.trust.Proven {
		return x.unproven.given < x.unproven.limit
	}
	for k := nd.age.under; k < len(cohorts); k++ {
		if x.young[k].given >= x.young[k].limit {
			return false
		}
	}
	return true
}

// weight is how many receivers it has in a draw: no more than were seen of it.
func (c *seat) weight() int { return min(c.left, c.node.trust.Receivers) }

func (c *seat) take(x *extension) {
	c.left--
	c.given++
	c.node.given++
	if c.node.group != nil {
		c.node.group.given++
	}
	if !c.node.trust.Proven {
		x.unproven.given++
		return
	}
	for k := c.node.age.under; k < len(cohorts); k++ {
		x.young[k].given++
	}
}

// seat finds the nodes that may take offers of a peer, and opens the accounts. In
// a redraw they have no receivers for what they got of the announce before. A node where the offerer is a member as well is left out: he announces
// there himself.
func (t *Table) seat(now time.Duration, x *extension, self []byte, pl *placing, local, n int) {
	t.seats = t.seats[:0]
	if x == nil || x.remoteComplete+x.remoteIncomplete == 0 {
		return
	}
	for _, g := range x.groups {
		g.proven, g.all, g.elder = byAge{}, 0, 0
	}
	var proven, elders byAge
	all := 0
	for _, nd := range x.nodes {
		weight := nd.complete + nd.incomplete - count(pl.marks, nodeMark(nd.owner))
		t.assess(now, x, nd)
		if weight <= 0 || nd.owner == pl.except || nd.has(self) {
			continue
		}
		t.seats = append(t.seats, seat{node: nd, left: weight})
		all += weight
		if nd.group != nil {
			nd.group.all += weight
		}
		if nd.trust.Proven {
			nd.age = ageOf(now - nd.firstSeen)
			proven[nd.age.under] += weight
			elders[nd.age.elder] += weight
			if nd.group != nil {
				nd.group.proven[nd.age.under] += weight
				nd.group.elder = max(nd.group.elder, nd.age.elder)
			}
		}
	}
	for i := range t.seats {
		nd := t.seats[i].node
		outside := local + all
		if nd.trust.Proven {
			outside = local + proven.from(nd.age.elder)
		}
		nd.begin(n, outside-t.seats[i].left, shareGroup, burstGroup, t.rng.Float64())
	}
	for _, g := range x.groups {
		if g.all == 0 {
			continue
		}
		outside := local + all - g.all
		if g.proven.from(0) > 0 {
			outside = local + proven.from(g.elder) - g.proven.from(g.elder)
		}
		g.begin(n, outside, shareGroup, burstGroup, t.rng.Float64())
	}
	if proven := proven.from(0); proven < all {
		x.unproven.begin(n, local+proven, shareUnproven, burstUnproven, t.rng.Float64())
	}
	for k := range x.young {
		outside, random := elders.from(k+1), 0.
		if outside > 0 {
			random = t.rng.Float64()
		}
		x.young[k].begin(n, outside, cohorts[k].part, burstYoung, random)
	}
}

// settle closes the accounts that seat opened. Seats hold until then.
func (t *Table) settle(x *extension) {
	if len(t.seats) == 0 {
		return
	}
	unproven := false
	for i := range t.seats {
		nd := t.seats[i].node
		nd.end()
		unproven = unproven || !nd.trust.Proven
	}
	for _, g := range x.groups {
		if g.all > 0 {
			g.end()
		}
	}
	if unproven {
		x.unproven.end()
	}
	for k := range x.young {
		x.young[k].end()
	}
}
