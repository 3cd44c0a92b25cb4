package sim

import (
	"slices"
	"strconv"
	"time"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

const (
	// offerLife is how long a client keeps a connection open for an answer.
	offerLife = 50 * time.Second
	// setupTime is how long one who has answered waits for the connection.
	setupTime = 30 * time.Second
	// badSetup is how long a connection is tried whose answer was none.
	badSetup = 25 * time.Second
)

// group is a swarm and its clients.
type group struct {
	name    string
	live    []*client
	perNode map[*node]int // live clients; of those whose nodes are up or not
}

// client is a browser in one swarm, as the reference client behaves: it
// announces every 2 minutes or what the tracker says, with up to so many
// offers as long as it lacks connections; it answers what it is offered after
// a while; it keeps one connection for each peer id, the first it hears of.
type client struct {
	id     uint32
	w      *World
	node   *node
	swarm  *group
	place  int // in swarm.live
	seeder bool
	most   int // connections
	offers int // at most, of one announce
	wire   time.Duration
	// quiet: it never announces again, as some never do.
	quiet bool

	session *tracker.Session
	alive   bool
	joined  bool // its first announce was made
	timer   uint32
	conns   []uint32
	setups  []setup
	began   time.Duration // of its first announce
	clock   time.Duration // since when somebody is elsewhere; never: nobody yet
	first   time.Duration // its first introduction, and its first to another node
	across  time.Duration
	offered int // how many offers it got
}

// setup is a connection that is being made with another client.
type setup struct {
	who   uint32
	until time.Duration
}

// What happens to a client: the kind in the top 4 bits of an event's
// argument, an offer in the next 28, another client in the low 32.
const (
	doAnnounce uint64 = iota
	doOffered
	doAnswer
	doAnswered
	doConnect
	doPong
)

func pack(kind uint64, offer, who uint32) uint64 {
	return kind<<60 | uint64(offer&(1<<28-1))<<32 | uint64(who)
}

// newClient makes a client that has not arrived yet.
func (w *World) newClient(n *node, s *group) *client {
	c := &client{
		id: uint32(len(w.clients)), w: w, node: n, swarm: s, alive: true, clock: never, first: never, across: never,
		most: 20 + w.pop.IntN(16), offers: 5, wire: time.Duration(15+w.pop.IntN(105)) * time.Millisecond,
	}
	if w.pop.Float64() < 0.2 {
		c.offers = 10
	}
	c.seeder = w.pop.Float64() < 0.3
	w.clients = append(w.clients, c)
	return c
}

// arrive opens the client's connection to its tracker.
func (c *client) arrive() { c.w.queue.push(c.w.now+2*c.wire, c, pack(doConnect, 0, 0)) }

// fire implements actor.
func (c *client) fire(w *World, arg uint64) {
	if !c.alive {
		return
	}
	offer, who := uint32(arg>>32)&(1<<28-1), uint32(arg)
	switch arg >> 60 {
	case doConnect:
		c.connect()
	case doAnnounce:
		if who == c.timer && c.session != nil {
			c.announce("")
		}
	case doOffered:
		c.onOffer(offer, who)
	case doAnswer:
		c.answer(offer, who)
	case doAnswered:
		c.onAnswer(offer, who)
	case doPong:
		if c.session != nil {
			c.session.Seen()
		}
	}
}

// connect opens the socket, or tries again later as the reference client does.
func (c *client) connect() {
	if !c.node.up {
		c.reconnect()
		return
	}
	c.session = c.node.tracker.Open(c, tracker.Client{})
	event := ""
	if !c.joined {
		c.joined, event = true, "started"
		c.began = c.w.now
		c.swarm.enter(c)
	}
	c.announce(event)
}

func (c *client) reconnect() {
	c.w.queue.push(c.w.now+10*time.Second+c.w.between(0, 5*time.Minute), c, pack(doConnect, 0, 0))
}

// lose is the end of the connection, from the other side.
func (c *client) lose() {
	c.session = nil
	if c.alive {
		c.reconnect()
	}
}

// announce makes one, with offers while connections are lacking.
func (c *client) announce(event string) {
	w := c.w
	offers := 0
	if free := c.most - len(c.conns) - c.pending(); free > 0 {
		offers = c.offers
	}
	b := append(w.text[:0], `{"action":"announce","info_hash":"`...)
	b = append(append(b, c.swarm.name...), `","peer_id":"`...)
	b = append(appendPeer(b, c.id), `","uploaded":0,"downloaded":0,"numwant":`...)
	b = strconv.AppendInt(b, int64(offers), 10)
	if c.seeder {
		b = append(b, `,"left":0`...)
	} else {
		b = append(b, `,"left":1`...)
	}
	if event != "" {
		b = append(append(append(b, `,"event":"`...), event...), '"')
	}
	b = append(b, `,"offers":[`...)
	for i := range offers {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"offer":{"sdp":"o"},"offer_id":"`...)
		b = append(appendOffer(b, offerAt(w.now, i)), `"}`...)
	}
	w.text = append(b, "]}"...)
	w.count.announces++
	w.count.offers += uint64(offers)
	c.session.Handle(w.text)
}

// Deliver implements tracker.Sink: what the tracker sends arrives in a while.
func (c *client) Deliver(m *wire.Message) {
	w := c.w
	switch m.Kind {
	case wire.KindReply:
		if c.quiet {
			return
		}
		c.timer++
		w.queue.push(w.now+time.Duration(m.Interval)*time.Second, c, pack(doAnnounce, 0, c.timer))
	case wire.KindOffer:
		if string(m.Payload) == junk { // a browser's setRemoteDescription fails: there is no answer
			w.count.offered++
			w.count.offeredFake++
			return
		}
		w.queue.push(w.now+c.wire, c, pack(doOffered, parseOffer(m.OfferID), parsePeer(m.PeerID)))
	case wire.KindAnswer:
		w.queue.push(w.now+c.wire, c, pack(doAnswered, parseOffer(m.OfferID), parsePeer(m.PeerID)))
	}
}

// Ping implements tracker.Sink.
func (c *client) Ping() { c.w.queue.push(c.w.now+2*c.wire, c, pack(doPong, 0, 0)) }

// Close implements tracker.Sink.
func (c *client) Close(int, string) { c.w.count.closed++ }

// pending counts the connections that are being made, and drops those that
// were given up.
func (c *client) pending() int {
	c.setups = slices.DeleteFunc(c.setups, func(s setup) bool { return s.until <= c.w.now })
	return len(c.setups)
}

// knows reports whether there is a connection with a client, or one is made.
func (c *client) knows(who uint32) bool {
	return slices.Contains(c.conns, who) || slices.ContainsFunc(c.setups, func(s setup) bool { return s.who == who })
}

// onOffer decides about an offer.
func (c *client) onOffer(offer, from uint32) {
	w := c.w
	c.offered++
	w.count.offered++
	if from&fake != 0 {
		w.count.offeredFake++
	}
	busy := len(c.conns) + c.pending()
	switch {
	case c.knows(from):
		w.count.declinedKnown++
		return
	case busy >= c.most:
		w.count.declinedFull++
		return
	}
	c.setups = append(c.setups, setup{from, w.now + setupTime})
	think := 100*time.Millisecond + min(w.exponential(700*time.Millisecond), 5*time.Second)
	w.queue.push(w.now+think+c.wire, c, pack(doAnswer, offer, from))
}

// answer sends the answer to an offer.
func (c *client) answer(offer, to uint32) {
	if c.session == nil {
		return
	}
	w := c.w
	b := append(w.text[:0], `{"action":"announce","info_hash":"`...)
	b = append(append(b, c.swarm.name...), `","peer_id":"`...)
	b = append(appendPeer(b, c.id), `","to_peer_id":"`...)
	b = append(appendPeer(b, to), `","answer":{"sdp":"a"},"offer_id":"`...)
	w.text = append(appendOffer(b, offer), `"}`...)
	w.count.answers++
	c.session.Handle(w.text)
}

// onAnswer completes a connection, if all is as it should be.
func (c *client) onAnswer(offer, from uint32) {
	w := c.w
	k := &w.count
	k.answered++
	switch {
	case w.now-offerMade(offer) > offerLife:
		k.lostLate++
		return
	case c.knows(from):
		k.lostCrossed++
		return
	case len(c.conns)+c.pending() >= c.most:
		k.lostFull++
		return
	case from&fake != 0:
		k.garbage++
		c.setups = append(c.setups, setup{from, w.now + badSetup})
		return
	}
	o := w.clients[from]
	if !o.alive {
		k.lostGone++
		return
	}
	if i := slices.IndexFunc(o.setups, func(s setup) bool { return s.who == c.id }); i >= 0 {
		o.setups = slices.Delete(o.setups, i, i+1)
	}
	if len(o.conns) >= o.most {
		k.lostFull++
		return
	}
	c.conns = append(c.conns, o.id)
	o.conns = append(o.conns, c.id)
	w.count.introduced(c, o)
}

// leave ends the client: it says so, closes its socket, or is just gone.
func (c *client) leave() {
	if !c.alive {
		return
	}
	w := c.w
	if s := c.session; s != nil {
		switch r := w.rng.Float64(); {
		case r < 0.5:
			w.text = append(w.text[:0], `{"action":"announce","event":"stopped","info_hash":"`...)
			w.text = append(append(w.text, c.swarm.name...), `","peer_id":"`...)
			w.text = append(appendPeer(w.text, c.id), `"}`...)
			s.Handle(w.text)
			s.Close()
		case r < 0.95:
			s.Close()
		default: // half-open, until the server's pings show it
			n, run := c.node, c.node.runs
			w.after(75*time.Second, func() {
				if n.up && n.runs == run {
					s.Close()
				}
			})
		}
	}
	c.alive, c.session = false, nil
	for _, id := range c.conns {
		o := w.clients[id]
		if i := slices.Index(o.conns, c.id); i >= 0 {
			o.conns = slices.Delete(o.conns, i, i+1)
		}
	}
	c.conns, c.setups = nil, nil
	c.swarm.part(c)
}

// enter makes c one of the swarm, and starts the clocks of those who now have
// somebody elsewhere.
func (s *group) enter(c *client) {
	if s.perNode == nil {
		s.perNode = make(map[*node]int)
	}
	switch others := len(s.perNode); {
	case others > 1 || others == 1 && s.perNode[c.node] == 0:
		c.clock = c.w.now
		if others == 1 {
			for _, o := range s.live {
				if o.clock == never {
					o.clock = c.w.now
				}
			}
		}
	}
	c.place = len(s.live)
	s.live = append(s.live, c)
	s.perNode[c.node]++
}

func (s *group) part(c *client) {
	if !c.joined {
		return
	}
	last := len(s.live) - 1
	s.live[c.place] = s.live[last]
	s.live[c.place].place = c.place
	s.live[last] = nil
	s.live = s.live[:last]
	if s.perNode[c.node]--; s.perNode[c.node] == 0 {
		delete(s.perNode, c.node)
	}
}
