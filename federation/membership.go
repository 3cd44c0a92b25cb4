package federation

import (
	"hash/maphash"
	"time"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/swarm"
)

// holdFor is how long parked offers wait for those of the other side, so
// that they do not cross (swarm.NodeJoin). When a swarm comes to be shared,
// both sides may have some: the side with the smaller key does not wait.
// Later, those whom a join brings have just made offers themselves.
const holdFor = time.Second

// membership is a swarm that both sides have, or are about to.
type membership struct {
	ours   bool   // our join is out
	theirs bool   // the tracker has theirs
	last   uint64 // hash of our last join, so that the same is not sent twice

	told   bool          // mesh knows of an answer that came
	toldAt time.Duration // the last time that it was told
}

// shares reports whether the other side's part in a swarm is known here.
func (p *peer) shares(infoHash []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shared[string(infoHash)] != nil
}

// joinReceived performs a join; false if it goes beyond a bound. Our own join
// goes out before theirs reaches the tracker, because the tracker may have
// offers waiting for them, which must not arrive before the join.
func (p *peer) joinReceived(l *link, j *frame.Join) bool {
	if !p.shares(j.InfoHash) && !p.accepts(string(j.InfoHash)) {
		p.mu.Lock()
		p.sendLeave(j.InfoHash, true)
		p.mu.Unlock()
		return true
	}
	p.mu.Lock()
	m := p.shared[string(j.InfoHash)]
	if m == nil {
		if len(p.shared) >= p.f.maxShared {
			p.sendLeave(j.InfoHash, true)
			p.mu.Unlock()
			return false
		}
		if !p.f.strays.left(p.f.now(), p.key, l.group) {
			p.f.stats.strays.Add(1)
			p.sendLeave(j.InfoHash, false)
			p.mu.Unlock()
			return true
		}
		m = &membership{}
		p.shared[string(j.InfoHash)] = m
	}
	first := !m.theirs
	hold := holdFor
	if first && p.decides() {
		hold = 0
	}
	if !m.ours && !p.sendJoin(m, j.InfoHash) || !p.session.Join(tracker.NodeJoin{
		InfoHash: j.InfoHash, Complete: clampCount(j.Complete), Incomplete: clampCount(j.Incomplete),
		Tagged: j.Tagged, TagKey: l.session.TagKey, CompleteTags: j.CompleteTags, IncompleteTags: j.IncompleteTags,
		Hold: hold,
	}) {
		delete(p.shared, string(j.InfoHash))
		p.session.Leave(j.InfoHash)
		_, have := p.f.cfg.Tracker.State(j.InfoHash)
		p.sendLeave(j.InfoHash, have)
		p.mu.Unlock()
		p.declined(l, string(j.InfoHash), have)
		return true
	}
	m.theirs = true
	p.mu.Unlock()
	p.f.cfg.Watcher.touch(j.InfoHash, touchRemote)
	if first {
		infoHash := string(j.InfoHash)
		p.f.step(func(m *mesh.Mesh, now time.Duration) { m.Joined(now, p.key, infoHash) })
	}
	return true
}

// declined tells mesh of a join that found nothing here: if we have the swarm
// it is only full, and to join again would end the same way.
func (p *peer) declined(l *link, infoHash string, have bool) {
	if !have {
		p.f.strays.came(p.f.now(), p.key, l.group)
		p.traffic.drop(swarm.DropNoSwarm, 1)
	}
	p.f.step(func(m *mesh.Mesh, now time.Duration) {
		if have {
			m.Left(now, p.key, infoHash, true)
		} else {
			m.Asked(now, p.key, infoHash)
		}
	})
}

// accepts asks mesh whether the node is to share a swarm.
func (p *peer) accepts(infoHash string) (ok bool) {
	p.f.step(func(m *mesh.Mesh, now time.Duration) { ok = m.Accepts(now, p.key, infoHash) })
	return ok
}

// broughtPause is how often mesh is told at most that answers come through a
// membership.
const broughtPause = 30 * time.Second

// brought notes that an answer came, and was delivered.
func (p *peer) brought(infoHash []byte) {
	now := p.f.now()
	p.mu.Lock()
	m := p.shared[string(infoHash)]
	tell := m != nil && (!m.told || now-m.toldAt >= broughtPause)
	if tell {
		m.told, m.toldAt = true, now
	}
	p.mu.Unlock()
	if tell {
		name := string(infoHash)
		p.f.step(func(m *mesh.Mesh, now time.Duration) { m.Brought(now, p.key, name) })
	}
}

// leaveReceived performs a leave, which clears both directions. With full, the
// other side has the swarm all the same.
func (p *peer) leaveReceived(infoHash []byte, full bool) {
	p.mu.Lock()
	had := p.shared[string(infoHash)] != nil
	delete(p.shared, string(infoHash))
	if had {
		p.session.Leave(infoHash)
	}
	p.mu.Unlock()
	if had {
		p.f.cfg.Watcher.touch(infoHash, touchRemote)
	}
	name := string(infoHash)
	p.f.step(func(m *mesh.Mesh, now time.Duration) { m.Left(now, p.key, name, full) })
}

// join sends our state of a swarm, for mesh.
func (p *peer) join(infoHash string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.shared[infoHash]
	if m == nil {
		if p.cur.Load() == nil || len(p.shared) >= p.f.maxShared {
			return
		}
		// Entered before the tracker is asked: should the swarm go in between,
		// the leave finds the entry.
		m = &membership{}
		p.shared[infoHash] = m
	}
	if !p.sendJoin(m, []byte(infoHash)) && !m.ours {
		delete(p.shared, infoHash)
	}
}

// leave says that a swarm is gone here, or (full) shared with others, for mesh.
// A node that does not share it may count us among those that have it.
func (p *peer) leave(infoHash string, full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared[infoHash] != nil {
		delete(p.shared, infoHash)
		p.session.Leave([]byte(infoHash))
	}
	p.sendLeave([]byte(infoHash), full)
}

// rejoin starts a membership afresh whose other half the tracker has lost:
// the swarm went and came back before anybody looked.
func (p *peer) rejoin(infoHash string) {
	p.leave(infoHash, false)
	p.join(infoHash)
}

// has reports whether the tracker was given their part in the swarm.
func (p *peer) has(infoHash string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.shared[infoHash]
	return m != nil && m.theirs
}

// sendJoin sends our state of a swarm; false if there is nothing to send or
// nowhere to. Caller holds p.mu.
func (p *peer) sendJoin(m *membership, infoHash []byte) bool {
	l := p.cur.Load()
	if l == nil {
		return false
	}
	st, ok := p.f.cfg.Tracker.State(infoHash)
	if !ok || st.LocalComplete+st.LocalIncomplete == 0 {
		return false
	}
	j := frame.Join{InfoHash: infoHash, Complete: uint64(st.LocalComplete), Incomplete: uint64(st.LocalIncomplete)}
	if c, i, ok := p.f.cfg.Tracker.Tags(infoHash, l.session.TagKey, nil, nil); ok && len(c)+len(i) > 0 {
		j.Tagged, j.CompleteTags, j.IncompleteTags = true, c, i
		j.Complete, j.Incomplete = uint64(len(c)), uint64(len(i))
	}
	b := frame.AppendJoin(nil, &j)
	sum := maphash.Bytes(p.f.seed, b)
	if m.ours && m.last == sum {
		return true
	}
	m.ours, m.last = true, sum
	l.send(b, false)
	return true
}

func (p *peer) sendLeave(infoHash []byte, full bool) {
	if l := p.cur.Load(); l != nil {
		l.sendLeave(infoHash, full)
	}
}
