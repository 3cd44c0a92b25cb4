package tlsstream

import (
	"container/list"
	"crypto/tls"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// Config is what a Server is made of. Zero fields take the value that their
// comment gives in parentheses.
type Config struct {
	// TLS is asked for each handshake's configuration. It should return the
	// same one each time, which may be made to change by its callbacks:
	// another one has other session ticket keys, and nobody resumes.
	TLS func() *tls.Config
	// OwnRecords makes this package encrypt the records of TLS 1.3 itself once
	// crypto/tls has made the handshake.
	OwnRecords bool
	// MaxHandshakes is how many may be under way (1024): each costs a
	// goroutine and some 20 KiB.
	MaxHandshakes int
	// MaxPerGroup is how many of these one group of clients may have (an
	// eighth of MaxHandshakes): a client that begins handshakes and does not
	// go on holds each place until others of other groups want it (a second at
	// least), or until the caller's deadline.
	MaxPerGroup int
	// Computing is how many handshakes compute at once, instead of waiting for
	// their client (GOMAXPROCS).
	Computing int
}

// Server makes the handshakes of one server. It is safe for concurrent use.
type Server struct {
	cfg     Config
	compute chan struct{} // a token for each handshake that computes
	records *records

	mu     sync.Mutex
	queue  queue
	counts Stats
	// stalled is handshakes that wait for their clients, those that have waited
	// longest first; late is how many are to end for others, and again looks for
	// more.
	stalled list.List
	late    int
	again   *time.Timer
	// wrapped is made of base, the last that Config.TLS has returned.
	base, wrapped *tls.Config
}

// Stats says how handshakes ended since the start, and how many there are.
type Stats struct {
	UnderWay, Waiting int
	// Done became streams: Resumed of them by a session ticket. Failed did
	// not, whatever the reason: Late of them as others waited for their places.
	Done, Resumed, Failed, Late int64
	// OwnRecords is how many streams have the record layer of this package,
	// Fallbacks how many should have and have crypto/tls's: TLS 1.2, or any
	// doubt.
	OwnRecords, Fallbacks int64
}

// NewServer returns a Server of which cfg.TLS must be set.
func NewServer(cfg Config) *Server {
	if cfg.MaxHandshakes <= 0 {
		cfg.MaxHandshakes = 1024
	}
	if cfg.MaxPerGroup <= 0 {
		cfg.MaxPerGroup = max(1, cfg.MaxHandshakes/8)
	}
	if cfg.Computing <= 0 {
		cfg.Computing = runtime.GOMAXPROCS(0)
	}
	s := &Server{cfg: cfg, compute: make(chan struct{}, cfg.Computing), records: newRecords()}
	s.queue.init(cfg.MaxHandshakes, cfg.MaxPerGroup)
	return s
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.UnderWay, c.Waiting = s.queue.active, s.queue.waiting
	return c
}

// Begin returns a handshake that has yet to be fed. group is what counts as one
// client for MaxPerGroup: the address, or an IPv6 client's /64; the zero Prefix
// is for clients that cannot be told apart (those behind a trusted proxy, and
// loopback), who share all places.
//
// notify is called when Output or Done may have something new, from other
// goroutines and without a lock. It must not block. The last call may come
// after Done has said so, or after Abort.
func (s *Server) Begin(group netip.Prefix, notify func()) *Handshake {
	return &Handshake{s: s, group: group, notify: notify}
}

// enqueue starts h as soon as there is a place for it.
func (s *Server) enqueue(h *Handshake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.push(h)
	s.startLocked()
}

// dequeue takes h out of the queue and reports whether it was in it still.
func (s *Server) dequeue(h *Handshake) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.remove(h)
}

// release gives the place of h to the next one.
func (s *Server) release(h *Handshake, count func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count(&s.counts)
	s.unstallLocked(h)
	if h.isLate() {
		s.late--
	}
	s.queue.release(h.group)
	s.startLocked()
}

func (s *Server) startLocked() {
	for h := s.queue.pop(); h != nil; h = s.queue.pop() {
		go h.run()
	}
	s.pressLocked()
}
