package tracker

import (
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
// wait is half a round of generations. A flood of connections that come and
// go therefore takes one entry for each 256 of them in a rest, of 14 bytes: a
// million connections in ten minutes, 4,000 entries. They are all found in
// turn, so that generations are used up evenly.
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
	dir  atomic.Pointer[[]*ownerChunk] // replaced when it grows

	mu   sync.Mutex
	used uint32 // entries that were ever in use, the first one never
	free []uint32
	head int // free[head:] are free, in order of use
}

const chunkBits = 10

type ownerChunk struct {
	session    [1 << chunkBits]atomic.Pointer[Session]
	generation [1 << chunkBits]uint16
	since      [1 << chunkBits]uint32 // when the half round began, in seconds
}

func (o *owners) init(rest time.Duration) {
	o.rest = rest
	o.used = 1
	o.dir.Store(&[]*ownerChunk{new(ownerChunk)})
}

// enter gives a session its number: 0, which is nobody's, if there are too
// many sessions.
func (o *owners) enter(s *Session, now time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	slot, ok := o.rested(now)
	if !ok {
		if o.used == slots {
			return
		}
		slot = o.used
		o.used++
		o.grow(slot)
		o.chunk(slot).since[slot&(1<<chunkBits-1)] = uint32(now / time.Second)
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
	if o.head > len(o.free)/2 {
		o.free = append(o.free[:0], o.free[o.head:]...)
		o.head = 0
	}
	o.free = append(o.free, slot)
}

// rested takes a free entry into its next generation. Of entries that have to
// rest it looks at a few, which go to the end. Caller holds o.mu.
func (o *owners) rested(now time.Duration) (slot uint32, ok bool) {
	const tries = 4
	for range min(tries, len(o.free)-o.head) {
		slot = o.free[o.head]
		o.head++
		c, i := o.chunk(slot), slot&(1<<chunkBits-1)
		next := (c.generation[i] + 1) % generations
		if next%halfRound == 0 {
			if now-time.Duration(c.since[i])*time.Second < o.rest+time.Second {
				o.free = append(o.free, slot)
				continue
			}
			c.since[i] = uint32(now / time.Second)
		}
		c.generation[i] = next
		return slot, true
	}
	return 0, false
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
		return time.Duration(s.ping.Load())
	}
	return never
}
