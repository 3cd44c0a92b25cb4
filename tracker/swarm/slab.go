package swarm

// slab is an array of rows that grows and shrinks at its end, in chunks, so
// that growing copies no more than one chunk, and what is not used is given
// back. Rows have no holes: whoever removes one moves the last into its place
// and tells whoever refers to that. So a table has no free lists, and after
// any churn is as large as what it holds.
//
// A slab whose T has no pointers is nothing for the garbage collector to look
// into. Only the last chunk is ever less than full size; it doubles, and
// halves when a quarter is left, so that a small table stays small. A row's
// place in memory is good until the next push or pop.
type slab[T any] struct {
	chunks [][]T
	rows   uint32
	width  uint32 // elements of a row
	shift  uint8  // 1<<shift rows in a chunk
}

// chunkBytes is about how large a chunk is.
const chunkBytes = 16 << 10

// newSlab makes a slab of rows of so many elements of so many bytes.
func newSlab[T any](width, size int) slab[T] {
	s := slab[T]{width: uint32(width)}
	for width*size<<(s.shift+1) <= chunkBytes {
		s.shift++
	}
	return s
}

// row is the elements of row i.
func (s *slab[T]) row(i uint32) []T {
	at := i & (1<<s.shift - 1) * s.width
	return s.chunks[i>>s.shift][at : at+s.width : at+s.width]
}

// at is the only element of row i.
func (s *slab[T]) at(i uint32) *T {
	return &s.chunks[i>>s.shift][i&(1<<s.shift-1)]
}

// push adds a row, whose content is undefined, and returns its number.
func (s *slab[T]) push() uint32 {
	i := s.rows
	s.rows++
	c, r := i>>s.shift, i&(1<<s.shift-1)
	switch {
	case r == 0:
		s.chunks = append(s.chunks, make([]T, s.width))
	case r*s.width == uint32(len(s.chunks[c])):
		s.resize(c, 2*r)
	}
	return i
}

// pop removes the last row.
func (s *slab[T]) pop() {
	s.rows--
	c, r := s.rows>>s.shift, s.rows&(1<<s.shift-1)
	switch {
	case r == 0:
		s.chunks[c] = nil
		s.chunks = s.chunks[:c]
		if c == 0 {
			s.chunks = nil
		}
	case 4*r*s.width <= uint32(len(s.chunks[c])):
		s.resize(c, 2*r)
	default: // keep nothing alive
		clear(s.chunks[c][r*s.width : (r+1)*s.width])
	}
}

// resize gives a chunk so many rows.
func (s *slab[T]) resize(c, rows uint32) {
	chunk := make([]T, rows*s.width)
	copy(chunk, s.chunks[c])
	s.chunks[c] = chunk
}
