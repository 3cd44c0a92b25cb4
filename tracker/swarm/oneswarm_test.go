package swarm

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// One swarm: invariant 2. The same clients announce to one tracker, and to
// federated ones that relay to one another; the offer graphs must agree. Of a
// graph two things are compared by total variation: how offers spread over
// receivers, and over (receiver, node of the offerer), which is where "local
// first" shows even if both halves are alike.
const (
	swarmOffers  = 60_000
	wrongOffers  = 15_000 // enough to see that a choice is wrong
	receiverBand = 0.005  // over receivers
	sidesBand    = 0.015  // over (receiver's side, offerer's side)
	graphBand    = 0.05   // over (receiver, offerer's side): up to 500 cells, mostly noise of the draw
	seed         = 12
)

// sim is some tables whose effects are carried to one another at once.
type sim struct {
	t       *testing.T
	tables  []*table
	nodes   [][]*conn // nodes[i][j] is node j as table i knows it
	at      map[*conn]place
	now     time.Duration
	rng     *rand.Rand
	hidden  bool           // a local-first choice
	graph   map[[2]int]int // (receiver, side of the offerer): offers
	clients []*client
	side    map[string]int // of a peer id
	index   map[string]int // of a peer id, in clients
	serial  int
}

// place is what a conn is: node j as table i knows it, or (j < 0) a client of
// table i.
type place struct{ table, node, client int }

type client struct {
	conn *conn
	peer string
	side int // of the split that is compared
	home int // its table
}

func newSim(t *testing.T, tables int, split []int, seed uint64, hidden bool) *sim {
	m := &sim{t: t, at: map[*conn]place{}, rng: rand.New(rand.NewPCG(seed, 1)), hidden: hidden,
		graph: map[[2]int]int{}, side: map[string]int{}, index: map[string]int{}, now: 1000 * second}
	for i := range tables {
		m.tables = append(m.tables, newTable(Config{}, [32]byte{byte(seed), byte(i)}))
		m.nodes = append(m.nodes, make([]*conn, tables))
		for j := range tables {
			if i != j {
				c := &conn{name: fmt.Sprintf("node %d at %d", j, i)}
				m.nodes[i][j], m.at[c] = c, place{i, j, -1}
			}
		}
	}
	for side, n := range split {
		for range n {
			k := len(m.clients)
			c := &client{conn: &conn{name: fmt.Sprint("c", k)}, peer: fmt.Sprintf("peer%d", k), side: side, home: side % tables}
			m.clients = append(m.clients, c)
			m.at[c.conn] = place{c.home, -1, k}
			m.side[c.peer], m.index[c.peer] = side, k
		}
	}
	for _, c := range m.clients {
		m.announce(c, 0)
	}
	for i := range m.tables {
		for j := range m.tables {
			if i != j {
				m.join(j, i)
			}
		}
	}
	return m
}

// join sends node j's join to table i.
func (m *sim) join(j, i int) {
	st, ok := m.tables[j].State([]byte("H"))
	if !ok {
		return
	}
	key := [16]byte{byte(i + j), byte(i * j)} // of the link
	nj := &NodeJoin{InfoHash: []byte("H"), Complete: st.LocalComplete, Incomplete: st.LocalIncomplete, TagKey: key}
	nj.CompleteTags, nj.IncompleteTags, nj.Tagged = m.tables[j].Tags([]byte("H"), key, nil, nil)
	out, _ := m.tables[i].NodeJoin(m.now, m.nodes[i][j], nj, nil)
	m.carry(out)
}

func (m *sim) announce(c *client, n int) {
	c.conn.seen = m.now
	a := &Announce{InfoHash: []byte("H"), PeerID: []byte(c.peer), NumWant: -1}
	for range n {
		m.serial++
		a.Offers = append(a.Offers, off(fmt.Sprint(m.serial)))
	}
	tb := m.tables[c.home]
	if m.hidden { // the wrong choice: nodes only if nobody is here
		if s, x := tb.of("H"); x != nil && s.len() > 1 {
			for _, nd := range x.nodes {
				nd.draws = false
				x.reweigh(nd)
			}
			defer x.elect()
		}
	}
	out, _ := tb.Announce(m.now, c.conn, a, nil)
	m.carry(out)
}

// carry delivers effects, and what they bring about.
func (m *sim) carry(out []effect) {
	for i := 0; i < len(out); i++ {
		e := &out[i]
		at := m.at[e.To]
		switch e.Kind {
		case EffectOffer:
			k := at.client
			m.graph[[2]int{k, m.side[string(e.PeerID)]}]++
			c := m.clients[k]
			if c.peer == string(e.PeerID) {
				m.t.Fatal("a client got its own offer")
			}
			more, oc := m.tables[at.table].Answer(m.now, c.conn, &Answer{InfoHash: e.InfoHash, PeerID: []byte(c.peer),
				ToPeerID: e.PeerID, OfferID: e.Offer.ID, OfferKey: e.Offer.Key, Payload: e.Offer.Payload}, nil)
			if oc.Drop != DropNone || len(more) != 1 {
				m.t.Fatal("an answer was dropped: ", oc.Drop)
			}
			m.carry(more)
		case EffectAnswer:
			if m.clients[at.client].peer != string(e.ToPeerID) {
				m.t.Fatal("an answer went astray")
			}
		case EffectNodeOffer: // the frame is the run of effects for one node
			end := i
			var list []Offer
			for ; end < len(out) && out[end].Kind == EffectNodeOffer && out[end].To == e.To; end++ {
				list = append(list, out[end].Offer)
			}
			more, _ := m.tables[at.node].NodeOffers(m.now, m.nodes[at.node][at.table], e.InfoHash, e.PeerID, list, nil)
			m.carry(more)
			i = end - 1
		case EffectNodeAnswer:
			more, oc := m.tables[at.node].NodeAnswer(m.now, m.nodes[at.node][at.table], &Answer{InfoHash: e.InfoHash, PeerID: e.PeerID,
				ToPeerID: e.ToPeerID, OfferID: e.OfferID, OfferKey: off(strings.Trim(string(e.OfferID), `"`)).Key, Payload: e.Payload}, nil)
			if oc.Drop != DropNone || len(more) != 1 {
				m.t.Fatal("an answer through a node was dropped: ", oc.Drop)
			}
			m.carry(more)
		case EffectNodeRefused:
			more, _ := m.tables[at.node].NodeRefused(m.now, m.nodes[at.node][at.table], e.InfoHash, e.PeerID, e.Offer, e.Reason, nil)
			m.carry(more)
		}
	}
}

// run lets everybody announce, in random order, every two minutes.
func (m *sim) run(offers int) {
	for sent := 0; sent < offers; {
		for _, k := range m.rng.Perm(len(m.clients)) {
			m.now += 120 * second / time.Duration(len(m.clients))
			m.announce(m.clients[k], 5)
			sent += 5
		}
		for _, tb := range m.tables {
			tb.Sweep(m.now, 1<<30, nil)
		}
	}
	for _, tb := range m.tables {
		if err := tb.Check(); err != nil {
			m.t.Fatal(err)
		}
	}
}

// distance is the total variation between two graphs' distributions over
// receivers, over (receiver's side, offerer's side), and over (receiver,
// offerer's side).
type distance struct{ receivers, sides, graph float64 }

func (m *sim) distance(o *sim) distance {
	return distance{
		variation(m.graph, o.graph, func(k [2]int) [2]int { return [2]int{k[0], 0} }),
		variation(m.graph, o.graph, func(k [2]int) [2]int { return [2]int{m.clients[k[0]].side, k[1]} }),
		variation(m.graph, o.graph, func(k [2]int) [2]int { return k }),
	}
}

func variation(a, b map[[2]int]int, by func([2]int) [2]int) (d float64) {
	share := map[[2]int]float64{}
	add := func(g map[[2]int]int, sign float64) {
		sum := 0
		for _, n := range g {
			sum += n
		}
		for k, n := range g {
			share[by(k)] += sign * float64(n) / float64(sum)
		}
	}
	add(a, 1)
	add(b, -1)
	for _, x := range share {
		d += max(x, -x)
	}
	return d / 2
}

var splits = []struct {
	name   string
	tables int
	split  []int
}{
	{"2 nodes, 50/50", 2, []int{50, 50}},
	{"2 nodes, 99/1", 2, []int{99, 1}},
	{"2 nodes, one lone remote seeder", 2, []int{20, 1}},
	{"5 nodes, even", 5, []int{20, 20, 20, 20, 20}},
	{"5 nodes, 50/50", 5, []int{48, 12, 12, 12, 12}},
	{"5 nodes, 99/1", 5, []int{396, 1, 1, 1, 1}},
	{"5 nodes, one lone remote seeder", 5, []int{25, 25, 25, 25, 1}},
}

func TestOneSwarm(t *testing.T) {
	for _, c := range splits {
		t.Run(c.name, func(t *testing.T) {
			measure := func(tables, offers int, hidden bool) *sim {
				m := newSim(t, tables, c.split, uint64(tables)+seed, hidden)
				m.run(offers)
				return m
			}
			one := measure(1, swarmOffers, false)
			d := one.distance(measure(c.tables, swarmOffers, false))
			t.Logf("federated:   receivers %.4f, sides %.4f, graph %.4f", d.receivers, d.sides, d.graph)
			if !d.within() {
				t.Error("the federated swarm is not one swarm")
			}
			d = one.distance(measure(c.tables, wrongOffers, true))
			t.Logf("local first: receivers %.4f, sides %.4f, graph %.4f", d.receivers, d.sides, d.graph)
			if d.within() {
				t.Error("the test cannot tell local first from a fair choice")
			}
		})
	}
}

func (d distance) within() bool {
	return d.receivers <= receiverBand && d.sides <= sidesBand && d.graph <= graphBand
}
