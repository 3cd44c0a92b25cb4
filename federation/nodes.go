package federation

import (
	"time"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
)

// RecheckNodes applies Config.Nodes, after it has changed, to the nodes that
// are known: links with those that it does not allow end, and their records
// are forgotten.
func (f *Federation) RecheckNodes() {
	f.mu.Lock()
	for key := range f.known.nodes {
		if !f.cfg.Nodes.Allows(key) {
			delete(f.known.nodes, key)
			f.known.dirty = true
		}
	}
	f.mu.Unlock()
	f.step(func(m *mesh.Mesh, now time.Duration) {
		for _, key := range m.Nodes(nil) {
			if !f.cfg.Nodes.Allows(key) {
				m.Forget(now, key)
			}
		}
	})
	f.mu.Lock()
	peers := make([]*peer, 0, len(f.peers))
	for _, p := range f.peers {
		peers = append(peers, p)
	}
	f.mu.Unlock()
	for _, p := range peers {
		f.recheck(p)
	}
}

// recheck ends the links with a node that is not allowed.
func (f *Federation) recheck(p *peer) {
	if f.cfg.Nodes.Allows(p.key) {
		return
	}
	p.close(frame.CodeLimit)
	f.sync(p)
	f.step(func(m *mesh.Mesh, now time.Duration) { m.Forget(now, p.key) })
}
