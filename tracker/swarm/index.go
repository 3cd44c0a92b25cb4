package swarm

// index finds places by the hash of what is there. It is a hash table with
// open addressing, cut into segments of at most maxSegment slots: the leading
// bits of a hash choose the segment, by a directory, and a segment that is
// full becomes larger, or at its greatest size two. So no step moves more
// than a segment, and the table is between about 0.7 and 0.8 full.
//
// A slot holds a place and 16 more bits of the hash. They keep a search from
// looking at what it does not search for, and tell where in the segment a
// place belongs, so that growing and deleting need not ask for hashes again.
// Deleting leaves no marks: it moves up what follows.
type index struct {
	dir   []*segment // 1<<depth; nil when empty
	depth uint8
	n     int
}

type segment struct {
	slots []uint32 // 1 + place; 0: empty
	tags  []uint16
	n     int
	depth uint8 // so many bits of the hash lead here
}

const (
	maxSegment = 1024
	maxDepth   = 16
)

// segmentSizes are sizes of which little is lost in the allocator's classes.
var segmentSizes = [...]int{16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 576, 672, 768, 864, maxSegment}

// fits reports whether a segment of so many slots takes n places.
func fits(n, slots int) bool { return 5*n <= 4*slots }

// sizeFor is the size of a segment of n places, with room for one more at
// least. Above maxSegment, where only a hash that does not spread leads, it
// grows by quarters.
func sizeFor(n int) int {
	for _, size := range segmentSizes {
		if fits(n+1, size) {
			return size
		}
	}
	return (n + 1) + (n+1)/2
}

func newSegment(n int, depth uint8) *segment {
	size := sizeFor(n)
	return &segment{slots: make([]uint32, size), tags: make([]uint16, size), depth: depth}
}

// tag is the 16 bits of a hash after those that lead to the segment.
func (g *segment) tag(h uint32) uint16 { return uint16(h << g.depth >> 16) }

// home is where the search for a tag begins.
func (g *segment) home(tag uint16) int { return int(uint(tag) * uint(len(g.slots)) >> 16) }

func (x *index) segment(h uint32) *segment {
	return x.dir[h>>(32-x.depth)]
}

// probe goes over the places that may be what is searched for.
type probe struct {
	seg   *segment
	at    int
	tag   uint16
	place uint32
}

func (x *index) probe(h uint32) probe {
	if x.dir == nil {
		return probe{}
	}
	g := x.segment(h)
	tag := g.tag(h)
	return probe{seg: g, tag: tag, at: g.home(tag)}
}

func (p *probe) next() bool {
	g := p.seg
	if g == nil {
		return false
	}
	i := p.at
	for {
		if i >= len(g.slots) {
			i = 0
		}
		v := g.slots[i]
		if v == 0 {
			return false
		}
		if g.tags[i] == p.tag {
			p.place, p.at = v-1, i+1
			return true
		}
		i++
	}
}

// find is the segment and slot of a place that is there.
func (x *index) find(h, place uint32) (*segment, int) {
	p := x.probe(h)
	for p.next() {
		if p.place == place {
			return p.seg, p.at - 1
		}
	}
	return nil, -1
}

// move says that what was at one place is at another.
func (x *index) move(h, from, to uint32) {
	g, i := x.find(h, from)
	g.slots[i] = to + 1
}

// swap says that what was at two places has changed them.
func (x *index) swap(h, place, h2, place2 uint32) {
	g, i := x.find(h, place)
	g2, i2 := x.find(h2, place2)
	g.slots[i], g2.slots[i2] = g2.slots[i2], g.slots[i]
}

// insert enters a place that is not there. hash tells hashes of others.
func (x *index) insert(h, place uint32, hash func(place uint32) uint32) {
	if x.dir == nil {
		x.dir = []*segment{newSegment(0, 0)}
	}
	g := x.segment(h)
	for !fits(g.n+1, len(g.slots)) {
		if len(g.slots) < maxSegment || !x.split(g, h, hash) {
			g.resize()
			break
		}
		g = x.segment(h)
	}
	g.put(g.tag(h), place)
	x.n++
}

func (g *segment) put(tag uint16, place uint32) {
	i := g.home(tag)
	for g.slots[i] != 0 {
		if i++; i == len(g.slots) {
			i = 0
		}
	}
	g.slots[i], g.tags[i] = place+1, tag
	g.n++
}

// resize gives a segment the size that suits it.
func (g *segment) resize() {
	old := *g
	*g = *newSegment(old.n, old.depth)
	for i, v := range old.slots {
		if v != 0 {
			g.put(old.tags[i], v-1)
		}
	}
}

// split makes two of the segment for h, unless the directory is much larger
// than so many places need: then hashes do not spread, and splitting would
// not help.
func (x *index) split(g *segment, h uint32, hash func(uint32) uint32) bool {
	if g.depth == x.depth {
		if x.depth == maxDepth || len(x.dir) > 8*(x.n/maxSegment+1) {
			return false
		}
		dir := make([]*segment, 2*len(x.dir))
		for i, g := range x.dir {
			dir[2*i], dir[2*i+1] = g, g
		}
		x.dir = dir
		x.depth++
	}
	depth := g.depth + 1
	bit := uint32(1) << (32 - depth)
	var half [2]*segment
	var count [2]int
	for _, v := range g.slots {
		if v != 0 {
			count[hash(v-1)&bit>>(32-depth)]++
		}
	}
	for i := range half {
		half[i] = newSegment(count[i], depth)
	}
	for _, v := range g.slots {
		if v != 0 {
			h := hash(v - 1)
			s := half[h&bit>>(32-depth)]
			s.put(s.tag(h), v-1)
		}
	}
	x.point(h, half[0], half[1])
	return true
}

// point lets the directory lead to two segments instead of the one, or two,
// that were there.
func (x *index) point(h uint32, low, high *segment) {
	depth := low.depth - 1 // of both together
	span := uint32(len(x.dir)) >> depth
	first := uint32(uint64(h) >> (32 - x.depth) &^ uint64(span-1))
	for i := range span {
		if i < span/2 {
			x.dir[first+i] = low
		} else {
			x.dir[first+i] = high
		}
	}
}

// remove forgets a place.
func (x *index) remove(h, place uint32) {
	g, i := x.find(h, place)
	n := len(g.slots)
	for j := i; ; {
		if j++; j == n {
			j = 0
		}
		if g.slots[j] == 0 {
			break
		}
		// What is at j may fill the hole at i unless it belongs between them.
		if home := g.home(g.tags[j]); (j-home+n)%n >= (j-i+n)%n {
			g.slots[i], g.tags[i] = g.slots[j], g.tags[j]
			i = j
		}
	}
	g.slots[i] = 0
	g.n--
	if x.n--; x.n == 0 {
		*x = index{}
		return
	}
	if 5*g.n < 2*n && n > segmentSizes[0] {
		x.shrink(h, g)
	}
}

// shrink makes one segment of two that are hardly used, or makes one smaller.
func (x *index) shrink(h uint32, g *segment) {
	if g.depth > 0 {
		bit := uint32(1) << (32 - g.depth)
		low, high := x.segment(h&^bit), x.segment(h|bit)
		if low.depth == high.depth && 5*(low.n+high.n) <= 2*maxSegment {
			one := newSegment(low.n+high.n, g.depth-1)
			for k, half := range [2]*segment{low, high} {
				for i, v := range half.slots {
					if v != 0 {
						one.put(uint16(k)<<15|half.tags[i]>>1, v-1)
					}
				}
			}
			x.replace(h, one)
			return
		}
	}
	g.resize()
}

// replace lets the directory lead to one segment in the place of two.
func (x *index) replace(h uint32, one *segment) {
	span := uint32(len(x.dir)) >> one.depth
	first := h >> (32 - x.depth) &^ (span - 1)
	for i := range span {
		x.dir[first+i] = one
	}
}
