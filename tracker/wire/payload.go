package wire

// What comes from another node was parsed there, by whatever runs there: it
// passes through these before a client gets it.

// ValidPayload reports whether raw, with no white space around it, is an
// offer or answer as Parse would accept it in a frame.
func ValidPayload(raw []byte, l Limits) bool {
	l = l.orDefault()
	if len(raw) > l.MaxSDP {
		return false
	}
	// The frame that it goes out in is one level of nesting.
	s := scanner{buf: raw, depth: 1, max: l.MaxDepth}
	_, ok, f := scanPayload(&s)
	return ok && f == FaultNone && s.pos == len(raw)
}

// OfferKey appends the Key of an offer id, given as raw JSON with no white
// space around it, to dst. It refuses an id that Parse would not accept in a
// frame.
func OfferKey(raw, dst []byte) (key []byte, ok bool) {
	if !usableOfferID(raw) {
		return dst, false
	}
	s := scanner{buf: raw, depth: 1, max: maxDepth}
	if f := s.skip(); f != FaultNone || s.pos != len(raw) {
		return dst, false
	}
	return appendOfferKey(dst, raw), true
}
