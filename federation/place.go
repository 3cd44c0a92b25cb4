package federation

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/reach"
)

// Guess makes a node without URLs find out where others can dial it: at one of
// Config.Own, over TLS with a certificate of its own.
type Guess struct {
	// Pin is the SHA-256 of the public key of the certificate that TLS gets at
	// the addresses in Config.Own. It is asked for each time that a record is
	// made.
	Pin func() [32]byte
	// Interfaces are the addresses of this machine; nil: the system's.
	Interfaces func() ([]netip.Addr, error)
}

// Witness is a Directory that hears where others see this node.
type Witness interface {
	// Heard returns at which addresses others see this node, each network
	// counted once.
	Heard() []reach.Tally
	// SetReadOnly keeps this node out of others' sight (BEP 43), or lets them
	// see it.
	SetReadOnly(bool)
}

// Place is where others can dial this node.
type Place struct {
	State reach.State
	// URLs are what its record names; none for a leaf.
	URLs []nodeaddr.URL
	// Why says what a node that is not full lacks, for its operator.
	Why string

	links []string // link URLs that are accepted
}

const (
	// lookEvery is how often a node looks whether its place has changed, and
	// lookSoon how often while it is young and knows none.
	lookEvery = 5 * time.Second
	lookSoon  = 250 * time.Millisecond
	youngFor  = 20 * time.Second
	// interfacesEvery is how often the system is asked for its addresses.
	interfacesEvery = 30 * time.Second
	// maxWitnesses is how many of the links that are up count as somebody who
	// could try a guess.
	maxWitnesses = 16
)

// locator finds this node's place, if nobody gave it one.
type locator struct {
	mu     sync.Mutex
	reach  *reach.Reach
	listed time.Duration // when the interfaces were asked for
	addrs  []netip.Addr  // what they were
	wake   chan struct{}
}

// startPlace sets the place from which the node starts.
func (f *Federation) startPlace() {
	p := &Place{State: reach.Full, URLs: f.cfg.URLs}
	for _, u := range p.URLs {
		p.links = append(p.links, u.Link(f.cfg.Network.LinkPath()))
	}
	if len(p.URLs) == 0 {
		p.State = reach.Leaf
		p.Why = "it has no --node-url and does not look for its own address"
	}
	f.place.Store(p)
	if f.guesses() {
		f.locator.wake = make(chan struct{}, 1)
		f.locator.reach = reach.New(reach.Config{Listen: f.cfg.Own, AllowPrivate: f.cfg.AllowPrivate}, 0)
		f.interfaces(0)
		f.locator.reach.Advance(0)
		f.place.Store(f.placeOf(f.locator.reach.View()))
	}
}

// guesses reports whether the node is to find its own place.
func (f *Federation) guesses() bool { return f.cfg.Guess != nil && len(f.cfg.URLs) == 0 }

// Place returns where others can dial this node now.
func (f *Federation) Place() Place { return *f.place.Load() }

func (f *Federation) placeOf(v reach.View) *Place {
	p := &Place{State: v.State, Why: v.Why}
	for _, a := range v.Addrs {
		p.URLs = append(p.URLs, guessURL(a))
	}
	for _, a := range v.Accept {
		p.links = append(p.links, guessURL(a).Link(f.cfg.Network.LinkPath()))
	}
	return p
}

func guessURL(a netip.AddrPort) nodeaddr.URL {
	return nodeaddr.URL{Scheme: "wss", Host: a.Addr().String(), Port: a.Port()}
}

// interfaces tells the locator this machine's addresses.
func (f *Federation) interfaces(now time.Duration) {
	list := systemAddrs
	if f.cfg.Guess.Interfaces != nil {
		list = f.cfg.Guess.Interfaces
	}
	addrs, err := list()
	if err != nil {
		f.log.Debug("addresses of this machine", "why", err)
		return
	}
	f.locator.listed, f.locator.addrs = now, addrs
	f.locator.reach.Interfaces(now, addrs)
}

func systemAddrs() (list []netip.Addr, err error) {
	addrs, err := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, ip.Unmap())
			}
		}
	}
	return list, err
}

// locate looks for this node's place until the federation ends.
func (f *Federation) locate() {
	f.settled(f.place.Load())
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-f.locator.wake:
		case <-f.ctx.Done():
			return
		}
		f.look()
		pause := lookEvery
		if f.place.Load().State == reach.Leaf && f.now() < youngFor {
			pause = lookSoon
		}
		t.Reset(pause)
	}
}

// look takes in what others say, and acts if the place has changed.
func (f *Federation) look() {
	now := f.now()
	var said []reach.Tally
	w, ok := f.cfg.Directory.(Witness)
	if ok {
		said = w.Heard()
	}
	l := &f.locator
	l.mu.Lock()
	if now-l.listed >= interfacesEvery {
		f.interfaces(now)
	}
	addrs := l.addrs // replaced as a whole
	l.mu.Unlock()
	linked := f.witnesses(addrs)
	l.mu.Lock()
	if ok {
		l.reach.Heard(now, said)
	}
	l.reach.Linked(now, linked)
	changed := l.reach.Advance(now)
	p := f.placeOf(l.reach.View())
	l.mu.Unlock()
	if changed {
		// Accepted first: whoever hears of it may come at once.
		f.place.Store(p)
		f.log.Info("federation: " + p.String())
		f.settled(p)
	}
}

// settled acts on a new place.
func (f *Federation) settled(p *Place) {
	if w, ok := f.cfg.Directory.(Witness); ok {
		w.SetReadOnly(p.State == reach.Leaf)
	}
	f.step(func(m *mesh.Mesh, now time.Duration) {
		m.Reachable(now, p.State != reach.Leaf, p.State == reach.Full)
	})
	select {
	case f.renew <- struct{}{}:
	default:
	}
}

// witnesses are where those are linked who know what an unverified record is.
// A link from an address that this machine, which has these, has lost is dead,
// though it may take a minute to show.
func (f *Federation) witnesses(addrs []netip.Addr) (list []netip.AddrPort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.peers {
		if l := p.cur.Load(); l != nil && l.witness.Load() && alive(l.conn, addrs) {
			if list = append(list, l.from); len(list) == maxWitnesses {
				break
			}
		}
	}
	return list
}

// alive reports whether a connection's own end is still at an address of this
// machine, as far as can be seen.
func alive(c net.Conn, addrs []netip.Addr) bool {
	local, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return true
	}
	ip := local.AddrPort().Addr().Unmap().WithZone("")
	return ip.IsLoopback() || slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap().WithZone("") == ip })
}

// soon makes the locator look again.
func (l *locator) soon() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// dialledAt notes that a link came in for a URL of ours.
func (f *Federation) dialledAt(l *link) {
	if !f.guesses() {
		return
	}
	u, err := nodeaddr.Parse(strings.TrimSuffix(l.session.URL, f.cfg.Network.LinkPath()), f.cfg.AllowPrivate)
	if err != nil {
		return // it is one of ours: it parses
	}
	host, err := netip.ParseAddr(u.Host)
	if err != nil {
		return
	}
	f.locator.mu.Lock()
	f.locator.reach.Proven(f.now(), l.from, host)
	f.locator.mu.Unlock()
	f.locator.soon()
}

// onSeen takes the other side's word for where we are.
func (l *link) onSeen(m *frame.Seen) bool {
	addr, ok := netip.AddrFromSlice(m.Address)
	if !ok || !l.quota.seen.allow(l.f.now(), 1) {
		return !l.strike(strikeSeen)
	}
	l.witness.Store(true)
	if f := l.f; f.guesses() {
		f.locator.mu.Lock()
		f.locator.reach.Seen(f.now(), l.from, addr)
		f.locator.mu.Unlock()
		f.locator.soon()
	}
	return true
}

// appendSeen appends what we see of the other side, if it is an address that
// tells it something.
func (l *link) appendSeen(dst []byte) []byte {
	addr := l.from.Addr().Unmap()
	if !nodeaddr.Classify(addr).Allowed(l.f.cfg.AllowPrivate) {
		return dst
	}
	return frame.AppendSeen(dst, addr.AsSlice())
}

// String says how far a node's place is known, for its operator.
func (p Place) String() string {
	at := strings.Join(urlStrings(p.URLs), ", ")
	switch p.State {
	case reach.Full:
		return "reachable at " + at
	case reach.Unverified:
		return fmt.Sprintf("a leaf until a node from outside its own network has dialled it at %s, where it believes to be", at)
	}
	return "a leaf, which dials other nodes and is not dialled: " + p.Why
}
