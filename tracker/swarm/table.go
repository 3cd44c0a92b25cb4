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
//
// Swarms and members are many, and so are kept without pointers, which a
// garbage collector would have to follow: numbered rows in slabs (slab.go,
// members.go), found by an index of seeded hashes (index.go) of ids packed to
// 20 bytes (id.go). A peer takes about 35 bytes in a swarm of ten, and 90 if
// it is alone. What few swarms have are ordinary values (extension.go).
package swarm

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

// Table is the swarms of one shard. It is not safe for concurrent use.
type Table struct {
	cfg     Config
	rng     *rand.Rand
	signs   Signs
	sendKey [2]uint64 // SipHash key of the ledger's keys
	dgstKey [2]uint64 // SipHash key of payload digests
	nameKey [2]uint64 // SipHash key of odd ids
	pairKey [2]uint64 // SipHash key of pairs of peers
	hash    hasher

	swarms slab[swarm]
	index  index // of swarms
	rows   [rowClasses]slab[member]
	backs  [rowClasses]slab[uint32] // whose row it is
	exts   slab[*extension]
	texts  texts
	recent [recentIDs]recent
	cursor cursor
	joins  uint64 // of nodes so far

	ledger   ledger
	drawn    drawn               // who got the offers of announces
	batches  queue[*batch]       // parked offers, oldest first
	parkedBy map[Owner]parkedSum // parked offers by owner
	holds    queue[hold]         // parked offers that wait for a node's own
	claims   queue[*claim]       // oldest first

	stats   Stats
	left    [2]int  // what counts would say of the swarm that a member last left
	scratch []byte  // ledger keys are assembled here
	seats   []seat  // of the offers being placed
	fate    []int16 // of each offer being placed
}

// New makes a table. All its randomness comes from seed: the same calls on
// the same seed have the same effects.
func New(cfg Config, signs Signs, seed [32]byte) *Table {
	cfg = cfg.withDefaults()
	src := rand.NewChaCha8(seed)
	t := &Table{
		cfg:      cfg,
		signs:    signs,
		rng:      rand.New(src),
		sendKey:  [2]uint64{src.Uint64(), src.Uint64()},
		dgstKey:  [2]uint64{src.Uint64(), src.Uint64()},
		nameKey:  [2]uint64{src.Uint64(), src.Uint64()},
		pairKey:  [2]uint64{src.Uint64(), src.Uint64()},
		hash:     hasher{mask: ^uint32(0)},
		swarms:   newSlab[swarm](1, swarmBytes),
		exts:     newSlab[*extension](1, 8),
		parkedBy: make(map[Owner]parkedSum),
	}
	for i := range t.hash.keys {
		t.hash.keys[i] = src.Uint64()
	}
	t.ledger.init(cfg.AnswerWindow, cfg.MaxLedger)
	return t
}

// Announce handles a client's announce: membership, one reply, and offers to
// others. A claim to somebody else's peer id is answered as if it had
// succeeded (the claimant learns nothing), see claims.go; so is a join over a
// limit, because a reply re-arms the client's timer and a fault may not.
func (t *Table) Announce(now time.Duration, from Owner, a *Announce, out []Effect) ([]Effect, Outcome) {
	t.ledger.turn(now)
	t.stats.Announces++
	if a.Event == wire.EventStopped {
		return t.stop(now, from, a, out)
	}
	p := t.party(a.InfoHash, a.PeerID)
	s := t.lookup(&p.in)
	var m *member
	if s != nil {
		m = t.find(s, &p.key)
	}
	var oc Outcome
	switch {
	case m == nil:
		s, m, oc.Drop = t.join(s, from, &p)
		oc.Touched = m != nil
		p.fresh = true
	case m.owner != from:
		if now-t.signs.LastSeen(m.owner) <= t.cfg.SilentAfter {
			return t.contest(now, s, m, from, &p, a, out)
		}
		if oc.Drop = t.rebind(s, m, from); oc.Drop != DropNone {
			m = nil
		}
	}
	if m == nil {
		t.drop(oc.Drop)
		return t.reply(s, from, a.InfoHash, out), oc
	}
	oc.Standing = StandingMember
	if t.refresh(now, s, m, a) {
		oc.Touched = true
	}
	out = t.reply(s, from, a.InfoHash, out)
	return t.deal(now, s, m, &p, a, out, oc)
}

// party is a peer, by the bytes for effects and by what the table knows
// them as.
type party struct {
	hash, peer []byte
	in, key    id
	fresh      bool // it has just come
}

func (t *Table) party(infoHash, peerID []byte) (p party) {
	p.hash, p.peer = infoHash, peerID
	t.pack(&p.in, infoHash)
	t.pack(&p.key, peerID)
	return p
}

// stop handles an announce with the event "stopped": a reply with the counts
// without the peer, whoever asks; what he owns goes, what he claims is
// forgotten, and nothing is created. Offers are ignored.
func (t *Table) stop(now time.Duration, from Owner, a *Announce, out []Effect) ([]Effect, Outcome) {
	s := t.swarm(a.InfoHash)
	if s == nil {
		return t.reply(s, from, a.InfoHash, out), Outcome{}
	}
	m := t.peer(s, a.PeerID)
	if m == nil || m.owner != from {
		oc := Outcome{}
		if m != nil && !t.withdraw(s, m, from) {
			oc.Drop = t.drop(DropForeign)
		}
		return t.reply(s, from, a.InfoHash, out), oc
	}
	// The reply comes first in out, but its counts are those of afterwards,
	// even if this was the last member.
	at := len(out)
	out = append(out, Effect{})
	out, oc := t.depart(now, s, m, out)
	out[at] = Effect{To: from, Kind: EffectReply, InfoHash: a.InfoHash, Complete: t.left[0], Incomplete: t.left[1]}
	return out, oc
}

// Leave ends one membership, or a claim to one, of an owner that has closed.
// It does nothing to what the owner does not own.
func (t *Table) Leave(now time.Duration, from Owner, infoHash, peerID []byte, out []Effect) ([]Effect, Outcome) {
	t.ledger.turn(now)
	s := t.swarm(infoHash)
	if s == nil {
		return out, Outcome{}
	}
	m := t.peer(s, peerID)
	if m == nil {
		return out, Outcome{}
	}
	if m.owner != from {
		t.withdraw(s, m, from)
		return out, Outcome{}
	}
	return t.depart(now, s, m, out)
}

// depart takes a member from its owner: it goes to whoever claims it, or is
// removed, and the swarm with it if it was the last. t.left says what counts
// would afterwards.
func (t *Table) depart(now time.Duration, s *swarm, m *member, out []Effect) ([]Effect, Outcome) {
	if t.claimTo(s, m) != nil {
		return t.honour(now, s, m, out)
	}
	t.remove(s, m)
	return out, Outcome{Touched: true}
}

// Answer handles a client's answer. It passes only along the ledger: the
// offer must have been handed to this very owner, not longer ago than
// AnswerWindow, and every handing on pays for one answer. The answerer's peer
// id must be the owner's own. Nothing is ever replied to an answer.
func (t *Table) Answer(now time.Duration, from Owner, a *Answer, out []Effect) ([]Effect, Outcome) {
	t.ledger.turn(now)
	p := t.party(a.InfoHash, a.ToPeerID) // who offered
	s := t.lookup(&p.in)
	if s == nil {
		return out, Outcome{Drop: t.drop(DropNoSwarm)}
	}
	m := t.peer(s, a.PeerID)
	if m == nil || m.owner != from {
		return out, Outcome{Drop: t.drop(DropForeign)}
	}
	oc := Outcome{Standing: StandingMember}
	if string(a.PeerID) == string(a.ToPeerID) {
		oc.Drop = t.drop(DropUnmatched)
		return out, oc
	}
	k := t.key(from, &p, a.OfferKey)
	sent, gen := t.ledger.find(now, k)
	if gen < 0 {
		oc.Drop = t.drop(DropUnmatched)
		return out, oc
	}
	m.see(now)
	e := Effect{InfoHash: a.InfoHash, PeerID: a.PeerID, ToPeerID: a.ToPeerID, OfferID: a.OfferID, Payload: a.Payload}
	if origin := sent.origin(); origin != 0 {
		t.ledger.spend(k, sent, gen, t.source(origin))
		t.stats.AnswersToNodes++
		if nd := t.ext(s).node(origin); nd != nil {
			var by id
			t.pack(&by, a.PeerID)
			t.noted(now, t.ext(s), nd, DeedMet, t.pair(&p.in, &p.key, &by), from)
		}
		e.To, e.Kind = origin, EffectNodeAnswer
		return append(out, e), oc
	}
	to := t.find(s, &p.key)
	t.ledger.spend(k, sent, gen, t.behind(to))
	if to == nil {
		oc.Drop = t.drop(DropGone)
		return out, oc
	}
	t.stats.AnswersLocal++
	e.To, e.Kind = to.owner, EffectAnswer
	return append(out, e), oc
}

// Scrape is the counts of a swarm, remote peers included, and how many
// downloads were completed here since the swarm began. It creates nothing.
func (t *Table) Scrape(infoHash []byte) (complete, incomplete, downloaded int) {
	s := t.swarm(infoHash)
	if s == nil {
		return 0, 0, 0
	}
	complete, incomplete = t.counts(s)
	return complete, incomplete, int(s.downloaded)
}

// Owns says whether the owner holds this membership or a claim to it.
func (t *Table) Owns(from Owner, infoHash, peerID []byte) bool {
	s := t.swarm(infoHash)
	if s == nil {
		return false
	}
	m := t.peer(s, peerID)
	if m == nil {
		return false
	}
	c := t.claimTo(s, m)
	return m.owner == from || c != nil && c.owner == from
}

func (t *Table) reply(s *swarm, to Owner, infoHash []byte, out []Effect) []Effect {
	e := Effect{To: to, Kind: EffectReply, InfoHash: infoHash}
	if s != nil {
		e.Complete, e.Incomplete = t.counts(s)
	}
	return append(out, e)
}

func (t *Table) drop(d Drop) Drop {
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
	// What the slabs and the units of time allow for.
	c.MaxMembers, c.MaxSwarms = min(c.MaxMembers, most), min(c.MaxSwarms, most)
	c.TTL = min(c.TTL, maxTTL)
	return c
}

// most is how many swarms and members a table may hold, by its numbering.
const most = 1 << 28

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// words splits a SipHash key.
func words(key [16]byte) (k0, k1 uint64) {
	return binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])
}
