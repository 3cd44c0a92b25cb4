package federation

import (
	"encoding/hex"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/record"
)

// counters are what this package counts; mesh counts the rest.
type counters struct {
	links, duplicates, barred, linkErrors, writeErrors   atomic.Uint64
	acceptsRefused, handshakeIO                          atomic.Uint64
	offersOut, offersDropped, answersOut, answersDropped atomic.Uint64
	refusedOut, refusedDropped                           atomic.Uint64
	offersIn, answersIn, refusedIn, gossipIn             atomic.Uint64
	rejoins, publishFailed, savedStale                   atomic.Uint64
	frames                                               [frame.Kinds]atomic.Uint64
	strikes                                              [strikes]atomic.Uint64
	handshakeFaults                                      [handshake.Faults]atomic.Uint64
	recordFaults                                         [record.Faults]atomic.Uint64
}

func (c *counters) recordFault(err error) {
	if f, ok := err.(record.Fault); ok {
		c.recordFaults[f].Add(1)
	}
}

// Stats is a snapshot of the counters. Maps are keyed by fixed labels.
type Stats struct {
	Links           uint64 // ever up
	Duplicates      uint64 // links given up for another with the same key
	Barred          uint64 // links refused for earlier faults
	LinkErrors      uint64 // links that ended without a goodbye
	WriteErrors     uint64
	AcceptsRefused  uint64 // over the bound of unproven links, or to a leaf
	HandshakeIO     uint64 // handshakes cut off or timed out
	HandshakeFaults map[string]uint64
	Frames          map[string]uint64 // received, by kind
	Strikes         map[string]uint64
	RecordFaults    map[string]uint64

	OffersOut, OffersDropped     uint64
	AnswersOut, AnswersDropped   uint64
	RefusedOut, RefusedDropped   uint64
	OffersIn, AnswersIn          uint64
	RefusedIn, RecordsIn         uint64
	Rejoins                      uint64 // swarms that went and came back unseen
	PublishFailed                uint64
	SavedStale                   uint64 // saved records that are none
	WatcherOverflows             uint64
	Mesh                         mesh.Stats
	Counts                       mesh.Counts
	MeshDropped, MeshDialOutcome map[string]uint64
}

// Stats returns the counters by now.
func (f *Federation) Stats() Stats {
	c := &f.stats
	s := Stats{
		Links: c.links.Load(), Duplicates: c.duplicates.Load(), Barred: c.barred.Load(), LinkErrors: c.linkErrors.Load(),
		WriteErrors: c.writeErrors.Load(), AcceptsRefused: c.acceptsRefused.Load(), HandshakeIO: c.handshakeIO.Load(),
		OffersOut: c.offersOut.Load(), OffersDropped: c.offersDropped.Load(),
		AnswersOut: c.answersOut.Load(), AnswersDropped: c.answersDropped.Load(),
		RefusedOut: c.refusedOut.Load(), RefusedDropped: c.refusedDropped.Load(),
		OffersIn: c.offersIn.Load(), AnswersIn: c.answersIn.Load(), RefusedIn: c.refusedIn.Load(), RecordsIn: c.gossipIn.Load(),
		Rejoins: c.rejoins.Load(), PublishFailed: c.publishFailed.Load(), SavedStale: c.savedStale.Load(),
		WatcherOverflows: f.cfg.Watcher.overflows(),
		HandshakeFaults:  make(map[string]uint64), Frames: make(map[string]uint64), Strikes: make(map[string]uint64),
		RecordFaults: make(map[string]uint64), MeshDropped: make(map[string]uint64), MeshDialOutcome: make(map[string]uint64),
	}
	for i := range c.handshakeFaults {
		s.HandshakeFaults[handshake.Fault(i).Error()] = c.handshakeFaults[i].Load()
	}
	for i := range c.frames {
		s.Frames[frame.Kind(i).String()] = c.frames[i].Load()
	}
	for i := range c.strikes {
		s.Strikes[strike(i).String()] = c.strikes[i].Load()
	}
	for i := range c.recordFaults {
		s.RecordFaults[record.Fault(i).Error()] = c.recordFaults[i].Load()
	}
	f.mu.Lock()
	s.Mesh, s.Counts = f.mesh.Stats(), f.mesh.Counts()
	f.mu.Unlock()
	for i, n := range s.Mesh.Dropped {
		s.MeshDropped[mesh.Drop(i).String()] = n
	}
	for i, n := range s.Mesh.DialOutcomes {
		s.MeshDialOutcome[mesh.Outcome(i).String()] = n
	}
	return s
}

// Status is how far federation got, for the operator.
type Status struct {
	Key string
	// Leaf: others cannot dial this node; Why says what to do about it.
	Leaf bool
	Why  string
	URLs []string
	// Links are the nodes with a link; Known how many nodes there are records
	// of; Swarms and Hungry how many swarms are here, and without a peer
	// elsewhere.
	Links  []LinkStatus
	Known  int
	Swarms int
	Hungry int
}

// LinkStatus is one node with a link.
type LinkStatus struct {
	Key     string
	URLs    []string
	Group   string
	Dialled bool
	Up      time.Duration
	Shared  int // swarms
}

// Status tells how federation stands.
func (f *Federation) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := f.mesh.Counts()
	s := Status{
		Key: hex.EncodeToString(f.key[:]), URLs: urlStrings(f.cfg.URLs),
		Known: counts.Nodes, Swarms: counts.Swarms, Hungry: counts.Hungry,
	}
	if len(f.cfg.URLs) == 0 {
		s.Leaf = true
		s.Why = "no --node-url: other nodes cannot dial this one. It dials out and serves its clients through those links; two leaves alone do not meet."
	}
	for key, p := range f.peers {
		cur := p.cur.Load()
		if cur == nil {
			continue
		}
		l := LinkStatus{Key: hex.EncodeToString(key[:]), Group: cur.group, Dialled: cur.session.Dialled, Up: f.now() - cur.opened}
		if n := f.known.nodes[key]; n != nil {
			l.URLs = urlStrings(n.record.URLs)
		}
		p.mu.Lock()
		l.Shared = len(p.shared)
		p.mu.Unlock()
		s.Links = append(s.Links, l)
	}
	slices.SortFunc(s.Links, func(a, b LinkStatus) int { return strings.Compare(a.Key, b.Key) })
	return s
}
