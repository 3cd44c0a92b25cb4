package mesh

// Drop says which bound made mesh let something fall.
type Drop uint8

const (
	DropSwarms    Drop = iota // too many swarms
	DropPartners              // too many nodes in one swarm
	DropShares                // too many swarms with one node
	DropNodes                 // too many node records
	DropLinks                 // too many links
	DropAddrs                 // too many addresses under way
	DropHosts                 // too many hosts in backoff
	DropAskers                // too many joins for swarms that we lack
	DropSightings             // too many addresses in one search
	DropResolves              // too many addresses to resolve
	DropAddress               // an address that may not be dialled
	DropGroup                 // too many nodes from one prefix in one swarm
	DropBad                   // an address that gave a bad record lately
	DropNames                 // too many swarms to name to a node
	DropPlain                 // too many info hashes to tell to who was only named for them
	DropBars                  // too many keys or prefixes that are barred
	DropRegister              // too many new swarms to register
	DropTold                  // nodes that a responsible one told of: not asked for, too many, or unknown
	Drops
)

// String is a fixed label, fit for a metric.
func (d Drop) String() string {
	names := [Drops]string{
		"swarms", "partners", "shares", "nodes", "links", "addresses", "hosts", "askers", "sightings", "resolves",
		"address", "prefix", "bad_record", "names", "plain_join", "bars",
		"registrations", "told",
	}
	if d >= Drops {
		return "unknown"
	}
	return names[d]
}

// Stats counts what happened since the start.
type Stats struct {
	Searches       [classes]uint64 // by class: young, hungry, small, large
	Rendezvous     uint64
	SearchesFailed uint64
	Sightings      uint64
	Resolves       uint64
	ResolvesSilent uint64
	ResolvesBad    uint64
	Fetches        uint64
	Dials          uint64
	Guesses        uint64 // of them, to unverified nodes
	Probes         uint64 // of these, because they are linked
	DialOutcomes   [Outcomes]uint64
	Joins          uint64
	Leaves         uint64
	Self           uint64 // found ourselves
	Barred         uint64
	Filters        uint64 // sent
	Hits           uint64 // of our swarms by filters of others
	Names          uint64 // sent
	Named          uint64 // names that came, of swarms that we have
	Displaced      uint64 // links closed for others
	Evictions      uint64 // partners that had to go for a newcomer
	Trims          uint64 // partners dropped to have places free
	Rotations      uint64 // partners dropped for another one
	Registered     uint64 // names sent to responsible nodes
	Asked          uint64 // of swarms for which they were asked for others
	Told           uint64 // nodes that they told of, and that were taken in
	Dropped        [Drops]uint64
}

// Stats returns the counters.
func (m *Mesh) Stats() Stats { return m.stats }

// Counts are sizes of the present state.
type Counts struct {
	Swarms, Hungry, Nodes, Links, Addrs, Searches, Resolves, Dials int
	// Members are those who may be responsible for swarms, this node included,
	// and Responsible those who are; 0: too few of them, so that nobody is.
	Members, Responsible int
}

// Counts returns the sizes of the present state.
func (m *Mesh) Counts() Counts {
	return Counts{
		Swarms: len(m.swarms), Hungry: m.hungry, Nodes: len(m.list), Links: m.links, Addrs: len(m.addrs),
		Searches: len(m.searches), Resolves: m.resolves, Dials: len(m.dials),
		Members: m.reg.ring.Len(), Responsible: m.reg.duties,
	}
}

// String is a fixed label, fit for a metric.
func (o Outcome) String() string {
	names := [Outcomes]string{"ok", "failed", "refused", "self", "wrong_key"}
	if o >= Outcomes {
		return "unknown"
	}
	return names[o]
}

// Nodes appends the keys of all nodes that are known.
func (m *Mesh) Nodes(buf []Key) []Key {
	for _, n := range m.list {
		buf = append(buf, n.key)
	}
	return buf
}

// Each calls yield with every swarm's info hash.
func (m *Mesh) Each(yield func(infoHash string)) {
	for infoHash := range m.swarms {
		yield(infoHash)
	}
}
