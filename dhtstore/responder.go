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
func (s *stack) answer(m *message, size int, from netip.AddrPort) {
	n := s.node
	now := time.Now()
	n.mu.Lock()
	reply := s.respond(now, m, size, from)
	var suspect contact
	if reply != nil && m.hasID && !m.readOnly {
		// A new node is verified by a ping before anybody hears of it. One that
		// says it does not answer (BEP 43) is none.
		if c := (contact{m.id, from}); s.table.wants(now, c) && n.pingEach.allow(now, from) && n.pingAll.allow(now, pingLimit()) {
			suspect = c
		}
	}
	n.mu.Unlock()
	if reply == nil {
		return
	}
	_ = s.guard.send(reply, from) // counted there; the asker asks again
	if suspect.addr.IsValid() {
		s.verify(suspect)
	}
}

// respond makes the reply to a query, nil for none, in a buffer that the next
// call reuses. The caller holds mu.
func (s *stack) respond(now time.Time, m *message, size int, from netip.AddrPort) []byte {
	n := s.node
	if m.method == methodRecord && n.inClosed() {
		// To us it is one method of many that we do not know.
		*m = message{kind: m.kind, tid: m.tid}
	}
	switch {
	case m.hasID && m.id == s.table.self:
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
	if !trusted && !s.table.verified(now, from) {
		limit = min(limit, maxGain*size)
	}
	r := body{id: s.table.self}
	switch m.method {
	case methodPing:
	case methodFindNode:
		if !m.hasTarget {
			return s.refuse(m, from, codeProtocol, "target missing")
		}
		r.nodes = s.nodesFor(now, m, m.target)
	case methodGetPeers:
		if !m.hasInfoHash {
			return s.refuse(m, from, codeProtocol, "info_hash missing")
		}
		r.token = n.tokens.make(now, from.Addr())
		r.values = s.peers.sample(now, n.rand, m.infoHash, maxSample)
		r.nodes = s.nodesFor(now, m, m.infoHash)
	case methodAnnounce:
		port := m.port
		if m.implied {
			port = int64(from.Port())
		}
		switch {
		case !m.hasInfoHash:
			return s.refuse(m, from, codeProtocol, "info_hash missing")
		case port < 1 || port > 65535:
			return s.refuse(m, from, codeProtocol, "bad port")
		case !trusted:
			n.counts.inc(countBadToken)
			return s.refuse(m, from, codeProtocol, "bad token")
		}
		s.peers.announce(now, m.infoHash, netip.AddrPortFrom(from.Addr(), uint16(port)))
	case methodGet:
		if !m.hasTarget {
			return s.refuse(m, from, codeProtocol, "target missing")
		}
		r.token = n.tokens.make(now, from.Addr())
		r.nodes = s.nodesFor(now, m, m.target)
		if n.asksForRecord(now, m.target, from.Addr()) {
			return s.appendItem(m, from, &r, n.record, maxReply) // the target shows the token
		}
		if it := s.stored(now, m.target); it != nil {
			return s.appendItem(m, from, &r, it, limit)
		}
	case methodPut:
		return s.respondPut(now, m, from, trusted)
	case methodRecord:
		if n.record == nil {
			return s.refuse(m, from, codeUnknown, "Method Unknown")
		}
		if !trusted {
			r.token = n.tokens.make(now, from.Addr())
			break
		}
		it := n.record
		r.key, r.sig, r.seq, r.hasSeq, r.value = it.key, it.sig, it.seq, true, it.value
	default:
		return s.refuse(m, from, codeUnknown, "Method Unknown")
	}
	return s.fit(m, from, &r, limit)
}

func (s *stack) respondPut(now time.Time, m *message, from netip.AddrPort, trusted bool) []byte {
	n := s.node
	if !trusted {
		n.counts.inc(countBadToken)
		return s.refuse(m, from, codeProtocol, "bad token")
	}
	if m.value == nil {
		return s.refuse(m, from, codeProtocol, "v missing")
	}
	if !n.puts.allow(now, from) {
		n.counts.inc(countPutRate)
		return s.refuse(m, from, codeGeneric, "too many puts")
	}
	if code := s.items.put(now, m); code != 0 {
		n.counts.inc(countPutRefused)
		return s.refuse(m, from, code, putErrors[code])
	}
	return s.fit(m, from, &body{id: s.table.self}, maxReply)
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
func (s *stack) stored(now time.Time, target nodeID) *storedItem {
	if own := s.node.record; own != nil && own.target == target {
		return own
	}
	return s.items.get(now, target)
}

// nodesFor returns the closest nodes that the asker wants: of this DHT, or of
// those that it names (BEP 32).
func (s *stack) nodesFor(now time.Time, m *message, target nodeID) (out [families][]contact) {
	for _, x := range s.node.stacks {
		if m.want[x.family] || !m.hasWant && x == s {
			out[x.family] = x.table.closest(now, target, bucketSize, true)
		}
	}
	return out
}

// appendItem replies with an item, or with its sequence number alone: when
// the asker has it already, as BEP 44 says, and when it would be too long an
// answer for one who has not shown a token. The latter may come again with it.
func (s *stack) appendItem(m *message, from netip.AddrPort, r *body, it *storedItem, limit int) []byte {
	full := *r
	r.seq, r.hasSeq = it.seq, it.key != nil
	if it.key != nil && m.hasSeq && it.seq <= m.seq {
		return s.fit(m, from, r, limit)
	}
	full.seq, full.hasSeq = r.seq, r.hasSeq
	full.key, full.sig, full.value = it.key, it.sig, it.value
	full.nodes = [families][]contact{}
	s.out = appendReply(s.out[:0], m.tid, from, &full)
	const longest = 1400 // a value of 1000 bytes with everything around it
	if limit < maxReply && len(s.out) > limit || len(s.out) > longest {
		s.node.counts.inc(countTrimmed)
		return s.fit(m, from, r, limit)
	}
	full.nodes = r.nodes
	return s.fit(m, from, &full, max(limit, len(s.out)))
}

// fit encodes r in at most limit bytes, leaving out nodes and values. A few
// values go before nodes, our own family's before the other's, and the rest of
// the values last.
func (s *stack) fit(m *message, from netip.AddrPort, r *body, limit int) []byte {
	nodes, values := r.nodes, r.values
	r.nodes, r.values = [families][]contact{}, nil
	s.out = appendReply(s.out[:0], m.tid, from, r)
	if len(nodes[ipv4])+len(nodes[ipv6])+len(values) == 0 {
		return s.out
	}
	const (
		valuesHead = len("6:valuesle")
		firstFew   = 4
	)
	valueSize := s.family.encodedPeer()
	room := max(0, limit-len(s.out))
	first := 0
	if len(values) > 0 {
		room = max(0, room-valuesHead)
		first = min(firstFew, len(values), room/valueSize)
		room -= first * valueSize
	}
	trimmed := false
	for _, f := range [...]family{s.family, 1 - s.family} {
		k := len(nodes[f])
		for k > 0 && f.encodedNodes(k) > room {
			k--
			trimmed = true
		}
		if k > 0 {
			room -= f.encodedNodes(k)
		}
		r.nodes[f] = nodes[f][:k]
	}
	v := first + min(len(values)-first, room/valueSize)
	if r.values = values[:v]; trimmed || v < len(values) {
		s.node.counts.inc(countTrimmed)
	}
	s.out = appendReply(s.out[:0], m.tid, from, r)
	return s.out
}

func (s *stack) refuse(m *message, from netip.AddrPort, code int64, text string) []byte {
	s.node.counts.inc(countErrorsSent)
	s.out = appendError(s.out[:0], m.tid, from, code, text)
	return s.out
}
