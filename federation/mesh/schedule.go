package mesh

import (
	"math"
	"time"
)

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// task is something to do at a time. Its owner embeds it, so that there is
// one per purpose and moving it cannot leave a second one behind.
type task struct {
	due time.Duration
	seq uint64 // ties are broken by order of scheduling: determinism
	idx int    // place in the heap plus one; 0: not scheduled
	run func()
}

// tasks is a heap by due time.
type tasks struct {
	heap []*task
	seq  uint64
}

// at schedules or moves t.
func (m *Mesh) at(t *task, due time.Duration) {
	q := &m.tasks
	q.seq++
	t.due, t.seq = due, q.seq
	if t.idx == 0 {
		q.heap = append(q.heap, t)
		t.idx = len(q.heap)
	}
	q.fix(t.idx - 1)
}

// sooner schedules t for due unless it is due earlier already.
func (m *Mesh) sooner(t *task, due time.Duration) {
	if t.idx == 0 || due < t.due {
		m.at(t, due)
	}
}

func (m *Mesh) cancel(t *task) {
	if t.idx != 0 {
		m.tasks.remove(t.idx - 1)
	}
}

func (q *tasks) next() time.Duration {
	if len(q.heap) == 0 {
		return never
	}
	return q.heap[0].due
}

// due takes out the first task due at now.
func (q *tasks) due(now time.Duration) *task {
	if len(q.heap) == 0 || q.heap[0].due > now {
		return nil
	}
	t := q.heap[0]
	q.remove(0)
	return t
}

func (q *tasks) remove(i int) {
	last := len(q.heap) - 1
	t := q.heap[i]
	q.swap(i, last)
	q.heap[last] = nil
	q.heap = q.heap[:last]
	t.idx = 0
	if i < last {
		q.fix(i)
	}
}

func (q *tasks) less(a, b *task) bool {
	return a.due < b.due || a.due == b.due && a.seq < b.seq
}

func (q *tasks) swap(i, j int) {
	q.heap[i], q.heap[j] = q.heap[j], q.heap[i]
	q.heap[i].idx, q.heap[j].idx = i+1, j+1
}

func (q *tasks) fix(i int) {
	for i > 0 {
		up := (i - 1) / 2
		if !q.less(q.heap[i], q.heap[up]) {
			break
		}
		q.swap(i, up)
		i = up
	}
	for {
		c := 2*i + 1
		if c >= len(q.heap) {
			return
		}
		if c+1 < len(q.heap) && q.less(q.heap[c+1], q.heap[c]) {
			c++
		}
		if !q.less(q.heap[c], q.heap[i]) {
			return
		}
		q.swap(i, c)
		i = c
	}
}

// bucket is a token bucket.
type bucket struct {
	rate, burst, tokens float64
	last                time.Duration
}

func newBucket(rate, burst float64, now time.Duration) bucket {
	return bucket{rate: rate, burst: burst, tokens: burst, last: now}
}

func (b *bucket) refill(now time.Duration) {
	if now > b.last {
		b.tokens = min(b.burst, b.tokens+b.rate*(now-b.last).Seconds())
		b.last = now
	}
}

// take spends n tokens if at least one is there; it may go into debt, so
// that an action which costs more than one is not starved by cheaper ones.
func (b *bucket) take(now time.Duration, n float64) bool {
	b.refill(now)
	if b.tokens < 1 {
		return false
	}
	b.tokens -= n
	return true
}

// when is the time at which n tokens will be there.
func (b *bucket) when(now time.Duration, n float64) time.Duration {
	b.refill(now)
	if b.tokens >= n {
		return now
	}
	// Rounded up, or the caller would come back a moment too early for ever.
	return now + time.Duration((n-b.tokens)/b.rate*1e9) + 1
}

// backoffSteps are the delays after the first, second, ... failure.
var backoffSteps = [...]time.Duration{1e9, 2e9, 5e9, 10e9, 20e9, 40e9, 60e9, 120e9, 300e9, 600e9}

// minuteStep is the place of one minute in backoffSteps.
const minuteStep = 6

// backoff is the delay after the fails-th failure in a row, ±25 %.
func (m *Mesh) backoff(fails int) time.Duration {
	last := len(backoffSteps) - 1
	if m.unproven && len(m.swarms) > 0 {
		// A leaf is on its own until it reaches somebody, and its clients wait.
		last = minuteStep
	}
	return m.jitter(backoffSteps[min(max(fails-1, 0), last)], 0.25)
}
