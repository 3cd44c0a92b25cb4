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
type batch struct {
	x      *extension
	key    id
	owner  Owner
	peerID []byte
	offers []Offer
	bytes  int
	until  time.Duration
	fresh  bool          // its maker had just come
	met    []meetings    // since the announce
	at     int           // in extension.batches
	place  *item[*batch] // in Table.batches
	turn   *item[*batch] // in extension.oldest
}

// parkedSum is what an owner has parked.
type parkedSum struct{ offers, bytes int }

// meetings are how many offers a member has exchanged with a node's peers.
type meetings struct {
	node Owner
	n    int
}

// meet counts offers to or from a node's peers.
func (b *batch) meet(node Owner, n int) {
	for i := range b.met {
		if b.met[i].node == node {
			b.met[i].n += n
			return
		}
	}
	b.met = append(b.met, meetings{node, n})
}

// unmet is how many of a node's peers the member cannot have met yet.
func (b *batch) unmet(nd *node) int {
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
type hold struct {
	x     *extension
	node  *node
	until time.Duration
}

// park keeps those offers of a member that were marked fateLeft, in place of
// what it had parked before, and returns them.
func (t *Table) park(now time.Duration, s *swarm, m *member, p *party, offers []Offer) (Drop, *batch) {
	t.unpark(t.batchOf(s, m))
	if t.cfg.MaxParkedBytes == 0 {
		return DropNone, nil
	}
	n, size := 0, len(p.peer)
	for i := range offers {
		if t.fate[i] == fateLeft {
			n++
			size += offerBytes(&offers[i])
		}
	}
	if n == 0 {
		return DropNone, nil
	}
	own := t.parkedBy[m.owner]
	if n > t.cfg.MaxParkedSwarm || own.offers+n > t.cfg.MaxParkedOwner || own.bytes+size > t.cfg.MaxParkedOwnerBytes {
		return t.drop(DropParkFull), nil
	}
	x := t.extend(s)
	for x.parked+n > t.cfg.MaxParkedSwarm {
		t.evict(x.oldest.head.value)
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
	b := &batch{x: x, fresh: p.fresh, key: p.key, owner: m.owner, bytes: size, until: now + t.cfg.ParkFor, at: len(x.batches)}
	b.peerID, b.offers = copyOffers(p.peer, left, size)
	b.place, b.turn = t.batches.push(b), x.oldest.push(b)
	x.batches = append(x.batches, b)
	m.set(rare, true)
	t.stats.OffersParked += uint64(n)
	t.count(b, n, size)
	return DropNone, b
}

// evict drops a batch to make room for a newer one.
func (t *Table) evict(b *batch) {
	t.stats.Dropped[DropParkEvicted] += uint64(len(b.offers))
	t.unpark(b)
}

// count keeps the sums of parked offers.
func (t *Table) count(b *batch, offers, bytes int) {
	b.x.parked += offers
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
func (t *Table) unpark(b *batch) {
	if b == nil {
		return
	}
	x := b.x
	t.count(b, -len(b.offers), -b.bytes)
	t.batches.remove(b.place)
	x.oldest.remove(b.turn)
	last := len(x.batches) - 1
	x.batches[b.at] = x.batches[last]
	x.batches[b.at].at = b.at
	x.batches[last] = nil
	x.batches = x.batches[:last]
	s := t.of(x)
	t.settled(s, t.find(s, &b.key))
}

// flush relays parked offers to a node that brought so many more remote
// peers: of each offerer at most as many as there are new peers, offerers in
// random order, and in all no more than the node's peers could be asked to
// take at once. No limit on shares applies, as nobody else could take them.
func (t *Table) flush(now time.Duration, x *extension, nd *node, peers int, out []Effect) ([]Effect, Outcome) {
	var oc Outcome
	room := 2 * t.cfg.MaxOffers * peers
	s := t.of(x)
	in := s.key()
	for n := len(x.batches); n > 0 && room > 0; n-- {
		// Those already looked at are behind n.
		i := t.rng.IntN(n)
		b, end := x.batches[i], x.batches[n-1]
		x.batches[i], x.batches[n-1] = end, b
		end.at, b.at = i, n-1
		if nd.has(b.peerID) {
			continue
		}
		k := min(peers, len(b.offers), room, b.unmet(nd))
		if k == 0 {
			continue
		}
		b.meet(nd.owner, k)
		room -= k
		t.fate = append(t.fate[:0], make([]int16, k)...)
		p := party{fresh: b.fresh, hash: x.name, peer: b.peerID, in: in, key: b.key}
		for j := range k {
			out = t.toNode(now, x, nd, &p, b.offers, j, &placing{from: b.owner}, out)
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
func (t *Table) brought(now time.Duration, x *extension, nd *node, peers int, wait time.Duration, out []Effect) ([]Effect, Outcome) {
	if wait <= 0 || t.holds.len >= maxHolds {
		return t.flush(now, x, nd, peers, out)
	}
	if nd.held == 0 {
		t.holds.push(hold{x, nd, now + wait})
	}
	nd.held += peers
	return out, Outcome{}
}

// release flushes what has been held back for long enough.
func (t *Table) release(now time.Duration, budget int, out []Effect) ([]Effect, int) {
	for t.holds.head != nil && budget > 0 && now >= t.holds.head.value.until {
		h := t.holds.head.value
		t.holds.remove(t.holds.head)
		budget--
		peers := h.node.held
		h.node.held = 0
		// Neither the swarm nor the node's part in it need be the same any more.
		if h.x.at != gone && h.x.node(h.node.owner) == h.node {
			out, _ = t.flush(now, h.x, h.node, peers, out)
		}
	}
	return out, budget
}

// expire drops the batches whose time is over.
func (t *Table) expire(now time.Duration, budget int) int {
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
