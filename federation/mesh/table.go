package mesh

import (
	"net/netip"
	"time"
)

// What follows guards the table of links, which strangers fill: whoever knows a
// node's URL may dial it, with as many keys as it likes.
//
//   - MaxLinksGroup links at most come from one prefix;
//   - links that others dialled, and that have brought no answer within the last
//     hour, have half of the table. The other half is left to those that we dial,
//     so that nobody can keep us from reaching whom we look for;
//   - a link that has brought answers is never closed for another, nor is one
//     over which something is shared, but for one that we dialled or a node
//     known for longer. What goes is the youngest: the one whose key was first
//     seen last. So fresh keys displace each other, not those before them.
const (
	// usefulFor is for how long an answer that came over a link protects it.
	usefulFor = time.Hour
	// settleIn is for how long a new link is left in peace: it has had no time to
	// share anything.
	settleIn = 10 * time.Second
	// older is by how much longer a node must be known to displace one with which
	// something is shared.
	older = time.Hour
	// briefLink is how short a link is that counts as a failure to reach the
	// node, which may have no room.
	briefLink = 10 * time.Second
)

// Link says what a link is, when it is up.
type Link struct {
	// Dialled: by us.
	Dialled bool
	// From is the other side's address; not valid if it is not known.
	From netip.AddrPort
	// Age is for how long its key has been known.
	Age time.Duration
}

// useful reports whether the node brought an answer lately.
func (m *Mesh) useful(n *node) bool { return n.brought != never && m.now-n.brought < usefulFor }

// Admits reports whether there is room for a link that another node dialled.
func (m *Mesh) Admits(now time.Duration, key Key, l Link) bool {
	m.moveTo(now)
	if n := m.nodes[key]; n != nil && n.up {
		return true // another link of one that is there
	}
	n := &node{key: key, dialled: l.Dialled, firstSeen: m.now - l.Age, brought: never}
	n.group, n.groupLimit = m.group(l.From)
	_, ok := m.linkRoom(n)
	return ok
}

// linkRoom reports whether there is room for n's link; out, if it is not nil,
// has to go for it.
func (m *Mesh) linkRoom(n *node) (out *node, ok bool) {
	all, strangers, prefix := 0, 0, 0
	for _, o := range m.list {
		if !o.up || o.closing || o == n {
			continue
		}
		all++
		if !o.dialled && !m.useful(o) {
			strangers++
		}
		if n.near(o) {
			prefix++
		}
	}
	full := false
	var among func(o *node) bool
	switch {
	case prefix >= m.cfg.MaxLinksGroup:
		full, among = true, n.near
	case !n.dialled && !m.useful(n) && strangers >= (m.cfg.MaxLinks+1)/2:
		full, among = true, func(o *node) bool { return !o.dialled }
	case all >= m.cfg.MaxLinks:
		full, among = true, func(*node) bool { return true }
	}
	if !full {
		return nil, true
	}
	for _, o := range m.list {
		if !o.up || o.closing || o == n || m.useful(o) || m.now-o.upSince < settleIn || !among(o) || !m.yields(o, n) {
			continue
		}
		if out == nil || o.idleNow() && !out.idleNow() || o.idleNow() == out.idleNow() && o.firstSeen > out.firstSeen {
			out = o
		}
	}
	return out, out != nil
}

// yields reports whether o's link may be closed for n's.
func (m *Mesh) yields(o, n *node) bool {
	switch {
	case n.dialled && !o.dialled:
		return true
	case o.idleNow():
		return n.dialled || n.firstSeen < o.firstSeen+older
	}
	return !o.dialled && n.firstSeen+older <= o.firstSeen
}

// near reports whether both links come from one prefix, as far as is known.
func (n *node) near(o *node) bool {
	return n.groupLimit > 0 && o.groupLimit > 0 && n.group == o.group
}
