package sim

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/tracker/wire"
)

// junk is a description that no browser accepts.
const junk = `{"sdp":"x"}`

// way is how a hostile node goes about it.
type way uint8

const (
	silent   way = iota // proves its key and says nothing more, or not even that
	liar                // claims more peers than anybody has, and takes their offers
	flooder             // sends offers of peers that do not exist
	hole                // claims a few peers, and takes their offers
	garbager            // claims a few peers, and answers for them what is no answer
	mimic               // claims a few peers, and offers and answers for them what a browser accepts
)

const (
	// A hostile node names itself in the list of so many swarms at most.
	knownSwarms = 50
	// floodEvery is how often a flooder sends a frame of 20 offers on each link,
	// and a fresh key's, of which there are many: what they may send is far more,
	// but limits that hold for this hold for that.
	floodEvery      = 2 * time.Second
	floodFreshEvery = 15 * time.Second
	// garbageAfter is how soon a garbager answers.
	garbageAfter = 300 * time.Millisecond
	againAfter   = 25 * time.Minute
	// mimicEvery is how often a mimic sends two offers on each link.
	mimicEvery, mimicFreshEvery = 3 * time.Second, 15 * time.Second
	claims                      = 10
)

// hostile is a node that is none of ours: it has no tracker and no mesh, only
// links. It knows the info hashes of the swarms that everybody knows.
type hostile struct {
	n      *node
	way    way
	fresh  bool     // one of the many
	mute   bool     // it answers nobody, in a handshake either
	swarms []*group // that it names itself in
	invent uint32   // the last peer that it made up
}

// addHostile makes a hostile node.
func (w *World) addHostile(ip netip.Addr, how way, swarms []*group) *node {
	n := w.addNode(ip)
	n.up, n.runs = true, 1
	n.hostile = &hostile{n: n, way: how, mute: how == silent && n.id%2 == 0, swarms: swarms}
	n.own = mesh.Record{
		Key: n.key, URLs: []nodeaddr.URL{n.url}, Seq: start.Unix(),
		Expires: start.Unix() + record.Lifetime, Registers: true,
	}
	return n
}

// announce names the node in its swarms' lists, and where nodes look for each
// other. Its packets are not counted: it may have as many as it likes.
func (h *hostile) announce() {
	w := h.n.w
	epoch := derive.Epoch(w.time().Unix())
	w.dht.write(h.n, w.dht.target(w.net.Node(epoch, derive.Shard(h.n.key[:]))), h.n.addr)
	for _, s := range h.swarms {
		w.dht.write(h.n, w.dht.target(w.net.Swarm(epoch, wire.Raw20([]byte(s.name)))), h.n.addr)
	}
	w.after(againAfter, h.announce)
}

// dial opens a link with a node, and again whenever it ends.
func (h *hostile) dial(to *node, again bool) {
	w := h.n.w
	rtt := w.latency(h.n, to) + w.latency(to, h.n)
	if h.mute || !to.up || to.acceptedAll >= maxHandshakes || to.accepted[h.n.group] >= maxHandshakesGroup {
		if again && !h.mute {
			w.after(w.between(time.Minute, 3*time.Minute), func() { h.dial(to, true) })
		}
		return
	}
	to.accept(h.n.group, roundTrips*rtt+rtt/2)
	w.after(roundTrips*rtt, func() {
		if to.up {
			l := w.connect(h.n, to, uint64(w.time().UnixMilli()), rtt/2)
			l.again = again
			h.met(l)
		}
	})
}

// lost is the end of a link.
func (h *hostile) lost(l *link) {
	if l.again {
		h.n.w.after(h.n.w.between(time.Minute, 3*time.Minute), func() { h.dial(l.o.n, true) })
	}
}

// met is a link that is up.
func (h *hostile) met(l *link) {
	if h.way == silent {
		return
	}
	for _, s := range h.swarms {
		h.join(l, []byte(s.name))
	}
	if (h.way == flooder || h.way == mimic) && len(h.swarms) > 0 {
		h.flood(l)
	}
}

// join says what the node would have others believe.
func (h *hostile) join(l *link, infoHash []byte) {
	w := h.n.w
	if l.said[string(infoHash)] {
		return
	}
	if l.said == nil {
		l.said = make(map[string]bool)
	}
	l.said[string(infoHash)] = true
	j := frame.Join{InfoHash: infoHash, Complete: 3, Incomplete: claims - 3}
	if h.way == liar {
		j.Complete, j.Incomplete = 500_000, 500_000
	}
	w.scratch = frame.AppendJoin(w.scratch[:0], &j)
	l.send(frame.KindJoin, w.scratch)
}

// flood sends offers in one of the swarms, and goes on while the link is up.
func (h *hostile) flood(l *link) {
	w := h.n.w
	if l.closed {
		return
	}
	h.invent++
	n, payload, pause := frame.DefaultLimits().MaxOffers, junk, floodEvery
	if h.fresh {
		pause = floodFreshEvery
	}
	s := h.swarms[w.rng.IntN(len(h.swarms))]
	peer := appendPeer(nil, h.peer(s.name))
	if h.way == mimic {
		n, payload, pause = 2, `{"sdp":"o"}`, mimicEvery
		if h.fresh {
			pause = mimicFreshEvery
		}
	}
	var id []byte
	offers := make([]frame.Offer, n)
	for i := range offers {
		from := len(id)
		id = append(appendOffer(append(id, '"'), offerAt(w.now, i)), '"')
		offers[i] = frame.Offer{ID: id[from:len(id):len(id)], Payload: []byte(payload)}
	}
	w.scratch = frame.AppendOffers(w.scratch[:0], &frame.Offers{InfoHash: []byte(s.name), PeerID: peer, Offers: offers})
	l.send(frame.KindOffers, w.scratch)
	w.after(pause, func() { h.flood(l) })
}

// peer is one that the node made up. A mimic has no more of them than it claims,
// and others every ten minutes.
func (h *hostile) peer(infoHash string) uint32 {
	if h.way == mimic {
		at, _ := strconv.Atoi(infoHash[len("swarm"):])
		who := uint32(at%1000*claims+h.n.w.rng.IntN(claims))*10 + uint32(h.n.w.now/(10*time.Minute))%10
		return fake | (uint32(h.n.id)*100_000+who)%900_000_000
	}
	return fake | (uint32(h.n.id)*50_000+h.invent%50_000)%900_000_000
}

// take performs one message of the other side.
func (h *hostile) take(l *link, b []byte) {
	w := h.n.w
	if w.frame.Decode(b, frame.DefaultLimits()) != nil {
		return
	}
	switch w.frame.Kind {
	case frame.KindJoin:
		// Whoever found us names the swarm, if we did not know it. Once: the
		// other side answers a join that finds its swarm full with its own and
		// a leave, which would go on for ever.
		if h.way != silent {
			h.join(l, w.frame.Join.InfoHash)
		}
	case frame.KindOffers:
		if h.way == garbager || h.way == mimic {
			h.answer(l, &w.frame.Offers)
		}
	case frame.KindRegister:
		if asked := w.frame.Register.Asked; h.way != silent && len(asked) > 0 {
			h.mislead(l, asked)
		}
	case frame.KindBye:
		l.end()
	}
}

// answer answers each offer with what leads nowhere.
func (h *hostile) answer(l *link, m *frame.Offers) {
	w, payload := h.n.w, junk
	if h.way == mimic {
		payload = `{"sdp":"a"}`
	}
	for _, o := range m.Offers {
		h.invent++
		a := frame.AppendAnswer(nil, &frame.Answer{
			InfoHash: m.InfoHash, ToPeerID: m.PeerID, PeerID: appendPeer(nil, h.peer(string(m.InfoHash))),
			OfferID: o.ID, Payload: []byte(payload),
		})
		w.after(garbageAfter, func() {
			if !l.closed {
				l.send(frame.KindAnswer, a)
			}
		})
	}
}
