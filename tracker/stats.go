package tracker

import (
	"sync/atomic"

	"github.com/draeder/peerservers/tracker/access"
	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

// counters are what the tracker counts itself; tables count the rest.
type counters struct {
	Sessions         atomic.Int64
	Announces        atomic.Int64
	Answers          atomic.Int64
	Scrapes          atomic.Int64
	ScrapeAllRefused atomic.Int64
	MembershipLimit  atomic.Int64
	StruckOut        atomic.Int64
	ToClosed         atomic.Int64
	NodeJoins        atomic.Int64
	NodeOffers       atomic.Int64
	NodeAnswers      atomic.Int64
	NodeRefusals     atomic.Int64
	Faults           [wire.FaultCount]atomic.Int64
	Refused          [access.NumVerdicts]atomic.Int64
}

// Stats is a snapshot. All but Sessions, Nodes and the gauges in Swarm only
// ever grow.
type Stats struct {
	Sessions int64 // open
	Nodes    int64 // with a link

	Announces int64 // well-formed ones
	Answers   int64
	Scrapes   int64
	// Faults counts frames that were not served, by wire.Fault.
	Faults [wire.FaultCount]int64
	// Refused counts announces that access rules refused, by access.Verdict.
	Refused          [access.NumVerdicts]int64
	ScrapeAllRefused int64
	MembershipLimit  int64 // announces over Config.MaxMemberships or MaxPerSource
	StruckOut        int64 // connections closed for unparsable frames
	ToClosed         int64 // effects for sessions and links that had closed

	// From nodes.
	NodeJoins    int64
	NodeOffers   int64
	NodeAnswers  int64
	NodeRefusals int64

	// Swarm sums the shards' tables.
	Swarm swarm.Stats
}

// Stats returns the counters by now.
func (t *Tracker) Stats() Stats {
	c := &t.stats
	s := Stats{
		Sessions:         c.Sessions.Load(),
		Announces:        c.Announces.Load(),
		Answers:          c.Answers.Load(),
		Scrapes:          c.Scrapes.Load(),
		ScrapeAllRefused: c.ScrapeAllRefused.Load(),
		MembershipLimit:  c.MembershipLimit.Load(),
		StruckOut:        c.StruckOut.Load(),
		ToClosed:         c.ToClosed.Load(),
		NodeJoins:        c.NodeJoins.Load(),
		NodeOffers:       c.NodeOffers.Load(),
		NodeAnswers:      c.NodeAnswers.Load(),
		NodeRefusals:     c.NodeRefusals.Load(),
	}
	for i := range s.Faults {
		s.Faults[i] = c.Faults[i].Load()
	}
	for i := range s.Refused {
		s.Refused[i] = c.Refused[i].Load()
	}
	t.nodesMu.Lock()
	for _, n := range t.nodes {
		if n.link.Load() != nil {
			s.Nodes++
		}
	}
	t.nodesMu.Unlock()
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		one := sh.table.Stats()
		sh.mu.Unlock()
		addSwarm(&s.Swarm, &one)
	}
	return s
}

func addSwarm(sum, one *swarm.Stats) {
	sum.Swarms += one.Swarms
	sum.Members += one.Members
	sum.Complete += one.Complete
	sum.Nodes += one.Nodes
	sum.Ledger += one.Ledger
	sum.Claims += one.Claims
	sum.ClaimBytes += one.ClaimBytes
	sum.Parked += one.Parked
	sum.ParkedBytes += one.ParkedBytes
	sum.Announces += one.Announces
	sum.OffersLocal += one.OffersLocal
	sum.OffersRelayed += one.OffersRelayed
	sum.OffersFromNodes += one.OffersFromNodes
	sum.OffersParked += one.OffersParked
	sum.OffersFlushed += one.OffersFlushed
	sum.OffersRedrawn += one.OffersRedrawn
	sum.AnswersLocal += one.AnswersLocal
	sum.AnswersToNodes += one.AnswersToNodes
	sum.AnswersFromNodes += one.AnswersFromNodes
	sum.Rebinds += one.Rebinds
	sum.Expired += one.Expired
	for i := range sum.Dropped {
		sum.Dropped[i] += one.Dropped[i]
	}
}
