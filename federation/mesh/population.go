package mesh

// populate tells of how many nodes the partners of a swarm are a sample: those
// that have shown that they have it, and those that a search named and that have
// not failed to be there.
func (m *Mesh) populate(s *swarm, again bool) {
	if s.tend == nil {
		return // never crowded
	}
	n := 0
	for _, sh := range s.shares {
		if s.crowded && (sh.known || sh.addr.IsValid() && sh.node.fails == 0) && !sh.left && sh.until > m.now {
			n++
		}
	}
	if n != s.tend.population || again && n > 0 {
		s.tend.population = n
		m.emit(Action{Kind: ActPopulation, InfoHash: s.infoHash, Count: n})
	}
}
