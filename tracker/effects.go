package tracker

import (
	"github.com/draeder/peerservers/tracker/access"
	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

// work is the scratch of one operation. It is pooled for the tracker rather
// than kept per session: of 100,000 connections a few are at work at a time,
// and a parser keeps hold of the last frame it saw.
type work struct {
	parser   *wire.Parser
	courier  Courier // nil: sinks are called directly
	request  wire.Request
	announce swarm.Announce
	answer   swarm.Answer
	join     swarm.NodeJoin
	ask      access.Request
	message  wire.Message
	effects  []swarm.Effect
	files    []wire.File
	offers   []swarm.Offer
	key      []byte
}

// maxKept is how many effects and files a pooled work has room for: an announce
// has at most some dozens, a sweep or a scrape thousands.
const maxKept = 256

func (t *Tracker) getWork() *work { return t.works.Get().(*work) }

// putWork takes w back. It goes on holding the last frame, like its parser, and
// what it points to is written anew before it is read: to clear it would take a
// part of what a message takes.
func (t *Tracker) putWork(w *work) {
	w.courier = nil
	if cap(w.effects) > maxKept {
		w.effects = nil
	}
	if cap(w.files) > maxKept {
		w.files = nil
	}
	w.effects, w.files, w.offers = w.effects[:0], w.files[:0], w.offers[:0]
	t.works.Put(w)
}

// perform does what the table decided, in its order. No lock is held.
func (t *Tracker) perform(w *work) {
	for i := 0; i < len(w.effects); i++ {
		e := &w.effects[i]
		switch e.Kind {
		case swarm.EffectTouch:
			t.touch(e.InfoHash)
		case swarm.EffectNodeOffer:
			i += t.relayOffers(w, i) - 1
		case swarm.EffectNodeAnswer:
			if s := t.nodeSink(e.To); s != nil {
				s.Answer(e.InfoHash, e.ToPeerID, e.PeerID, e.OfferID, e.Payload)
			}
		case swarm.EffectNodeRefused:
			if s := t.nodeSink(e.To); s != nil {
				s.Refused(e.InfoHash, e.PeerID, e.Offer, e.Reason)
			}
		default:
			t.toClient(w, e)
		}
	}
}

// toClient performs an effect for a local client. It may have closed since the
// lock was released; its sink may know before the session does.
func (t *Tracker) toClient(w *work, e *swarm.Effect) {
	s := t.owners.session(e.To)
	if s == nil || s.closed.Load() {
		t.stats.ToClosed.Add(1)
		return
	}
	m := &w.message
	switch e.Kind {
	case swarm.EffectReply:
		*m = wire.Message{
			Kind: wire.KindReply, InfoHash: e.InfoHash, Interval: s.interval(),
			Complete: e.Complete, Incomplete: e.Incomplete,
		}
	case swarm.EffectOffer:
		*m = wire.Message{
			Kind: wire.KindOffer, InfoHash: e.InfoHash, PeerID: e.PeerID,
			OfferID: e.Offer.ID, Payload: e.Offer.Payload,
		}
	case swarm.EffectAnswer:
		*m = wire.Message{
			Kind: wire.KindAnswer, InfoHash: e.InfoHash, PeerID: e.PeerID,
			OfferID: e.OfferID, Payload: e.Payload,
		}
	case swarm.EffectPing:
		s.sink.Ping()
		return
	default:
		return
	}
	w.deliver(s)
}

// deliver sends w.message to the client of s.
func (w *work) deliver(s *Session) {
	if w.courier != nil {
		w.courier.Deliver(s.sink, &w.message)
		return
	}
	s.sink.Deliver(&w.message)
}

// relayOffers hands a node the offers of one announce, which are consecutive,
// in one call. It returns how many effects that were.
func (t *Tracker) relayOffers(w *work, at int) int {
	first := &w.effects[at]
	w.offers = w.offers[:0]
	n := 0
	for ; at+n < len(w.effects); n++ {
		e := &w.effects[at+n]
		if e.Kind != swarm.EffectNodeOffer || e.To != first.To ||
			string(e.InfoHash) != string(first.InfoHash) || string(e.PeerID) != string(first.PeerID) {
			break
		}
		w.offers = append(w.offers, e.Offer)
	}
	if s := t.nodeSink(first.To); s != nil {
		s.Offers(first.InfoHash, first.PeerID, w.offers)
	}
	return n
}

func (t *Tracker) nodeSink(o swarm.Owner) NodeSink {
	t.nodesMu.RLock()
	n := t.numbers[o]
	t.nodesMu.RUnlock()
	if n != nil {
		if l := n.link.Load(); l != nil {
			return l.sink
		}
	}
	t.stats.ToClosed.Add(1)
	return nil
}

func (t *Tracker) touch(infoHash []byte) {
	if t.cfg.Watcher != nil {
		t.cfg.Watcher.Touch(infoHash)
	}
}
