package swarm

// State is what a watcher asks after a touch; ok is false if there is no such
// swarm.
func (t *Table) State(infoHash []byte) (st State, ok bool) {
	s := t.swarm(infoHash)
	if s == nil {
		return State{}, false
	}
	return t.state(s), true
}

func (t *Table) state(s *swarm) State {
	st := State{LocalComplete: int(s.complete), LocalIncomplete: int(s.n - s.complete)}
	x := t.ext(s)
	if x == nil {
		return st
	}
	st.RemoteComplete, st.RemoteIncomplete = x.remoteComplete, x.remoteIncomplete
	st.Nodes, st.Population, st.Parked = len(x.nodes), x.population, x.parked
	for _, nd := range x.nodes {
		st.Duplicates += nd.duplicates[0] + nd.duplicates[1]
	}
	return st
}

// Swarms goes over all swarms, in no order; yield must not change the table,
// nor keep the info hash.
func (t *Table) Swarms(yield func(infoHash []byte, st State) bool) {
	var name []byte
	for i := range t.swarms.rows {
		s := t.swarms.at(i)
		name = t.text(name[:0], &s.hash, s.odd)
		if !yield(name, t.state(s)) {
			return
		}
	}
}

// Tags appends the tags of a swarm's local members under the key of a link,
// for a join. It does so for at most MaxTags members; with more, or none, ok
// is false and nothing is appended.
func (t *Table) Tags(infoHash []byte, key [16]byte, complete, incomplete []uint64) (c, i []uint64, ok bool) {
	s := t.swarm(infoHash)
	if s == nil || s.len() > MaxTags {
		return complete, incomplete, false
	}
	var buf [256]byte
	for k := range s.len() {
		m := t.member(s, k)
		h := Tag(key, t.text(buf[:0], &m.id, m.has(odd)))
		if m.has(seeder) {
			complete = append(complete, h)
		} else {
			incomplete = append(incomplete, h)
		}
	}
	return complete, incomplete, true
}
