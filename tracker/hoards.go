package tracker

import "sync"

// hoards counts the memberships of the sessions that have many, by who is behind
// them (owners.Source). A session may have thousands and an address many
// sessions: without a bound on all of them one address could fill the tables,
// and whoever comes later is in no swarm.
type hoards struct {
	most int

	mu sync.Mutex
	of map[uint64]int
}

func (h *hoards) init(most int) {
	h.most, h.of = most, make(map[uint64]int)
}

// room reports whether a source may have one more.
func (h *hoards) room(source uint64) bool {
	if source == 0 {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[source] < h.most
}

// add counts n more of a source, or less. Source 0 is not counted: nothing says
// that it is one.
func (h *hoards) add(source uint64, n int) {
	if source == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n += h.of[source]; n > 0 {
		h.of[source] = n
	} else {
		delete(h.of, source)
	}
}

// hoards counts n more of the memberships that s keeps in a map, or less. Most
// announces change nothing, and do not have the source worked out.
func (s *Session) hoards(n int) {
	if n != 0 {
		s.t.hoards.add(s.source(), n)
	}
}

func (s *Session) source() uint64 { return s.t.owners.sourceOf(s) }
