package swarm

import (
	"encoding/binary"
	"time"

	"github.com/dchest/siphash"
)

// generations is the number of the ledger's maps. Each collects the entries
// of half an answer window, so the one that is cleared holds nothing younger
// than a whole one; nothing is ever scanned.
//
// A generation also ends when it holds its third of what the ledger may hold,
// so that under a flood the window becomes shorter for everybody, instead of
// nobody's offers being handed on until the flood is forgotten. What is then
// turned out early is older than the youngest two thirds; clients answer
// within seconds, if at all.
//
// Nor is a flood of one who offers to himself to make it short: from when a
// generation is half full, nothing more is entered for those sources
// (Signs.Source) that have an eighth of it unanswered.
const (
	generations = 3
	// sourcePart is what part of a generation's share one source may have, and
	// sourceLeast what it always may.
	sourcePart  = 8
	sourceLeast = 8
)

// ledger is the outstanding offers: what was handed to whom, and may still be
// answered. It is the only way back for an answer, from clients and nodes
// alike. Entries outlive the membership of the offerer, who may be back on a
// new connection when the answer comes, and the link to a node, which may be
// back likewise.
type ledger struct {
	window time.Duration
	max    int
	began  time.Duration // when the present generation did
	early  uint64        // entries turned out early
	// gen[0] is the present generation, gen[1] the one before.
	gen  [generations]map[sending]sent
	peak [generations]int // the most entries each has held
	// by is how many entries are of whose offers, sources being told apart as
	// far as they fall into different buckets.
	by [generations][sourceBuckets]int32
}

// sending names an offer in somebody's hands: SipHash-2-4, under a key
// of the table's own, of whose hands, info hash, offerer and offer id. It has no pointers,
// and nor has what is known of it: the garbage collector does not look into
// the ledger.
type sending uint64

// sent is what is known of it.
type sent struct {
	expires time.Duration
	digest  uint64 // of the payload, if it went to a node
	// ref is the node that relayed it, an Owner, and zero if it is a local member's; but
	// if it is toNode, where it is noted who got the others of its announce, or zero.
	ref     uint32
	count   uint8 // times it was handed on and not yet answered
	toNode  bool
	redrawn bool // a node had refused it before
	owed    bool // by the node it went to: see trust.go
}

// origin is the node that relayed it; zero: a local member.
func (s *sent) origin() Owner {
	if s.toNode {
		return 0
	}
	return Owner(s.ref)
}

func (l *ledger) init(window time.Duration, max int) {
	l.window, l.max = window, max
	for i := range l.gen {
		l.gen[i] = make(map[sending]sent)
	}
}

func (l *ledger) len() int {
	n := 0
	for i := range l.gen {
		n += len(l.gen[i])
	}
	return n
}

// turn begins the generation of now.
func (l *ledger) turn(now time.Duration) {
	half := l.window / (generations - 1)
	over := (now - l.began) / half // generations that time has ended
	if over <= 0 {
		return
	}
	for range min(over, generations) {
		l.rotate()
	}
	l.began += over * half
}

// rotate begins a generation in the place of the oldest.
func (l *ledger) rotate() {
	old, peak := l.gen[generations-1], l.peak[generations-1]
	// A map keeps its size when cleared. That is welcome, unless it comes
	// from a busier time.
	if peak > 1024 && peak/8 > l.peak[0] {
		old = make(map[sending]sent)
	} else {
		clear(old)
	}
	copy(l.gen[1:], l.gen[:generations-1])
	copy(l.peak[1:], l.peak[:generations-1])
	copy(l.by[1:], l.by[:generations-1])
	l.gen[0], l.peak[0] = old, 0
	clear(l.by[0][:])
}

// excess reports whether a source is to enter no more for now.
func (l *ledger) excess(source uint64) bool {
	share := l.max / generations
	return len(l.gen[0]) >= share/2 && int(l.by[0][bucketOf(source)]) >= max(sourceLeast, share/sourcePart)
}

// room makes room for an entry, and says whether there is any.
func (l *ledger) room(now time.Duration) bool {
	share := max(1, l.max/generations)
	for range generations {
		if len(l.gen[0]) < share && l.len() < l.max {
			break
		}
		l.early += uint64(len(l.gen[generations-1]))
		l.rotate()
		l.began = now
	}
	return l.len() < l.max
}

// put enters an offer handed on. The same one once more pays for one answer
// more. It says whether there was room, which there always is for a source that
// has not too many of them, if there may be any entries at all.
func (l *ledger) put(now time.Duration, k sending, s sent, source uint64) bool {
	s.count = 1
	s.expires = now + l.window
	before, again := l.gen[0][k]
	if again && before.origin() == s.origin() {
		s.count = before.count
		if s.count < 255 {
			s.count++
		}
	}
	if !again {
		if l.excess(source) {
			return false
		}
		if !l.room(now) {
			return false
		}
		l.by[0][bucketOf(source)]++
	}
	l.gen[0][k] = s
	l.peak[0] = max(l.peak[0], len(l.gen[0]))
	return true
}

// find returns the youngest entry that has not expired, and its generation.
func (l *ledger) find(now time.Duration, k sending) (sent, int) {
	for i := range l.gen {
		if s, ok := l.gen[i][k]; ok && now < s.expires {
			return s, i
		}
	}
	return sent{}, -1
}

// spend uses one handing on of an entry that find returned. source is whose
// offer it was, as far as that is known by now; 0 otherwise.
func (l *ledger) spend(k sending, s sent, gen int, source uint64) {
	if s.count--; s.count > 0 {
		l.gen[gen][k] = s
		return
	}
	delete(l.gen[gen], k)
	if by := &l.by[gen][bucketOf(source)]; source != 0 && *by > 0 {
		*by--
	}
}

// key names an offer of a peer in the hands of an owner. What comes before
// the offer's own key is always as long.
func (t *Table) key(to Owner, by *party, offerKey []byte) sending {
	const fixed = 4 + 2*idLen + 1
	b := append(t.scratch[:0], make([]byte, fixed)...)
	binary.LittleEndian.PutUint32(b, uint32(to))
	*(*[idLen]byte)(b[4:]) = by.in.b
	*(*[idLen]byte)(b[4+idLen:]) = by.key.b
	if by.in.odd {
		b[fixed-1] |= 1
	}
	if by.key.odd {
		b[fixed-1] |= 2
	}
	b = append(b, offerKey...)
	t.scratch = b
	return sending(siphash.Hash(t.sendKey[0], t.sendKey[1], b))
}

func (t *Table) digest(payload []byte) uint64 {
	return siphash.Hash(t.dgstKey[0], t.dgstKey[1], payload)
}
