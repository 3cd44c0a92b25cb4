// Package swarm is the heart of the tracker: who is in which swarm, who gets
// whose offer, and which answer may go back.
//
// # The story
//
// A Table holds the swarms of one shard. It is a pure state machine: input
// and the time go in, effects come out; there is no clock, lock, socket or
// log in here. The caller holds the shard's lock during a call, and carries
// the effects out after releasing it.
//
// A client's announce finds or makes its member (member.go), gets its reply,
// and then its offers are dealt (offers.go): each to a different receiver,
// drawn from the whole swarm in proportion to where its peers are, here or on
// federated nodes. Members here are dealt from a deck of cards (deck.go), so
// that offers spread evenly. Nodes are weighted members (nodes.go), held to
// structural limits (limits.go), because what they claim cannot be verified.
// Every offer handed on is written into the ledger (ledger.go); an answer
// passes only if it consumes an entry. Offers that nobody could take are
// parked for a moment (parked.go), in case federation finds somebody. A peer
// id that is announced on a second connection is a claim (claims.go), decided
// by whether the first one still shows signs of life. Sweep (sweep.go) does
// what only time brings about, in bounded slices.
//
// # Ownership
//
// Every change is authorised by an Owner: a member belongs to the connection
// that announced it, a node entry to the node's authenticated key. Nobody
// stops, answers for, or evicts what he does not own.
//
// # Memory
//
// Whatever grows has a bound in Config, and hitting it is counted by reason
// (Stats.Dropped). A swarm exists exactly as long as it has a local member.
package swarm

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

// Table is the swarms of one shard. It is not safe for concurrent use.
type Table[O Owner] struct {
	cfg     Config
	rng     *rand.Rand
	sendKey [2]uint64 // SipHash key of the ledger's keys
	dgstKey [2]uint64 // SipHash key of payload digests

	swarms map[string]*swarm[O]
	list   []*swarm[O] // the same, for Sweep's cursor
	cursor cursor
	joins  uint64 // of nodes so far

	ledger   ledger[O]
	batches  queue[*batch[O]] // parked offers, oldest first
	parkedBy map[O]parkedSum  // parked offers by owner
	holds    queue[hold[O]]   // parked offers that wait for a node's own
	claims   queue[*claim[O]] // oldest first

	stats   Stats
	stamp   uint32    // of the hand being dealt; see hand
	scratch []byte    // ledger keys are assembled here
	seats   []seat[O] // of the offers being placed
	fate    []int16   // of each offer being placed
}

// New makes a table. All its randomness comes from seed: the same calls on
// the same seed have the same effects.
func New[O Owner](cfg Config, seed [32]byte) *Table[O] {
	cfg = cfg.withDefaults()
	src := rand.NewChaCha8(seed)
	t := &Table[O]{
		cfg:      cfg,
		rng:      rand.New(src),
		sendKey:  [2]uint64{src.Uint64(), src.Uint64()},
		dgstKey:  [2]uint64{src.Uint64(), src.Uint64()},
		swarms:   make(map[string]*swarm[O]),
		parkedBy: make(map[O]parkedSum),
	}
	t.ledger.init(cfg.AnswerWindow, cfg.MaxLedger)
	return t
}

// Announce handles a client's announce: membership, one reply, and offers to
// others. A claim to somebody else's peer id is answered as if it had
// succeeded (the claimant learns nothing), see claims.go; so is a join over a
// limit, because a reply re-arms the client's timer and a fault may not.
func (t *Table[O]) Announce(now time.Duration, from O, a *Announce, out []Effect[O]) ([]Effect[O], Outcome) {
	t.ledger.turn(now)
	t.stats.Announces++
	if a.Event == wire.EventStopped {
		return t.stop(now, from, a, out)
	}
	s := t.swarms[string(a.InfoHash)]
	slot := -1
	if s != nil {
		slot = s.find(a.PeerID)
	}
	var oc Outcome
	switch {
	case slot < 0:
		s, slot, oc.Drop = t.join(now, s, from, a)
		oc.Touched = slot >= 0
	case s.members[slot].owner != from:
		if now-s.members[slot].owner.LastSeen() <= t.cfg.SilentAfter {
			return t.contest(now, s, slot, from, a, out)
		}
		if oc.Drop = t.rebind(s, slot, from); oc.Drop != DropNone {
			slot = -1
		}
	}
	if slot < 0 {
		t.drop(oc.Drop)
		return reply(s, from, a.InfoHash, out), oc
	}
	oc.Standing = StandingMember
	if t.refresh(now, s, slot, a) {
		oc.Touched = true
	}
	out = reply(s, from, a.InfoHash, out)
	return t.deal(now, s, slot, a, out, oc)
}

// stop handles an announce with the event "stopped": a reply with the counts
// without the peer, whoever asks; what he owns goes, what he claims is
// forgotten, and nothing is created. Offers are ignored.
func (t *Table[O]) stop(now time.Duration, from O, a *Announce, out []Effect[O]) ([]Effect[O], Outcome) {
	s := t.swarms[string(a.InfoHash)]
	if s == nil {
		return reply(s, from, a.InfoHash, out), Outcome{}
	}
	slot := s.find(a.PeerID)
	if slot < 0 || s.members[slot].owner != from {
		oc := Outcome{}
		if slot >= 0 && !t.withdraw(s, slot, from) {
			oc.Drop = t.drop(DropForeign)
		}
		return reply(s, from, a.InfoHash, out), oc
	}
	// The reply comes first in out, but its counts are those of afterwards.
	// The swarm's own counts stay readable even if this was its last member.
	at := len(out)
	out = append(out, Effect[O]{})
	out, oc := t.depart(now, s, slot, out)
	r := Effect[O]{To: from, Kind: EffectReply, InfoHash: a.InfoHash}
	r.Complete, r.Incomplete = s.counts()
	out[at] = r
	return out, oc
}

// Leave ends one membership, or a claim to one, of an owner that has closed.
// It does nothing to what the owner does not own.
func (t *Table[O]) Leave(now time.Duration, from O, infoHash, peerID []byte, out []Effect[O]) ([]Effect[O], Outcome) {
	t.ledger.turn(now)
	s := t.swarms[string(infoHash)]
	if s == nil {
		return out, Outcome{}
	}
	slot := s.find(peerID)
	if slot < 0 {
		return out, Outcome{}
	}
	if s.members[slot].owner != from {
		t.withdraw(s, slot, from)
		return out, Outcome{}
	}
	return t.depart(now, s, slot, out)
}

// depart takes a member from its owner: it goes to whoever claims it, or is
// removed.
func (t *Table[O]) depart(now time.Duration, s *swarm[O], slot int, out []Effect[O]) ([]Effect[O], Outcome) {
	if s.members[slot].claim != nil {
		return t.honour(now, s, slot, out)
	}
	t.remove(s, slot)
	return out, Outcome{Touched: true}
}

// Answer handles a client's answer. It passes only along the ledger: the
// offer must have been handed to this very owner, not longer ago than
// AnswerWindow, and every handing on pays for one answer. The answerer's peer
// id must be the owner's own. Nothing is ever replied to an answer.
func (t *Table[O]) Answer(now time.Duration, from O, a *Answer, out []Effect[O]) ([]Effect[O], Outcome) {
	t.ledger.turn(now)
	s := t.swarms[string(a.InfoHash)]
	if s == nil {
		return out, Outcome{Drop: t.drop(DropNoSwarm)}
	}
	slot := s.find(a.PeerID)
	if slot < 0 || s.members[slot].owner != from {
		return out, Outcome{Drop: t.drop(DropForeign)}
	}
	oc := Outcome{Standing: StandingMember}
	if string(a.PeerID) == string(a.ToPeerID) {
		oc.Drop = t.drop(DropUnmatched)
		return out, oc
	}
	key := t.key(from, a.InfoHash, a.ToPeerID, a.OfferKey)
	sent, ok := t.ledger.take(now, key)
	if !ok {
		oc.Drop = t.drop(DropUnmatched)
		return out, oc
	}
	s.members[slot].seen = now
	e := Effect[O]{InfoHash: a.InfoHash, PeerID: a.PeerID, ToPeerID: a.ToPeerID, OfferID: a.OfferID, Payload: a.Payload}
	var local O
	if sent.origin != local {
		t.stats.AnswersToNodes++
		e.To, e.Kind = sent.origin, EffectNodeAnswer
		return append(out, e), oc
	}
	to := s.find(a.ToPeerID)
	if to < 0 {
		oc.Drop = t.drop(DropGone)
		return out, oc
	}
	t.stats.AnswersLocal++
	e.To, e.Kind = s.members[to].owner, EffectAnswer
	return append(out, e), oc
}

// Scrape is the counts of a swarm, remote peers included, and how many
// downloads were completed here since the swarm began. It creates nothing.
func (t *Table[O]) Scrape(infoHash []byte) (complete, incomplete, downloaded int) {
	s := t.swarms[string(infoHash)]
	if s == nil {
		return 0, 0, 0
	}
	complete, incomplete = s.counts()
	return complete, incomplete, s.downloaded
}

// Owns says whether the owner holds this membership or a claim to it.
func (t *Table[O]) Owns(from O, infoHash, peerID []byte) bool {
	s := t.swarms[string(infoHash)]
	if s == nil {
		return false
	}
	slot := s.find(peerID)
	if slot < 0 {
		return false
	}
	m := &s.members[slot]
	return m.owner == from || m.claim != nil && m.claim.owner == from
}

func reply[O Owner](s *swarm[O], to O, infoHash []byte, out []Effect[O]) []Effect[O] {
	e := Effect[O]{To: to, Kind: EffectReply, InfoHash: infoHash}
	if s != nil {
		e.Complete, e.Incomplete = s.counts()
	}
	return append(out, e)
}

func (t *Table[O]) drop(d Drop) Drop {
	t.stats.Dropped[d]++
	return d
}

func (c Config) withDefaults() Config {
	def(&c.MaxMembers, 1_000_000)
	def(&c.MaxSwarms, 250_000)
	def(&c.MaxPerOwnerSwarm, 8)
	def(&c.MaxOffers, 20)
	def(&c.TTL, 300*time.Second)
	def(&c.AnswerWindow, 150*time.Second)
	def(&c.MaxLedger, 500_000)
	def(&c.SilentAfter, 30*time.Second)
	def(&c.ClaimWait, 4*time.Second)
	def(&c.MaxClaims, 1024)
	def(&c.MaxClaimsSwarm, 64)
	def(&c.MaxClaimBytes, 16<<20)
	def(&c.ParkFor, 45*time.Second)
	def(&c.MaxParkedSwarm, 1000)
	def(&c.MaxParkedOwner, 200)
	def(&c.MaxParkedOwnerBytes, min(512<<10, c.MaxParkedBytes/8))
	c.MaxParkedOwnerBytes = min(c.MaxParkedOwnerBytes, c.MaxParkedBytes)
	def(&c.MaxNodes, 32)
	return c
}

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// words splits a SipHash key.
func words(key [16]byte) (k0, k1 uint64) {
	return binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])
}
