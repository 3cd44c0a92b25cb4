package sim

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/draeder/peerservers/federation/frame"
)

// counts is what happened since a World began.
type counts struct {
	events                             uint64
	announces, offers, answers         uint64 // by clients
	offered, offeredFake, answered     uint64 // to clients
	pairs, pairsAcross, pairsHalves    uint64 // introductions: real pairs, once each
	declinedKnown, declinedFull        uint64 // offers that a client did not answer
	lostLate, lostCrossed              uint64 // answers that came to nothing
	lostFull, lostGone, garbage        uint64
	closed, rejoins, links, duplicates uint64
	strikes, barred                    uint64
	relayed, offersHeld, toHostile     uint64 // offers
	told, misled                       uint64 // records by responsible nodes, answers by hostile ones
	refused                            [8]uint64
	frames                             [frame.Kinds + 8]uint64 // sent by honest nodes
	bytes                              uint64
	lookups, resolves, dials           uint64
	dialsFailed                        uint64
	packets                            []float64 // of the DHT, sent in each second
	perMinute                          []uint64  // introductions
	waits, waitsAcross                 []time.Duration
}

func (k *counts) init() {}

// introduced enters a pair of clients that are connected now.
func (k *counts) introduced(a, b *client) {
	now := a.w.now
	k.pairs++
	if a.node != b.node {
		k.pairsAcross++
	}
	if a.node.side != b.node.side {
		k.pairsHalves++
	}
	minute := int(now / time.Minute)
	for len(k.perMinute) <= minute {
		k.perMinute = append(k.perMinute, 0)
	}
	k.perMinute[minute]++
	for _, c := range [2]*client{a, b} {
		if c.first == never {
			c.first = now
			k.waits = append(k.waits, now-c.began)
		}
		if a.node != b.node && c.across == never {
			c.across = now
			k.waitsAcross = append(k.waitsAcross, now-min(c.clock, now))
		}
	}
}

// spread enters n packets that leave evenly within a time.
func (k *counts) spread(n int, from, in time.Duration) {
	const second = time.Second
	to := from + max(in, 1)
	last := int((to - 1) / second)
	for len(k.packets) <= last {
		k.packets = append(k.packets, 0)
	}
	per := float64(n) / float64(to-from)
	for s := int(from / second); s <= last; s++ {
		lo, hi := max(from, time.Duration(s)*second), min(to, time.Duration(s+1)*second)
		k.packets[s] += per * float64(hi-lo)
	}
}

// packetsIn is how many packets all nodes together sent per second, on
// average and at most over any 10 s.
func (k *counts) packetsIn(from, to time.Duration) (mean, peak float64) {
	lo, hi := int(from/time.Second), min(int(to/time.Second), len(k.packets))
	sum, window := 0.0, 0.0
	for s := lo; s < hi; s++ {
		sum += k.packets[s]
		window += k.packets[s]
		if s >= lo+10 {
			window -= k.packets[s-10]
		}
		peak = max(peak, window/10)
	}
	return sum / max(to-from, time.Second).Seconds(), peak
}

// pairsIn is how many introductions there were in whole minutes.
func (k *counts) pairsIn(from, to time.Duration) (n uint64) {
	for m := int(from / time.Minute); m < min(int(to/time.Minute), len(k.perMinute)); m++ {
		n += k.perMinute[m]
	}
	return n
}

func (k *counts) allFrames() (n uint64) {
	for _, f := range k.frames {
		n += f
	}
	return n
}

// quantile sorts and picks; 0 of nothing.
func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(int(q*float64(len(list))), len(list)-1)]
}

// sorted is a map's keys in order, so that nothing depends on the map's.
func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// unmet counts the clients that have had somebody elsewhere for a while, and
// never were introduced to another node's; of so many that had.
func (w *World) unmet(after time.Duration) (unmet, of int) {
	for _, c := range w.clients {
		if c.alive && c.joined && c.clock != never && w.now-c.clock >= after {
			of++
			if c.across == never {
				unmet++
			}
		}
	}
	return unmet, of
}

// graph is how a swarm's live clients are connected: how many there are, and
// how many of them are in the largest component, and in that of a client.
func (w *World) graph(s *group, root *client) (all, largest, withRoot int) {
	seen := make(map[uint32]bool, len(s.live))
	var stack []uint32
	for _, c := range s.live {
		if seen[c.id] {
			continue
		}
		size, hasRoot := 0, false
		stack = append(stack[:0], c.id)
		seen[c.id] = true
		for len(stack) > 0 {
			id := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			size++
			hasRoot = hasRoot || root != nil && id == root.id
			for _, o := range w.clients[id].conns {
				if !seen[o] {
					seen[o] = true
					stack = append(stack, o)
				}
			}
		}
		largest = max(largest, size)
		if hasRoot {
			withRoot = size
		}
	}
	return len(s.live), largest, withRoot
}

// connected is the share of swarms with two clients or more that are one
// graph, and the share of clients that are in the largest part of theirs.
func (w *World) connected() (swarms, clients float64) {
	whole, of, inside, live := 0, 0, 0, 0
	for _, s := range w.swarms {
		all, largest, _ := w.graph(s, nil)
		if all < 2 {
			continue
		}
		of++
		live += all
		inside += largest
		if all == largest {
			whole++
		}
	}
	return share(whole, of), share(inside, live)
}

// share is a part of a whole; all of nothing.
func share(n, of int) float64 {
	if of == 0 {
		return 1
	}
	return float64(n) / float64(of)
}
