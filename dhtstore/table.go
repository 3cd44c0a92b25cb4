package dhtstore

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// nodeID is a place in the DHT's key space: of a node, or a key.
type nodeID [20]byte

// compareDistance orders a and b by distance to target.
func compareDistance(target, a, b *nodeID) int {
	for i := range target {
		if x, y := a[i]^target[i], b[i]^target[i]; x != y {
			return int(x) - int(y)
		}
	}
	return 0
}

// sharedBits is the length of the common prefix of a and b.
func sharedBits(a, b *nodeID) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return i*8 + bits.LeadingZeros8(x)
		}
	}
	return len(a) * 8
}

// contact is a node's identity and address, not necessarily verified.
type contact struct {
	id   nodeID
	addr netip.AddrPort
}

const (
	bucketSize = 8
	// goodFor is how long an answer vouches for a node (BEP 5).
	goodFor = 15 * time.Minute
	// maxFails removes a node. One lost packet must not.
	maxFails  = 3
	perSubnet = 2 // nodes of one /24 or /48 in a bucket
)

type entry struct {
	contact
	answered time.Time
	fails    int
	secure   bool // BEP 42: the id belongs to the address
}

// table is the routing table: Kademlia buckets of nodes, each of which has
// answered a query of ours, so that spoofed or invented nodes never get in
// and never are handed out. It takes one node of an address and few of a
// subnet, since addresses are what an attacker has to pay for; private ones
// cost nothing and count by port.
type table struct {
	self    nodeID
	buckets [161][]entry
	byAddr  map[netip.AddrPort]nodeID
	byHost  map[netip.AddrPort]nodeID // keyed by host()
}

func newTable(self nodeID) *table {
	return &table{
		self:   self,
		byAddr: make(map[netip.AddrPort]nodeID),
		byHost: make(map[netip.AddrPort]nodeID),
	}
}

// answered notes that the node at addr answered as id, and adds it if there
// is room.
func (t *table) answered(now time.Time, c contact) bool {
	if c.id == t.self || c.id == (nodeID{}) {
		return false
	}
	if old, ok := t.byAddr[c.addr]; ok {
		if old == c.id {
			e := t.find(c)
			e.answered, e.fails = now, 0
			return true
		}
		t.remove(contact{old, c.addr}) // restarted with a new id
	}
	if !t.makeRoom(now, c) {
		return false
	}
	t.place(entry{contact: c, answered: now, secure: secureID(c)})
	return true
}

func (t *table) place(e entry) {
	b := &t.buckets[sharedBits(&t.self, &e.id)]
	*b = append(*b, e)
	t.byAddr[e.addr] = e.id
	t.byHost[host(e.addr)] = e.id
}

// wants reports whether a node that is not verified yet would be added.
func (t *table) wants(now time.Time, c contact) bool {
	if c.id == t.self || c.id == (nodeID{}) {
		return false
	}
	if _, ok := t.byAddr[c.addr]; ok {
		return false
	}
	return t.victim(now, c) != none
}

const (
	none   = -2 // no place for it
	vacant = -1 // a place without removing another
)

// victim finds the place for a new node: vacant, or the index in its bucket
// of the entry that gives way.
func (t *table) victim(now time.Time, c contact) int {
	if _, taken := t.byHost[host(c.addr)]; taken {
		return none
	}
	b := t.buckets[sharedBits(&t.self, &c.id)]
	neighbours, stale := 0, none
	for i := range b {
		e := &b[i]
		if e.id == c.id {
			// Two addresses claim one id: the first keeps it while it lives.
			if e.fails > 0 {
				return i
			}
			return none
		}
		if subnet(e.addr) == subnet(c.addr) {
			neighbours++
		}
		if e.fails > 0 || now.Sub(e.answered) > goodFor {
			stale = i
		}
	}
	if neighbours >= perSubnet {
		return none
	}
	if len(b) < bucketSize {
		return vacant
	}
	if stale == none && secureID(c) {
		for i := range b {
			if !b[i].secure {
				return i
			}
		}
	}
	return stale
}

func (t *table) makeRoom(now time.Time, c contact) bool {
	i := t.victim(now, c)
	if i >= 0 {
		t.remove(t.buckets[sharedBits(&t.self, &c.id)][i].contact)
	}
	return i != none
}

// failed notes that the node at addr did not answer.
func (t *table) failed(addr netip.AddrPort) {
	id, ok := t.byAddr[addr]
	if !ok {
		return
	}
	c := contact{id, addr}
	if e := t.find(c); e.fails+1 < maxFails {
		e.fails++
		return
	}
	t.remove(c)
}

func (t *table) find(c contact) *entry {
	b := t.buckets[sharedBits(&t.self, &c.id)]
	for i := range b {
		if b[i].contact == c {
			return &b[i]
		}
	}
	return nil
}

func (t *table) remove(c contact) {
	b := &t.buckets[sharedBits(&t.self, &c.id)]
	*b = slices.DeleteFunc(*b, func(e entry) bool { return e.contact == c })
	delete(t.byAddr, c.addr)
	delete(t.byHost, host(c.addr))
}

// isGood reports whether the node answered lately and has not failed since.
func (e *entry) isGood(now time.Time) bool {
	return e.fails == 0 && now.Sub(e.answered) <= goodFor
}

// verified reports whether addr is in the table and good: a datagram that
// claims to come from it may be forged, but then to somebody who runs a node.
func (t *table) verified(now time.Time, addr netip.AddrPort) bool {
	id, ok := t.byAddr[addr]
	return ok && t.find(contact{id, addr}).isGood(now)
}

// each calls f with every entry.
func (t *table) each(f func(*entry)) {
	for i := range t.buckets {
		for j := range t.buckets[i] {
			f(&t.buckets[i][j])
		}
	}
}

// closest returns up to n nodes sorted by distance to target. With good, only
// those that may be named to others.
func (t *table) closest(now time.Time, target nodeID, n int, good bool) []contact {
	all := make([]contact, 0, 64)
	t.each(func(e *entry) {
		if !good || e.isGood(now) {
			all = append(all, e.contact)
		}
	})
	slices.SortFunc(all, func(a, b contact) int { return compareDistance(&target, &a.id, &b.id) })
	return all[:min(n, len(all))]
}

// moveTo makes self the node's id, which the places of all others depend on.
// Some find no room near it any more.
func (t *table) moveTo(now time.Time, self nodeID) {
	old := *t
	*t = *newTable(self)
	old.each(func(e *entry) {
		if e.id != self && t.makeRoom(now, e.contact) {
			t.place(*e)
		}
	})
}

// counts returns the numbers of good nodes and of all.
func (t *table) counts(now time.Time) (good, all int) {
	t.each(func(e *entry) {
		all++
		if e.isGood(now) {
			good++
		}
	})
	return good, all
}

// stalest returns up to n nodes that have been silent for longest, if for at
// least the time given.
func (t *table) stalest(now time.Time, silent time.Duration, n int) []contact {
	var old []entry
	t.each(func(e *entry) {
		if now.Sub(e.answered) >= silent {
			old = append(old, *e)
		}
	})
	slices.SortFunc(old, func(a, b entry) int { return a.answered.Compare(b.answered) })
	out := make([]contact, 0, n)
	for _, e := range old[:min(n, len(old))] {
		out = append(out, e.contact)
	}
	return out
}

// depth is the number of the deepest bucket that has nodes, plus one.
func (t *table) depth() int {
	for i := len(t.buckets) - 1; i >= 0; i-- {
		if len(t.buckets[i]) > 0 {
			return i + 1
		}
	}
	return 0
}

// randomIn returns a random key that falls into bucket n.
func (t *table) randomIn(rnd *rand.Rand, n int) nodeID {
	var id nodeID
	for i := range id {
		id[i] = byte(rnd.Uint32())
	}
	for bit := 0; bit <= n && bit < 160; bit++ {
		mask := byte(0x80 >> (bit % 8))
		want := t.self[bit/8] & mask
		if bit == n {
			want ^= mask
		}
		id[bit/8] = id[bit/8]&^mask | want
	}
	return id
}

// check verifies the table's invariants, for tests.
func (t *table) check() string {
	hosts := make(map[netip.AddrPort]bool)
	entries := 0
	for i, b := range t.buckets {
		if len(b) > bucketSize {
			return "bucket too large"
		}
		nets := make(map[netip.AddrPort]int)
		for _, e := range b {
			entries++
			nets[subnet(e.addr)]++
			switch {
			case sharedBits(&t.self, &e.id) != i:
				return "entry in the wrong bucket"
			case e.id == t.self:
				return "own id in the table"
			case hosts[host(e.addr)]:
				return "two nodes of one host"
			case nets[subnet(e.addr)] > perSubnet:
				return "too many nodes of one subnet in a bucket"
			case t.byAddr[e.addr] != e.id:
				return "address index is wrong"
			}
			hosts[host(e.addr)] = true
		}
	}
	if entries != len(t.byAddr) || entries != len(t.byHost) {
		return "indexes have other entries"
	}
	return ""
}
