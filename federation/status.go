package federation

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/draeder/peerservers/federation/reach"
	"github.com/draeder/peerservers/tracker/swarm"
)

// Status tells an operator how federation stands; it is /federation.json. Maps
// are keyed by fixed labels and name what has happened. Durations are in
// seconds. Later versions add members.
type Status struct {
	Key     string `json:"key"`
	Network string `json:"network"`
	Closed  bool   `json:"closed"` // the network has a secret
	// State is leaf, unverified (URLs are a guess that nobody has proven) or
	// full. Leaf: others cannot dial this node. Why says, unless it is full,
	// what it lacks.
	State string   `json:"state"`
	Leaf  bool     `json:"leaf"`
	Why   string   `json:"why,omitempty"`
	URLs  []string `json:"urls"`
	Age   float64  `json:"age"`
	// Known is how many nodes there are records of; Swarms and Hungry how many
	// swarms are here, and without a peer elsewhere.
	Known  int `json:"known"`
	Swarms int `json:"swarms"`
	Hungry int `json:"hungry"`
	// Responsible is how many nodes swarms are registered with (0 in a small
	// network), and Registrations how many of others this one keeps.
	Responsible   int          `json:"responsible"`
	Registrations int          `json:"registrations"`
	Links         []LinkStatus `json:"links"`
	// Barred are the keys and address prefixes that are left alone because they
	// broke the rules, and for how much longer.
	Barred []BarStatus `json:"barred"`
	// Since the start: what was left undone for a bound, handshakes and records
	// that were refused, and faults on links.
	Dropped    map[string]uint64 `json:"dropped"`
	Handshakes map[string]uint64 `json:"handshake_faults"`
	Records    map[string]uint64 `json:"record_faults"`
	Strikes    map[string]uint64 `json:"strikes"`
}

// BarStatus is a key or a prefix that is left alone.
type BarStatus struct {
	Key    string  `json:"key,omitempty"`
	Prefix string  `json:"prefix,omitempty"`
	For    float64 `json:"for"`
	Times  int     `json:"times"` // in a row: each doubles the time
}

// LinkStatus is one node with a link. What it counts goes back to when the
// node's oldest link came up that has been followed by others without a gap.
type LinkStatus struct {
	Key  string   `json:"key"`
	URLs []string `json:"urls"`
	// Address is where the other side is, as far as can be seen, and Prefix what
	// limits per address count by.
	Address string `json:"address"`
	Prefix  string `json:"prefix"`
	// Direction is "out" if this node dialled, else "in".
	Direction string  `json:"direction"`
	Age       float64 `json:"age"`
	KnownFor  float64 `json:"known_for"` // since its key was first seen
	Shared    int     `json:"shared"`    // swarms
	Offers    Flow    `json:"offers"`
	Answers   Flow    `json:"answers"`
	Refused   Flow    `json:"refused"` // offers that the receiver could not place
	Bytes     Flow    `json:"bytes"`
	// Trust is what the node's deeds say of it (tracker/swarm, trust.go).
	Trust TrustStatus `json:"trust"`
	// Accepted is how many of the answers received went on to who had made the
	// offer: what the node's weight grows by.
	Accepted uint64 `json:"answers_accepted"`
	// Unsent is what the link did not take, Dropped what came over it to no
	// effect, by reason, and Strikes what the node must not have done.
	Unsent  map[string]uint64 `json:"unsent"`
	Dropped map[string]uint64 `json:"dropped"`
	Strikes map[string]uint64 `json:"strikes"`
}

// TrustStatus is how a node stands: proven ones may draw more than a tenth of the
// offers together, and from up to Receivers of their peers.
type TrustStatus struct {
	Met       bool `json:"met"` // a peer of its own was met by one of ours lately
	Proven    bool `json:"proven"`
	Receivers int  `json:"receivers"`
}

// Flow is what went each way.
type Flow struct {
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// traffic is what a peer's links have carried.
type traffic struct {
	offers, answers, refused, bytes            flow
	accepted                                   atomic.Uint64
	unsentOffers, unsentAnswers, unsentRefused atomic.Uint64
	dropped                                    [swarm.NumDrops]atomic.Uint64
	strikes                                    [strikes]atomic.Uint64
}

type flow struct{ sent, received atomic.Uint64 }

func (f *flow) load() Flow { return Flow{f.sent.Load(), f.received.Load()} }

// drop notes that n things which came to nothing did so for a reason.
func (t *traffic) drop(why swarm.Drop, n int) {
	if n > 0 && why != swarm.DropNone {
		t.dropped[why].Add(uint64(n))
	}
}

// happened is a map of those counters that are not zero.
func happened(all map[string]uint64) map[string]uint64 {
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

// Status tells how federation stands.
func (f *Federation) Status() Status {
	stats, place := f.Stats(), f.place.Load()
	stats.MeshDropped["stray_joins"] = stats.StraysRefused
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{
		Key: hex.EncodeToString(f.key[:]), Network: f.cfg.Network.Name(), Closed: f.cfg.Network.Closed(),
		State: place.State.String(), Leaf: place.State == reach.Leaf, Why: place.Why,
		URLs: urlStrings(place.URLs), Age: f.now().Seconds(),
		Known: stats.Counts.Nodes, Swarms: stats.Counts.Swarms, Hungry: stats.Counts.Hungry,
		Responsible: stats.Counts.Responsible, Registrations: stats.Registry.Held,
		Links: []LinkStatus{}, Barred: []BarStatus{}, // in JSON a list, not null
		Dropped: happened(stats.MeshDropped), Handshakes: happened(stats.HandshakeFaults),
		Records: happened(stats.RecordFaults), Strikes: happened(stats.Strikes),
	}
	for _, p := range f.peers {
		if l := p.cur.Load(); l != nil {
			s.Links = append(s.Links, f.linkStatus(p, l))
		}
	}
	for _, b := range f.mesh.Bars(f.now()) {
		bar := BarStatus{Prefix: b.Prefix, For: b.For.Seconds(), Times: b.Times}
		if b.Prefix == "" {
			bar.Key = hex.EncodeToString(b.Key[:])
		}
		s.Barred = append(s.Barred, bar)
	}
	slices.SortFunc(s.Links, func(a, b LinkStatus) int { return strings.Compare(a.Key, b.Key) })
	return s
}

// linkStatus describes p, whose link in use is l. Caller holds f.mu.
func (f *Federation) linkStatus(p *peer, l *link) LinkStatus {
	t := &p.traffic
	s := LinkStatus{
		Key: hex.EncodeToString(p.key[:]), Prefix: l.group, Direction: "in", Age: (f.now() - l.opened).Seconds(),
		URLs:   []string{},
		Offers: t.offers.load(), Answers: t.answers.load(), Refused: t.refused.load(), Bytes: t.bytes.load(),
		Accepted: t.accepted.Load(),
		Unsent: happened(map[string]uint64{
			"offers": t.unsentOffers.Load(), "answers": t.unsentAnswers.Load(), "refused": t.unsentRefused.Load(),
		}),
		Dropped: make(map[string]uint64), Strikes: make(map[string]uint64),
	}
	s.Trust = TrustStatus(p.session.Trust())
	if l.session.Dialled {
		s.Direction = "out"
	}
	if l.from != (netip.AddrPort{}) {
		s.Address = l.from.String()
	}
	if n := f.known.nodes[p.key]; n != nil {
		s.URLs = append(s.URLs, urlStrings(n.record.URLs)...)
		s.KnownFor = f.cfg.Now().Sub(n.firstSeen).Seconds()
	}
	for i := range t.dropped {
		s.Dropped[swarm.Drop(i).String()] = t.dropped[i].Load()
	}
	for i := range t.strikes {
		s.Strikes[strike(i).String()] = t.strikes[i].Load()
	}
	happened(s.Dropped)
	happened(s.Strikes)
	p.mu.Lock()
	s.Shared = len(p.shared)
	p.mu.Unlock()
	return s
}
