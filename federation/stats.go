package federation

import (
	"sync/atomic"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/federation/registry"
)

// counters are what this package counts; mesh counts the rest.
type counters struct {
	links, duplicates, barred, linkErrors, writeErrors   atomic.Uint64
	acceptsRefused, handshakeIO                          atomic.Uint64
	acceptsEvicted, acceptsFull, dialsCrowded            atomic.Uint64
	offersOut, offersDropped, answersOut, answersDropped atomic.Uint64
	refusedOut, refusedDropped                           atomic.Uint64
	offersIn, answersIn, answersAccepted                 atomic.Uint64
	refusedIn, gossipIn                                  atomic.Uint64
	rejoins, publishFailed, savedStale, strays           atomic.Uint64
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
	Backlog         int64  // bytes that wait to be sent over all links
	AcceptsRefused  uint64 // over the bound of unproven links, or to a leaf
	AcceptsEvicted  uint64 // unproven links closed for newer ones
	AcceptsFull     uint64 // proven links refused: no room for another
	DialsCrowded    uint64 // not made, since many names lead to that address and to nobody
	HandshakeIO     uint64 // handshakes cut off or timed out
	HandshakeFaults map[string]uint64
	Frames          map[string]uint64 // received, by kind
	Strikes         map[string]uint64
	RecordFaults    map[string]uint64

	OffersOut, OffersDropped     uint64
	AnswersOut, AnswersDropped   uint64
	RefusedOut, RefusedDropped   uint64
	OffersIn, AnswersIn          uint64
	AnswersAccepted              uint64 // of AnswersIn: passed on to who had made the offer
	RefusedIn, RecordsIn         uint64
	Rejoins                      uint64 // swarms that went and came back unseen
	StraysRefused                uint64 // joins not looked at: too many of their node were for swarms that are not here
	PublishFailed                uint64
	SavedStale                   uint64 // saved records that are none
	WatcherOverflows             uint64
	Mesh                         mesh.Stats
	Counts                       mesh.Counts
	Dialled, Accepted, Shared    int // nodes with a link now, by who dialled, and swarms shared with them in all
	MeshDropped, MeshDialOutcome map[string]uint64
	Registry                     RegistryStats
}

// RegistryStats are of what other nodes register with this one (package
// registry); what it registers with others is in Mesh.
type RegistryStats struct {
	Held  int    // registrations that are kept now
	Names uint64 // that came, repeated ones included
	Asked uint64 // names
	Told  uint64 // records that were sent in answer
}

// Stats returns the counters by now.
func (f *Federation) Stats() Stats {
	c := &f.stats
	s := Stats{
		Links: c.links.Load(), Duplicates: c.duplicates.Load(), Barred: c.barred.Load(), LinkErrors: c.linkErrors.Load(),
		Backlog: f.backlog.bytes.Load(), WriteErrors: c.writeErrors.Load(), AcceptsRefused: c.acceptsRefused.Load(), HandshakeIO: c.handshakeIO.Load(),
		AcceptsEvicted: c.acceptsEvicted.Load(), AcceptsFull: c.acceptsFull.Load(), DialsCrowded: c.dialsCrowded.Load(),
		OffersOut: c.offersOut.Load(), OffersDropped: c.offersDropped.Load(),
		AnswersOut: c.answersOut.Load(), AnswersDropped: c.answersDropped.Load(),
		RefusedOut: c.refusedOut.Load(), RefusedDropped: c.refusedDropped.Load(),
		OffersIn: c.offersIn.Load(), AnswersIn: c.answersIn.Load(), AnswersAccepted: c.answersAccepted.Load(), RefusedIn: c.refusedIn.Load(), RecordsIn: c.gossipIn.Load(),
		Rejoins: c.rejoins.Load(), StraysRefused: c.strays.Load(), PublishFailed: c.publishFailed.Load(), SavedStale: c.savedStale.Load(),
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
	for _, p := range f.peers {
		switch l := p.cur.Load(); {
		case l == nil:
			continue
		case l.session.Dialled:
			s.Dialled++
		default:
			s.Accepted++
		}
		p.mu.Lock()
		s.Shared += len(p.shared)
		p.mu.Unlock()
	}
	f.mu.Unlock()
	r := &f.registry
	s.Registry = RegistryStats{Names: r.names.Load(), Asked: r.asked.Load(), Told: r.told.Load()}
	s.MeshDropped["untold"] = r.untold.Load()
	r.mu.Lock()
	s.Registry.Held = r.store.Len()
	dropped := r.store.Dropped()
	r.mu.Unlock()
	for i, n := range dropped {
		s.MeshDropped[registry.Drop(i).String()] = n
	}
	for i, n := range s.Mesh.Dropped {
		s.MeshDropped[mesh.Drop(i).String()] = n
	}
	for i, n := range s.Mesh.DialOutcomes {
		s.MeshDialOutcome[mesh.Outcome(i).String()] = n
	}
	return s
}
