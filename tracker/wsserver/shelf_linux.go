package wsserver

// shelf is a loop's own stock of buffers, in front of the pools that all
// share: the buffer used last is the one in the processor's cache.
type shelf struct {
	pool *buffers
	free [numClasses][]*buffer
	outs []*outgoing
}

// shelfBytes bounds what a shelf keeps of each class.
const shelfBytes = 1 << 20

// get returns an empty buffer with room for n bytes.
func (s *shelf) get(n int) *buffer {
	size := smallestBuffer
	for c := range numClasses {
		if n <= size {
			if list := s.free[c]; len(list) > 0 {
				b := list[len(list)-1]
				s.free[c] = list[:len(list)-1]
				return b
			}
			break
		}
		size <<= classStep
	}
	return s.pool.get(n)
}

// put takes b back; nil is allowed.
func (s *shelf) put(b *buffer) {
	if b == nil {
		return
	}
	size := smallestBuffer
	for c := range numClasses {
		if cap(b.b) == size && len(s.free[c]) < shelfBytes/size {
			b.b = b.b[:0]
			s.free[c] = append(s.free[c], b)
			return
		}
		size <<= classStep
	}
	s.pool.put(b)
}

// outgoing takes one from the shelf.
func (s *shelf) outgoing() *outgoing {
	if n := len(s.outs); n > 0 {
		o := s.outs[n-1]
		s.outs = s.outs[:n-1]
		return o
	}
	return new(outgoing)
}

// back returns what outgoing gave.
func (s *shelf) back(o *outgoing) {
	s.put(o.buf)
	if len(s.outs) < shelfBytes/smallestBuffer {
		*o = outgoing{}
		s.outs = append(s.outs, o)
	}
}
