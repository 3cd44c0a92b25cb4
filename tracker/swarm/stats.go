package swarm

// Drop is why something was not done.
type Drop uint8

const (
	DropNone Drop = iota
	// Joins that were refused, by what is full.
	DropMembersFull
	DropSwarmsFull
	DropOwnerFull
	// DropForeign: stop or answer for a peer id that the sender does not own.
	DropForeign
	// DropUnmatched: an answer or refusal without an outstanding offer.
	DropUnmatched
	// DropGone: its offerer is not there any more.
	DropGone
	// DropLedgerFull: an offer, for want of room in the ledger.
	DropLedgerFull
	// DropLedgerEarly: an offer handed on, or what was left of its time to be
	// answered, for want of room in the ledger.
	DropLedgerEarly
	// DropClaimsFull: a claim to a peer id, for want of room.
	DropClaimsFull
	// DropClaimRefused: the owner was there.
	DropClaimRefused
	// An announce's offers that found no receiver: more than their owner or
	// their swarm may have parked.
	DropParkFull
	// Parked offers that made room for newer ones, or waited in vain.
	DropParkEvicted
	DropParkExpired
	// From here on: what nodes sent.
	DropNoSwarm       // for a swarm that has no local member
	DropNotJoined     // from a node that did not join it
	DropNodesFull     // a join, for want of room
	DropNodeDisplaced // a node, by one that was first seen before it
	DropNodeLimit     // an offer above a quota
	DropLocalPeer     // in the name of a local member
	DropNoPeer        // an offer that nobody here can take
	DropRedrawn       // an offer that came back and found no second receiver
	// NumDrops is the number of reasons.
	NumDrops
)

var dropNames = [NumDrops]string{
	"none", "members_full", "swarms_full", "owner_full", "foreign", "unmatched", "gone", "ledger_full", "ledger_early",
	"claims_full", "claim_refused", "park_full", "park_evicted", "park_expired", "no_swarm", "not_joined", "nodes_full",
	"node_displaced", "node_limit", "local_peer", "no_peer", "redrawn",
}

// String is a fixed label.
func (d Drop) String() string {
	if d < NumDrops {
		return dropNames[d]
	}
	return "unknown"
}

// Stats is what a table holds and has done.
type Stats struct {
	// Held now.
	Swarms, Members, Complete, Nodes int
	Ledger                           int
	Claims, ClaimBytes               int
	Parked, ParkedBytes              int // offers

	// Done since the beginning.
	Announces                                      uint64
	OffersLocal                                    uint64 // handed to local members
	OffersRelayed                                  uint64 // handed to nodes
	OffersFromNodes                                uint64 // received from nodes
	OffersParked, OffersFlushed, OffersRedrawn     uint64
	AnswersLocal, AnswersToNodes, AnswersFromNodes uint64
	Rebinds, Expired                               uint64
	Dropped                                        [NumDrops]uint64
}

// Stats returns a copy of the counters.
func (t *Table) Stats() Stats {
	st := t.stats
	st.Swarms = int(t.swarms.rows)
	st.Ledger = t.ledger.len()
	st.Dropped[DropLedgerEarly] = t.ledger.early
	st.Claims = t.claims.len
	return st
}
