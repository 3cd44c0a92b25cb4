package swarm

import (
	"math"
	"time"

	"github.com/dchest/siphash"
)

// Trust: what a node's deeds say of it.
//
// A tracker cannot tell a good answer from a bad one, and keys cost nothing. So
// what nodes get is limited by structure first (limits.go, quotas.go), and deeds
// move them only inside those limits. Two kinds of deeds count:
//
//   - answered: an answer came back through the node and was delivered. Anybody
//     can make answers up, so this proves nothing alone;
//   - met: a local member answered an offer that the node relayed. A browser
//     answers only what its WebRTC accepts, and nobody with whom it is connected.
//
// Honest nodes do both equally often, since either of two peers may be the one
// who offers. A node is proven if it was met, and if it answers: of the offers
// that it owes an answer to, all but the first sixteen, it has answered one in
// sixteen. Only offers of peers who have just come are owed, for nobody knows
// them yet. Others go unanswered for a good reason when all are connected.
//
//   - Each two peers count once, whoever of them answered: who met does not meet
//     again. So nobody proves himself with a handful of peers.
//   - Of the deeds that one local client is behind only a few count: sources.go.
//   - Deeds are counted for a node in all swarms together: who is known to be
//     good need not prove it in a new swarm, nor is a bad name left behind.
//     What is owed is forgotten by halves as more is owed, and everything slowly
//     with time: that nobody new comes to a swarm must not cost anybody his name.
//   - Within one swarm, a proven node has credit for 64 offers owed there, and
//     every answer is credit for 16 more; without, it is unproven there.
//   - A node has no more receivers in a draw than it claims, nor than were seen:
//     four that everybody may try, and sixteen for each deed if it was met. In
//     what the tracker replies to clients, claims count up to 1,000 members, and
//     100,000 of a proven node.
//
// Unproven nodes share a tenth of the offers that others could take, and a quota
// for the offers that they send; one that is met there, and answers, is proven.
// So newcomers take seconds to prove themselves, and what a thousand new keys can
// do is bounded. What this cannot tell from a good node is one that offers and
// answers in the name of as many peers as it claims, in the format of a browser,
// and leads nowhere: to it, the limits of structure apply, and no more. One of
// those is age (ages.go): of what nodes known for much longer could take, the proven
// ones known for less than an hour have an eighth together, for less than 8 hours a
// quarter, for less than two days a half.
const (
	memory    = 6 * time.Hour // in which deeds fade to 1/e
	least     = 0.25          // what must be left of them for a node to be met
	perAnswer = 16            // offers owed; as many at first are free
	window    = 128           // so many owed, and what was before counts half
	exploring = 4             // receivers of anybody
	perDeed   = 16            // receivers for each deed

	// Credit in a swarm, for offers owed.
	creditAnswer = 16
	creditMax    = 64

	// assessEvery is how often a node's trust is looked up without a cause.
	assessEvery = time.Second
	never       = time.Duration(math.MinInt64)
)

// Deed is something that a node did.
type Deed uint8

const (
	DeedOwed     Deed = iota // it was given an offer of a peer who has just come
	DeedExcused              // it gave such an offer back: the peer announces there as well
	DeedAnswered             // an answer came back through it and was delivered
	DeedMet                  // a local member answered an offer of one of its peers
)

// Reputation is what is known of a node in all swarms of all tables, kept by
// whoever shares it between them.
type Reputation interface {
	// Note enters a deed, and says whether it counts. pair stands for the two
	// peers of an answer, source for the local client of the deed.
	Note(now time.Duration, d Deed, pair, source uint64) (counts bool)
	Trust(now time.Duration) Trust
}

// Trust is what comes of a node's deeds.
type Trust struct {
	// Met: a local member answered an offer of one of its peers lately.
	Met bool
	// Proven: that, and it does not leave unanswered what it owes an answer to.
	Proven bool
	// Receivers is up to how many of the peers that it claims are drawn from.
	Receivers int
}

// Record is a Reputation that is not safe for concurrent use. The zero value is
// that of a stranger.
type Record struct {
	at                  time.Duration // of what follows
	owed, answered, met float64
	pairs               sketch
	sources             sources
}

// Note implements Reputation.
func (r *Record) Note(now time.Duration, d Deed, pair, source uint64) (counts bool) {
	r.fade(now)
	if d >= DeedAnswered && !r.pairs.add(pair) || !r.sources.count(now, d, source) {
		return false
	}
	switch d {
	case DeedOwed:
		if r.owed++; r.owed >= window {
			r.owed /= 2
			r.answered /= 2
			r.sources.halve()
		}
	case DeedExcused:
		r.owed = max(0, r.owed-1)
	case DeedAnswered:
		r.answered++
	case DeedMet:
		r.met++
	}
	return true
}

// Trust implements Reputation.
func (r *Record) Trust(now time.Duration) Trust {
	r.fade(now)
	if r.met < least {
		return Trust{Receivers: exploring}
	}
	return Trust{
		Met:       true,
		Proven:    perAnswer*(r.answered+1) >= r.owed,
		Receivers: exploring + int(min(perDeed*(r.met+r.answered), claimProven)),
	}
}

// fade makes deeds count less with time.
func (r *Record) fade(now time.Duration) {
	if d := now - r.at; d >= time.Second {
		f := math.Exp(-float64(d) / float64(memory))
		r.owed *= f
		r.answered *= f
		r.met *= f
		r.at = now
	}
}

// noted enters a deed of a node in a swarm, and draws the consequences. What is
// owed costs credit there, and an answer that counts earns it. by is the local
// client's connection.
func (t *Table) noted(now time.Duration, x *extension, nd *node, d Deed, pair uint64, by Owner) (counts bool) {
	counts = nd.reputation.Note(now, d, pair, t.source(by))
	switch {
	case d == DeedOwed && counts:
		nd.credit = max(0, nd.credit-1)
	case d == DeedExcused:
		nd.credit = min(creditMax, nd.credit+1)
	case d == DeedAnswered && counts:
		nd.credit = min(creditMax, nd.credit+creditAnswer)
	}
	nd.assessed = never
	t.assess(now, x, nd)
	return counts
}

// assess brings what is thought of a node up to date, once a second.
func (t *Table) assess(now time.Duration, x *extension, nd *node) {
	if nd.assessed != never && now-nd.assessed < assessEvery {
		return
	}
	nd.assessed = now
	proven := nd.trust.Proven
	nd.trust = nd.reputation.Trust(now)
	nd.trust.Proven = nd.trust.Proven && nd.credit > 0
	if nd.trust.Proven != proven {
		if nd.group != nil && nd.group.nodes > drawing {
			x.elect()
		}
		x.reweigh(nd)
	}
}

// sketch is a set that forgets: the last sketchTurn that were added it knows for certain,
// some more before, and now and then takes a new one for one of them.
type sketch struct {
	bits [2][sketchWords]uint64 // filled now, and before
	n    int                    // added to the first
}

const (
	sketchWords = 16
	sketchTurn  = 8 * sketchWords
)

// add enters a hash, and says whether it was not there.
func (s *sketch) add(h uint64) bool {
	i, j := h%(64*sketchWords), h>>32%(64*sketchWords)
	has := func(b *[sketchWords]uint64) bool { return b[i/64]>>(i%64)&(b[j/64]>>(j%64))&1 != 0 }
	if has(&s.bits[0]) {
		return false
	}
	before := has(&s.bits[1])
	if s.n++; s.n > sketchTurn {
		s.bits[1], s.bits[0], s.n = s.bits[0], [sketchWords]uint64{}, 1
	}
	s.bits[0][i/64] |= 1 << (i % 64)
	s.bits[0][j/64] |= 1 << (j % 64)
	return !before
}

// pair stands for two peers of a swarm, in whichever order.
func (t *Table) pair(in, a, b *id) uint64 {
	var buf [3 * idLen]byte
	copy(buf[:], in.b[:])
	if string(a.b[:]) > string(b.b[:]) {
		a, b = b, a
	}
	copy(buf[idLen:], a.b[:])
	copy(buf[2*idLen:], b.b[:])
	return siphash.Hash(t.pairKey[0], t.pairKey[1], buf[:])
}
