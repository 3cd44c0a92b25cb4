package wsserver

import "sync"

// buffer is a pooled slice. Its length is what is in it.
type buffer struct {
	b []byte
}

// classes are the capacities in which buffers are pooled; what has grown
// beyond the last is left to the collector.
const (
	smallestBuffer = 4 << 10
	classStep      = 2 // shift from one class to the next
	numClasses     = 4 // 4, 16, 64 and 256 KiB
	largestBuffer  = smallestBuffer << (classStep * (numClasses - 1))
)

// buffers hands out buffers. The zero value is ready.
type buffers struct {
	pools [numClasses]sync.Pool
	// What compresses and decompresses is too large for a connection's own.
	deflaters, inflaters sync.Pool
}

func (p *buffers) deflater() *deflater {
	if d, ok := p.deflaters.Get().(*deflater); ok {
		return d
	}
	return newDeflater()
}

func (p *buffers) inflater() *inflater {
	if f, ok := p.inflaters.Get().(*inflater); ok {
		return f
	}
	return newInflater()
}

// get returns an empty buffer with room for n bytes.
func (p *buffers) get(n int) *buffer {
	size := smallestBuffer
	for c := range numClasses {
		if n <= size {
			if b, ok := p.pools[c].Get().(*buffer); ok {
				return b
			}
			return &buffer{b: make([]byte, 0, size)}
		}
		size <<= classStep
	}
	return &buffer{b: make([]byte, 0, n)}
}

// put takes b back; nil is allowed. A buffer that append has grown goes where
// its capacity now belongs.
func (p *buffers) put(b *buffer) {
	if b == nil || cap(b.b) > largestBuffer {
		return
	}
	c, size := 0, smallestBuffer
	for c+1 < numClasses && cap(b.b) >= size<<classStep {
		c++
		size <<= classStep
	}
	if cap(b.b) < size {
		return
	}
	b.b = b.b[:0]
	p.pools[c].Put(b)
}

// grow returns a buffer with the contents of b and room for more: twice what
// it holds, so that copying stays linear. b must not be used any more.
func (p *buffers) grow(b *buffer) *buffer {
	bigger := p.get(2*cap(b.b) + 1)
	bigger.b = append(bigger.b, b.b...)
	p.put(b)
	return bigger
}
