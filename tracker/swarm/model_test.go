package swarm

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is the table as one would write it without a care for speed: plain
// lists, everything recomputed. Where the table draws, the model says what is
// legal and takes note of what was drawn; the rest it predicts.
type model struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Duration
	tb    *table
	cfg   Config
	swms  map[string]*mswarm
	sent  []msent
	say   []string // what was done, for failures
	id    int
	loose bool           // see sweep
	did   map[string]int // what came to pass, so that the test cannot idle
	known map[*conn]*mdeeds
}

type mswarm struct {
	members map[string]*mmember
	left    map[*conn]mleft // nodes, and with what credit
	nodes   map[*conn]*mnode
	down    int
}

type mmember struct {
	owner      *conn
	seen       time.Duration
	complete   bool
	downloaded bool
	claim      *mclaim
	parked     []Offer
	fresh      bool // those were its first offers
	until      time.Duration
	// met is at most how many offers it exchanged with a node's peers since
	// its offers were parked; a node's offer shows its connection only.
	met map[*conn]int
}

type mclaim struct {
	owner *conn
	at    time.Duration
	heard time.Duration // from the former owner
	a     *Announce
}

type mnode struct {
	complete, incomplete int
	tags                 map[string]bool // peer id: complete; nil if untagged
	credit               int
}

type mleft struct {
	credit int
	at     time.Duration
}

// msent is an offer in somebody's hands.
type msent struct {
	to, origin      *conn
	hash, from, key string
	payload         string
	expires         time.Duration
	generation      time.Duration
	count           int
	redrawn         bool
	owed            bool
	announce        *mannounce // of one that went to a node; nil: it was parked
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	tail := m.say[max(0, len(m.say)-12):]
	for _, s := range tail {
		m.t.Log(s)
	}
	m.t.Fatalf(format, args...)
}

// weight is what a node counts for: complete, incomplete.
func (m *model) weight(s *mswarm, nd *mnode) (c, i int) {
	c, i = nd.complete, nd.incomplete // the test stays under the caps
	for p, complete := range nd.tags {
		if s.members[p] != nil {
			if complete {
				c--
			} else {
				i--
			}
		}
	}
	return max(0, c), max(0, i)
}

func (m *model) counts(s *mswarm) (c, i int) {
	if s == nil {
		return 0, 0
	}
	for _, x := range s.members {
		if x.complete {
			c++
		} else {
			i++
		}
	}
	for _, nd := range s.nodes {
		nc, ni := m.weight(s, nd)
		c, i = c+nc, i+ni
	}
	return c, i
}

func (m *model) owned(h string, o *conn) (n int) {
	if s := m.swms[h]; s != nil {
		for _, x := range s.members {
			if x.owner == o {
				n++
			}
		}
	}
	return n
}

func (m *model) remove(h, p string) {
	s := m.swms[h]
	delete(s.members, p)
	if len(s.members) == 0 {
		delete(m.swms, h)
	}
}

const halfWindow = 75 * time.Second

func (m *model) send(x msent) {
	x.expires, x.generation, x.count = m.now+150*time.Second, m.now/halfWindow, 1
	for i, y := range m.sent {
		if y.to == x.to && y.hash == x.hash && y.from == x.from && y.key == x.key && y.generation == x.generation {
			if y.origin == x.origin {
				x.count = y.count + 1
			}
			m.sent[i] = x
			return
		}
	}
	m.sent = append(m.sent, x)
}

// find returns the youngest live entry.
func (m *model) find(to *conn, h, from, key string) int {
	best := -1
	for i, x := range m.sent {
		if x.to == to && x.hash == h && x.from == from && x.key == key && m.now < x.expires &&
			(best < 0 || x.generation > m.sent[best].generation) {
			best = i
		}
	}
	return best
}

func (m *model) spend(i int) {
	if m.sent[i].count--; m.sent[i].count == 0 {
		m.sent = slices.Delete(m.sent, i, i+1)
	}
}
