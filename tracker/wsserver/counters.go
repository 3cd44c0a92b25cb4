package wsserver

import (
	"sync/atomic"
	"time"
)

// dropReason is why a frame was not sent.
type dropReason uint8

const (
	admitted dropReason = iota
	// dropOfferSoft: an offer, to a connection that has much unsent already.
	dropOfferSoft
	// dropOfferTotal: an offer, because all connections together have.
	dropOfferTotal
	// dropAnswer: an answer, to a connection that has a great deal unsent.
	dropAnswer
	// dropHard: a frame of any kind, and its connection with it.
	dropHard
	// dropTotal: likewise, because all connections together have too much.
	dropTotal
	// dropClosed: the connection was ending.
	dropClosed
	numDrops
)

// String is a fixed label.
func (r dropReason) String() string {
	return [numDrops]string{"none", "offer_backlog", "offer_total", "answer_backlog", "backlog", "total", "closed"}[r]
}

// endReason is why a connection ended.
type endReason uint8

const (
	endPeer        endReason = iota // the client closed
	endEOF                          // the client went without a close frame
	endRead                         // reading failed
	endWrite                        // writing failed
	endClosed                       // closed by the tracker, or to drain
	endOverflow                     // did not read what was sent to it
	endSilent                       // answered no ping
	endSlowMessage                  // a message took too long to arrive
	endProtocol                     // broke RFC 6455
	endTooBig                       // a message above the limit
	endUTF8                         // text that is none
	endPace                         // too many frames that bring nothing
	endDeflate                      // compressed data that is none
	endPressed                      // too much was held of messages that had arrived in part
	numEnds
)

// String is a fixed label.
func (r endReason) String() string {
	return [numEnds]string{"peer", "eof", "read", "write", "closed", "overflow", "silent", "slow_message", "protocol", "too_big", "utf8", "pace", "deflate", "incomplete_total"}[r]
}

// refusal is why a socket or a request for a WebSocket was turned away.
type refusal uint8

const (
	refuseSockets  refusal = iota // too many sockets
	refuseIPSocket                // too many of one address
	refuseConns                   // too many WebSockets
	refuseIPConns                 // too many of one address
	refuseOrigin
	refusePath
	refuseDraining
	refuseHandshake // no proper request for a WebSocket
	refusePressed   // too much was held of what had arrived in part
	numRefusals
)

// String is a fixed label.
func (r refusal) String() string {
	return [numRefusals]string{"sockets", "ip_sockets", "conns", "ip_conns", "origin", "path", "draining", "handshake", "incomplete_total"}[r]
}

type counters struct {
	opened      atomic.Int64
	framesIn    atomic.Int64
	bytesIn     atomic.Int64
	pingsIn     atomic.Int64
	framesOut   atomic.Int64
	bytesOut    atomic.Int64
	writeFailed atomic.Int64
	reloads     atomic.Int64
	dropped     [numDrops]atomic.Int64
	ended       [numEnds]atomic.Int64
	refused     [numRefusals]atomic.Int64
}

// Stats is a snapshot of a server's counters. Labels in maps are fixed.
type Stats struct {
	Conns   int   // WebSockets of clients open
	Sockets int   // sockets accepted and open, those among them
	Backlog int64 // bytes unsent over all connections
	Held    int64 // bytes of memory for what has arrived in part
	// LoopsBusy is how long each event loop has been busy since it was started,
	// by its number, which is below MaxLoops. There are as many as run.
	LoopsBusy []time.Duration

	Opened      int64 // WebSockets of clients
	FramesIn    int64 // messages
	BytesIn     int64
	PingsIn     int64
	FramesOut   int64
	BytesOut    int64
	WriteFailed int64 // connections given up because a write failed or took too long
	Reloads     int64 // of the certificate
	// Dropped counts frames that were not sent, by reason; with "backlog" and
	// "total" a connection was closed.
	Dropped map[string]int64
	// Ended counts connections that ended, by reason.
	Ended map[string]int64
	// Refused counts sockets and upgrades that were turned away, by reason.
	Refused map[string]int64
}

// Stats returns the counters by now.
func (s *Server) Stats() Stats {
	c := &s.counts
	st := Stats{
		Backlog:     s.backlog.Load(),
		Held:        s.held.Load(),
		LoopsBusy:   s.loopsBusy(),
		Opened:      c.opened.Load(),
		FramesIn:    c.framesIn.Load(),
		BytesIn:     c.bytesIn.Load(),
		PingsIn:     c.pingsIn.Load(),
		FramesOut:   c.framesOut.Load(),
		BytesOut:    c.bytesOut.Load(),
		WriteFailed: c.writeFailed.Load(),
		Reloads:     c.reloads.Load(),
		Dropped:     make(map[string]int64, numDrops-1),
		Ended:       make(map[string]int64, numEnds),
		Refused:     make(map[string]int64, numRefusals),
	}
	for r := admitted + 1; r < numDrops; r++ {
		st.Dropped[r.String()] = c.dropped[r].Load()
	}
	for r := range numEnds {
		st.Ended[r.String()] = c.ended[r].Load()
	}
	for r := range numRefusals {
		st.Refused[r.String()] = c.refused[r].Load()
	}
	st.Conns, st.Sockets = s.limits.counts()
	return st
}
