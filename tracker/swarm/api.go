package swarm

import (
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

// Config bounds a Table. New replaces a zero by the value in parentheses,
// except for MaxParkedBytes, where zero means that nothing is parked.
type Config struct {
	// Members.
	MaxMembers       int           // in the table (1,000,000)
	MaxSwarms        int           // in the table (250,000)
	MaxPerOwnerSwarm int           // peer ids of one owner in one swarm (8)
	MaxOffers        int           // used of one announce, or of one node's frame (20)
	TTL              time.Duration // of a member that neither announces, answers nor pings (300 s)

	// The ledger of outstanding offers.
	AnswerWindow time.Duration // how long an offer may be answered (150 s)
	MaxLedger    int           // entries in the table (500,000); beyond, the oldest go

	// Claims to a peer id that another connection owns.
	SilentAfter    time.Duration // an owner silent for longer yields at once (30 s)
	ClaimWait      time.Duration // how long a pinged owner has to show itself (4 s)
	MaxClaims      int           // in the table (1,024)
	MaxClaimsSwarm int           // in one swarm (64)
	MaxClaimBytes  int           // copied announces of claimants, in the table (16 MiB)

	// Parked offers.
	ParkFor             time.Duration // how long an offer that found no receiver waits (45 s)
	MaxParkedSwarm      int           // offers in one swarm (1,000); beyond, the oldest go
	MaxParkedOwner      int           // offers of one owner (200)
	MaxParkedOwnerBytes int           // of one owner (512 KiB, an eighth of MaxParkedBytes at most)
	MaxParkedBytes      int           // in the table; beyond, the oldest go; 0: nothing is parked

	// Federated nodes.
	MaxNodes int // in one swarm (32)
}

// Announce is a client's announce. The table copies what it keeps.
type Announce struct {
	InfoHash, PeerID []byte
	Event            wire.Event
	Left             wire.Left
	NumWant          int // negative: as many as there are offers
	Offers           []Offer
}

// Answer is an answer of PeerID to an offer of ToPeerID, from a client or
// from a node. OfferID is raw JSON, OfferKey its comparable form.
type Answer struct {
	InfoHash, PeerID, ToPeerID []byte
	OfferID, OfferKey, Payload []byte
}

// NodeJoin says that a node shares a swarm, or what has changed there since.
// It is whole state: sending it again is an update.
type NodeJoin struct {
	InfoHash []byte
	// Complete and Incomplete are the node's own members. They are claims:
	// the table caps them.
	Complete, Incomplete int
	// Tagged: the tags below name every one of those members. Tags are
	// SipHash-2-4 of the peer id's UTF-8 under TagKey (see Tag). More than
	// MaxTags of them count as untagged.
	Tagged                       bool
	TagKey                       [16]byte
	CompleteTags, IncompleteTags []uint64
	// Group is the node's address prefix, or whatever else stands for what
	// is cheap to have many keys behind; opaque here. Empty: a group of its own.
	Group string
	// FirstSeen is when the node's key was first met; may be negative.
	FirstSeen time.Duration
	// Reputation is what is known of the node in all its swarms. Nil: nothing,
	// and what it does here is known here only.
	Reputation Reputation
	// Hold is how long parked offers for the peers that this join brings wait
	// for those peers' own offers, which may be on their way: see parked.go.
	Hold time.Duration
}

// Standing is what an owner has of a membership after a call, for the index
// that a session keeps of what it must leave when it closes. An index entry
// that has gone stale (the member expired, or was bound to another owner)
// does no harm: Leave checks ownership. Owns tells when an index is to be
// pruned.
type Standing uint8

const (
	// StandingNone: the owner has nothing; forget the entry.
	StandingNone Standing = iota
	// StandingMember: the owner owns the membership; keep an entry.
	StandingMember
	// StandingClaimant: another owner has it and is being asked whether it
	// is still there; the membership may pass to the claimant without
	// further notice, so keep an entry.
	StandingClaimant
)

// Outcome is what a call tells its caller, next to the effects.
type Outcome struct {
	Standing Standing
	// Touched: local membership or a member's role changed, or offers were
	// parked; whoever watches the swarm should look at State again.
	Touched bool
	// Drop is why nothing came of the call, or of the last thing in it that
	// failed; DropNone when all went well.
	Drop Drop
	// Offers is how many offers were handed on.
	Offers int
}

// State is what a watcher of a swarm looks at.
type State struct {
	LocalComplete, LocalIncomplete int
	// RemoteComplete and RemoteIncomplete are the members of nodes that are
	// not members here: when both are zero the swarm is still hungry.
	RemoteComplete, RemoteIncomplete int
	// Duplicates counts members of nodes that are members here too.
	Duplicates int
	Nodes      int
	Population int // nodes that have it, if those that joined are a sample; or 0
	Parked     int // offers
}

// MaxTags is up to how many members a join carries tags for.
const MaxTags = 64
