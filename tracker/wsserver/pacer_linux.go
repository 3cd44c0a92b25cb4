package wsserver

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// gather is how long the events of a busy loop are let gather before the
	// next iteration, counted from the beginning of the last one.
	gather = 2 * time.Millisecond
	// gatherFrom is how many events have to gather for that to pay.
	gatherFrom = 4
	// leastPause is what is not worth a system call.
	leastPause = 50 * time.Microsecond
	// maxDoubt bounds for how many iterations waiting is not tried again.
	maxDoubt = 256
)

// pacer makes a busy loop go round less often: each time costs a wait, and a
// write for each connection however little there is to write. The first events
// after a quiet time are served at once, and so are those of a few clients
// that each wait for an answer before they go on: waiting is tried when there
// seem to be enough events, and when too few have gathered, not again for some
// iterations, each time twice as many.
type pacer struct {
	begun  time.Time // when this iteration began
	busy   bool      // waiting seems to pay
	paused bool      // this iteration was waited for
	doubt  int       // iterations not to wait after the next failure
	skip   int       // iterations not to wait from now on
	// worked is how long all iterations took until they came to wait or pause.
	worked time.Duration
}

// begin notes that an iteration begins at now with n events.
func (p *pacer) begin(now time.Time, n int) {
	passed := now.Sub(p.begun)
	p.begun = now
	switch {
	case p.paused && n < gatherFrom:
		p.busy = false
		p.doubt = min(max(2*p.doubt, gatherFrom), maxDoubt)
		p.skip = p.doubt
	case p.paused:
		p.busy, p.doubt = true, 0
	case p.skip > 0:
		p.skip--
	default:
		// As many as there would be in that time, if they came evenly.
		p.busy = time.Duration(n)*gather >= gatherFrom*min(passed, gather) && n > 0
	}
	p.paused = false
}

// left ends an iteration at now: it is how long events are to gather from then
// on, if at all.
func (p *pacer) left(now time.Time) time.Duration {
	took := now.Sub(p.begun)
	p.worked += took
	left := gather - took
	if !p.busy || left < leastPause {
		return 0
	}
	p.paused = true
	return left
}

// pause lets events gather.
func (p *pacer) pause() {
	if left := p.left(time.Now()); left > 0 {
		t := unix.NsecToTimespec(int64(left))
		unix.Nanosleep(&t, nil)
	}
}
