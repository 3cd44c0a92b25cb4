package tlsstream

import (
	"errors"
	"time"
)

// patience is how long a handshake may wait for its client in all while others
// wait for a place: longer than an honest one's round trips. MaxPerGroup keeps one
// address from taking all places, but not eight, or an IPv6 network, and they
// would have them until the caller's deadline, which for those who wait has begun
// too.
const patience = time.Second

// errLate is a handshake's whose client took too long.
var errLate = errors.New("tlsstream: others waited for the place")

// await waits for the next record of h's client, or for the end of h.
func (s *Server) await(h *Handshake) {
	s.stall(h)
	for <-h.wake; !h.ready(); <-h.wake {
	}
	s.resume(h)
}

func (h *Handshake) ready() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.aborted || h.late || recordAt(h.in)
}

// stall notes that h waits for its client. What it has waited before counts.
func (s *Server) stall(h *Handshake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.stalled != nil || h.isLate() {
		return
	}
	h.stalledAt = time.Now().Add(-h.waited)
	after := s.stalled.Back()
	for after != nil && after.Value.(*Handshake).stalledAt.After(h.stalledAt) {
		after = after.Prev()
	}
	if after == nil {
		h.stalled = s.stalled.PushFront(h)
	} else {
		h.stalled = s.stalled.InsertAfter(h, after)
	}
	s.pressLocked()
}

// resume notes that h has what it has waited for. From now on it waits for this
// server, if for anything.
func (s *Server) resume(h *Handshake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.stalled != nil {
		h.waited = time.Since(h.stalledAt)
		s.unstallLocked(h)
	}
}

// unstallLocked takes h from among those that wait. Caller holds s.mu.
func (s *Server) unstallLocked(h *Handshake) {
	if h.stalled != nil {
		s.stalled.Remove(h.stalled)
		h.stalled = nil
	}
}

// pressLocked ends those whose time is over, the oldest first, one for each
// that could start in its place. If there are too few, it looks again when the
// time of the next one is over. Caller holds s.mu.
func (s *Server) pressLocked() {
	if s.again != nil || s.queue.turns.Len() == 0 {
		return
	}
	for want := s.queue.wanting() - s.late; want > 0; want-- {
		first := s.stalled.Front()
		if first == nil {
			return
		}
		h := first.Value.(*Handshake)
		if left := patience - time.Since(h.stalledAt); left > 0 {
			s.again = time.AfterFunc(left, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.again = nil
				s.pressLocked()
			})
			return
		}
		s.unstallLocked(h)
		s.late++
		h.hurry()
	}
}

// hurry ends h the next time that it waits for its client.
func (h *Handshake) hurry() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.late = true
	h.wakeLocked()
}

func (h *Handshake) isLate() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.late
}
