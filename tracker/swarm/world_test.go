package swarm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

const second = time.Second

func off(id string) Offer {
	return Offer{ID: []byte(`"` + id + `"`), Key: []byte("s" + id), Payload: []byte(`{"sdp":"` + id + `"}`)}
}

func offs(ids ...string) []Offer {
	var list []Offer
	for _, id := range ids {
		list = append(list, off(id))
	}
	return list
}

// world is a table with a clock, whose calls return effects as text and
// check the table's invariants.
type world struct {
	t   testing.TB
	tb  *table
	now time.Duration
	oc  Outcome          // of the last call
	raw []effect         // its effects
	by  map[string]*conn // connections made
	// What is known of nodes, by name.
	records map[string]*Record
	serial  int
}

func newWorld(t testing.TB, cfg Config) *world {
	t.Helper()
	return &world{t: t, tb: newTable(cfg, [32]byte{1, 2, 3}), now: 1000 * second, by: map[string]*conn{}, records: map[string]*Record{}}
}

// c is the connection of that name; asking for it is a sign of life.
func (w *world) c(name string) *conn {
	if w.by[name] == nil {
		w.by[name] = &conn{name: name}
	}
	w.by[name].seen = w.now
	return w.by[name]
}

func (w *world) done(out []effect, oc Outcome) []string {
	w.t.Helper()
	w.raw, w.oc = out, oc
	if err := w.tb.Check(); err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for i := range out {
		got = append(got, text(&out[i]))
	}
	return got
}

func text(e *effect) string {
	to := "-"
	if e.To != nil {
		to = e.To.name
	}
	h := string(e.InfoHash)
	switch e.Kind {
	case EffectReply:
		return fmt.Sprintf("%s: reply %s %d/%d", to, h, e.Complete, e.Incomplete)
	case EffectOffer:
		return fmt.Sprintf("%s: offer %s %s of %s %s", to, h, e.Offer.ID, e.PeerID, e.Offer.Payload)
	case EffectAnswer:
		return fmt.Sprintf("%s: answer %s %s by %s %s", to, h, e.OfferID, e.PeerID, e.Payload)
	case EffectPing:
		return to + ": ping"
	case EffectNodeOffer:
		return fmt.Sprintf("%s: node offer %s %s of %s", to, h, e.Offer.ID, e.PeerID)
	case EffectNodeAnswer:
		return fmt.Sprintf("%s: node answer %s %s by %s to %s %s", to, h, e.OfferID, e.PeerID, e.ToPeerID, e.Payload)
	case EffectNodeRefused:
		return fmt.Sprintf("%s: refused %s %s of %s: %d", to, h, e.Offer.ID, e.PeerID, e.Reason)
	case EffectTouch:
		return "touch " + h
	}
	return "?"
}

// expect compares effects with what is wanted, one per line.
func (w *world) expect(got []string, want ...string) {
	w.t.Helper()
	if !slices.Equal(got, want) {
		w.t.Fatalf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (w *world) announce(from, hash, peer string, change ...func(*Announce)) []string {
	w.t.Helper()
	a := &Announce{InfoHash: []byte(hash), PeerID: []byte(peer), NumWant: -1}
	for _, f := range change {
		f(a)
	}
	return w.done(w.tb.Announce(w.now, w.c(from), a, nil))
}

func event(e wire.Event) func(*Announce)   { return func(a *Announce) { a.Event = e } }
func left(l wire.Left) func(*Announce)     { return func(a *Announce) { a.Left = l } }
func numwant(n int) func(*Announce)        { return func(a *Announce) { a.NumWant = n } }
func offers(ids ...string) func(*Announce) { return func(a *Announce) { a.Offers = offs(ids...) } }
func (w *world) answerOf(hash, peer, to, id string) *Answer {
	return &Answer{InfoHash: []byte(hash), PeerID: []byte(peer), ToPeerID: []byte(to),
		OfferID: off(id).ID, OfferKey: off(id).Key, Payload: []byte(`{"sdp":"re ` + id + `"}`)}
}

func (w *world) answer(from, hash, peer, to, id string) []string {
	w.t.Helper()
	return w.done(w.tb.Answer(w.now, w.c(from), w.answerOf(hash, peer, to, id), nil))
}

func (w *world) leave(from, hash, peer string) []string {
	w.t.Helper()
	return w.done(w.tb.Leave(w.now, w.by[from], []byte(hash), []byte(peer), nil))
}

// sweep lets time pass in steps of a second, sweeping everything at each.
func (w *world) sweep(d time.Duration) []string {
	w.t.Helper()
	var all []effect
	for end := w.now + d; ; w.now = min(end, w.now+second) {
		all = w.tb.Sweep(w.now, 1<<30, all)
		if w.now == end {
			return w.done(all, Outcome{})
		}
	}
}

func (w *world) join(node, hash string, complete, incomplete int, change ...func(*NodeJoin)) []string {
	w.t.Helper()
	if w.records[node] == nil {
		w.records[node] = new(Record)
	}
	j := &NodeJoin{InfoHash: []byte(hash), Complete: complete, Incomplete: incomplete, Reputation: w.records[node]}
	for _, f := range change {
		f(j)
	}
	return w.done(w.tb.NodeJoin(w.now, w.c(node), j, nil))
}

var tagKey = [16]byte{7, 7, 7}

// tagged gives a join tags of these peers, all of them leechers.
func tagged(peers ...string) func(*NodeJoin) {
	return func(j *NodeJoin) {
		j.Tagged, j.TagKey = true, tagKey
		for _, p := range peers {
			j.IncompleteTags = append(j.IncompleteTags, Tag(tagKey, []byte(p)))
		}
	}
}

func prefix(name string, firstSeen time.Duration) func(*NodeJoin) {
	return func(j *NodeJoin) { j.Group, j.FirstSeen = name, firstSeen }
}

func (w *world) nodeOffers(node, hash, peer string, ids ...string) []string {
	w.t.Helper()
	return w.done(w.tb.NodeOffers(w.now, w.c(node), []byte(hash), []byte(peer), offs(ids...), nil))
}

func (w *world) nodeAnswer(node, hash, peer, to, id string) []string {
	w.t.Helper()
	return w.done(w.tb.NodeAnswer(w.now, w.c(node), w.answerOf(hash, peer, to, id), nil))
}

func (w *world) nodeRefused(node, hash, peer, id string, why RefuseReason) []string {
	w.t.Helper()
	return w.done(w.tb.NodeRefused(w.now, w.c(node), []byte(hash), []byte(peer), off(id), why, nil))
}

func (w *world) state(hash string) State {
	st, _ := w.tb.State([]byte(hash))
	return st
}

// counts is what a scrape says.
func (w *world) counts(hash string, complete, incomplete, downloaded int) {
	w.t.Helper()
	c, i, d := w.tb.Scrape([]byte(hash))
	if c != complete || i != incomplete || d != downloaded {
		w.t.Fatalf("scrape %s: %d/%d, %d downloaded; want %d/%d, %d", hash, c, i, d, complete, incomplete, downloaded)
	}
}

// to counts effects of a kind by receiver.
func (w *world) to(kind EffectKind) map[string]int {
	n := map[string]int{}
	for _, e := range w.raw {
		if e.Kind == kind {
			n[e.To.name]++
		}
	}
	return n
}

// node is what a swarm's table knows of a node.
func (w *world) node(name, hash string) *node {
	_, x := w.tb.of(hash)
	return x.node(w.by[name].id)
}

// meet lets local members answer offers of so many peers of a node.
func (w *world) meet(node, hash string, n int) {
	w.t.Helper()
	for range n {
		w.serial++
		peer, id := fmt.Sprint("suitor", w.serial), fmt.Sprint("suit", w.serial)
		w.nodeOffers(node, hash, peer, id)
		if w.raw[0].Kind != EffectOffer {
			w.t.Fatal("the node's offer found nobody")
		}
		to := w.raw[0].To
		s, _ := w.tb.of(hash)
		for i := range s.len() {
			if m := w.tb.member(s, i); m.owner == to.id {
				w.answer(to.name, hash, string(w.tb.text(nil, &m.id, m.has(odd))), peer, id)
				break
			}
		}
	}
}

// newcomer announces with so many offers, all of which a node answers or none,
// and leaves. It returns how many the node got.
func (w *world) newcomer(node, hash string, n int, answers bool) (got int) {
	w.t.Helper()
	w.serial++
	name := fmt.Sprint("newcomer", w.serial)
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprint(name, ".", i))
	}
	w.announce(name, hash, name, offers(ids...))
	for _, e := range w.raw {
		if e.Kind != EffectNodeOffer || e.To != w.by[node] {
			continue
		}
		got++
		if answers {
			w.nodeAnswer(node, hash, fmt.Sprint("far", w.serial, ".", got), name, strings.Trim(string(e.Offer.ID), `"`))
		}
	}
	w.leave(name, hash, name)
	return got
}

// prove makes a node proven in a swarm: a local member answers an offer of its
// peer, and its peer answers one of a local member.
func (w *world) prove(node, hash string) {
	w.t.Helper()
	w.meet(node, hash, 1)
	for i := 0; !w.node(node, hash).trust.Proven; i++ {
		if i == 1000 {
			w.t.Fatal("the node drew no offer")
		}
		w.newcomer(node, hash, 1, true)
	}
}
