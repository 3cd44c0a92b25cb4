package swarm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

func (m *model) sweep() {
	out := m.tb.Sweep(m.now, 1<<30, nil)
	out = m.tb.Sweep(m.now, 1<<30, out) // what moved behind the cursor
	rest := slices.DeleteFunc(out, func(e effect) bool { return e.Kind == EffectTouch })
	// In which order claims of one age are decided and members expire is the
	// table's affair: those whose offers show may find others here, or gone.
	m.loose = true
	type due struct {
		h, p string
		at   time.Duration
	}
	for {
		var list []due
		for h, s := range m.swms {
			for p, x := range s.members {
				if x.claim != nil && m.now >= x.claim.at+4*time.Second {
					list = append(list, due{h, p, x.claim.at})
				}
			}
		}
		if len(list) == 0 {
			break
		}
		// Which of those of one age came first is seen in the effects.
		slices.SortFunc(list, func(a, b due) int { return int(a.at - b.at) })
		d := list[0]
		for _, o := range list {
			if o.at == d.at && len(rest) > 0 && string(rest[0].PeerID) == o.p && string(rest[0].InfoHash) == o.h {
				d = o
				break
			}
		}
		x := m.swms[d.h].members[d.p]
		if x.owner.seen > x.claim.at || x.owner.seen == x.claim.at && x.claim.heard < x.claim.at {
			x.claim = nil
			m.did["claim refused"]++
			continue
		}
		m.depart(d.h, d.p, &rest)
	}
	for _, claimed := range []bool{true, false} {
		for h, s := range m.swms {
			for p, x := range s.members {
				if m.now >= x.until {
					x.parked = nil
				}
				if (x.claim != nil) == claimed && m.now-max(ticked(x.seen), x.owner.ping) >= 300*time.Second {
					m.did["expired"]++
					m.depart(h, p, &rest)
				}
			}
		}
	}
	m.loose = false
	if len(rest) != 0 {
		m.fail("a sweep did %s", text(&rest[0]))
	}
}

// ticked is the time that a table takes note of.
func ticked(t time.Duration) time.Duration { return (t + tick - 1) / tick * tick }

// agree compares everything that can be compared.
func (m *model) agree() {
	m.t.Helper()
	if err := m.tb.Check(); err != nil {
		m.fail("%v", err)
	}
	if int(m.tb.swarms.rows) != len(m.swms) {
		m.fail("%d swarms, want %d", m.tb.swarms.rows, len(m.swms))
	}
	m.sent = slices.DeleteFunc(m.sent, func(x msent) bool { return m.now/halfWindow >= x.generation+generations })
	entries := 0
	for range m.sent {
		entries++
	}
	m.tb.ledger.turn(m.now)
	if n := m.tb.ledger.len(); n != entries {
		m.fail("%d ledger entries, want %d", n, entries)
	}
	for node, k := range m.known {
		if !slices.Equal(k.got, k.want) {
			m.fail("of node %s %v was noted, want %v", node.name, k.got, k.want)
		}
		k.got, k.want = k.got[:0], k.want[:0]
	}
	for h, s := range m.swms {
		ts, tx := m.tb.of(h)
		if tx == nil {
			tx = new(extension)
		}
		if ts == nil || ts.len() != len(s.members) || len(tx.nodes) != len(s.nodes) || int(ts.downloaded) != s.down {
			m.fail("swarm %s differs: %+v, want %+v", h, ts, s)
		}
		c, i := m.counts(s)
		if tc, ti := m.tb.counts(ts); tc != c || ti != i {
			m.fail("swarm %s counts %d/%d, want %d/%d", h, tc, ti, c, i)
		}
		for p, x := range s.members {
			y := m.tb.peer(ts, []byte(p))
			if y == nil {
				m.fail("%s is not in %s", p, h)
			}
			parked := 0
			if b := m.tb.batchOf(ts, y); b != nil {
				parked = len(b.offers)
			}
			claim := m.tb.claimTo(ts, y)
			if y.owner != x.owner.id || m.now-y.silent(m.now) != ticked(x.seen) || y.has(seeder) != x.complete || parked != len(x.parked) ||
				(claim == nil) != (x.claim == nil) || claim != nil && (claim.owner != x.claim.owner.id || claim.at != x.claim.at) {
				m.fail("%s in %s differs: %+v, want %+v", p, h, y, x)
			}
		}
		for n, nd := range s.nodes {
			if y := tx.node(n.id); y == nil || y.credit != nd.credit {
				m.fail("node %s in %s differs", n.name, h)
			}
		}
	}
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// step does one random thing.
func (m *model) step(conns, nodes []*conn) {
	hashes := []string{"H1", "H1", "H1", "H2", "H3"}
	h, c, node := pick(m.rng, hashes), pick(m.rng, conns), pick(m.rng, nodes)
	p := fmt.Sprint("p", m.rng.IntN(24))
	if m.rng.IntN(4) > 0 { // mostly what is one's own
		p = fmt.Sprintf("%s.%d", c.name, m.rng.IntN(2))
	}
	var list []Offer
	for range m.rng.IntN(4) {
		m.id++
		id := m.id
		if m.rng.IntN(5) == 0 {
			id = m.rng.IntN(m.id) // an old one again
		}
		if o := off(fmt.Sprint(id)); !slices.ContainsFunc(list, func(x Offer) bool { return bytes.Equal(x.Key, o.Key) }) {
			list = append(list, o)
		}
	}
	note := func(format string, args ...any) {
		m.say = append(m.say, m.now.String()+" "+fmt.Sprintf(format, args...))
	}
	var some msent // an outstanding offer, to be answered or refused
	if len(m.sent) > 0 {
		some = pick(m.rng, m.sent)
	}
	switch k := m.rng.IntN(100); {
	case k < 35:
		a := &Announce{InfoHash: []byte(h), PeerID: []byte(p), NumWant: m.rng.IntN(5) - 1, Offers: list,
			Event: pick(m.rng, []wire.Event{0, 0, 0, wire.EventStarted, wire.EventStopped, wire.EventCompleted}),
			Left:  wire.Left(m.rng.IntN(3))}
		note("announce %s %s %s event %d, %d offers", c.name, h, p, a.Event, len(list))
		c.seen = m.now
		m.announce(c, h, p, a)
	case k < 50:
		to, who := some.to, p
		if s := m.swms[some.hash]; s != nil {
			var own []string
			for q, x := range s.members {
				if x.owner == some.to {
					own = append(own, q)
				}
			}
			if slices.Sort(own); len(own) > 0 && m.rng.IntN(8) > 0 {
				who = pick(m.rng, own)
			}
		}
		if to == nil || m.rng.IntN(10) == 0 {
			to = c
		}
		note("answer %s %s %s to %s %s", to.name, some.hash, who, some.from, some.key)
		to.seen = m.now
		m.answer(to, some.hash, who, some.from, some.key)
	case k < 54:
		note("leave %s %s %s", c.name, h, p)
		s := m.swms[h]
		out, _ := m.tb.Leave(m.now, c, []byte(h), []byte(p), nil)
		if s != nil && s.members[p] != nil {
			switch x := s.members[p]; {
			case x.owner == c:
				m.depart(h, p, &out)
			case x.claim != nil && x.claim.owner == c:
				x.claim = nil
			}
		}
		if len(out) != 0 {
			m.fail("leaving did %s", text(&out[0]))
		}
	case k < 68:
		m.now += pick(m.rng, []time.Duration{0, 1, time.Second, 3 * time.Second, 10 * time.Second, 40 * time.Second})
		note("sweep")
		m.sweep()
	case k < 76:
		j := &NodeJoin{InfoHash: []byte(h), Complete: m.rng.IntN(4), Incomplete: m.rng.IntN(4), Group: pick(m.rng, []string{"", "g"})}
		var tags map[string]bool
		if m.rng.IntN(2) == 0 {
			tags = map[string]bool{}
			j.Tagged, j.TagKey = true, [16]byte{byte(m.rng.IntN(2))}
			for len(tags) < j.Complete+j.Incomplete {
				q := fmt.Sprintf("%s.%d", pick(m.rng, conns).name, m.rng.IntN(2))
				if _, again := tags[q]; again {
					continue
				}
				tags[q] = len(j.CompleteTags) < j.Complete
				if g := Tag(j.TagKey, []byte(q)); tags[q] {
					j.CompleteTags = append(j.CompleteTags, g)
				} else {
					j.IncompleteTags = append(j.IncompleteTags, g)
				}
			}
		}
		note("join %s %s %d/%d tags %v", node.name, h, j.Complete, j.Incomplete, tags)
		m.join(node, h, j, tags)
	case k < 78:
		note("node leave %s %s", node.name, h)
		m.tb.NodeLeave(m.now, node, []byte(h), nil)
		if s := m.swms[h]; s != nil && s.nodes[node] != nil {
			s.left[node] = mleft{s.nodes[node].credit, m.now}
			delete(s.nodes, node)
		}
	case k < 86:
		q := fmt.Sprint("far", m.rng.IntN(5))
		if m.rng.IntN(8) == 0 {
			q = p
		}
		note("node offers %s %s %s %d", node.name, h, q, len(list))
		for i := range list { // ids of their own
			list[i] = off(fmt.Sprint(node.name, m.id, ".", i))
		}
		m.nodeOffers(node, h, q, list)
	case k < 92:
		from := some.to
		if from == nil || m.rng.IntN(10) == 0 {
			from = node
		}
		q := fmt.Sprint("far", m.rng.IntN(5))
		if m.rng.IntN(8) == 0 {
			q = p
		}
		note("node answer %s %s %s to %s %s", from.name, some.hash, q, some.from, some.key)
		if slices.Contains(nodes, from) {
			m.nodeAnswer(from, some.hash, q, some.from, some.key)
		}
	case k < 96:
		o := Offer{Key: []byte(some.key), Payload: []byte(some.payload)}
		if m.rng.IntN(8) == 0 {
			o.Payload = []byte("{}")
		}
		if slices.Contains(nodes, some.to) {
			note("refused %s %s %s %s", some.to.name, some.hash, some.from, some.key)
			m.nodeRefused(some.to, some.hash, some.from, o, pick(m.rng, []RefuseReason{RefuseNoPeer, RefuseLocalPeer}))
		}
	default:
		note("ping of %s", c.name)
		c.seen, c.ping = m.now, m.now
	}
	m.agree()
}

func TestAgainstTheModel(t *testing.T) {
	did := map[string]int{}
	for seed := range uint64(16) {
		cfg := Config{MaxPerOwnerSwarm: 100, MaxParkedBytes: 1 << 20}
		m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 5)), now: 1000 * time.Second, cfg: cfg,
			tb: newTable(cfg, [32]byte{byte(seed)}), swms: map[string]*mswarm{}, did: did, known: map[*conn]*mdeeds{}}
		var conns, nodes []*conn
		for i := range 6 + 4*int(seed%4) { // few, or enough for an index
			conns = append(conns, &conn{name: fmt.Sprint("c", i)})
		}
		for i := range 1 + seed%4 {
			nodes = append(nodes, &conn{name: fmt.Sprint("n", i)})
		}
		for range 1500 {
			m.step(conns, nodes)
		}
	}
	for _, what := range []string{"relayed", "parked", "stopped", "claimed", "taken over", "honoured", "claim refused", "expired",
		"answered", "answered to node", "answered by node", "from node", "flushed", "redrawn", "redrawn here",
		"met", "met again"} {
		if did[what] == 0 {
			t.Errorf("no run had %q", what)
		}
	}
	t.Log(did)
}
