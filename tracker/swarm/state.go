package swarm

// State is what a watcher asks after a touch; ok is false if there is no such
// swarm.
func (t *Table[O]) State(infoHash []byte) (st State, ok bool) {
	s := t.swarms[string(infoHash)]
	if s == nil {
		return State{}, false
	}
	return s.state(), true
}

func (s *swarm[O]) state() State {
	st := State{
		LocalComplete:    s.complete,
		LocalIncomplete:  len(s.members) - s.complete,
		RemoteComplete:   s.remoteComplete,
		RemoteIncomplete: s.remoteIncomplete,
		Nodes:            len(s.nodes),
		Parked:           s.parked,
	}
	for _, nd := range s.nodes {
		st.Duplicates += nd.duplicates[0] + nd.duplicates[1]
	}
	return st
}

// Swarms goes over all swarms, in no order; yield must not change the table.
func (t *Table[O]) Swarms(yield func(infoHash []byte, st State) bool) {
	for _, s := range t.list {
		if !yield(s.hash, s.state()) {
			return
		}
	}
}

// Tags appends the tags of a swarm's local members under the key of a link,
// for a join. It does so for at most MaxTags members; with more, or none, ok
// is false and nothing is appended.
func (t *Table[O]) Tags(infoHash []byte, key [16]byte, complete, incomplete []uint64) (c, i []uint64, ok bool) {
	s := t.swarms[string(infoHash)]
	if s == nil || len(s.members) > MaxTags {
		return complete, incomplete, false
	}
	var buf [256]byte
	for k := range s.members {
		m := &s.members[k]
		h := Tag(key, append(buf[:0], m.id...))
		if m.complete {
			complete = append(complete, h)
		} else {
			incomplete = append(incomplete, h)
		}
	}
	return complete, incomplete, true
}
