package federation

import (
	"bytes"
	"crypto/ed25519"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/federation/registry"
)

// toldOf is how many nodes are told of for one name: what a mesh takes in of
// one answer.
const toldOf = 4

// registrations are what others have registered with this node. They have a
// lock of their own, since a frame of many names takes a while.
type registrations struct {
	mu    sync.Mutex
	store *registry.Store

	names, asked, told, untold atomic.Uint64
}

func (r *registrations) init(l registry.Limits, rnd *rand.Rand) { r.store = registry.NewStore(l, rnd) }

// keepsRegistrations reports whether this node does its part.
func (f *Federation) keepsRegistrations() bool {
	return !f.cfg.NoRendezvous && f.cfg.Mesh.RegistryFrom >= 0
}

// sendRegister names swarms to a node that is responsible for them, for mesh.
func (p *peer) sendRegister(say, ask []uint64) {
	if l := p.cur.Load(); l != nil {
		l.out.put(ws.OpBinary, frame.AppendRegister(nil, say, ask), false)
	}
}

// onRegister keeps what the other side registers, and tells it who else has
// what it asks for.
func (l *link) onRegister(m *frame.Register) bool {
	f, now := l.f, l.f.now()
	if !l.quota.registered.allow(now, float64(len(m.Names)+len(m.Asked))) {
		return !l.strike(strikeNames)
	}
	if !f.keepsRegistrations() {
		return true
	}
	r := &f.registry
	r.names.Add(uint64(len(m.Names)))
	r.asked.Add(uint64(len(m.Asked)))
	var keys []registry.Key
	var found []answer
	r.mu.Lock()
	r.store.Register(now, l.peer.key, l.group, m.Names)
	for _, name := range m.Asked {
		from := len(keys)
		if keys = r.store.Ask(now, l.peer.key, name, toldOf, keys); len(keys) > from {
			found = append(found, answer{name, keys[from:len(keys):len(keys)]})
		}
	}
	r.mu.Unlock()
	for len(found) > 0 {
		found = l.sendTold(found)
	}
	return true
}

// answer is who registered a name.
type answer struct {
	name uint64
	keys []registry.Key
}

// sendTold sends as many answers as there is room for in a frame, and returns
// the others.
func (l *link) sendTold(found []answer) (rest []answer) {
	f, now := l.f, l.f.now()
	var m frame.Told
	most := frame.DefaultLimits().MaxRecords
	unix := f.cfg.Now().Unix()
	f.mu.Lock()
	for len(found) > 0 && len(m.Records)+toldOf <= most {
		var places []byte
		for _, key := range found[0].keys {
			place := slices.IndexFunc(m.Records, func(r frame.Record) bool { return registry.Key(r.Key) == key })
			if n := f.known.nodes[key]; place < 0 && n != nil && len(n.record.URLs) > 0 && n.record.Caps&record.CapUnverified == 0 &&
				n.record.Expires > unix && l.quota.told.allow(now, 1) {
				place = len(m.Records)
				m.Records = append(m.Records, frameRecord(&n.signed))
			}
			if place >= 0 {
				places = append(places, byte(place))
			} else {
				f.registry.untold.Add(1)
			}
		}
		if len(places) > 0 {
			m.Found = append(m.Found, frame.Found{Name: found[0].name, Nodes: places})
		}
		found = found[1:]
	}
	b := frame.AppendTold(nil, &m) // under the lock: the records alias what it guards
	f.mu.Unlock()
	switch {
	case len(m.Found) == 0:
	case l.out.put(ws.OpBinary, b, true) == sentOK:
		f.registry.told.Add(uint64(len(m.Records)))
	default:
		f.registry.untold.Add(uint64(len(m.Records)))
	}
	return found
}

// onTold takes an answer. What it says is for mesh to judge; here the records
// are, like any others.
func (l *link) onTold(m *frame.Told) bool {
	if !l.quota.toldOf.allow(l.f.now(), float64(max(1, len(m.Records)))) {
		return !l.strike(strikeRecords)
	}
	records := make([]*mesh.Record, len(m.Records))
	for i := range m.Records {
		r := &m.Records[i]
		if len(r.Key) != len(mesh.Key{}) || len(r.Signature) != ed25519.SignatureSize {
			return !l.strike(strikeRecords)
		}
		s := record.Signed{Key: record.Key(r.Key), Seq: r.Seq, Sig: [64]byte(r.Signature), Value: append([]byte(nil), r.Value...)}
		if got, err := l.f.verifyAgain(s); err == nil {
			own := meshRecord(got, s.Seq)
			records[i] = &own
		} // a bad one is counted by reason
	}
	for _, found := range m.Found {
		for _, place := range found.Nodes {
			if int(place) >= len(records) {
				return !l.strike(strikeFrame)
			}
		}
	}
	// One step, however many names: a few bytes each may be about nothing.
	l.f.step(func(to *mesh.Mesh, now time.Duration) {
		var nodes []mesh.Record
		for _, found := range m.Found {
			nodes = nodes[:0]
			for _, place := range found.Nodes {
				if r := records[place]; r != nil {
					nodes = append(nodes, *r)
				}
			}
			to.Told(now, l.peer.key, found.Name, nodes)
		}
	})
	return true
}

// verifyAgain is verify, but spares the signature of a record that was
// verified before: the same few come again and again.
func (f *Federation) verifyAgain(s record.Signed) (record.Record, error) {
	f.mu.Lock()
	n := f.known.nodes[mesh.Key(s.Key)]
	same := n != nil && n.record.Key == s.Key && n.signed.Seq == s.Seq && n.signed.Sig == s.Sig && bytes.Equal(n.signed.Value, s.Value) &&
		n.record.Expires > f.cfg.Now().Unix()
	var r record.Record
	if same {
		r = n.record
	}
	f.mu.Unlock()
	if same && f.cfg.Nodes.Allows(s.Key) {
		return r, nil
	}
	return f.verify(s)
}
