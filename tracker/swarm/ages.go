package swarm

import "time"

// Age. What makes a node proven takes minutes, however many keys do it, so what
// those may have together is limited by how long they have been known. A cohort
// is the proven nodes of a swarm whose keys were first seen less than some time
// ago; they are nested. An offer is contested, as a cohort sees it, if it could
// go to a receiver behind an elder, a proven node that has been known four times
// as long as the cohort's limit; of those a cohort gets its part. So:
//
//   - nodes that were first seen at about the same time never limit each other. In
//     a network where all are young, nobody is limited;
//   - local members do not count as elders: they lose nothing to young nodes,
//     and a node on its own has nobody else;
//   - an elder's key and prefix get half of what others than the young could
//     take, for it need not yield to those whom it limits. So offers that have a
//     receiver never remain, whatever the ages.
//
// With an elder in a swarm, the young have a quota as well for what they send
// (quotas.go), met or not. And when the swarm's places are taken, an
// elder that is proven gets that of one whom it limits.
//
// Age is for whoever waits: keys that were shown to everybody long before they
// are used have it. It is of the key as this node first met it, in this run or
// an earlier one.

// cohort is the proven nodes known for less than a time.
type cohort struct {
	under time.Duration
	part  float64 // of the offers that elders could take
}

// cohorts are nested, the youngest first.
var cohorts = [...]cohort{
	{time.Hour, 1. / 8},
	{8 * time.Hour, 1. / 4},
	{48 * time.Hour, 1. / 2},
}

const (
	// elder is how many times a cohort's limit its elders have been known.
	elder      = 4
	burstYoung = 8
)

// age is which cohorts a node belongs to, those from under on, and whose elder it
// is, that of those below elder.
type age struct{ under, elder int }

// ageOf is of one that has been known for so long.
func ageOf(known time.Duration) (a age) {
	for _, c := range cohorts {
		if known >= c.under {
			a.under++
		}
		if known >= elder*c.under {
			a.elder++
		}
	}
	return a
}

// limits reports whether a node of age a, if it is proven, limits one of age b.
func (a age) limits(b age) bool { return b.under < a.elder }

// byAge counts receivers behind proven nodes: those of a node in some cohort, and
// not in the one before, and of one that belongs to none.
type byAge [len(cohorts) + 1]int

// from is how many of them are behind nodes that have outgrown so many cohorts.
func (b *byAge) from(under int) (n int) {
	for _, r := range b[under:] {
		n += r
	}
	return n
}
