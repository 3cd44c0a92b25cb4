package sim

import (
	"bytes"
	"hash/maphash"
	"math"
	"slices"
	"time"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/tracker"
)

// What follows mirrors federation's peer.go and membership.go: which of
// several links with one key is used, and the two halves of a membership.
const (
	sameTime   = 15 * time.Second
	judgeAfter = sameTime + drainFor
	awaitFor   = 2 * time.Second
	holdFor    = time.Second
	maxShared  = 10_000
)

// peer is a node with at least one link.
type peer struct {
	n       *node
	key     mesh.Key
	session *tracker.NodeSession
	place   int // in node.list

	pins        int
	downs, seen int // how often cur became nil, and how much of that the mesh knows
	cur         *link
	links       []*link
	shared      map[string]*membership
}

// membership is a swarm that both sides have, or are about to.
type membership struct {
	ours, theirs bool
	last         uint64 // hash of our last join
	told         bool   // the mesh knows of an answer that came
	toldAt       time.Duration
}

func newPeer(n *node, key mesh.Key) *peer {
	return &peer{
		n: n, key: key, shared: make(map[string]*membership),
		session: n.tracker.OpenNode(tracker.NodeKey(key), tracker.NodeInfo{FirstSeen: n.firstSeen(key), Trusted: n.w.cfg.Switches.NoTrust}),
	}
}

func (p *peer) addLink(l *link) {
	p.links = append(p.links, l)
	cur := p.cur
	switch {
	case cur == nil:
		p.use(l)
	case p.better(l, cur):
		p.use(l)
		p.lose(cur)
	default:
		p.lose(l)
	}
	for _, o := range slices.Clone(p.links) {
		if o.waiting != nil && p.other(o) != nil {
			o.waiting()
		}
	}
	p.n.sync(p)
	if cur != nil {
		p.repeat()
	}
}

// repeat says everything again.
func (p *peer) repeat() {
	for _, m := range p.shared {
		m.last = 0
	}
	p.n.mesh.Refresh(p.n.now(), p.key)
	p.n.advance()
}

func (p *peer) better(l, cur *link) bool {
	if cur.byeGot || cur.byeSent || l.opened-cur.opened > sameTime {
		return true
	}
	if l.dialled == cur.dialled {
		return l.sequence > cur.sequence
	}
	return l.dialled == p.decides()
}

func (p *peer) decides() bool { return bytes.Compare(p.n.key[:], p.key[:]) < 0 }

func (p *peer) use(l *link) {
	p.session.Attach(l, l.group)
	p.cur = l
}

// lose ends l in favour of another.
func (p *peer) lose(l *link) {
	p.n.w.count.duplicates++
	if p.decides() {
		p.bye(l, frame.CodeDuplicate)
		return
	}
	p.n.later(judgeAfter, func() {
		if !l.closed && p.cur != l {
			p.bye(l, frame.CodeDuplicate)
		}
	})
}

func (p *peer) bye(l *link, code frame.Code) {
	if !l.byeSent {
		l.byeSent = true
		l.sayBye(code)
	}
}

// other is the last link besides l that nobody has said bye on.
func (p *peer) other(l *link) *link {
	for i := len(p.links) - 1; i >= 0; i-- {
		if o := p.links[i]; o != l && !o.byeGot && !o.byeSent {
			return o
		}
	}
	return nil
}

// byeReceived ends l, of which the other side has said all.
func (p *peer) byeReceived(l *link, code frame.Code) {
	l.byeGot = true
	if p.cur == l {
		p.replace(l)
	}
	p.bye(l, code)
	p.n.sync(p)
}

// replace finds another link for the one in use, or detaches.
func (p *peer) replace(l *link) {
	if o := p.other(l); o != nil {
		p.use(o)
		return
	}
	p.cur = nil
	p.downs++
	shared := p.shared
	p.shared = make(map[string]*membership)
	p.session.Detach(l)
	for _, infoHash := range sorted(shared) {
		p.n.touch([]byte(infoHash), touchRemote)
	}
}

// removeLink forgets a link that has ended.
func (p *peer) removeLink(l *link) {
	for i, o := range p.links {
		if o == l {
			last := len(p.links) - 1
			p.links[i] = p.links[last]
			p.links[last] = nil
			p.links = p.links[:last]
			break
		}
	}
	if p.cur == l {
		p.replace(l)
	}
	if p.cur != nil {
		p.repeat()
	}
	p.n.release(p)
}

// close ends every link.
func (p *peer) close(code frame.Code) {
	for _, l := range slices.Clone(p.links) {
		p.bye(l, code)
	}
	if p.cur != nil {
		p.replace(p.cur)
	}
}

// joinReceived performs a join; false if it goes beyond a bound. Our own join
// goes out before theirs reaches the tracker.
func (p *peer) joinReceived(l *link, j *frame.Join) bool {
	if p.shared[string(j.InfoHash)] == nil {
		ok := p.n.mesh.Accepts(p.n.now(), p.key, string(j.InfoHash))
		p.n.advance()
		if !ok {
			p.sendLeave(j.InfoHash, true)
			return true
		}
	}
	m := p.shared[string(j.InfoHash)]
	if m == nil {
		if len(p.shared) >= maxShared {
			p.sendLeave(j.InfoHash, true)
			return false
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
		Tagged: j.Tagged, TagKey: l.tagKey, CompleteTags: j.CompleteTags, IncompleteTags: j.IncompleteTags,
		Hold: hold,
	}) {
		delete(p.shared, string(j.InfoHash))
		p.session.Leave(j.InfoHash)
		_, have := p.n.tracker.State(j.InfoHash)
		p.sendLeave(j.InfoHash, have)
		p.declined(string(j.InfoHash), have)
		return true
	}
	m.theirs = true
	p.n.touch(j.InfoHash, touchRemote)
	if first {
		p.n.mesh.Joined(p.n.now(), p.key, string(j.InfoHash))
		p.n.advance()
	}
	return true
}

// broughtPause is how often the mesh is told at most that answers come.
const broughtPause = 30 * time.Second

// brought notes that an answer came, and was delivered.
func (p *peer) brought(infoHash []byte) {
	m := p.shared[string(infoHash)]
	if m == nil || p.n.w.cfg.Switches.NoTrust || m.told && p.n.now()-m.toldAt < broughtPause {
		return
	}
	m.told, m.toldAt = true, p.n.now()
	p.n.mesh.Brought(p.n.now(), p.key, string(infoHash))
	p.n.advance()
}

func (p *peer) declined(infoHash string, have bool) {
	if have {
		p.n.mesh.Left(p.n.now(), p.key, infoHash, true)
	} else {
		p.n.mesh.Asked(p.n.now(), p.key, infoHash)
	}
	p.n.advance()
}

// leaveReceived performs a leave, which clears both directions.
func (p *peer) leaveReceived(infoHash []byte, full bool) {
	if p.shared[string(infoHash)] != nil {
		delete(p.shared, string(infoHash))
		p.session.Leave(infoHash)
		p.n.touch(infoHash, touchRemote)
	}
	p.n.mesh.Left(p.n.now(), p.key, string(infoHash), full)
	p.n.advance()
}

func (p *peer) join(infoHash string) {
	m := p.shared[infoHash]
	if m == nil {
		if p.cur == nil || len(p.shared) >= maxShared {
			return
		}
		m = &membership{}
		p.shared[infoHash] = m
	}
	if !p.sendJoin(m, []byte(infoHash)) && !m.ours {
		delete(p.shared, infoHash)
	}
}

func (p *peer) leave(infoHash string, full bool) {
	if p.shared[infoHash] != nil {
		delete(p.shared, infoHash)
		p.session.Leave([]byte(infoHash))
	}
	p.sendLeave([]byte(infoHash), full)
}

func (p *peer) rejoin(infoHash string) {
	p.n.w.count.rejoins++
	p.leave(infoHash, false)
	p.join(infoHash)
}

func (p *peer) has(infoHash string) bool {
	m := p.shared[infoHash]
	return m != nil && m.theirs
}

// sendJoin sends our state of a swarm; false if there is nothing to send or
// nowhere to.
func (p *peer) sendJoin(m *membership, infoHash []byte) bool {
	l, n := p.cur, p.n
	if l == nil {
		return false
	}
	st, ok := n.tracker.State(infoHash)
	if !ok || st.LocalComplete+st.LocalIncomplete == 0 {
		return false
	}
	w := n.w
	j := frame.Join{InfoHash: infoHash, Complete: uint64(st.LocalComplete), Incomplete: uint64(st.LocalIncomplete)}
	if c, i, ok := n.tracker.Tags(infoHash, l.tagKey, w.tags[0][:0], w.tags[1][:0]); ok {
		w.tags = [2][]uint64{c, i}
		if len(c)+len(i) > 0 {
			j.Tagged, j.CompleteTags, j.IncompleteTags = true, c, i
			j.Complete, j.Incomplete = uint64(len(c)), uint64(len(i))
		}
	}
	w.scratch = frame.AppendJoin(w.scratch[:0], &j)
	sum := maphash.Bytes(w.sums, w.scratch)
	if m.ours && m.last == sum {
		return true
	}
	m.ours, m.last = true, sum
	l.send(frame.KindJoin, w.scratch)
	return true
}

func (p *peer) sendLeave(infoHash []byte, full bool) {
	if p.cur != nil {
		p.cur.sendLeave(infoHash, full)
	}
}

// clampCount is a claimed count as an int.
func clampCount(n uint64) int { return int(min(n, math.MaxInt32)) }
