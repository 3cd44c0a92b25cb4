package swarm

import "time"

// Parked offers. Real clients announce again after two minutes, some never,
// and federation may take seconds to find where the other peers are. So the
// offers of an announce that found no receiver are kept for a moment, and go
// to the first remote peers that a node joins with. They never go to peers
// who join here: one tracker would not do that either.
//
// A member has one batch, of its newest announce with offers.
//
// Room is shared by whoever comes: each owner has a part of its own, in offers
// and in bytes, and when the table's or the swarm's is used up, the oldest
// batches make way. Under a flood from many connections everybody's offers
// wait for a shorter time then, but nobody's are refused because of those who
// came before: a newcomer's first seconds are when federation finds somebody.
//
// Two clients must not be offered to each other at the same time. webtorrent
// keeps one connection per peer id, the first that it hears of: when offers
// cross, each side keeps the one that the other drops, and both are lost.
// One tracker never crosses offers, since only the later comer's reach the
// other. When two nodes meet, both may have offers parked; so one of the two
// holds its own back for a moment (NodeJoin.Hold), and nobody's go to a node
// beyond the number of its peers whom he has not met through it, in whichever
// direction.

// batch is a member's parked offers, in memory of its own.
type batch[O Owner] struct {
	swarm  *swarm[O]
	owner  O
	peerID []byte
	offers []Offer
	bytes  int
	until  time.Duration
	met    []meetings[O]    // since the announce
	at     int              // in swarm.batches
	place  *item[*batch[O]] // in Table.batches
	turn   *item[*batch[O]] // in swarm.oldest
}

// parkedSum is what an owner has parked.
type parkedSum struct{ offers, bytes int }

// meetings are how many offers a member has exchanged with a node's peers.
type meetings[O Owner] struct {
	node O
	n    int
}

// meet counts offers to or from a node's peers.
func (b *batch[O]) meet(node O, n int) {
	for i := range b.met {
		if b.met[i].node == node {
			b.met[i].n += n
			return
		}
	}
	b.met = append(b.met, meetings[O]{node, n})
}

// unmet is how many of a node's peers the member cannot have met yet.
func (b *batch[O]) unmet(nd *node[O]) int {
	n := nd.complete + nd.incomplete
	for i := range b.met {
		if b.met[i].node == nd.owner {
			n -= b.met[i].n
		}
	}
	return max(0, n)
}

// maxHolds bounds Table.holds: beyond, parked offers do not wait.
const maxHolds = 1 << 16

// hold says that parked offers wait for a node's own to come first.
type hold[O Owner] struct {
	swarm *swarm[O]
	node  *node[O]
	until time.Duration
}

// park keeps those offers of a member that were marked fateLeft, in place of
// what it had parked before, and returns how many.
func (t *Table[O]) park(now time.Duration, s *swarm[O], slot int, offers []Offer) (Drop, int) {
	m := &s.members[slot]
	t.unpark(m.batch)
	if t.cfg.MaxParkedBytes == 0 {
		return DropNone, 0
	}
	n, size := 0, len(m.id)
	for i := range offers {
		if t.fate[i] == fateLeft {
			n++
			size += offerBytes(&offers[i])
		}
	}
	if n == 0 {
		return DropNone, 0
	}
	own := t.parkedBy[m.owner]
	if n > t.cfg.MaxParkedSwarm || own.offers+n > t.cfg.MaxParkedOwner || own.bytes+size > t.cfg.MaxParkedOwnerBytes {
		return t.drop(DropParkFull), 0
	}
	for s.parked+n > t.cfg.MaxParkedSwarm {
		t.evict(s.oldest.head.value)
	}
	for t.stats.ParkedBytes+size > t.cfg.MaxParkedBytes {
		t.evict(t.batches.head.value)
	}
	left := make([]Offer, 0, n)
	for i := range offers {
		if t.fate[i] == fateLeft {
			left = append(left, offers[i])
		}
	}
	b := &batch[O]{swarm: s, owner: m.owner, bytes: size, until: now + t.cfg.ParkFor, at: len(s.batches)}
	b.peerID, b.offers = copyOffers([]byte(m.id), left, size)
	b.place, b.turn = t.batches.push(b), s.oldest.push(b)
	s.batches = append(s.batches, b)
	m.batch = b
	t.stats.OffersParked += uint64(n)
	t.count(b, n, size)
	return DropNone, n
}

// evict drops a batch to make room for a newer one.
func (t *Table[O]) evict(b *batch[O]) {
	t.stats.Dropped[DropParkEvicted] += uint64(len(b.offers))
	t.unpark(b)
}

// count keeps the sums of parked offers.
func (t *Table[O]) count(b *batch[O], offers, bytes int) {
	b.swarm.parked += offers
	t.stats.Parked += offers
	t.stats.ParkedBytes += bytes
	own := t.parkedBy[b.owner]
	own.offers += offers
	own.bytes += bytes
	if own == (parkedSum{}) {
		delete(t.parkedBy, b.owner)
		return
	}
	t.parkedBy[b.owner] = own
}

// unpark drops a batch, if there is one.
func (t *Table[O]) unpark(b *batch[O]) {
	if b == nil {
		return
	}
	s := b.swarm
	t.count(b, -len(b.offers), -b.bytes)
	t.batches.remove(b.place)
	s.oldest.remove(b.turn)
	last := len(s.batches) - 1
	s.batches[b.at] = s.batches[last]
	s.batches[b.at].at = b.at
	s.batches[last] = nil
	s.batches = s.batches[:last]
	s.members[s.find(b.peerID)].batch = nil
}

// flush relays parked offers to a node that brought so many more remote
// peers: of each offerer at most as many as there are new peers, offerers in
// random order, and in all no more than the node's peers could be asked to
// take at once. No limit on shares applies, as nobody else could take them.
func (t *Table[O]) flush(now time.Duration, s *swarm[O], nd *node[O], peers int, out []Effect[O]) ([]Effect[O], Outcome) {
	var oc Outcome
	room := 2 * t.cfg.MaxOffers * peers
	for n := len(s.batches); n > 0 && room > 0; n-- {
		// Those already looked at are behind n.
		i := t.rng.IntN(n)
		b, end := s.batches[i], s.batches[n-1]
		s.batches[i], s.batches[n-1] = end, b
		end.at, b.at = i, n-1
		if nd.hasBytes(b.peerID) {
			continue
		}
		k := min(peers, len(b.offers), room, b.unmet(nd))
		if k == 0 {
			continue
		}
		b.meet(nd.owner, k)
		room -= k
		t.fate = append(t.fate[:0], make([]int16, k)...)
		for j := range k {
			out = t.toNode(now, s, nd, b.peerID, b.offers, j, false, out)
		}
		oc.Offers += k
		t.stats.OffersFlushed += uint64(k)
		t.count(b, -k, 0)
		if b.offers = b.offers[k:]; len(b.offers) == 0 {
			t.unpark(b)
		}
	}
	return out, oc
}

// brought flushes parked offers to a node that brought so many more remote
// peers, now or after the hold.
func (t *Table[O]) brought(now time.Duration, s *swarm[O], nd *node[O], peers int, wait time.Duration, out []Effect[O]) ([]Effect[O], Outcome) {
	if wait <= 0 || t.holds.len >= maxHolds {
		return t.flush(now, s, nd, peers, out)
	}
	if nd.held == 0 {
		t.holds.push(hold[O]{s, nd, now + wait})
	}
	nd.held += peers
	return out, Outcome{}
}

// release flushes what has been held back for long enough.
func (t *Table[O]) release(now time.Duration, budget int, out []Effect[O]) ([]Effect[O], int) {
	for t.holds.head != nil && budget > 0 && now >= t.holds.head.value.until {
		h := t.holds.head.value
		t.holds.remove(t.holds.head)
		budget--
		peers := h.node.held
		h.node.held = 0
		// Neither the swarm nor the node's part in it need be the same any more.
		if s := t.swarms[string(h.swarm.hash)]; s == h.swarm && s.node(h.node.owner) == h.node {
			out, _ = t.flush(now, s, h.node, peers, out)
		}
	}
	return out, budget
}

// expire drops the batches whose time is over.
func (t *Table[O]) expire(now time.Duration, budget int) int {
	for t.batches.head != nil && budget > 0 {
		b := t.batches.head.value
		if now < b.until {
			break
		}
		budget--
		t.stats.Dropped[DropParkExpired] += uint64(len(b.offers))
		t.unpark(b)
	}
	return budget
}
