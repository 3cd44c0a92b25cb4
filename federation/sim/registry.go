package sim

import (
	"math/rand/v2"
	"slices"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/registry"
)

// What follows mirrors federation's registry.go: what nodes register with those
// responsible, and are told by them.
const toldOf = 4

func newStore(n *node) *registry.Store {
	return registry.NewStore(registry.Limits{}, rand.New(rand.NewChaCha8(n.w.seed32(4, n.id, n.runs))))
}

func (p *peer) sendRegister(say, ask []uint64) {
	if l, w := p.cur, p.n.w; l != nil && !l.ended {
		w.scratch = frame.AppendRegister(w.scratch[:0], say, ask)
		l.send(frame.KindRegister, w.scratch)
	}
}

func (l *link) onRegister(m *frame.Register) {
	n := l.n
	if !l.meter.registered.allow(n.now(), float64(len(m.Names)+len(m.Asked))) {
		l.strike()
		return
	}
	n.store.Register(n.now(), l.p.key, l.group, m.Names)
	found := make([]told, 0, 8)
	for _, name := range m.Asked {
		if keys := n.store.Ask(n.now(), l.p.key, name, toldOf, nil); len(keys) > 0 {
			found = append(found, told{name, keys})
		}
	}
	for len(found) > 0 {
		found = l.sendTold(found)
	}
}

// told is who registered a name.
type told struct {
	name uint64
	keys []registry.Key
}

// sendTold sends as many answers as there is room for in a frame, and returns
// the others.
func (l *link) sendTold(found []told) (rest []told) {
	n, w := l.n, l.n.w
	var m frame.Told
	for len(found) > 0 && len(m.Records)+toldOf <= frame.DefaultLimits().MaxRecords {
		var places []byte
		for _, key := range found[0].keys {
			place := slices.IndexFunc(m.Records, func(r frame.Record) bool { return registry.Key(r.Key) == key })
			if k := n.known[key]; place < 0 && k != nil && len(k.record.URLs) > 0 && k.record.Expires > w.time().Unix() && l.meter.told.allow(n.now(), 1) {
				place = len(m.Records)
				m.Records = append(m.Records, frameRecord(&k.record))
			}
			if place >= 0 {
				places = append(places, byte(place))
			}
		}
		if len(places) > 0 {
			m.Found = append(m.Found, frame.Found{Name: found[0].name, Nodes: places})
		}
		found = found[1:]
	}
	if len(m.Found) > 0 {
		w.count.told += uint64(len(m.Records))
		w.scratch = frame.AppendTold(w.scratch[:0], &m)
		l.send(frame.KindTold, w.scratch)
	}
	return found
}

func (l *link) onTold(m *frame.Told) {
	n := l.n
	if !l.meter.toldOf.allow(n.now(), float64(max(1, len(m.Records)))) {
		l.strike()
		return
	}
	records := make([]*mesh.Record, len(m.Records))
	for i := range m.Records {
		r, ok := recordOf(&m.Records[i])
		if !ok {
			l.strike()
			return
		}
		if n.verify(r) {
			records[i] = &r
		}
	}
	// What the mesh decides may have frames taken apart again.
	answers := make(map[uint64][]mesh.Record, len(m.Found))
	order := make([]uint64, 0, len(m.Found))
	for _, found := range m.Found {
		for _, place := range found.Nodes {
			if int(place) < len(records) && records[place] != nil {
				answers[found.Name] = append(answers[found.Name], *records[place])
			}
		}
		order = append(order, found.Name)
	}
	for _, name := range order {
		n.mesh.Told(n.now(), l.p.key, name, answers[name])
		n.advance()
	}
}

// mislead answers what a responsible node is asked with nodes of the same kind.
func (h *hostile) mislead(l *link, asked []uint64) {
	w := h.n.w
	asked = slices.Clone(asked)
	var m frame.Told
	for range 16 {
		o := w.nodes[w.rng.IntN(len(w.nodes))]
		if o.hostile != nil {
			m.Records = append(m.Records, frameRecord(&o.own))
		}
	}
	for _, name := range asked {
		var places []byte
		for range min(frame.DefaultLimits().MaxFound, len(m.Records)) {
			places = append(places, byte(w.rng.IntN(len(m.Records))))
		}
		m.Found = append(m.Found, frame.Found{Name: name, Nodes: places})
	}
	w.scratch = frame.AppendTold(w.scratch[:0], &m)
	l.send(frame.KindTold, w.scratch)
	w.count.misled += uint64(len(m.Found))
}
