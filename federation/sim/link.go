package sim

import (
	"encoding/binary"
	"time"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

const (
	// deadAfter is how long a link may be silent, and pingEvery how long one is
	// that works: pings are not sent here, only what comes of them is.
	deadAfter = 65 * time.Second
	pingEvery = 30 * time.Second
	drainFor  = 5 * time.Second
	// late is how much later a piece of a link comes that was lost.
	late = 250 * time.Millisecond
)

// link is one end of an open link: what federation's link is, and the pipe
// that brings what the other end sends.
type link struct {
	n                *node
	p                *peer // nil: the node is hostile
	o                *link // the other end
	place            int   // in node.links
	dialled          bool
	sequence         uint64
	tagKey           [16]byte
	sendKey, recvKey [16]byte
	generation       uint32 // of the last filter that was sent
	group            string
	opened           time.Duration // since the node was started

	byeSent, byeGot bool
	ended           bool   // nothing more is sent
	closed          bool   // nothing more is taken
	waiting         func() // a bye was taken; what goes on once another link is there
	meter           meter
	pace            allowance
	again           bool            // a hostile end dials again
	said            map[string]bool // and says a join once
	in              pipe
}

// pipe is what is on its way to one end, in order.
type pipe struct {
	buf     []byte // frames, each after its length
	head    int
	arrive  []time.Duration
	first   int // of arrive
	last    time.Duration
	stalled bool
}

// endMark is the length of the frame that is none: the other side has closed.
const endMark = ^uint32(0)

func (l *link) put(length uint32, b []byte) {
	w, in := l.n.w, &l.in
	if l.closed {
		return
	}
	if in.head > 4096 && in.head > len(in.buf)/2 {
		in.buf = append(in.buf[:0], in.buf[in.head:]...)
		in.arrive = append(in.arrive[:0], in.arrive[in.first:]...)
		in.head, in.first = 0, 0
	}
	in.buf = append(binary.LittleEndian.AppendUint32(in.buf, length), b...)
	at := w.now + w.latency(l.o.n, l.n)
	if w.chance(w.cfg.Loss) {
		at += late
	}
	in.last = max(in.last, at)
	in.arrive = append(in.arrive, in.last)
	if len(in.arrive)-in.first == 1 && !in.stalled {
		w.queue.push(in.last, l, 0)
	}
}

// fire implements actor: frames have arrived.
func (l *link) fire(w *World, _ uint64) {
	in := &l.in
	for in.first < len(in.arrive) && !l.closed && l.waiting == nil && !in.stalled {
		if at := in.arrive[in.first]; at > w.now {
			w.queue.push(at, l, 0)
			return
		}
		n := binary.LittleEndian.Uint32(in.buf[in.head:])
		if n == endMark {
			l.end()
			return
		}
		b := in.buf[in.head+4 : in.head+4+int(n)]
		in.head += 4 + int(n)
		in.first++
		if l.n.hostile != nil {
			l.n.hostile.take(l, b)
		} else {
			l.take(b)
		}
		if in.first == len(in.arrive) {
			in.buf, in.head, in.arrive, in.first = in.buf[:0], 0, in.arrive[:0], 0
			return
		}
	}
}

// stall cuts the way to this end: nothing arrives, and after a while the end
// gives up.
func (l *link) stall() {
	if l.closed || l.in.stalled {
		return
	}
	l.in.stalled = true
	l.n.later(deadAfter-l.n.w.between(0, pingEvery), func() {
		if l.in.stalled {
			l.end()
		}
	})
}

// resume opens the way again: what was on it comes now.
func (l *link) resume() {
	if l.closed || !l.in.stalled {
		return
	}
	l.in.stalled = false
	if l.in.first < len(l.in.arrive) {
		l.n.w.queue.push(max(l.in.arrive[l.in.first], l.n.w.now+late), l, 0)
	}
}

// expectEnd tells this end that the other one is gone, once it gets there.
func (l *link) expectEnd() { l.put(endMark, nil) }

// end is the end of the reader: the connection is closed.
func (l *link) end() {
	if l.closed {
		return
	}
	l.closed, l.ended, l.waiting = true, true, nil
	l.in = pipe{stalled: l.in.stalled}
	if !l.in.stalled {
		l.o.expectEnd()
	}
	n := l.n
	last := len(n.links) - 1
	n.links[l.place] = n.links[last]
	n.links[l.place].place = l.place
	n.links[last] = nil
	n.links = n.links[:last]
	if n.hostile != nil {
		n.hostile.lost(l)
		return
	}
	l.p.removeLink(l)
}

// sayBye ends our side: what the other has sent already is still taken.
func (l *link) sayBye(code frame.Code) {
	l.n.w.scratch = frame.AppendBye(l.n.w.scratch[:0], code)
	l.send(frame.KindBye, l.n.w.scratch)
	l.ended = true
	l.n.later(drainFor, l.end)
}

// send puts a frame on its way, over the link that has replaced this one if
// need be. With much to say, what may be dropped is.
func (l *link) send(kind frame.Kind, b []byte) bool { return l.sendOffers(kind, b, 0) }

func (l *link) sendOffers(kind frame.Kind, b []byte, offers int) bool {
	if l.ended {
		if l.p == nil || l.p.cur == nil || l.p.cur == l || l.p.cur.ended {
			return false
		}
		l = l.p.cur
	}
	c := &l.n.w.count
	if l.n.hostile == nil {
		droppable := kind == frame.KindOffers || kind == frame.KindRefused || kind == frame.KindRecords || kind == frame.KindFilter
		if !l.pace.spend(l.n.now(), len(b)+(offers+1)*realOffer, offers, droppable) {
			c.offersHeld += uint64(offers)
			return false
		}
		c.frames[kind]++
		c.bytes += uint64(len(b))
	}
	l.o.put(uint32(len(b)), b)
	return true
}

func (l *link) sendLeave(infoHash []byte, full bool) {
	w := l.n.w
	w.scratch = frame.AppendLeave(w.scratch[:0], infoHash, full)
	l.send(frame.KindLeave, w.scratch)
}

// take performs one message.
func (l *link) take(b []byte) {
	w, limits := l.n.w, frame.DefaultLimits()
	if !l.meter.frames.allow(l.n.now(), 1) || !l.meter.bytes.allow(l.n.now(), float64(len(b))) {
		l.strike()
		return
	}
	if err := w.frame.Decode(b, limits); err != nil {
		l.strike()
		return
	}
	switch w.frame.Kind {
	case frame.KindJoin:
		if !l.meter.joins.allow(l.n.now(), 1) || !l.p.joinReceived(l, &w.frame.Join) {
			l.strike()
		}
	case frame.KindLeave:
		l.p.leaveReceived(w.frame.Leave.InfoHash, w.frame.Leave.Full)
	case frame.KindOffers:
		l.onOffers(&w.frame.Offers)
	case frame.KindAnswer:
		l.onAnswer(&w.frame.Answer)
	case frame.KindRefused:
		l.onRefused(&w.frame.Refused)
	case frame.KindRecords:
		l.onRecords(&w.frame.Records)
	case frame.KindCensus:
		l.onCensus(&w.frame.Census)
	case frame.KindFilter:
		l.onFilter(&w.frame.Filter)
	case frame.KindNames:
		l.onNames(&w.frame.Names)
	case frame.KindRegister:
		l.onRegister(&w.frame.Register)
	case frame.KindTold:
		l.onTold(&w.frame.Told)
	case frame.KindBye:
		l.onBye(w.frame.Bye.Code)
	}
}

// onBye ends the link, after the one that replaces it has come.
func (l *link) onBye(code frame.Code) {
	done := func() {
		l.waiting = nil
		l.p.byeReceived(l, code)
		l.end()
	}
	if code != frame.CodeDuplicate || l.p.other(l) != nil {
		done()
		return
	}
	l.waiting = done
	l.n.later(awaitFor, func() {
		if l.waiting != nil && !l.closed {
			done()
		}
	})
}

// strike counts a fault of the other side; one too many ends the link.
func (l *link) strike() {
	n := l.n
	n.w.count.strikes++
	if !l.meter.strike(n.now()) || l.closed {
		return
	}
	n.w.count.barred++
	n.mesh.Misbehaved(n.now(), l.p.key, l.group)
	n.advance()
	n.w.scratch = frame.AppendBye(n.w.scratch[:0], frame.CodeLimit)
	l.send(frame.KindBye, n.w.scratch)
	l.end()
}

func (l *link) onOffers(m *frame.Offers) {
	w := l.n.w
	w.batch = w.batch[:0]
	for i := range m.Offers {
		if o, ok := w.offer(i, m.Offers[i]); ok {
			w.batch = append(w.batch, o)
		} else {
			l.strike()
		}
	}
	if l.closed {
		return
	}
	batch := w.batch
	n := l.meter.offers.upTo(l.n.now(), len(batch))
	for _, o := range batch[n:] {
		l.Refused(m.InfoHash, m.PeerID, o, swarm.RefuseLimit)
	}
	if n < len(batch) {
		l.strike()
	}
	if n == 0 || l.closed {
		return
	}
	if l.p.shared[string(m.InfoHash)] == nil {
		_, have := l.n.tracker.State(m.InfoHash)
		l.sendLeave(m.InfoHash, have)
	}
	l.p.session.Offers(m.InfoHash, m.PeerID, batch[:n])
}

// offer reads and checks one offer; i picks the memory for its key.
func (w *World) offer(i int, o frame.Offer) (swarm.Offer, bool) {
	for len(w.keys) <= i {
		w.keys = append(w.keys, nil)
	}
	key, ok := wire.OfferKey(o.ID, w.keys[i][:0])
	if !ok || !wire.ValidPayload(o.Payload, w.limits) {
		return swarm.Offer{}, false
	}
	w.keys[i] = key
	return swarm.Offer{ID: o.ID, Key: key, Payload: o.Payload}, true
}

func (l *link) onAnswer(m *frame.Answer) {
	o, ok := l.n.w.offer(0, frame.Offer{ID: m.OfferID, Payload: m.Payload})
	if !ok {
		l.strike()
		return
	}
	if out := l.p.session.Answer(swarm.Answer{
		InfoHash: m.InfoHash, PeerID: m.PeerID, ToPeerID: m.ToPeerID, OfferID: o.ID, OfferKey: o.Key, Payload: o.Payload,
	}); out.Drop == swarm.DropNone && l.p.session.Trust().Proven {
		l.p.brought(m.InfoHash)
	}
}

func (l *link) onRefused(m *frame.Refused) {
	o, ok := l.n.w.offer(0, m.Offer)
	if !ok {
		l.strike()
		return
	}
	reason := swarm.RefuseNoPeer
	if m.Reason > 0 && m.Reason <= frame.ReasonLimit {
		reason = swarm.RefuseReason(m.Reason)
	}
	l.n.w.count.refused[reason]++
	l.p.session.Refused(m.InfoHash, m.PeerID, o, reason)
}

// Offers implements tracker.NodeSink.
func (l *link) Offers(infoHash, peerID []byte, offers []swarm.Offer) {
	w := l.n.w
	for len(offers) > 0 {
		n := min(len(offers), frame.DefaultLimits().MaxOffers)
		w.offers = w.offers[:0]
		for _, o := range offers[:n] {
			w.offers = append(w.offers, frame.Offer{ID: o.ID, Payload: o.Payload})
		}
		offers = offers[n:]
		w.scratch = frame.AppendOffers(w.scratch[:0], &frame.Offers{InfoHash: infoHash, PeerID: peerID, Offers: w.offers})
		if l.sendOffers(frame.KindOffers, w.scratch, n) {
			w.count.relayed += uint64(n)
			if l.o.n.hostile != nil {
				w.count.toHostile += uint64(n)
			}
		}
	}
}

// Answer implements tracker.NodeSink.
func (l *link) Answer(infoHash, toPeerID, peerID, offerID, payload []byte) {
	w := l.n.w
	w.scratch = frame.AppendAnswer(w.scratch[:0], &frame.Answer{InfoHash: infoHash, ToPeerID: toPeerID, PeerID: peerID, OfferID: offerID, Payload: payload})
	l.send(frame.KindAnswer, w.scratch)
}

// Refused implements tracker.NodeSink.
func (l *link) Refused(infoHash, peerID []byte, offer swarm.Offer, reason swarm.RefuseReason) {
	w := l.n.w
	w.scratch = frame.AppendRefused(w.scratch[:0], &frame.Refused{
		InfoHash: infoHash, PeerID: peerID, Offer: frame.Offer{ID: offer.ID, Payload: offer.Payload}, Reason: frame.Reason(reason),
	})
	l.send(frame.KindRefused, w.scratch)
}

// closeCode is what is said for a reason of the mesh.
func closeCode(r mesh.CloseReason) frame.Code {
	if r == mesh.CloseFull {
		return frame.CodeLimit
	}
	return frame.CodeIdle
}
