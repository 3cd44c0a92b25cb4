package dhtstore

import (
	"net/netip"
	"time"
)

// maxGain is how many times a query's size its reply may have when the asker
// has neither shown a token nor answered us lately: then its address may be
// somebody else's, whom we would flood. bittorrent-dht and others cannot show
// tokens when they read; they are pinged after their first query, and known
// from then on.
const maxGain = 3

// Limits over all sources; those per source are in start.
const (
	repliesPerSecond = 400
	pingsPerSecond   = 10
)

func replyLimit() rateLimit { return rateLimit{repliesPerSecond, 2 * repliesPerSecond} }
func pingLimit() rateLimit  { return rateLimit{pingsPerSecond, 4 * pingsPerSecond} }

// answer replies to a query. It runs on the reader's goroutine and so does
// what is cheap only; the costliest is a signature, which has limits of its
// own.
func (n *Node) answer(m *message, size int, from netip.AddrPort) {
	now := time.Now()
	n.mu.Lock()
	reply := n.respond(now, m, size, from)
	var suspect contact
	if reply != nil && m.hasID && !m.readOnly {
		// A new node is verified by a ping before anybody hears of it.
		if c := (contact{m.id, from}); n.table.wants(now, c) && n.pingEach.allow(now, from) && n.pingAll.allow(now, pingLimit()) {
			suspect = c
		}
	}
	n.mu.Unlock()
	if reply == nil {
		return
	}
	_ = n.guard.send(reply, from) // counted there; the asker asks again
	if suspect.addr.IsValid() {
		n.verify(suspect)
	}
}

// respond makes the reply to a query, nil for none, in a buffer that the next
// call reuses. The caller holds mu.
func (n *Node) respond(now time.Time, m *message, size int, from netip.AddrPort) []byte {
	switch {
	case m.hasID && m.id == n.table.self:
		n.counts.inc(countDropSelf)
		return nil
	case !n.incoming.allow(now, from):
		n.counts.inc(countDropRate)
		return nil
	case n.readOnly.Load():
		return nil // BEP 43
	case !n.replies.allow(now, replyLimit()):
		n.counts.inc(countDropReplies)
		return nil
	}
	n.counts.query(m.method)

	trusted := n.tokens.valid(now, from.Addr(), m.token)
	limit := maxReply
	if !trusted && !n.table.verified(now, from) {
		limit = min(limit, maxGain*size)
	}
	r := body{id: n.table.self}
	switch m.method {
	case methodPing:
	case methodFindNode:
		if !m.hasTarget {
			return n.refuse(m, from, codeProtocol, "target missing")
		}
		r.nodes = n.nodesFor(now, m, m.target)
	case methodGetPeers:
		if !m.hasInfoHash {
			return n.refuse(m, from, codeProtocol, "info_hash missing")
		}
		r.token = n.tokens.make(now, from.Addr())
		r.values = n.peers.sample(now, n.rand, m.infoHash, maxSample)
		r.nodes = n.nodesFor(now, m, m.infoHash)
	case methodAnnounce:
		port := m.port
		if m.implied {
			port = int64(from.Port())
		}
		switch {
		case !m.hasInfoHash:
			return n.refuse(m, from, codeProtocol, "info_hash missing")
		case port < 1 || port > 65535:
			return n.refuse(m, from, codeProtocol, "bad port")
		case !trusted:
			n.counts.inc(countBadToken)
			return n.refuse(m, from, codeProtocol, "bad token")
		}
		n.peers.announce(now, m.infoHash, netip.AddrPortFrom(from.Addr(), uint16(port)))
	case methodGet:
		if !m.hasTarget {
			return n.refuse(m, from, codeProtocol, "target missing")
		}
		r.token = n.tokens.make(now, from.Addr())
		r.nodes = n.nodesFor(now, m, m.target)
		if it := n.stored(now, m.target); it != nil {
			return n.appendItem(m, from, &r, it, limit)
		}
	case methodPut:
		return n.respondPut(now, m, from, trusted)
	case methodRecord:
		if n.record == nil {
			return n.refuse(m, from, codeUnknown, "Method Unknown")
		}
		if !trusted {
			r.token = n.tokens.make(now, from.Addr())
			break
		}
		it := n.record
		r.key, r.sig, r.seq, r.hasSeq, r.value = it.key, it.sig, it.seq, true, it.value
	default:
		return n.refuse(m, from, codeUnknown, "Method Unknown")
	}
	return n.fit(m, from, &r, limit)
}

func (n *Node) respondPut(now time.Time, m *message, from netip.AddrPort, trusted bool) []byte {
	if !trusted {
		n.counts.inc(countBadToken)
		return n.refuse(m, from, codeProtocol, "bad token")
	}
	if m.value == nil {
		return n.refuse(m, from, codeProtocol, "v missing")
	}
	if !n.puts.allow(now, from) {
		n.counts.inc(countPutRate)
		return n.refuse(m, from, codeGeneric, "too many puts")
	}
	if code := n.items.put(now, m); code != 0 {
		n.counts.inc(countPutRefused)
		return n.refuse(m, from, code, putErrors[code])
	}
	return n.fit(m, from, &body{id: n.table.self}, maxReply)
}

var putErrors = map[int64]string{
	codeProtocol: "bad put",
	codeTooBig:   "message (v field) too big",
	codeBadSig:   "invalid signature",
	codeSalt:     "salt (salt field) too big",
	codeCAS:      "the CAS hash mismatched, re-read value and try again",
	codeSeq:      "sequence number less than current",
}

// stored returns the item at target: our own record, or what others gave us.
func (n *Node) stored(now time.Time, target nodeID) *storedItem {
	if n.record != nil && n.record.target == target {
		return n.record
	}
	return n.items.get(now, target)
}

func (n *Node) nodesFor(now time.Time, m *message, target nodeID) []contact {
	if m.noNodes {
		return nil
	}
	return n.table.closest(now, target, bucketSize, true)
}

// appendItem replies with an item, or with its sequence number alone: when
// the asker has it already, as BEP 44 says, and when it would be too long an
// answer for one who has not shown a token. The latter may come again with it.
func (n *Node) appendItem(m *message, from netip.AddrPort, r *body, it *storedItem, limit int) []byte {
	full := *r
	r.seq, r.hasSeq = it.seq, it.key != nil
	if it.key != nil && m.hasSeq && it.seq <= m.seq {
		return n.fit(m, from, r, limit)
	}
	full.seq, full.hasSeq = r.seq, r.hasSeq
	full.key, full.sig, full.value = it.key, it.sig, it.value
	nodes := full.nodes
	full.nodes = nil
	n.out = appendReply(n.out[:0], m.tid, from, &full)
	const longest = 1400 // a value of 1000 bytes with everything around it
	if limit < maxReply && len(n.out) > limit || len(n.out) > longest {
		n.counts.inc(countTrimmed)
		return n.fit(m, from, r, limit)
	}
	full.nodes = nodes
	return n.fit(m, from, &full, max(limit, len(n.out)))
}

// fit encodes r in at most limit bytes, leaving out nodes and values. A few
// values go before nodes, the rest after them.
func (n *Node) fit(m *message, from netip.AddrPort, r *body, limit int) []byte {
	nodes, values := r.nodes, r.values
	r.nodes, r.values = nil, nil
	n.out = appendReply(n.out[:0], m.tid, from, r)
	if len(nodes)+len(values) == 0 {
		return n.out
	}
	const (
		nodesHead  = len("5:nodes208:")
		valuesHead = len("6:valuesle")
		valueSize  = len("6:......")
		firstFew   = 4
	)
	room := max(0, limit-len(n.out))
	first := 0
	if len(values) > 0 {
		room = max(0, room-valuesHead)
		first = min(firstFew, len(values), room/valueSize)
		room -= first * valueSize
	}
	k := 0
	if len(nodes) > 0 {
		k = min(len(nodes), max(0, room-nodesHead)/compactNode)
		if k > 0 {
			room -= nodesHead + k*compactNode
		}
	}
	v := first + min(len(values)-first, room/valueSize)
	if k < len(nodes) || v < len(values) {
		n.counts.inc(countTrimmed)
	}
	r.nodes, r.values = nodes[:k], values[:v]
	n.out = appendReply(n.out[:0], m.tid, from, r)
	return n.out
}

func (n *Node) refuse(m *message, from netip.AddrPort, code int64, text string) []byte {
	n.counts.inc(countErrorsSent)
	n.out = appendError(n.out[:0], m.tid, from, code, text)
	return n.out
}
