package federation

import (
	"bytes"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/tracker"
)

const (
	// sameTime is how close together two links are taken to be two sides that
	// dialled at once; beyond, the later one means that the first is dead.
	sameTime = 15 * time.Second
	// judgeAfter is how long the side that does not decide waits for the bye
	// of the one that does.
	judgeAfter = sameTime + drainFor
	// awaitFor is how long a link's end is put off for the one that replaces
	// it; less than drainFor, for which the other side waits.
	awaitFor = 2 * time.Second
	// maxLinksPerPeer bounds the links of one key that have not ended yet. It
	// is far beyond what two nodes that dial each other can bring about.
	maxLinksPerPeer = 2048
)

// peer is a node with at least one link.
type peer struct {
	f       *Federation
	key     mesh.Key
	name    string // for the log
	session *tracker.NodeSession

	// pins counts links from handshake to end; seen is which downs mesh
	// knows of. Both guarded by Federation.mu.
	pins int
	seen uint64

	// cur is the link that everything is sent over; changed under mu.
	cur   atomic.Pointer[link]
	downs atomic.Uint64 // how often cur became nil

	traffic traffic

	mu     sync.Mutex
	links  []*link
	news   chan struct{} // closed at the next link
	shared map[string]*membership
}

func (f *Federation) newPeer(key mesh.Key) *peer {
	return &peer{
		f: f, key: key, name: hex.EncodeToString(key[:4]),
		session: f.cfg.Tracker.OpenNode(tracker.NodeKey(key), tracker.NodeInfo{FirstSeen: f.firstSeen(key)}),
		shared:  make(map[string]*membership), news: make(chan struct{}),
	}
}

// addLink takes in a link that has just been proven; false if there are too
// many.
func (p *peer) addLink(l *link) bool {
	p.mu.Lock()
	if len(p.links) >= maxLinksPerPeer {
		p.mu.Unlock()
		return false
	}
	p.links = append(p.links, l)
	close(p.news)
	p.news = make(chan struct{})
	cur := p.cur.Load()
	switch {
	case cur == nil:
		p.use(l)
	case p.better(l, cur):
		p.use(l)
		p.lose(cur)
	default:
		p.lose(l)
	}
	p.mu.Unlock()
	p.f.sync(p)
	if cur != nil {
		p.repeat()
	}
	return true
}

// repeat says everything again. Frames on two links have no order between
// them, and a node that was restarted knows nothing; said again over the link
// in use, the last state is what both sides have.
func (p *peer) repeat() {
	p.mu.Lock()
	for _, m := range p.shared {
		m.last = 0
	}
	p.mu.Unlock()
	p.f.step(func(m *mesh.Mesh, now time.Duration) { m.Refresh(now, p.key) })
}

// better reports whether l, the newer one, is to be kept instead of cur. Both
// sides judge by the same facts, so neither asks the other.
func (p *peer) better(l, cur *link) bool {
	if cur.byeGot || cur.byeSent || l.opened-cur.opened > sameTime {
		return true
	}
	if l.session.Dialled == cur.session.Dialled {
		return l.session.Sequence > cur.session.Sequence
	}
	return l.session.Dialled == p.decides()
}

// decides reports whether our key is the smaller one.
func (p *peer) decides() bool { return bytes.Compare(p.f.key[:], p.key[:]) < 0 }

// use makes l the link in use. The tracker's memberships move with it.
func (p *peer) use(l *link) {
	p.session.Attach(l, l.group)
	p.cur.Store(l)
}

// lose ends l in favour of another. The side with the smaller key says so at
// once; the other one only stops sending, so that two clocks which disagree
// about sameTime cannot end both links. If it waits in vain it says bye too.
func (p *peer) lose(l *link) {
	p.f.stats.duplicates.Add(1)
	if p.decides() {
		p.bye(l, frame.CodeDuplicate)
		return
	}
	p.f.after(judgeAfter, l.dead, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cur.Load() != l {
			p.bye(l, frame.CodeDuplicate)
		}
	})
}

// bye says bye on l, once. Caller holds p.mu.
func (p *peer) bye(l *link, code frame.Code) {
	if !l.byeSent {
		l.byeSent = true
		l.sayBye(code)
	}
}

// awaitOther waits, before l is given up as a duplicate, for the link that is
// kept instead: its handshake may have ended on the other side only. Without
// it, memberships would leave and come back.
func (p *peer) awaitOther(l *link) {
	t := time.NewTimer(awaitFor)
	defer t.Stop()
	for {
		p.mu.Lock()
		news, other := p.news, p.other(l)
		p.mu.Unlock()
		if other != nil {
			return
		}
		select {
		case <-news:
		case <-t.C:
			return
		case <-p.f.ctx.Done():
			return
		}
	}
}

// other is the last link besides l that nobody has said bye on. Caller holds
// p.mu.
func (p *peer) other(l *link) *link {
	for i := len(p.links) - 1; i >= 0; i-- {
		if o := p.links[i]; o != l && !o.byeGot && !o.byeSent {
			return o
		}
	}
	return nil
}

// byeReceived: all of the other side's frames on l have been read. Ours that
// are still waiting go out, and that is the end of l.
func (p *peer) byeReceived(l *link) {
	p.mu.Lock()
	l.byeGot = true
	if p.cur.Load() == l {
		p.replace(l)
	}
	p.bye(l, l.in.Bye.Code)
	p.mu.Unlock()
	p.f.sync(p)
}

// replace finds another link for the one in use, or detaches. Caller holds
// p.mu.
func (p *peer) replace(l *link) {
	if o := p.other(l); o != nil {
		p.use(o)
		return
	}
	p.cur.Store(nil)
	p.downs.Add(1)
	shared := p.shared
	p.shared = make(map[string]*membership)
	p.session.Detach(l)
	for infoHash := range shared {
		p.f.cfg.Watcher.touch([]byte(infoHash), touchRemote)
	}
}

// removeLink forgets a link that has ended.
func (p *peer) removeLink(l *link, why error) {
	p.mu.Lock()
	for i, o := range p.links {
		if o == l {
			last := len(p.links) - 1
			p.links[i] = p.links[last]
			p.links[last] = nil
			p.links = p.links[:last]
			break
		}
	}
	if p.cur.Load() == l {
		p.replace(l)
	}
	left := p.cur.Load() != nil
	p.mu.Unlock()
	p.f.log.Debug("link: down", "key", p.name, "why", why, "another", left)
	if left {
		p.repeat()
	}
	p.f.release(p)
}

// close ends every link.
func (p *peer) close(code frame.Code) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		p.bye(l, code)
	}
	if cur := p.cur.Load(); cur != nil {
		p.replace(cur)
	}
}
