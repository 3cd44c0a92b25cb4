package tracker

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draeder/peerservers/tracker/swarm"
)

// Tables know sessions by number, so that a million memberships hold no
// pointers: see swarm.Owner. A number of 32 bits is made of
//
//   - one bit that tells nodes from clients,
//   - for a client, 22 bits that say where its session is entered, and 9 bits
//     for a generation, which changes when the entry is used again.
//
// A number must not mean somebody else while a table remembers its former
// owner: in the ledger for an answer window, and in a membership, should one
// ever be left behind, until it expires. So it comes again after a rest only.
// An entry can be used again at once, with its next generation; what has to
// wait is half a round of generations: two halves lie between a number and its
// return, so one of them lies there whole. A flood of connections that come
// and go therefore takes one entry for each 256 of them in a rest, of 14
// bytes: a million connections in ten minutes, 4,000 entries.
const (
	slotBits    = 22
	slots       = 1 << slotBits // sessions at a time
	halfRound   = 1 << 8
	generations = 2 * halfRound
	nodeBit     = 1 << 31

	// leastRest is how long a number rests at least.
	leastRest = 10 * time.Minute
)

// owners tells sessions by their numbers. Whoever asks takes no lock.
type owners struct {
	rest time.Duration
	seed maphash.Seed                  // of Source
	dir  atomic.Pointer[[]*ownerChunk] // replaced when it grows

	mu      sync.Mutex
	used    uint32 // entries that were ever in use, the first one never
	free    fifo   // entries that can be used again
	resting fifo   // those that can when their half round is old enough
}

// fifo is entries in the order of their coming.
type fifo struct {
	list []uint32
	head int
}

func (f *fifo) len() int { return len(f.list) - f.head }

func (f *fifo) push(slot uint32) {
	if f.head > len(f.list)/2 {
		f.list = append(f.list[:0], f.list[f.head:]...)
		f.head = 0
	}
	f.list = append(f.list, slot)
}

func (f *fifo) pop() uint32 {
	f.head++
	return f.list[f.head-1]
}

const chunkBits = 10

type ownerChunk struct {
	session    [1 << chunkBits]atomic.Pointer[Session]
	generation [1 << chunkBits]uint16
	since      [1 << chunkBits]uint32 // when the half round began, in seconds
}

func (o *owners) init(rest time.Duration) {
	o.rest, o.seed = rest, maphash.MakeSeed()
	o.used = 1
	o.dir.Store(&[]*ownerChunk{new(ownerChunk)})
}

// enter gives a session its number: 0, which is nobody's, if there are too
// many sessions.
func (o *owners) enter(s *Session, now time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var slot uint32
	switch seconds := uint32(now / time.Second); {
	case o.resting.len() > 0 && o.rested(o.resting.list[o.resting.head], now):
		slot = o.resting.pop()
		o.next(slot)
		o.chunk(slot).since[slot&(1<<chunkBits-1)] = seconds
	case o.free.len() > 0:
		slot = o.free.pop()
		o.next(slot)
	case o.used < slots:
		slot = o.used
		o.used++
		o.grow(slot)
		o.chunk(slot).since[slot&(1<<chunkBits-1)] = seconds
	default:
		return
	}
	c, i := o.chunk(slot), slot&(1<<chunkBits-1)
	s.owner = swarm.Owner(uint32(c.generation[i])<<slotBits | slot)
	c.session[i].Store(s)
}

// leave ends a session's number.
func (o *owners) leave(s *Session) {
	if s.owner == 0 {
		return
	}
	slot := uint32(s.owner) % slots
	o.mu.Lock()
	defer o.mu.Unlock()
	o.chunk(slot).session[slot&(1<<chunkBits-1)].Store(nil)
	if (o.chunk(slot).generation[slot&(1<<chunkBits-1)]+1)%halfRound == 0 {
		o.resting.push(slot)
	} else {
		o.free.push(slot)
	}
}

// rested reports whether a half round of an entry began long enough ago for
// the next one. Caller holds o.mu.
func (o *owners) rested(slot uint32, now time.Duration) bool {
	began := time.Duration(o.chunk(slot).since[slot&(1<<chunkBits-1)]) * time.Second
	return now-began >= o.rest+time.Second
}

// next begins the next generation of an entry. Caller holds o.mu.
func (o *owners) next(slot uint32) {
	g := &o.chunk(slot).generation[slot&(1<<chunkBits-1)]
	*g = (*g + 1) % generations
}

// grow makes room for an entry. Caller holds o.mu.
func (o *owners) grow(slot uint32) {
	if dir := *o.dir.Load(); int(slot>>chunkBits) == len(dir) {
		dir = append(dir[:len(dir):len(dir)], new(ownerChunk))
		o.dir.Store(&dir)
	}
}

func (o *owners) chunk(slot uint32) *ownerChunk { return (*o.dir.Load())[slot>>chunkBits] }

// session is the one with this number, or nil if it has closed.
func (o *owners) session(n swarm.Owner) *Session {
	slot := uint32(n) % slots
	dir := *o.dir.Load()
	if n&nodeBit != 0 || int(slot>>chunkBits) >= len(dir) {
		return nil
	}
	s := dir[slot>>chunkBits].session[slot&(1<<chunkBits-1)].Load()
	if s == nil || s.owner != n {
		return nil
	}
	return s
}

// never is long before anything.
const never = time.Duration(-1 << 62)

// LastSeen implements swarm.Signs.
func (o *owners) LastSeen(n swarm.Owner) time.Duration {
	if s := o.session(n); s != nil {
		return time.Duration(s.seen.Load())
	}
	return never
}

// LastPing implements swarm.Signs.
func (o *owners) LastPing(n swarm.Owner) time.Duration {
	if s := o.session(n); s != nil {
		if n := s.ping.Load(); n > 0 {
			return time.Duration(n-1) * pingTick
		}
	}
	return never
}

// Source implements swarm.Signs: the address prefix, which one client can have many
// addresses of, unless the address says nothing of who is there.
func (o *owners) Source(n swarm.Owner) uint64 {
	if s := o.session(n); s != nil {
		return o.sourceOf(s)
	}
	return 0
}

func (o *owners) sourceOf(s *Session) uint64 {
	a, prefix := netip.AddrFrom16(s.who.addr).Unmap(), s.who.addr[:48/8]
	if a.Is4() {
		prefix = s.who.addr[:12+24/8]
	}
	if s.who.kind == addrNone || a.IsPrivate() || !a.IsGlobalUnicast() {
		return 0
	}
	return maphash.Bytes(o.seed, prefix) | 1
}
