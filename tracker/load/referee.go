package load

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// referee knows what was sent and judges what comes. It has no sockets and no
// clock; times are nanoseconds from some beginning.
type referee struct {
	cfg    *Config
	script *script
	ledger *ledger
	faults Faults
	peers  []swarmCount // by swarm, as far as they have joined
	joined bool         // all have, so that counts can be compared
	met    []bool       // by swarm: a reply counted all of it

	awaiting  [][]uint64 // by connection: the announces that are to be replied to
	waiting   int        // their number
	measuring bool       // what is announced now counts for round trips

	reply, answer, relayed histogram // round trips; relayed: answers from the other node
	offersIn, answersIn    int64
	relayedIn              int64 // of answersIn, those from the other node

	fields   fields
	scratch  []byte
	frames   int  // until one is decoded
	reformed bool // the server writes JSON anew
}

type swarmCount struct{ complete, incomplete int }

func newReferee(cfg *Config, s *script, size int) *referee {
	r := &referee{
		cfg: cfg, script: s,
		peers:    make([]swarmCount, cfg.Swarms),
		met:      make([]bool, cfg.Swarms),
		awaiting: make([][]uint64, cfg.Connections),
	}
	r.ledger = newLedger(size, cfg.Offers, r.missing)
	return r
}

// join counts a client as a member of its swarm.
func (r *referee) join(conn int) {
	c := &r.peers[r.cfg.swarm(conn)]
	if r.cfg.seeder(conn) {
		c.complete++
	} else {
		c.incomplete++
	}
}

// complete: nothing that was sent is still to come. It looks at all there is
// and is for the end.
func (r *referee) complete() bool {
	for i := range r.ledger.entries {
		e := &r.ledger.entries[i]
		if !e.open {
			continue
		}
		size := r.peers[r.cfg.swarm(int(e.conn))]
		expected := min(int(e.offers), size.complete+size.incomplete-1)
		for _, to := range r.ledger.of(i) {
			if to < 0 {
				expected--
			}
		}
		if expected > 0 || !e.replied {
			return false
		}
	}
	return true
}

// leave is the end of a client that joined.
func (r *referee) leave(conn int) {
	c := &r.peers[r.cfg.swarm(conn)]
	if r.cfg.seeder(conn) {
		c.complete--
	} else {
		c.incomplete--
	}
}

// announced enters an announce that is about to leave.
func (r *referee) announced(conn, offers int, now int64) uint64 {
	seq := r.ledger.announce(conn, offers, now, r.measuring)
	r.awaiting[conn] = append(r.awaiting[conn], seq)
	r.waiting++
	return seq
}

// missing is told what an announce still waited for.
func (r *referee) missing(e *entry, receivers []int32) {
	if !e.replied {
		r.faults.RepliesLost++
		r.replied(int(e.conn))
	}
	size := r.peers[r.cfg.swarm(int(e.conn))]
	expected := min(int(e.offers), size.complete+size.incomplete-1)
	for _, to := range receivers {
		switch {
		case to == none:
		case to >= 0:
			r.faults.AnswersLost++
			expected--
		default:
			expected--
		}
	}
	r.faults.OffersLost += int64(max(expected, 0))
}

// replied takes the oldest announce that waits for a reply.
func (r *referee) replied(conn int) (seq uint64, ok bool) {
	w := r.awaiting[conn]
	if len(w) == 0 {
		return 0, false
	}
	seq = w[0]
	r.awaiting[conn] = append(w[:0], w[1:]...)
	r.waiting--
	return seq, true
}

// receive judges a frame that came to a connection. If it is an offer to be
// answered, to is who made it and n its number; to is part of frame.
func (r *referee) receive(conn int, frame []byte, now int64) (to []byte, n uint64) {
	f := &r.fields
	if !scan(frame, f) || string(f.action) != `"announce"` {
		r.faults.Malformed++
		return nil, 0
	}
	if f.failure != nil {
		r.faults.Refused++
		return nil, 0
	}
	swarm := r.cfg.swarm(conn)
	if !same(f.infoHash, r.script.forms[swarm], r.script.hashes[swarm]) {
		if f.infoHash == nil {
			r.faults.Malformed++
		} else {
			r.faults.Misrouted++
		}
		return nil, 0
	}
	sampled := false
	if r.frames--; r.frames < 0 {
		r.frames = r.cfg.Sample - 1
		sampled = true
	}
	switch {
	case f.offer != nil:
		return r.receiveOffer(conn, frame, sampled, now)
	case f.answer != nil:
		r.receiveAnswer(conn, frame, sampled, now)
	case f.interval != nil:
		r.receiveReply(conn, frame, sampled, now)
	default:
		r.faults.Malformed++
	}
	return nil, 0
}

func (r *referee) receiveReply(conn int, frame []byte, sampled bool, now int64) {
	if sampled && !json.Valid(frame) {
		r.faults.Malformed++
		return
	}
	seq, ok := r.replied(conn)
	if !ok {
		r.faults.RepliesUnasked++
		return
	}
	if e, _ := r.ledger.find(seq); e != nil {
		e.replied = true
		r.trip(&r.reply, e, now)
	}
	f := &r.fields
	complete, ok1 := integer(f.complete)
	incomplete, ok2 := integer(f.incomplete)
	if interval, ok := integer(f.interval); !ok || !ok1 || !ok2 || interval == 0 {
		r.faults.Malformed++
		return
	}
	swarm := r.cfg.swarm(conn)
	got := swarmCount{complete, incomplete}
	r.met[swarm] = r.met[swarm] || got == r.peers[swarm]
	if r.joined && got != r.peers[swarm] {
		r.faults.Counts++
	}
}

func (r *referee) receiveOffer(conn int, frame []byte, sampled bool, now int64) (to []byte, n uint64) {
	f := &r.fields
	n, ok := r.script.offerNumber(f.offerID)
	if !ok {
		r.faults.Altered++
		return nil, 0
	}
	seq, place := splitOffer(n)
	e, receivers := r.ledger.find(seq)
	if e == nil || place >= len(receivers) {
		r.faults.Unknown++
		return nil, 0
	}
	switch {
	case receivers[place] != none:
		r.faults.OffersTwice++
		return nil, 0
	case int(e.conn) == conn || r.cfg.swarm(int(e.conn)) != r.cfg.swarm(conn):
		r.faults.Misrouted++
		return nil, 0
	}
	receivers[place] = int32(conn)
	r.offersIn++
	r.scratch = appendOffer(r.scratch[:0], n)
	if !r.script.isPeer(f.peerID, int(e.conn)) || !r.intact(conn, int(e.conn), n, f.offer, frame, sampled) {
		r.faults.Altered++
	}
	return f.peerID, n
}

func (r *referee) receiveAnswer(conn int, frame []byte, sampled bool, now int64) {
	f := &r.fields
	n, ok := r.script.offerNumber(f.offerID)
	if !ok {
		r.faults.Altered++
		return
	}
	seq, place := splitOffer(n)
	e, receivers := r.ledger.find(seq)
	if e == nil || place >= len(receivers) || receivers[place] == none {
		r.faults.Unknown++
		return
	}
	from := int(receivers[place])
	switch {
	case int(e.conn) != conn:
		r.faults.Misrouted++
		return
	case from < 0:
		r.faults.AnswersTwice++
		return
	}
	receivers[place] = ^int32(from)
	r.answersIn++
	if r.cfg.node(from) == r.cfg.node(conn) {
		r.trip(&r.answer, e, now)
	} else {
		r.relayedIn++
		r.trip(&r.relayed, e, now)
	}
	r.scratch = appendAnswer(r.scratch[:0], n, from)
	if !r.script.isPeer(f.peerID, from) || !r.intact(conn, from, n, f.answer, frame, sampled) {
		r.faults.Altered++
	}
}

func (r *referee) trip(h *histogram, e *entry, now int64) {
	if now-e.sent > int64(r.cfg.Late) {
		r.faults.Late++
	}
	if e.measure {
		h.add(now - e.sent)
	}
}

// intact compares a payload with what was sent, which is in scratch, and one
// frame in Sample as a whole.
func (r *referee) intact(conn, from int, n uint64, payload, frame []byte, sampled bool) bool {
	equal := bytes.Equal(payload, r.scratch)
	if !sampled && (equal || r.reformed) {
		return true
	}
	var got map[string]any
	var want any
	if json.Unmarshal(frame, &got) != nil || json.Unmarshal(r.scratch, &want) != nil {
		return false
	}
	member := "offer"
	if r.fields.offer == nil {
		member = "answer"
	}
	var id string
	if json.Unmarshal(r.script.appendOfferID(nil, n), &id) != nil {
		return false
	}
	if got["action"] != "announce" || got["info_hash"] != r.script.hashes[r.cfg.swarm(conn)] || got["offer_id"] != id ||
		got["peer_id"] != string(r.script.appendPeer(nil, from)) || !reflect.DeepEqual(got[member], want) {
		return false
	}
	r.reformed = r.reformed || !equal
	return true
}
