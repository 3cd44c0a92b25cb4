package wsserver

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// gather is how long the events of a busy loop are let gather before the
	// next iteration, counted from the beginning of the last one.
	gather = 2 * time.Millisecond
	// gatherFrom is how many events there must have been in the time of
	// gather for a loop to be busy: waiting costs a system call as well.
	gatherFrom = 4
)

// pacer makes a busy loop go round less often: each time costs a wait and a
// write for each connection, however little there is to write. The first
// events after a quiet time are served at once.
type pacer struct {
	begun time.Time // of this iteration
	busy  bool
}

// begin notes that an iteration begins with n events.
func (p *pacer) begin(n int) {
	now := time.Now()
	passed := now.Sub(p.begun)
	p.begun = now
	p.busy = time.Duration(n)*gather >= gatherFrom*passed
}

// pause lets events gather.
func (p *pacer) pause() {
	if !p.busy {
		return
	}
	left := gather - time.Since(p.begun)
	if left < 50*time.Microsecond {
		return
	}
	t := unix.NsecToTimespec(int64(left))
	unix.Nanosleep(&t, nil)
}
