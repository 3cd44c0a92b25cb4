package main

import (
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/access"
	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
	"github.com/draeder/peerservers/tracker/wsserver"
)

// snapshot is what all packages count, at one scrape. Without federation the
// last two are nil.
type snapshot struct {
	tracker    tracker.Stats
	server     wsserver.Stats
	dht        *dhtstore.Stats
	federation *federation.Stats
}

// family is one metric: its value, or its values by a label that has the same
// few values always, because they are names of constants, or numbers with a
// bound, and never come from the wire.
type family struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*snapshot) float64
	split func(*snapshot, func(label string, value float64))
}

// collector turns snapshots into metrics. The packages count for themselves;
// nothing is counted here.
type collector struct {
	take     func() snapshot
	families []family
}

// newRegistry makes a registry of its own, not the process-wide one.
func newRegistry(take func() snapshot) *prometheus.Registry {
	c := &collector{take: take}
	c.addServer()
	c.addTracker()
	c.addSwarm()
	c.addFederation()
	c.addDHT()
	r := prometheus.NewRegistry()
	r.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range c.families {
		out <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.take()
	for _, f := range c.families {
		if f.value != nil {
			out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(&s))
			continue
		}
		f.split(&s, func(label string, value float64) {
			out <- prometheus.MustNewConstMetric(f.desc, f.kind, value, label)
		})
	}
}

const prefix = "peerservers_"

func (c *collector) gauge(name, help string, value func(*snapshot) float64) {
	c.families = append(c.families, family{desc: prometheus.NewDesc(prefix+name, help, nil, nil), kind: prometheus.GaugeValue, value: value})
}

func (c *collector) counter(name, help string, value func(*snapshot) float64) {
	c.families = append(c.families, family{desc: prometheus.NewDesc(prefix+name, help, nil, nil), kind: prometheus.CounterValue, value: value})
}

func (c *collector) counters(name, help, label string, split func(*snapshot, func(string, float64))) {
	c.families = append(c.families, family{desc: prometheus.NewDesc(prefix+name, help, []string{label}, nil), kind: prometheus.CounterValue, split: split})
}

func (c *collector) gauges(name, help, label string, split func(*snapshot, func(string, float64))) {
	c.counters(name, help, label, split)
	c.families[len(c.families)-1].kind = prometheus.GaugeValue
}

// byLabel yields the entries of a map with fixed labels, in order.
func byLabel[V int64 | uint64](m map[string]V, yield func(string, float64)) {
	for _, label := range slices.Sorted(maps.Keys(m)) {
		yield(label, float64(m[label]))
	}
}

func (c *collector) addServer() {
	c.gauge("connections", "WebSocket connections of clients.", func(s *snapshot) float64 { return float64(s.server.Conns) })
	c.gauge("sockets", "Sockets accepted and open.", func(s *snapshot) float64 { return float64(s.server.Sockets) })
	c.gauge("backlog_bytes", "Bytes not yet sent, over all connections.", func(s *snapshot) float64 { return float64(s.server.Backlog) })
	c.gauge("incomplete_bytes", "Memory for messages and requests that have arrived in part, over all connections.", func(s *snapshot) float64 { return float64(s.server.Held) })
	c.counter("connections_opened_total", "WebSocket connections of clients opened.", func(s *snapshot) float64 { return float64(s.server.Opened) })
	c.counter("frames_received_total", "Messages from clients.", func(s *snapshot) float64 { return float64(s.server.FramesIn) })
	c.counter("frames_sent_total", "Messages to clients.", func(s *snapshot) float64 { return float64(s.server.FramesOut) })
	c.counter("received_bytes_total", "Bytes of messages from clients.", func(s *snapshot) float64 { return float64(s.server.BytesIn) })
	c.counter("sent_bytes_total", "Bytes of messages to clients.", func(s *snapshot) float64 { return float64(s.server.BytesOut) })
	c.counter("pings_received_total", "Pings that clients sent of their own accord.", func(s *snapshot) float64 { return float64(s.server.PingsIn) })
	c.counter("write_failures_total", "Connections given up because a write failed.", func(s *snapshot) float64 { return float64(s.server.WriteFailed) })
	c.counter("certificate_reloads_total", "Times that the certificate was read again.", func(s *snapshot) float64 { return float64(s.server.Reloads) })
	c.gauge("loops", "Event loops that serve connections.", func(s *snapshot) float64 { return float64(len(s.server.LoopsBusy)) })
	c.counters("loop_busy_seconds_total", "Time that an event loop neither waited nor paused; its rate is how busy it is.", "loop",
		func(s *snapshot, yield func(string, float64)) {
			for i, busy := range s.server.LoopsBusy { // of which there are at most wsserver.MaxLoops
				yield(strconv.Itoa(i), busy.Seconds())
			}
		})
	c.counters("frames_dropped_total", "Messages that were not sent to clients.", "reason",
		func(s *snapshot, yield func(string, float64)) { byLabel(s.server.Dropped, yield) })
	c.counters("connections_ended_total", "Connections that ended.", "reason",
		func(s *snapshot, yield func(string, float64)) { byLabel(s.server.Ended, yield) })
	c.counters("connections_refused_total", "Sockets and requests turned away.", "reason",
		func(s *snapshot, yield func(string, float64)) { byLabel(s.server.Refused, yield) })
}

func (c *collector) addTracker() {
	c.counter("announces_total", "Well-formed announces.", func(s *snapshot) float64 { return float64(s.tracker.Announces) })
	c.counter("answers_total", "Well-formed answers.", func(s *snapshot) float64 { return float64(s.tracker.Answers) })
	c.counter("scrapes_total", "Well-formed scrapes.", func(s *snapshot) float64 { return float64(s.tracker.Scrapes) })
	c.counter("scrapes_of_all_refused_total", "Scrapes that named no info hash.", func(s *snapshot) float64 { return float64(s.tracker.ScrapeAllRefused) })
	c.counter("membership_limit_total", "Announces of a connection, or an address prefix, with too many memberships.", func(s *snapshot) float64 { return float64(s.tracker.MembershipLimit) })
	c.counter("struck_out_total", "Connections closed for unparsable frames.", func(s *snapshot) float64 { return float64(s.tracker.StruckOut) })
	c.counter("to_closed_total", "Offers and answers for connections that had just closed.", func(s *snapshot) float64 { return float64(s.tracker.ToClosed) })
	c.counters("faults_total", "Frames of clients that were not served.", "fault", func(s *snapshot, yield func(string, float64)) {
		for f := wire.FaultNone + 1; int(f) < wire.FaultCount; f++ {
			yield(f.String(), float64(s.tracker.Faults[f]))
		}
	})
	c.counters("refused_total", "Announces that access rules refused.", "rule", func(s *snapshot, yield func(string, float64)) {
		for v := access.Allowed + 1; v < access.NumVerdicts; v++ {
			yield(v.String(), float64(s.tracker.Refused[v]))
		}
	})
	c.gauge("linked_nodes", "Nodes with a link that the tracker knows.", func(s *snapshot) float64 { return float64(s.tracker.Nodes) })
	c.counters("node_messages_total", "Messages of nodes to the tracker.", "kind", func(s *snapshot, yield func(string, float64)) {
		yield("join", float64(s.tracker.NodeJoins))
		yield("offers", float64(s.tracker.NodeOffers))
		yield("answer", float64(s.tracker.NodeAnswers))
		yield("refused", float64(s.tracker.NodeRefusals))
	})
}

func (c *collector) addSwarm() {
	c.gauge("swarms", "Swarms with a local member.", func(s *snapshot) float64 { return float64(s.tracker.Swarm.Swarms) })
	c.gauge("members", "Local members of all swarms.", func(s *snapshot) float64 { return float64(s.tracker.Swarm.Members) })
	c.gauge("seeders", "Local members that have everything.", func(s *snapshot) float64 { return float64(s.tracker.Swarm.Complete) })
	c.gauge("swarm_nodes", "Nodes in swarms, summed over swarms.", func(s *snapshot) float64 { return float64(s.tracker.Swarm.Nodes) })
	c.gauge("outstanding_offers", "Offers that may be answered.", func(s *snapshot) float64 { return float64(s.tracker.Swarm.Ledger) })
	c.gauge("claims", "Claims to peer ids under way.", func(s *snapshot) float64 { return float64(s.tracker.Swarm.Claims) })
	c.gauge("parked_offers", "Offers that wait for a first remote peer.", func(s *snapshot) float64 { return float64(s.tracker.Swarm.Parked) })
	c.gauge("parked_bytes", "Bytes of those offers.", func(s *snapshot) float64 { return float64(s.tracker.Swarm.ParkedBytes) })
	c.counters("offers_total", "Offers, by what became of them.", "fate", func(s *snapshot, yield func(string, float64)) {
		w := &s.tracker.Swarm
		yield("local", float64(w.OffersLocal))
		yield("relayed", float64(w.OffersRelayed))
		yield("from_nodes", float64(w.OffersFromNodes))
		yield("parked", float64(w.OffersParked))
		yield("flushed", float64(w.OffersFlushed))
		yield("redrawn", float64(w.OffersRedrawn))
	})
	c.counters("answers_relayed_total", "Answers, by their way.", "way", func(s *snapshot, yield func(string, float64)) {
		w := &s.tracker.Swarm
		yield("local", float64(w.AnswersLocal))
		yield("to_nodes", float64(w.AnswersToNodes))
		yield("from_nodes", float64(w.AnswersFromNodes))
	})
	c.counter("rebinds_total", "Peer ids that moved to another connection.", func(s *snapshot) float64 { return float64(s.tracker.Swarm.Rebinds) })
	c.counter("expired_total", "Members that fell silent.", func(s *snapshot) float64 { return float64(s.tracker.Swarm.Expired) })
	c.counters("swarm_dropped_total", "What swarms did not do, by reason.", "reason", func(s *snapshot, yield func(string, float64)) {
		for d := swarm.DropNone + 1; d < swarm.NumDrops; d++ {
			yield(d.String(), float64(s.tracker.Swarm.Dropped[d]))
		}
	})
}

func (c *collector) addDHT() {
	c.gaugeIf("dht_nodes", "DHT nodes in the routing table.", func(d *dhtstore.Stats) float64 { return float64(d.Nodes) })
	c.gaugeIf("dht_good_nodes", "DHT nodes that answered lately.", func(d *dhtstore.Stats) float64 { return float64(d.GoodNodes) })
	c.gaugeIf("dht_outstanding_queries", "Queries of ours without an answer yet.", func(d *dhtstore.Stats) float64 { return float64(d.Outstanding) })
	c.gaugeIf("dht_packets_per_second", "Packets a second that queries of ours took over about the last minute.", func(d *dhtstore.Stats) float64 { return d.PacketRate })
	c.gaugeIf("dht_packets_per_second_limit", "Packets a second that queries of ours may take.", func(d *dhtstore.Stats) float64 { return d.PacketLimit })
	c.gaugeIf("dht_stored_peers", "Peers stored for others.", func(d *dhtstore.Stats) float64 { return float64(d.Peers) })
	c.gaugeIf("dht_stored_items", "Items stored for others.", func(d *dhtstore.Stats) float64 { return float64(d.Items) })
	c.counters("dht_events_total", "What the DHT node did and met.", "event", func(s *snapshot, yield func(string, float64)) {
		if s.dht != nil {
			byLabel(s.dht.Counts, yield)
		}
	})
}

// gaugeIf is a gauge of the DHT node, if there is one.
func (c *collector) gaugeIf(name, help string, value func(*dhtstore.Stats) float64) {
	c.gauge(name, help, func(s *snapshot) float64 {
		if s.dht == nil {
			return 0
		}
		return value(s.dht)
	})
}

func (c *collector) addFederation() {
	c.gauge("links", "Links with other nodes.", func(s *snapshot) float64 { return c.mesh(s).links })
	c.gauge("known_nodes", "Nodes that there is a record of.", func(s *snapshot) float64 { return c.mesh(s).nodes })
	c.gauges("links_by_direction", "Links with other nodes, by who dialled.", "direction", func(s *snapshot, yield func(string, float64)) {
		if s.federation != nil {
			yield("out", float64(s.federation.Dialled))
			yield("in", float64(s.federation.Accepted))
		}
	})
	c.gauge("shared_swarms", "Swarms shared with other nodes, summed over nodes.", func(s *snapshot) float64 {
		if s.federation == nil {
			return 0
		}
		return float64(s.federation.Shared)
	})
	c.gauge("links_backlog_bytes", "Bytes not yet sent to other nodes, over all links.", func(s *snapshot) float64 {
		if s.federation == nil {
			return 0
		}
		return float64(s.federation.Backlog)
	})
	c.gauge("hungry_swarms", "Swarms without a peer elsewhere.", func(s *snapshot) float64 { return c.mesh(s).hungry })
	c.gauge("registrations", "Swarms that other nodes registered with this one.", func(s *snapshot) float64 {
		if s.federation == nil {
			return 0
		}
		return float64(s.federation.Registry.Held)
	})
	c.gauge("responsible_nodes", "Nodes that this one registers swarms with; 0 in a small network.", func(s *snapshot) float64 {
		if s.federation == nil {
			return 0
		}
		return float64(s.federation.Counts.Responsible)
	})
	fed := func(name, help, label string, split func(*federation.Stats, func(string, float64))) {
		c.counters(name, help, label, func(s *snapshot, yield func(string, float64)) {
			if s.federation != nil {
				split(s.federation, yield)
			}
		})
	}
	fed("federation_events_total", "What federation did and met.", "event", func(f *federation.Stats, yield func(string, float64)) {
		for _, e := range []struct {
			name  string
			count uint64
		}{
			{"link", f.Links}, {"duplicate_link", f.Duplicates}, {"barred", f.Barred}, {"link_error", f.LinkErrors},
			{"write_error", f.WriteErrors}, {"accept_refused", f.AcceptsRefused}, {"accept_evicted", f.AcceptsEvicted}, {"accept_full", f.AcceptsFull}, {"dial_crowded", f.DialsCrowded}, {"handshake_io", f.HandshakeIO},
			{"rejoin", f.Rejoins}, {"stray_join_refused", f.StraysRefused}, {"publish_failed", f.PublishFailed}, {"saved_stale", f.SavedStale},
			{"watcher_overflow", f.WatcherOverflows}, {"sighting", f.Mesh.Sightings}, {"resolve", f.Mesh.Resolves},
			{"resolve_silent", f.Mesh.ResolvesSilent}, {"resolve_bad", f.Mesh.ResolvesBad}, {"fetch", f.Mesh.Fetches},
			{"dial", f.Mesh.Dials}, {"guess_dialled", f.Mesh.Guesses}, {"guess_probed", f.Mesh.Probes}, {"join", f.Mesh.Joins}, {"leave", f.Mesh.Leaves}, {"rendezvous", f.Mesh.Rendezvous},
			{"search_failed", f.Mesh.SearchesFailed}, {"self", f.Mesh.Self}, {"node_barred", f.Mesh.Barred},
			{"filter", f.Mesh.Filters}, {"filter_hit", f.Mesh.Hits}, {"swarm_named", f.Mesh.Names}, {"name_known", f.Mesh.Named},
			{"registered", f.Mesh.Registered}, {"registry_asked", f.Mesh.Asked}, {"registry_hint", f.Mesh.Told},
			{"registration_received", f.Registry.Names}, {"registry_question", f.Registry.Asked}, {"registry_told", f.Registry.Told},
		} {
			yield(e.name, float64(e.count))
		}
	})
	fed("federation_relayed_total", "What crossed links, by kind.", "kind", func(f *federation.Stats, yield func(string, float64)) {
		yield("offers_out", float64(f.OffersOut))
		yield("offers_in", float64(f.OffersIn))
		yield("answers_out", float64(f.AnswersOut))
		yield("answers_in", float64(f.AnswersIn))
		yield("answers_accepted", float64(f.AnswersAccepted))
		yield("refused_out", float64(f.RefusedOut))
		yield("refused_in", float64(f.RefusedIn))
		yield("records_in", float64(f.RecordsIn))
	})
	fed("federation_unsent_total", "What a slow link did not take, by kind.", "kind", func(f *federation.Stats, yield func(string, float64)) {
		yield("offers", float64(f.OffersDropped))
		yield("answers", float64(f.AnswersDropped))
		yield("refused", float64(f.RefusedDropped))
	})
	fed("federation_frames_total", "Frames from nodes, by kind.", "kind", func(f *federation.Stats, yield func(string, float64)) { byLabel(f.Frames, yield) })
	fed("federation_strikes_total", "Faults of nodes on their links.", "fault", func(f *federation.Stats, yield func(string, float64)) { byLabel(f.Strikes, yield) })
	fed("federation_handshake_faults_total", "Handshakes that failed.", "fault", func(f *federation.Stats, yield func(string, float64)) { byLabel(f.HandshakeFaults, yield) })
	fed("federation_record_faults_total", "Node records refused.", "fault", func(f *federation.Stats, yield func(string, float64)) { byLabel(f.RecordFaults, yield) })
	fed("federation_dials_total", "Dials, by outcome.", "outcome", func(f *federation.Stats, yield func(string, float64)) { byLabel(f.MeshDialOutcome, yield) })
	fed("federation_dropped_total", "What federation did not do for a bound.", "bound", func(f *federation.Stats, yield func(string, float64)) { byLabel(f.MeshDropped, yield) })
}

// meshCounts are gauges of the mesh, zero without federation.
type meshCounts struct{ links, nodes, hungry float64 }

func (c *collector) mesh(s *snapshot) meshCounts {
	if s.federation == nil {
		return meshCounts{}
	}
	n := s.federation.Counts
	return meshCounts{float64(n.Links), float64(n.Nodes), float64(n.Hungry)}
}
