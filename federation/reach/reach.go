// Package reach finds out where others can reach a node that nobody gave a
// URL, and whether they can. It is pure: what is heard goes in with the time,
// and View says what to publish.
//
// The story of an address: it is on an interface of this machine, or others
// say that they see the node there (the DHT, linked nodes). The likeliest one
// becomes the guess. A guess is published as unverified, others try it with
// little zeal, and the first dial that arrives there from outside its own
// network proves it: the node is one like any other. If those who could have
// dialled did not get through, the node is a leaf and View says why; it tries
// the guess again later, less and less often.
//
// What liars can do is bounded twice. To move the guess they need more voices
// than everybody else together, a voice being a network (nodeaddr.Group), and
// never fewer than three unless nobody else says anything at all; an address of
// this machine goes before anything that is said. And to have a false guess
// published as proven they need as many, for a dial alone, whose URL the
// dialler says, proves an address of this machine only. With fewer, all that
// comes of it is what others do with an unverified record: one dial with a TLS
// hello, then a long pause.
package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// State is how far a guess got.
type State uint8

const (
	// Leaf: others cannot dial this node.
	Leaf State = iota
	// Unverified: there is a guess that nobody has proven.
	Unverified
	// Full: others have dialled this node.
	Full
)

// String is a fixed label, fit for a metric.
func (s State) String() string {
	switch s {
	case Unverified:
		return "unverified"
	case Full:
		return "full"
	}
	return "leaf"
}

const (
	// tryFor is how long a guess may stay unproven with somebody linked who
	// could prove it: longer than mesh waits with that and a dial may take.
	tryFor = 45 * time.Second
	// aloneFor is how long an address that is not of this machine is published
	// while nobody is linked who could prove it.
	aloneFor = 30 * time.Minute
	// proofLife is for how long a proof counts.
	proofLife = 24 * time.Hour
	// patience is for how long fewer than three voices are not believed.
	patience = 15 * time.Second
	// stay is the least time between two guesses, so that those who change
	// what they say cannot have us publish without end.
	stay = time.Minute
	// quorum is how many networks must agree on an address.
	quorum = 3
)

// retrySteps are the pauses before a guess that failed is tried again.
var retrySteps = [...]time.Duration{10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}

// Config says what is known from the start.
type Config struct {
	// Listen is where links are accepted.
	Listen []netip.AddrPort
	// AllowPrivate makes private addresses as good as public ones.
	AllowPrivate bool
}

// Reach is the state machine. It is not safe for concurrent use. Times are
// durations since an epoch of the caller's choice.
type Reach struct {
	cfg      Config
	now      time.Duration
	began    time.Duration
	local    []netip.Addr
	families [2]family // IPv4, IPv6
}

// family is what is known of this node's address of one family.
type family struct {
	v6     bool
	voices voices
	guess  guess
}

// guess is an address that may be ours.
type guess struct {
	addr   netip.Addr
	own    bool // it was of this machine when last looked at
	port   uint16
	state  State
	since  time.Duration // when the state began
	chosen time.Duration // when the address became the guess
	// chance is since when somebody is linked who could prove it, if hasChance.
	chance    time.Duration
	hasChance bool
	tries     int // that failed in a row
	proven    time.Duration
	isProven  bool
}

// New returns the state machine, which has heard nothing yet.
func New(cfg Config, now time.Duration) *Reach {
	r := &Reach{cfg: cfg, now: now, began: now}
	r.families[1].v6 = true
	return r
}

// maxLocal is how many addresses of this machine are looked at.
const maxLocal = 64

// Interfaces tells the addresses of this machine, all of them.
func (r *Reach) Interfaces(now time.Duration, addrs []netip.Addr) {
	r.moveTo(now)
	r.local = r.local[:0]
	// What can be listened on is ours, listed or not: all of 127.0.0.0/8 is.
	for _, l := range r.cfg.Listen {
		r.addLocal(l.Addr())
	}
	for _, a := range addrs {
		r.addLocal(a)
	}
}

func (r *Reach) addLocal(a netip.Addr) {
	if a = plain(a); r.allowed(a) && len(r.local) < maxLocal && !slices.Contains(r.local, a) {
		r.local = append(r.local, a)
	}
}

// Heard tells at which addresses the directory's nodes see this node, all of
// them, each network counted once.
func (r *Reach) Heard(now time.Duration, said []Tally) {
	r.moveTo(now)
	for i := range r.families {
		f := &r.families[i]
		f.voices.said = f.voices.said[:0]
		for _, t := range said {
			if a := plain(t.Addr); r.of(a) == f && t.Networks > 0 {
				f.voices.hear(a, t.Networks)
			}
		}
	}
}

// Seen tells that the linked node at from sees this one at addr.
func (r *Reach) Seen(now time.Duration, from netip.AddrPort, addr netip.Addr) {
	r.moveTo(now)
	if f := r.of(plain(addr)); f != nil && from.IsValid() {
		f.voices.note(now, network(from), plain(addr))
	}
}

// Proven tells that a node at from dialled this one and proved its key, for
// the URL whose host is addr.
func (r *Reach) Proven(now time.Duration, from netip.AddrPort, addr netip.Addr) {
	r.moveTo(now)
	addr = plain(addr)
	f := r.of(addr)
	if f == nil || f.guess.addr != addr || !outside(from, addr) {
		return
	}
	f.voices.note(now, network(from), addr)
	f.guess.proven, f.guess.isProven = now, true
}

// Linked tells from where nodes are linked that know what an unverified record
// is, all of them or some.
func (r *Reach) Linked(now time.Duration, from []netip.AddrPort) {
	r.moveTo(now)
	for i := range r.families {
		g := &r.families[i].guess
		if g.addr.IsValid() && slices.ContainsFunc(from, func(a netip.AddrPort) bool { return outside(a, g.addr) }) && !g.hasChance {
			g.chance, g.hasChance = now, true
			if g.state == Leaf {
				// Nobody was there who could have tried.
				g.to(now, Unverified)
				g.chance, g.hasChance = now, true
			}
		}
	}
}

// Advance does what is due; true if View has something new to say. Call it
// after all that was heard, and every few seconds.
func (r *Reach) Advance(now time.Duration) bool {
	r.moveTo(now)
	before := r.View()
	for i := range r.families {
		f := &r.families[i]
		r.choose(f)
		r.judge(f, r.families[1-i].guess.state == Full)
	}
	return !before.equal(r.View())
}

// judge moves the guess's state on. lent: the other family's guess is proven,
// so that the record does not ask anybody to prove this one.
func (r *Reach) judge(f *family, lent bool) {
	g := &f.guess
	if !g.addr.IsValid() {
		return
	}
	if g.isProven && r.now-g.proven >= proofLife {
		g.isProven = false
	}
	if g.isProven && g.state != Full {
		if r.confirmed(f) {
			g.to(r.now, Full)
			g.tries = 0
		} else if g.state == Leaf {
			g.to(r.now, Unverified)
		}
	}
	switch g.state {
	case Full:
		if !g.isProven {
			g.to(r.now, Unverified)
		}
	case Unverified:
		failed := g.hasChance && r.now-g.chance >= tryFor
		alone := !r.own(g.addr) && r.now-g.since >= aloneFor
		if (failed || alone) && !g.isProven && !lent {
			had := g.hasChance
			g.to(r.now, Leaf)
			g.hasChance = had
			g.tries++
		}
	case Leaf:
		if r.now-g.since >= g.retry() {
			g.to(r.now, Unverified)
		}
	}
}

func (g *guess) to(now time.Duration, s State) {
	g.state, g.since, g.hasChance = s, now, false
}

func (g *guess) retry() time.Duration {
	return retrySteps[min(max(g.tries-1, 0), len(retrySteps)-1)]
}

// confirmed reports whether a dial to the guess proves that it is ours: the
// dialler says where it dialled, and only of our own addresses we know.
func (r *Reach) confirmed(f *family) bool {
	return r.own(f.guess.addr) || f.voices.agreed(r.now, f.guess.addr)
}

func (r *Reach) moveTo(now time.Duration) { r.now = max(r.now, now) }

// of is the family of an address that may be ours; nil if it may not.
func (r *Reach) of(a netip.Addr) *family {
	switch {
	case !r.allowed(a):
		return nil
	case a.Is4():
		return &r.families[0]
	}
	return &r.families[1]
}

func (r *Reach) allowed(a netip.Addr) bool {
	return nodeaddr.Classify(a).Allowed(r.cfg.AllowPrivate)
}

func (r *Reach) own(a netip.Addr) bool { return slices.Contains(r.local, a) }

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// network is whose voice is one: the prefix that one operator is likely to
// hold as a whole. A private address and port are one by themselves.
func network(a netip.AddrPort) netip.AddrPort {
	ip := plain(a.Addr())
	if nodeaddr.Classify(ip) == nodeaddr.Public {
		return netip.AddrPortFrom(nodeaddr.Group(ip).Addr(), 0)
	}
	return netip.AddrPortFrom(ip, a.Port())
}

// outside reports whether a node at from says something about whether the
// world reaches addr. A private network has no outside.
func outside(from netip.AddrPort, addr netip.Addr) bool {
	if nodeaddr.Classify(addr) != nodeaddr.Public {
		return from.IsValid()
	}
	ip := plain(from.Addr())
	return nodeaddr.Classify(ip) == nodeaddr.Public && nodeaddr.Group(ip) != nodeaddr.Group(addr)
}
