package tlsstream

import (
	"errors"
	"time"
)

// patience is how long a handshake may take, from when it first waits for its
// client, while others wait for a place: longer than an honest one's round
// trips. MaxPerGroup keeps one address from taking all places, but not eight,
// or an IPv6 network, and they would have them until the caller's deadline,
// which for those who wait has begun too.
const patience = time.Second

// errLate is a handshake's whose client took too long.
var errLate = errors.New("tlsstream: others waited for the place")

// stall notes that h waits for its client. However often it does, only the
// first time counts: a client that sends a byte now and then gets no more time.
func (s *Server) stall(h *Handshake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.stalled == nil && !h.isLate() {
		h.stalledAt = time.Now()
		h.stalled = s.stalled.PushBack(h)
		s.pressLocked()
	}
}

// unstallLocked forgets that h ever waited. Caller holds s.mu.
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
