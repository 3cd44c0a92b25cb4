package tlsstream

import (
	"container/list"
	"net/netip"
)

// queue gives places to handshakes: to each group in its turn, and to no group
// more than a bound. The zero Prefix has no bound of its own.
type queue struct {
	max, maxPerGroup int

	active, waiting int
	groups          map[netip.Prefix]*group // those that hold a place or wait for one
	turns           list.List               // of *group: those of which one could start
}

type group struct {
	named   bool // not the zero Prefix
	active  int
	waiting list.List     // of *Handshake
	turn    *list.Element // in queue.turns, if there
}

func (q *queue) init(max, maxPerGroup int) {
	q.max, q.maxPerGroup = max, maxPerGroup
	q.groups = make(map[netip.Prefix]*group)
}

// push makes h wait.
func (q *queue) push(h *Handshake) {
	g := q.groups[h.group]
	if g == nil {
		g = &group{named: h.group.IsValid()}
		q.groups[h.group] = g
	}
	h.place = g.waiting.PushBack(h)
	q.waiting++
	q.settle(h.group, g)
}

// remove makes h wait no longer and reports whether it did.
func (q *queue) remove(h *Handshake) bool {
	if h.place == nil {
		return false
	}
	g := q.groups[h.group]
	g.waiting.Remove(h.place)
	h.place = nil
	q.waiting--
	q.settle(h.group, g)
	return true
}

// pop returns a handshake that now has a place, or nil.
func (q *queue) pop() *Handshake {
	first := q.turns.Front()
	if first == nil || q.active >= q.max {
		return nil
	}
	g := first.Value.(*group)
	h := g.waiting.Remove(g.waiting.Front()).(*Handshake)
	h.place = nil
	q.waiting--
	q.active++
	g.active++
	q.turns.MoveToBack(first)
	q.settle(h.group, g)
	return h
}

// release returns a place that one of the group had.
func (q *queue) release(name netip.Prefix) {
	g := q.groups[name]
	g.active--
	q.active--
	q.settle(name, g)
}

// wanting is how many could start if others ended.
func (q *queue) wanting() (n int) {
	for e := q.turns.Front(); e != nil && n < q.max; e = e.Next() {
		g := e.Value.(*group)
		could := g.waiting.Len()
		if g.named {
			could = min(could, q.maxPerGroup-g.active)
		}
		n += min(could, q.max-n)
	}
	return n
}

// settle gives the group a turn or takes it, and forgets it when it is empty.
func (q *queue) settle(name netip.Prefix, g *group) {
	could := g.waiting.Len() > 0 && (g.active < q.maxPerGroup || !g.named)
	switch {
	case could && g.turn == nil:
		g.turn = q.turns.PushBack(g)
	case !could && g.turn != nil:
		q.turns.Remove(g.turn)
		g.turn = nil
	}
	if g.active == 0 && g.waiting.Len() == 0 {
		delete(q.groups, name)
	}
}
