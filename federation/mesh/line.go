package mesh

import "time"

// A swarm that waits for a search stands in the line of its class, first come,
// first served. In that of the large ones what they have published is at stake:
// it expires after half an hour, and with it their being found. So those that
// have waited for so long that it soon will, or that have published nothing,
// go first, the largest before all. While the searches suffice for all, nobody
// gets as far. If they do not, the large keep what they published, about as
// many as there are searches for the class in urgentAfter, and those without
// are the smallest. Of equally large ones, each has its turn.

// urgentAfter is how long after a large swarm's search began the next one is
// urgent. What is left of the half hour is for its turn and for the search.
const urgentAfter = 25 * time.Minute

// line is a heap of waiting swarms.
type line struct {
	heap  []*swarm
	turns uint64 // handed out
}

// push puts s at the end.
func (l *line) push(s *swarm) {
	l.turns++
	s.turn = l.turns
	l.heap = append(l.heap, s)
	s.place = int32(len(l.heap))
	l.fix(s)
}

func (l *line) remove(s *swarm) {
	i, last := int(s.place)-1, len(l.heap)-1
	l.swap(i, last)
	l.heap[last] = nil
	l.heap = l.heap[:last]
	s.place = 0
	if i < last {
		l.fix(l.heap[i])
	}
}

// before reports whether a is served before b.
func (l *line) before(a, b *swarm) bool {
	return a.rank > b.rank || a.rank == b.rank && a.turn < b.turn
}

func (l *line) swap(i, j int) {
	l.heap[i], l.heap[j] = l.heap[j], l.heap[i]
	l.heap[i].place, l.heap[j].place = int32(i+1), int32(j+1)
}

// fix brings s to its place after its rank has changed.
func (l *line) fix(s *swarm) {
	i := int(s.place) - 1
	for i > 0 && l.before(s, l.heap[(i-1)/2]) {
		l.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		c := 2*i + 1
		if c >= len(l.heap) {
			return
		}
		if c+1 < len(l.heap) && l.before(l.heap[c+1], l.heap[c]) {
			c++
		}
		if !l.before(l.heap[c], s) {
			return
		}
		l.swap(i, c)
		i = c
	}
}

// rankOf is what goes before the order of arrival; the higher is served first.
// Whoever publishes nothing has nothing to lose.
func (m *Mesh) rankOf(s *swarm) int32 {
	if s.queue != classLarge || m.cfg.Leaf || !m.urgent(s) {
		return 0
	}
	return int32(min(s.state.Local, 1<<30))
}

// urgent reports whether nothing of s is published, or not for much longer.
func (m *Mesh) urgent(s *swarm) bool {
	return !s.announced || m.now >= s.began+urgentAfter
}
