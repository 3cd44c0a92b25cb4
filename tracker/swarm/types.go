package swarm

import (
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

// Owner stands for whoever owns members and receives effects: a client's
// connection or a federated node. Zero is nobody. The table compares owners
// and no more; that they are numbers keeps pointers out of it. A number must
// not come to stand for another one while the table may remember it, which
// is for as long as the former owner has a membership, and then for
// Config.AnswerWindow.
type Owner uint32

// Signs says when there was a sign of life of an owner: a very early time if
// there is no such owner any more.
//
// Times are durations since an epoch of the caller's choice, the same one as
// for every now that the table is given. They are not negative.
type Signs interface {
	// LastSeen is when anything at all last arrived from the owner.
	LastSeen(Owner) time.Duration
	// LastPing is when the owner last sent a WebSocket ping of its own
	// accord, which refreshes its memberships (anacrolix announces once and
	// then only pings).
	LastPing(Owner) time.Duration
	// Source stands for who is behind a client's connection, as far as one can tell:
	// the same for all that are cheap for one to have. 0: the connection itself.
	Source(Owner) uint64
}

// Offer is one offer: its id as raw JSON, the id's comparable form, and the
// offer object as raw JSON.
type Offer = wire.Offer

// EffectKind says what is to be done for Effect.To.
type EffectKind uint8

const (
	// EffectReply answers an announce: InfoHash, Complete, Incomplete.
	EffectReply EffectKind = iota
	// EffectOffer hands Offer of PeerID to a local client.
	EffectOffer
	// EffectAnswer hands Payload of PeerID, for OfferID, to the local client
	// whose member ToPeerID made the offer.
	EffectAnswer
	// EffectPing asks for a WebSocket ping, to learn whether an owner whose
	// peer id somebody else claims is still there.
	EffectPing
	// EffectNodeOffer relays Offer of PeerID to a node. The effects of one
	// announce for one node are consecutive and become one frame: a frame
	// ends where To, InfoHash or PeerID change.
	EffectNodeOffer
	// EffectNodeAnswer returns Payload of PeerID, for OfferID of ToPeerID,
	// to the node that relayed the offer.
	EffectNodeAnswer
	// EffectNodeRefused gives Offer of PeerID back to the node that relayed
	// it, with Reason.
	EffectNodeRefused
	// EffectTouch has no To: the local membership of InfoHash changed in a
	// Sweep, which has no Outcome to say so. It is for the watcher.
	EffectTouch
)

// Effect is one thing to be done once the table's lock is released. Its
// slices alias the input or memory of the table that is not written again.
type Effect struct {
	To                   Owner
	Kind                 EffectKind
	InfoHash             []byte
	PeerID               []byte
	ToPeerID             []byte
	Offer                Offer  // offers and refusals
	OfferID              []byte // answers
	Payload              []byte // answers
	Complete, Incomplete int
	Reason               RefuseReason
}

// RefuseReason is why a node gives a relayed offer back.
type RefuseReason uint8

const (
	RefuseNone RefuseReason = iota
	// RefuseNoPeer: nobody here can take it.
	RefuseNoPeer
	// RefuseLocalPeer: the offerer is a member here too and announced here
	// itself; neutral for trust.
	RefuseLocalPeer
	// RefuseNotJoined: the sender does not share the swarm.
	RefuseNotJoined
	// RefuseLimit: over a quota.
	RefuseLimit
)
