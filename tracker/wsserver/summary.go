package wsserver

import (
	"encoding/hex"
	"runtime/metrics"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

const (
	// summaryAge is how old statistics may get: counting walks over all
	// members, and anybody may ask. What took little time to count is counted
	// again sooner, so that counting takes at most a share of 1/summaryPace of
	// the time, and a small server's numbers are those of this moment; a very
	// large one's get older, or counting would take more than 1/summaryLeast.
	summaryAge   = 5 * time.Second
	summaryPace  = 50
	summaryLeast = 15
	summaryFree  = time.Millisecond
	// maxListed bounds the list of swarms.
	maxListed = 10_000
)

// document is /stats.json: the reference tracker's keys, then wt-tracker's.
type document struct {
	Torrents              int                       `json:"torrents"`
	ActiveTorrents        int                       `json:"activeTorrents"`
	PeersAll              int                       `json:"peersAll"`
	PeersSeederOnly       int                       `json:"peersSeederOnly"`
	PeersLeecherOnly      int                       `json:"peersLeecherOnly"`
	PeersSeederAndLeecher int                       `json:"peersSeederAndLeecher"`
	PeersIPv4             int                       `json:"peersIPv4"`
	PeersIPv6             int                       `json:"peersIPv6"`
	Clients               map[string]map[string]int `json:"clients"`

	TorrentsCount int              `json:"torrentsCount"`
	PeersCount    int              `json:"peersCount"`
	Servers       []serverCount    `json:"servers"`
	Memory        memory           `json:"memory"`
	PerHash       []map[string]int `json:"peersCountPerInfoHashPerTracker,omitempty"`
}

type serverCount struct {
	Server          string `json:"server"`
	WebSocketsCount int    `json:"webSocketsCount"`
}

// memory has the keys of Node's process.memoryUsage().
type memory struct {
	RSS       uint64 `json:"rss"`
	HeapTotal uint64 `json:"heapTotal"`
	HeapUsed  uint64 `json:"heapUsed"`
	External  uint64 `json:"external"`
}

// summary is what was counted last.
type summary struct {
	mu   sync.Mutex // held while counting: who asks meanwhile waits and shares
	at   time.Time
	took time.Duration
	last counted
}

type counted struct {
	swarms, peers        int // peers: memberships, one for each swarm
	all                  int // peer ids
	seeders, leeches     int // of those, in all their swarms
	both                 int
	ipv4, ipv6           int
	clients              map[string]map[string]int
	websockets           int
	perHash              map[string]int
	memTotal, heap, used uint64
}

// summarise counts, or returns what was counted a moment ago.
func (s *Server) summarise() counted {
	s.summary.mu.Lock()
	defer s.summary.mu.Unlock()
	if s.summary.at.IsZero() || s.cfg.Now().Sub(s.summary.at) > maxAge(s.summary.took) {
		sessions := s.sessions() // loops may let one wait for theirs, which costs nothing
		began := time.Now()
		s.summary.last = s.count(sessions)
		s.summary.took = time.Since(began)
		s.summary.at = s.cfg.Now()
	}
	return s.summary.last
}

// maxAge is how old a count may be that took so long.
func maxAge(took time.Duration) time.Duration {
	if took <= summaryFree {
		return 0
	}
	return max(min(summaryAge, summaryPace*took), summaryLeast*took)
}

// count walks over the sessions rather than over the swarms: it holds no lock
// that an announce waits for, and sees which peer ids belong together.
func (s *Server) count(sessions []*tracker.Session) counted {
	n := counted{clients: map[string]map[string]int{}}
	if s.cfg.Tracker != nil {
		st := s.cfg.Tracker.Stats()
		n.swarms, n.peers = st.Swarm.Swarms, st.Swarm.Members
	}
	n.websockets = len(sessions)
	const seeds, leeches = 1, 2
	tally := newTally()
	for _, session := range sessions {
		if session == nil {
			continue // with Config.Echo
		}
		roles := map[string]uint8{}
		session.Members(func(_, peerID string, seeder bool) bool {
			if seeder {
				roles[peerID] |= seeds
			} else {
				roles[peerID] |= leeches
			}
			return true
		})
		for peerID, role := range roles {
			n.all++
			switch role {
			case seeds:
				n.seeders++
			case leeches:
				n.leeches++
			default:
				n.both++
			}
			tally.add(peerID)
		}
		if a := session.Client().Addr.Addr(); a.Is6() {
			n.ipv6 += len(roles)
		} else if a.Is4() {
			n.ipv4 += len(roles)
		}
	}
	n.clients = tally.clients
	if s.cfg.HashList && s.cfg.Tracker != nil {
		n.perHash = s.perHash()
	}
	sample := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(sample)
	n.memTotal = sample[0].Value.Uint64() - sample[3].Value.Uint64()
	n.used = sample[1].Value.Uint64()
	n.heap = n.used + sample[2].Value.Uint64()
	return n
}

// sessions is the session of every client, nil for one without.
func (s *Server) sessions() []*tracker.Session {
	list := s.loopSessions()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		list = append(list, c.session)
	}
	return list
}

// perHash lists swarms by info hash in hexadecimal digits, as wt-tracker does:
// of the 20 bytes, or of the text if that is no 20 bytes.
func (s *Server) perHash() map[string]int {
	list := map[string]int{"totalPeers": 0}
	s.cfg.Tracker.Swarms(func(infoHash []byte, st swarm.State) bool {
		n := st.LocalComplete + st.LocalIncomplete
		name := wire.Hex(infoHash)
		if utf8.RuneCount(infoHash) != 20 {
			name = hex.EncodeToString(infoHash)
		}
		list[name] = n
		list["totalPeers"] += n
		return len(list) <= maxListed
	})
	return list
}

func (s *Server) statsDocument() document {
	n := s.summarise()
	d := document{
		Torrents: n.swarms, ActiveTorrents: n.swarms, // a swarm without peers does not exist here
		PeersAll: n.all, PeersSeederOnly: n.seeders, PeersLeecherOnly: n.leeches, PeersSeederAndLeecher: n.both,
		PeersIPv4: n.ipv4, PeersIPv6: n.ipv6, Clients: n.clients,
		TorrentsCount: n.swarms, PeersCount: n.peers,
		Servers: []serverCount{{Server: "peerservers", WebSocketsCount: n.websockets}},
		Memory:  memory{RSS: n.memTotal, HeapTotal: n.heap, HeapUsed: n.used},
	}
	if n.perHash != nil {
		d.PerHash = []map[string]int{n.perHash}
	}
	return d
}
