package federation

import (
	"math"
	"sync"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

// The methods on* take a frame from the other side; each returns false when
// the link is to be closed.

func (l *link) validID(id []byte) bool { return wire.ValidID(id, l.f.cfg.Limits) }

func (l *link) onJoin(j *frame.Join) bool {
	if !l.validID(j.InfoHash) {
		return !l.strike(strikeID)
	}
	if !l.quota.joins.allow(l.now, 1) {
		return !l.strike(strikeJoins)
	}
	return l.peer.joinReceived(l, j) || !l.strike(strikeJoins)
}

func (l *link) onLeave(m *frame.Leave) bool {
	if !l.validID(m.InfoHash) {
		return !l.strike(strikeID)
	}
	l.peer.leaveReceived(m.InfoHash, m.Full)
	return true
}

// onOffers hands on the offers of one announce. One that no client could have
// sent is left out, the others still count.
func (l *link) onOffers(m *frame.Offers) bool {
	if !l.validID(m.InfoHash) || !l.validID(m.PeerID) {
		return !l.strike(strikeID)
	}
	l.batch = l.batch[:0]
	for i := range m.Offers {
		if o, ok := l.offer(i, m.Offers[i]); ok {
			l.batch = append(l.batch, o)
		} else if l.strike(strikePayload) {
			return false
		}
	}
	n := l.quota.offers.upTo(l.now, len(l.batch))
	for _, o := range l.batch[n:] {
		l.Refused(m.InfoHash, m.PeerID, o, swarm.RefuseLimit)
	}
	if n < len(l.batch) && l.strike(strikeOffers) {
		return false
	}
	if n == 0 {
		return true
	}
	if !l.peer.shares(m.InfoHash) {
		// The other side believes that we share this swarm: say again that we
		// do not. The tracker refuses the offers one by one.
		_, have := l.f.cfg.Tracker.State(m.InfoHash)
		l.sendLeave(m.InfoHash, have)
	}
	l.f.stats.offersIn.Add(uint64(n))
	l.peer.traffic.offers.received.Add(uint64(n))
	out := l.peer.session.Offers(m.InfoHash, m.PeerID, l.batch[:n])
	l.peer.traffic.drop(out.Drop, n-out.Offers)
	return true
}

// offer reads and checks one offer; i picks the memory for its key.
func (l *link) offer(i int, o frame.Offer) (swarm.Offer, bool) {
	for len(l.keys) <= i {
		l.keys = append(l.keys, nil)
	}
	key, ok := wire.OfferKey(o.ID, l.keys[i][:0])
	if !ok || !wire.ValidPayload(o.Payload, l.f.cfg.Limits) {
		return swarm.Offer{}, false
	}
	l.keys[i] = key
	return swarm.Offer{ID: o.ID, Key: key, Payload: o.Payload}, true
}

func (l *link) onAnswer(m *frame.Answer) bool {
	if !l.validID(m.InfoHash) || !l.validID(m.PeerID) || !l.validID(m.ToPeerID) {
		return !l.strike(strikeID)
	}
	o, ok := l.offer(0, frame.Offer{ID: m.OfferID, Payload: m.Payload})
	if !ok {
		return !l.strike(strikePayload)
	}
	l.f.stats.answersIn.Add(1)
	t := &l.peer.traffic
	t.answers.received.Add(1)
	out := l.peer.session.Answer(swarm.Answer{
		InfoHash: m.InfoHash, PeerID: m.PeerID, ToPeerID: m.ToPeerID, OfferID: o.ID, OfferKey: o.Key, Payload: o.Payload,
	})
	if out.Drop == swarm.DropNone {
		l.f.stats.answersAccepted.Add(1)
		t.accepted.Add(1)
		if l.peer.session.Trust().Proven {
			l.peer.brought(m.InfoHash)
		}
	}
	t.drop(out.Drop, 1)
	return true
}

func (l *link) onRefused(m *frame.Refused) bool {
	if !l.validID(m.InfoHash) || !l.validID(m.PeerID) {
		return !l.strike(strikeID)
	}
	o, ok := l.offer(0, m.Offer)
	if !ok {
		return !l.strike(strikePayload)
	}
	reason := swarm.RefuseNoPeer // what a later version may say
	if m.Reason > 0 && m.Reason <= frame.ReasonLimit {
		reason = swarm.RefuseReason(m.Reason)
	}
	l.f.stats.refusedIn.Add(1)
	l.peer.traffic.refused.received.Add(1)
	l.peer.session.Refused(m.InfoHash, m.PeerID, o, reason)
	return true
}

// scratch is memory to encode a frame in, for whoever calls the sink.
type scratch struct {
	mu     sync.Mutex
	buf    []byte
	offers []frame.Offer
}

// The three methods of tracker.NodeSink. They may be called from any
// goroutine; they encode into the outbox and return.

// Offers implements tracker.NodeSink.
func (l *link) Offers(infoHash, peerID []byte, offers []swarm.Offer) {
	s := &l.scratch
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(offers) > 0 {
		n := min(len(offers), frame.DefaultLimits().MaxOffers)
		s.offers = s.offers[:0]
		for _, o := range offers[:n] {
			s.offers = append(s.offers, frame.Offer{ID: o.ID, Payload: o.Payload})
		}
		offers = offers[n:]
		s.buf = frame.AppendOffers(s.buf[:0], &frame.Offers{InfoHash: infoHash, PeerID: peerID, Offers: s.offers})
		if l.sendScratch(true, n) == sentOK {
			l.f.stats.offersOut.Add(uint64(n))
			l.peer.traffic.offers.sent.Add(uint64(n))
		} else {
			l.f.stats.offersDropped.Add(uint64(n))
			l.peer.traffic.unsentOffers.Add(uint64(n))
		}
	}
	clear(s.offers)
}

// Answer implements tracker.NodeSink.
func (l *link) Answer(infoHash, toPeerID, peerID, offerID, payload []byte) {
	s := &l.scratch
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = frame.AppendAnswer(s.buf[:0], &frame.Answer{InfoHash: infoHash, ToPeerID: toPeerID, PeerID: peerID, OfferID: offerID, Payload: payload})
	if l.sendScratch(false, 0) == sentOK {
		l.f.stats.answersOut.Add(1)
		l.peer.traffic.answers.sent.Add(1)
	} else {
		l.f.stats.answersDropped.Add(1)
		l.peer.traffic.unsentAnswers.Add(1)
	}
}

// Refused implements tracker.NodeSink. A refusal may fall like an offer: all
// that is lost is the second try.
func (l *link) Refused(infoHash, peerID []byte, offer swarm.Offer, reason swarm.RefuseReason) {
	s := &l.scratch
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = frame.AppendRefused(s.buf[:0], &frame.Refused{
		InfoHash: infoHash, PeerID: peerID, Offer: frame.Offer{ID: offer.ID, Payload: offer.Payload}, Reason: frame.Reason(reason),
	})
	if l.sendScratch(true, 0) == sentOK {
		l.f.stats.refusedOut.Add(1)
		l.peer.traffic.refused.sent.Add(1)
	} else {
		l.f.stats.refusedDropped.Add(1)
		l.peer.traffic.unsentRefused.Add(1)
	}
}

// sendScratch sends what is in the scratch buffer.
func (l *link) sendScratch(droppable bool, offers int) sent {
	res := l.sendOffers(l.scratch.buf, droppable, offers)
	if cap(l.scratch.buf) > keptBuffer {
		l.scratch.buf = nil
	}
	return res
}

// send puts a frame into the outbox, or into that of the link which has
// replaced this one: the tracker may have picked its sink just before.
func (l *link) send(b []byte, droppable bool) sent { return l.sendOffers(b, droppable, 0) }

func (l *link) sendOffers(b []byte, droppable bool, offers int) sent {
	res := l.out.putOffers(ws.OpBinary, b, droppable, offers)
	if res == sentEnded {
		if cur := l.peer.cur.Load(); cur != nil && cur != l {
			res = cur.out.putOffers(ws.OpBinary, b, droppable, offers)
		}
	}
	if res == sentOK {
		l.peer.traffic.bytes.sent.Add(uint64(len(b)))
	}
	return res
}

func (l *link) sendLeave(infoHash []byte, full bool) {
	l.send(frame.AppendLeave(nil, infoHash, full), false)
}

// clampCount is a claimed count as an int; the table caps it further.
func clampCount(n uint64) int { return int(min(n, math.MaxInt32)) }
