package swarm

import (
	"slices"
	"time"
)

// What nodes may send: offers for local members. A node whose peers local
// members have met may send what as many peers as there are on either side
// could reasonably send, and something for those who arrive. All others of a
// swarm have a quota together, of which each has an equal part: a few offers for
// each local member now and then, so that a flood of new keys is no flood of
// offers, and yet each newcomer gets the offers across that may prove it. In a
// swarm that a proven node shares which has been known for much longer, the young
// have such quotas by age, whether they were met or not (ages.go).
const (
	// refill is how soon the offers of a node that was met refill, and
	// refillStranger those of one that was not.
	refill         = 15 * time.Second
	refillStranger = 2 * time.Minute
	// strangersMember is how many of the strangers' offers there may be for each
	// local member at once, and strangersSwarm how many more.
	strangersMember = 1
	strangersSwarm  = 64
	// strangerLeast is what each of them may send, however many they are.
	strangerLeast = 1
	// youngMember and youngSwarm are the same for young nodes, times the part of
	// their cohort, and youngLeast is what each saves up at most, if its part is less.
	youngMember = 8
	youngSwarm  = 16
	youngLeast  = 1
	// rememberLeft is for how long a node that left finds its account as it was.
	rememberLeft = 5 * time.Minute
)

// departure keeps the accounts of a node that left, so that leaving and
// joining again gains nothing.
type departure struct {
	owner    Owner
	tokens   float64
	refilled time.Duration
	credit   int
	at       time.Duration
}

// depart keeps the accounts of a node.
func (x *extension) depart(now time.Duration, nd *node, most int) {
	x.departed = slices.DeleteFunc(x.departed, func(d departure) bool { return now-d.at >= rememberLeft })
	if len(x.departed) >= most {
		x.departed = slices.Delete(x.departed, 0, 1)
	}
	x.departed = append(x.departed, departure{nd.owner, nd.tokens, nd.refilled, nd.credit, now})
}

// restore gives a node that joins its accounts: full ones, or those it left.
func (t *Table) restore(now time.Duration, x *extension, nd *node) {
	nd.credit = creditMax
	nd.tokens, _ = t.quota(now, x, nd)
	nd.refilled = now
	i := slices.IndexFunc(x.departed, func(d departure) bool { return d.owner == nd.owner && now-d.at < rememberLeft })
	if i >= 0 {
		d := &x.departed[i]
		nd.tokens, nd.refilled, nd.credit = d.tokens, d.refilled, d.credit
		x.departed = slices.Delete(x.departed, i, i+1)
	}
}

// quota is how many offers a node may send at once, and how soon it may again.
func (t *Table) quota(now time.Duration, x *extension, nd *node) (full float64, in time.Duration) {
	local := t.of(x).len()
	if k, n := x.cohortOf(now, nd); n > 0 {
		part := cohorts[k].part * float64(youngSwarm+youngMember*local) / float64(n)
		full = max(youngLeast, part)
		return full, time.Duration(float64(refillStranger) * full / part)
	}
	if nd.trust.Met {
		complete, incomplete := nd.capped()
		return float64(2*t.cfg.MaxOffers*min(complete+incomplete, local) + 64), refill
	}
	strangers := 0
	for _, o := range x.nodes {
		if !o.trust.Met {
			strangers++
		}
	}
	return max(strangerLeast, float64(strangersSwarm+strangersMember*local)/float64(max(strangers, 1))), refillStranger
}

// cohortOf is the youngest cohort of a node that an elder shares the swarm with,
// and how many nodes are in it; none if there is no elder.
func (x *extension) cohortOf(now time.Duration, nd *node) (k, nodes int) {
	a := ageOf(now - nd.firstSeen)
	if a.under == len(cohorts) {
		return 0, 0
	}
	limited := false
	for _, o := range x.nodes {
		b := ageOf(now - o.firstSeen)
		limited = limited || o.trust.Proven && b.limits(a)
		if b.under <= a.under {
			nodes++
		}
	}
	if !limited {
		return 0, 0
	}
	return a.under, nodes
}

func (t *Table) refill(now time.Duration, x *extension, nd *node) {
	full, in := t.quota(now, x, nd)
	nd.tokens = min(full, nd.tokens+full*float64(now-nd.refilled)/float64(in))
	nd.refilled = now
}
