package dhtstore

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// counter names what is counted. The set is fixed: nothing from the wire
// becomes a name.
type counter uint8

const (
	countPacketsIn counter = iota
	countBytesIn
	countPacketsOut
	countBytesOut
	countReadErrors
	countWriteErrors

	countDropSize      // datagrams empty or too long
	countDropBencode   // not a bencoded dictionary
	countDropEnvelope  // no usable message
	countDropArguments // arguments missing or of the wrong form
	countDropUnasked   // replies to no query of ours
	countDropAddress   // from an address that is not allowed
	countDropSelf      // our own queries come back
	countDropRate      // one source asks too much
	countDropReplies   // all sources together ask too much

	countQueryUnknown // in the order of method
	countQueryPing
	countQueryFindNode
	countQueryGetPeers
	countQueryAnnounce
	countQueryGet
	countQueryPut
	countQueryRecord

	countErrorsSent
	countBadToken
	countPutRate
	countPutRefused
	countTrimmed // replies cut to three times the query

	countAsked
	countAnswered
	countRefused // error replies to our queries
	countTimeouts
	countBusy // queries not sent for lack of budget

	countLookups
	countAnnounces // writes acknowledged
	countResolves
	countResolvesFailed
	countFetches
	countPublishes
	countPuts // writes acknowledged
	countBadRecords
	countStaleRecords
	countBootstraps
	countMoves // changes of our id
	numCounters
)

var counterNames = [numCounters]string{
	"packets_in", "bytes_in", "packets_out", "bytes_out", "read_errors", "write_errors",
	"drop_size", "drop_bencode", "drop_envelope", "drop_arguments", "drop_unasked", "drop_address", "drop_self", "drop_rate", "drop_replies",
	"query_unknown", "query_ping", "query_find_node", "query_get_peers", "query_announce_peer", "query_get", "query_put", "query_wt_rec",
	"errors_sent", "bad_token", "put_rate", "put_refused", "replies_trimmed",
	"asked", "answered", "refused", "timeouts", "busy",
	"lookups", "announces", "resolves", "resolves_failed", "fetches", "publishes", "puts", "bad_records", "stale_records", "bootstraps", "id_changes",
}

type counters [numCounters]atomic.Uint64

func (c *counters) inc(i counter)        { c[i].Add(1) }
func (c *counters) add(i counter, n int) { c[i].Add(uint64(n)) }
func (c *counters) fault(f fault)        { c.inc(countDropSize + counter(f-faultSize)) }
func (c *counters) query(m method)       { c.inc(countQueryUnknown + counter(m)) }
func (c *counters) all() map[string]uint64 {
	out := make(map[string]uint64, numCounters)
	for i := range c {
		out[counterNames[i]] = c[i].Load()
	}
	return out
}

// Stats is what a node counts and holds.
type Stats struct {
	// Counts has one entry for every counter, always the same names.
	Counts map[string]uint64
	// GoodNodes answered within 15 minutes and have not failed since.
	GoodNodes, Nodes int
	// Outstanding queries of ours, how many a second were sent over about the
	// last minute, and how many may be.
	Outstanding             int
	PacketRate, PacketLimit float64
	// What we store for others.
	Hashes, Peers, Items int
	// SinceAnswer is how long nobody has answered us; negative when nobody
	// ever did.
	SinceAnswer time.Duration
	// DHTs are the same for each DHT that the node is in, IPv4 first.
	DHTs []DHTStats
}

// DHTStats is what a node has of one DHT.
type DHTStats struct {
	Family           string // "IPv4" or "IPv6"
	Local            netip.AddrPort
	ID               [20]byte
	GoodNodes, Nodes int
	SinceAnswer      time.Duration
}

// Stats returns the present state.
func (n *Node) Stats() Stats {
	now := time.Now()
	s := Stats{Counts: n.counts.all(), SinceAnswer: -1, PacketRate: n.budget.spent(), PacketLimit: n.budget.limit.rate}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.stacks {
		d := DHTStats{Family: x.family.String(), Local: x.local, ID: x.table.self, SinceAnswer: -1}
		d.GoodNodes, d.Nodes = x.table.counts(now)
		if !x.lastAnswer.IsZero() {
			d.SinceAnswer = now.Sub(x.lastAnswer)
			if s.SinceAnswer < 0 || d.SinceAnswer < s.SinceAnswer {
				s.SinceAnswer = d.SinceAnswer
			}
		}
		hashes, peers := x.peers.counts()
		s.GoodNodes, s.Nodes = s.GoodNodes+d.GoodNodes, s.Nodes+d.Nodes
		s.Hashes, s.Peers, s.Items = s.Hashes+hashes, s.Peers+peers, s.Items+x.items.recent.Len()
		s.Outstanding += x.guard.waiting()
		s.DHTs = append(s.DHTs, d)
	}
	return s
}

// GoodNodes returns how many nodes of the routing tables answered lately.
func (n *Node) GoodNodes() int {
	now := time.Now()
	all := 0
	for _, s := range n.stacks {
		all += s.goodNodes(now)
	}
	return all
}
