package swarm

// The offers of one announce go to distinct peers, also those that a node gives
// back and that are drawn once more. So of an announce some of whose offers went
// to nodes it is noted who got the others, until a refusal may come: in a ring of
// marks, where each announce has as many places as it had offers, and a ledger
// entry says where (sent.drawn). When the ring comes around, which takes a
// thousand announces at least, the oldest are forgotten. What is left to an offer of
// which it is not known who got the others are nodes: so it is with parked offers too,
// which had found nobody here.

const drawnLen = 1 << 14 // places of the ring, 64 KiB; begun when nodes are there

// drawn is the ring. Places count on from drawnLen, and wrap; 0 is nowhere.
type drawn struct {
	marks []uint32
	next  uint32
}

// begin notes an announce of n offers, and returns where.
func (d *drawn) begin(n int) (at uint32) {
	if d.marks == nil {
		d.marks, d.next = make([]uint32, drawnLen), drawnLen
	}
	if d.next%drawnLen+uint32(n)+1 > drawnLen {
		d.next += drawnLen - d.next%drawnLen // no announce goes around the end
	}
	d.next = max(1, d.next) // 0 is nowhere
	at = d.next
	d.next += uint32(n) + 1
	i := at % drawnLen
	clear(d.marks[i : i+uint32(n)+1])
	d.marks[i] = uint32(n)
	return at
}

// of is the marks of an announce; nil if it is not known any more.
func (d *drawn) of(at uint32) []uint32 {
	if at == 0 || d.next-at > drawnLen {
		return nil
	}
	i := at % drawnLen
	n := d.marks[i]
	return d.marks[i+1 : i+1+n]
}

// A mark is even for a local member, by the hash of its id, and odd for a node.
func (t *Table) markOf(m *member) uint32 { return max(2, t.hash.sum(&m.id, m.has(odd))&^1) }

func nodeMark(o Owner) uint32 { return uint32(o)<<1 | 1 }

// change puts a mark in the place of another, once; 0 is a free place.
func change(marks []uint32, from, to uint32) {
	for i, k := range marks {
		if k == from {
			marks[i] = to
			return
		}
	}
}

func count(marks []uint32, mark uint32) (n int) {
	for _, k := range marks {
		if k == mark {
			n++
		}
	}
	return n
}

// locals is how many of the marks are of local members.
func locals(marks []uint32) (n int) {
	for _, k := range marks {
		if k != 0 && k&1 == 0 {
			n++
		}
	}
	return n
}
