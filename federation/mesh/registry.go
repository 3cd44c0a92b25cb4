package mesh

import (
	"math/bits"
	"net/netip"
	"time"

	"github.com/draeder/peerservers/federation/registry"
)

// In a network of hundreds, two nodes with a swarm in common are mostly not
// linked, and a list in the directory takes seconds of its budget to read. So
// three nodes that everybody can compute are told of each swarm, by a name that
// only they can use, and asked who else has it (package registry). What follows
// decides who that is; duty.go what they are told, and told.go what is made of
// their answers, which are hints like those of a search, and less.
//
// Below RegistryFrom such nodes all this is off. There each node would be
// responsible for several buckets, so that a node with many swarms would have to
// reach nearly all others (85 of 100): links of which each compares all swarms
// anyway, by filters.
//
// A node is counted in if its record says that it keeps registrations and where
// it can be dialled, and nothing speaks against it: a guess, a bar, a dial that
// failed lately. One that is neither linked nor was met before must have been known
// for a while, so that those who come and go do not move the buckets of all.
const (
	// deadFor is for how long a node is left out that could not be reached.
	deadFor = 10 * time.Minute
	// auditEvery is how often nodes are looked at for what time alone changes,
	// and auditAtOnce how many at a time.
	auditEvery  = 5 * time.Second
	auditAtOnce = 1024
	// assignPause gathers changes; then so many buckets at a time are looked at.
	assignPause  = 50 * time.Millisecond
	assignAtOnce = 8
	// errandRate and errandBurst pace the dials to responsible nodes.
	errandRate  = 2.0
	errandBurst = 32
	// errandIdle is when a link is let go that was made for nothing else. With
	// 1,000 nodes and many swarms, some ten others have one with us at a time and
	// as many we with them, and three times that while swarms begin all the time.
	errandIdle = time.Minute
)

// registrar is what a Mesh knows of responsible nodes.
type registrar struct {
	ring     *registry.Ring
	on       bool
	dirty    uint64 // buckets to be assigned
	assigned [registry.Buckets][registry.Replicas]*node
	audit    task
	looked   int // place in Mesh.list
	assign   task
	errands  bucket
	hints    bucket // nodes told of that are taken in
	asks     bucket // links so as to ask again
	duties   int
	queue    []enlisted
	enlist   task
}

func (m *Mesh) startRegistry() {
	r := &m.reg
	r.ring = registry.NewRing(m.cfg.BucketKey)
	r.errands = newBucket(errandRate, errandBurst, m.now)
	r.hints = newBucket(hintRate, hintBurst, m.now)
	r.asks = newBucket(againRate, againBurst, m.now)
	r.audit.run, r.assign.run, r.enlist.run = m.auditMembers, m.assignBuckets, m.enlistDue
	if m.cfg.RegistryFrom > 0 && !m.cfg.NoRendezvous {
		m.at(&r.audit, m.now+auditEvery)
	}
}

// counts reports whether n may be responsible for buckets.
func (m *Mesh) counts(n *node) bool {
	r := &n.record
	switch {
	case !r.Registers || r.Unverified || len(r.URLs) == 0 || m.barredUntil(n.key) > m.now:
		return false
	case n.up:
		return true
	case r.Expires <= m.unix || n.fails+n.brief > 0 && m.now-n.failed < deadFor:
		return false
	}
	return n.met != "" || m.now-n.firstSeen >= m.cfg.RegistryAfter
}

// weigh enters n among those that may be responsible, or takes it out.
func (m *Mesh) weigh(n *node) {
	if m.reg.audit.idx == 0 {
		return // it is off for good
	}
	if !m.counts(n) {
		m.unweigh(n)
		return
	}
	m.reg.ring.Add(n.key, n.ringGroup())
	m.reassign()
}

// ringGroup is the prefix of the address from which a link with n came, if there
// was one: what its record says of itself could be another's.
func (n *node) ringGroup() (group netip.AddrPort) {
	if n.groupLimit > 0 {
		group = n.group
	}
	return group
}

// unweigh takes n out. Who takes its places is told what it had been told.
func (m *Mesh) unweigh(n *node) {
	m.reg.ring.Remove(n.key)
	if n.duty != nil {
		m.endDuty(n)
	}
	m.reassign()
}

// weighSelf does the same for this node: others count it in if it says that it
// can be dialled, and so it is in its own ring.
func (m *Mesh) weighSelf() {
	if !m.listed() {
		m.reg.ring.Remove(m.cfg.Self)
	} else {
		m.reg.ring.Add(m.cfg.Self, netip.AddrPort{})
	}
}

func (m *Mesh) auditMembers() {
	r := &m.reg
	m.at(&r.audit, m.now+auditEvery)
	m.weighSelf()
	for range min(auditAtOnce, len(m.list)) {
		if r.looked >= len(m.list) {
			r.looked = 0
		}
		m.weigh(m.list[r.looked])
		r.looked++
	}
	m.reassign()
}

// reassign has those buckets looked at soon that may have changed: all of them
// when there have come to be nodes enough, or too few.
func (m *Mesh) reassign() {
	r, size := &m.reg, m.reg.ring.Len()
	switch on := r.on; {
	case !on && size >= m.cfg.RegistryFrom && size-1 > m.links, on && size < m.cfg.RegistryFrom*3/4:
		r.on, r.dirty = !on, ^uint64(0)
	}
	for b, ok := r.ring.Changed(); ok; b, ok = r.ring.Changed() {
		r.dirty |= 1 << b
	}
	if r.dirty != 0 && r.assign.idx == 0 {
		m.at(&r.assign, m.now+assignPause)
	}
}

func (m *Mesh) assignBuckets() {
	r := &m.reg
	for i := 0; r.dirty != 0 && i < assignAtOnce; i++ {
		b := bits.TrailingZeros64(r.dirty)
		r.dirty &^= 1 << b
		m.assignBucket(b)
	}
	if r.dirty != 0 {
		m.at(&r.assign, m.now+assignPause)
	}
}

// assignBucket gives a bucket to those responsible for it now.
func (m *Mesh) assignBucket(b int) {
	was := m.reg.assigned[b]
	var now [registry.Replicas]*node
	if m.reg.on {
		for i, key := range m.reg.ring.Responsible(b).Keys() {
			now[i] = m.nodes[key] // nil: ourselves
		}
	}
	m.reg.assigned[b] = now
	for _, n := range now {
		if n != nil && (n.duty == nil || n.duty.buckets>>b&1 == 0) {
			m.addDuty(n, b)
		}
	}
	for _, n := range was {
		if n != nil && n.duty != nil && n != now[0] && n != now[1] && n != now[2] {
			n.duty.todo &^= 1 << b
			if n.duty.buckets &^= 1 << b; n.duty.buckets == 0 {
				m.endDuty(n)
			}
		}
	}
}

// responsible are the nodes that are told of a swarm.
func (m *Mesh) responsible(s *swarm) *[registry.Replicas]*node {
	return &m.reg.assigned[registry.Bucket(int(s.bucket))]
}
