package dhtstore

import "container/list"

// maxSeqs is of how many keys the highest sequence number is kept.
const maxSeqs = 4096

// seqs remembers the highest sequence number of each key, so that an old
// record, validly signed, does not come back. The key seen longest ago is
// forgotten first.
type seqs struct {
	keys   map[[32]byte]*list.Element
	recent *list.List // of *seqOf, latest first
}

type seqOf struct {
	key [32]byte
	seq int64
}

func newSeqs() *seqs {
	return &seqs{keys: make(map[[32]byte]*list.Element), recent: list.New()}
}

// note records seq, and reports false when a higher one is known.
func (s *seqs) note(key []byte, seq int64) bool {
	k := [32]byte(key)
	if el, ok := s.keys[k]; ok {
		of := el.Value.(*seqOf)
		if seq < of.seq {
			return false
		}
		of.seq = seq
		s.recent.MoveToFront(el)
		return true
	}
	if s.recent.Len() >= maxSeqs {
		last := s.recent.Back()
		delete(s.keys, last.Value.(*seqOf).key)
		s.recent.Remove(last)
	}
	s.keys[k] = s.recent.PushFront(&seqOf{k, seq})
	return true
}

func (s *seqs) highest(key []byte) (int64, bool) {
	if len(key) != 32 {
		return 0, false
	}
	el, ok := s.keys[[32]byte(key)]
	if !ok {
		return 0, false
	}
	return el.Value.(*seqOf).seq, true
}
