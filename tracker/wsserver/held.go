package wsserver

import (
	"sync"
	"sync/atomic"
)

// What has arrived in part is memory that somebody else decides for how long it
// is held: a message that never ends, a request without its last line. Each is
// bounded in size and in time, but a few addresses have thousands of
// connections. So there is a bound on all of it, and who meets it makes the
// oldest give way: what honest clients send arrives within moments, so the
// oldest are of those who hold on to it. Each loop has an equal part of the
// bound to itself, and so have the connections without a loop: were it one for
// all, who holds on to it in one place would have the others send away clients
// that are none of those.

// holding is one connection's part of it. The zero holding is of nothing.
type holding struct {
	before, after *holding
	owner         holder
	bytes         int
}

// holder is who can be made to give up what has arrived of it in part.
type holder interface{ yield() }

// holdings are all holdings of one owner of the list, the oldest first.
type holdings struct {
	oldest, newest *holding
	bytes, limit   int64
}

// over reports whether the oldest has to give way.
func (l *holdings) over() bool { return l.bytes > l.limit && l.oldest != nil }

// hold says that h is so many bytes by now.
func (l *holdings) hold(h *holding, by holder, bytes int) {
	if h.owner == nil {
		h.owner, h.before = by, l.newest
		if l.newest != nil {
			l.newest.after = h
		} else {
			l.oldest = h
		}
		l.newest = h
	}
	l.bytes += int64(bytes - h.bytes)
	h.bytes = bytes
}

// free says that h is of nothing any more.
func (l *holdings) free(h *holding) {
	if h.owner == nil {
		return
	}
	if h.before != nil {
		h.before.after = h.after
	} else {
		l.oldest = h.after
	}
	if h.after != nil {
		h.after.before = h.before
	} else {
		l.newest = h.before
	}
	l.bytes -= int64(h.bytes)
	*h = holding{}
}

// incoming is the holdings of connections that have a goroutine each. They are
// part of the sum in total, which loops add to as well.
type incoming struct {
	total *atomic.Int64

	mu   sync.Mutex
	list holdings
}

// bound sets the limit of what is held.
func (in *incoming) bound(limit int64) {
	in.mu.Lock()
	was := in.list.bytes
	in.list.limit = limit
	in.press(was)
}

// hold is holdings.hold; where that makes too much, the oldest yield.
func (in *incoming) hold(h *holding, by holder, bytes int) {
	in.mu.Lock()
	was := in.list.bytes
	in.list.hold(h, by, bytes)
	in.press(was)
}

// press makes the oldest yield as long as too much is held, of which it was so
// many bytes before. Caller holds mu, which press gives up.
func (in *incoming) press(was int64) {
	var yield []holder
	for in.list.over() {
		// Its goroutine frees it in a moment.
		yield = append(yield, in.list.oldest.owner)
		in.list.free(in.list.oldest)
	}
	in.total.Add(in.list.bytes - was)
	in.mu.Unlock()
	for _, by := range yield {
		by.yield()
	}
}

func (in *incoming) free(h *holding) {
	in.mu.Lock()
	defer in.mu.Unlock()
	was := in.list.bytes
	in.list.free(h)
	in.total.Add(in.list.bytes - was)
}
