package wsserver

import "math/bits"

// wheelSlots is how many ticks ahead the wheel tells apart; what is due later
// waits in the last slot and is sorted in again from there.
const wheelSlots = 512

// wheel is the timers of many connections, one each, known by small numbers.
// Time is counted in ticks. A timer is 12 bytes in a slice without pointers;
// setting one moves it between two lists. It is not safe for concurrent use.
type wheel struct {
	now   uint32
	heads [wheelSlots + 1]uint32 // number of the first timer, plus 1
	used  [wheelSlots/64 + 1]uint64
	nodes []timer
}

// timer is linked into the list of its slot. Its neighbours are numbers plus
// 1; of the first one, prev names the slot.
type timer struct {
	next, prev uint32
	at         uint32 // 0: not set
}

const (
	// inHead marks a prev that is a slot's number.
	inHead = 1 << 31
	// aside is the slot that is being gone through.
	aside = wheelSlots
)

// set makes timer i fire when the tick at has come, the next one at the
// earliest, and no more when it was set for before.
func (w *wheel) set(i, at uint32) {
	w.clear(i)
	if int32(at-w.now) < 1 {
		at = w.now + 1
	}
	slot := min(at, w.now+wheelSlots-1) % wheelSlots
	n := &w.nodes[i]
	n.at, n.prev, n.next = at, inHead|slot, w.heads[slot]
	if n.next != 0 {
		w.nodes[n.next-1].prev = i + 1
	}
	w.heads[slot] = i + 1
	w.used[slot/64] |= 1 << (slot % 64)
}

// clear stops timer i, and makes room for it if it is the first to have that
// number.
func (w *wheel) clear(i uint32) {
	for int(i) >= len(w.nodes) {
		w.nodes = append(w.nodes, timer{})
	}
	n := &w.nodes[i]
	if n.at == 0 {
		return
	}
	n.at = 0
	if n.next != 0 {
		w.nodes[n.next-1].prev = n.prev
	}
	if n.prev&inHead == 0 {
		w.nodes[n.prev-1].next = n.next
		return
	}
	slot := n.prev &^ inHead
	w.heads[slot] = n.next
	if n.next == 0 {
		w.used[slot/64] &^= 1 << (slot % 64)
	}
}

// at is when timer i is due; 0 if it is not set.
func (w *wheel) at(i uint32) uint32 { return w.nodes[i].at }

// advance moves to the tick now and fires what is due by then. A timer that
// fires is not set any more, and may be set again.
func (w *wheel) advance(now uint32, fire func(i uint32)) {
	if int32(now-w.now) <= 0 {
		return
	}
	from, turns := w.now, min(now-w.now, wheelSlots)
	w.now = now
	for t := range turns {
		slot := (from + 1 + t) % wheelSlots
		// What fires may set and clear timers, of this very slot too: so the
		// list is taken aside first.
		first := w.heads[slot]
		if first == 0 {
			continue
		}
		w.heads[slot] = 0
		w.used[slot/64] &^= 1 << (slot % 64)
		w.heads[aside] = first
		w.nodes[first-1].prev = inHead | aside
		for w.heads[aside] != 0 {
			i := w.heads[aside] - 1
			at := w.nodes[i].at
			w.clear(i)
			if int32(at-now) > 0 {
				w.set(i, at)
				continue
			}
			fire(i)
		}
	}
}

// wait is how many ticks there are until something may be due.
func (w *wheel) wait() (ticks uint32, ok bool) {
	for t := uint32(1); t <= wheelSlots; {
		slot := (w.now + t) % wheelSlots
		if word := w.used[slot/64] >> (slot % 64); word != 0 {
			return min(t+uint32(bits.TrailingZeros64(word)), wheelSlots), true
		}
		t += 64 - slot%64
	}
	return 0, false
}
