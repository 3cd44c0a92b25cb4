package dhtstore

import (
	"net/netip"
	"slices"
)

const (
	alpha = 4 // queries in flight
	// maxAsk bounds a lookup: a usual one asks 20 to 30.
	maxAsk        = 64
	maxCandidates = 256
)

type candidateState uint8

const (
	fresh candidateState = iota
	asking
	answered
	failed
)

type candidate struct {
	contact
	known  bool // the id is known; bootstrap addresses come without
	secure bool
	subnet netip.AddrPort
	state  candidateState
	token  string
}

func newCandidate(c contact, known bool) candidate {
	return candidate{contact: c, known: known, secure: known && secureID(c), subnet: subnet(c.addr)}
}

// lookup is the state of an iterative search for the nodes closest to a
// target, without I/O: the caller asks what next names and reports back.
//
// Nodes whose id fits their address (BEP 42) come before others, because an
// id near the target can be chosen but an address has to be owned; and of
// one /24 or /48 only one counts among the closest. If those are crowded around
// the target, some that are not near it count as well (density.go). Readers and
// writers use the same order, so that they meet.
type lookup struct {
	target nodeID
	self   nodeID
	allow  func(netip.AddrPort) bool
	cands  []candidate // in the order of preference
	seen   map[netip.AddrPort]bool
	asked  int
	size   float64 // how many nodes the DHT may have; 0: unknown
}

func newLookup(target, self nodeID, allow func(netip.AddrPort) bool) *lookup {
	return &lookup{target: target, self: self, allow: allow, seen: make(map[netip.AddrPort]bool)}
}

// seed adds an address whose id is not known. It is asked before others.
func (l *lookup) seed(addr netip.AddrPort) {
	if !l.seen[addr] {
		l.seen[addr] = true
		l.insert(newCandidate(contact{addr: addr}, false))
	}
}

// add adds a node that somebody named.
func (l *lookup) add(c contact) {
	if l.seen[c.addr] || c.id == l.self || c.id == (nodeID{}) || !l.allow(c.addr) {
		return
	}
	cand := newCandidate(c, true)
	if len(l.cands) >= maxCandidates {
		last := l.cands[len(l.cands)-1]
		if last.state != fresh || l.compare(&cand, &last) >= 0 {
			return
		}
		l.cands = l.cands[:len(l.cands)-1]
		delete(l.seen, last.addr)
	}
	l.seen[c.addr] = true
	l.insert(cand)
}

func (l *lookup) compare(a, b *candidate) int {
	switch {
	case a.known != b.known:
		if b.known {
			return -1
		}
		return 1
	case a.secure != b.secure:
		if a.secure {
			return -1
		}
		return 1
	}
	return compareDistance(&l.target, &a.id, &b.id)
}

func (l *lookup) insert(c candidate) {
	i, _ := slices.BinarySearchFunc(l.cands, c, func(a, b candidate) int { return l.compare(&a, &b) })
	l.cands = slices.Insert(l.cands, i, c)
}

// next returns the next node to ask, if one of the closest has not been.
func (l *lookup) next() (contact, bool) {
	if l.asked >= maxAsk {
		return contact{}, false
	}
	var ask *candidate
	l.closest(func(c *candidate) bool {
		if c.state == fresh {
			ask = c
			return false
		}
		return true
	})
	if ask == nil {
		return contact{}, false
	}
	ask.state = asking
	l.asked++
	return ask.contact, true
}

// closest calls f with the closest nodes that have not failed, up to 8 with
// those whose id is unknown left out of the count; and if these are crowded
// around the target, with up to 8 more that are not near it.
func (l *lookup) closest(f func(*candidate) bool) {
	var nets [2 * bucketSize]netip.AddrPort
	count, most, secure := 0, bucketSize, false
	for i := range l.cands {
		c := &l.cands[i]
		if c.state == failed {
			continue
		}
		if c.known {
			if count == most {
				return
			}
			d := distance(&l.target, &c.id)
			if count >= bucketSize && near(l.size, d) || slices.Contains(nets[:count], c.subnet) {
				continue
			}
			nets[count] = c.subnet
			if count++; count == 1 {
				secure = c.secure
			}
			if count <= bucketSize && c.secure == secure && crowded(l.size, d, count) {
				most = len(nets)
			}
		}
		if !f(c) {
			return
		}
	}
}

// answered reports that the node asked at addr answered as id.
func (l *lookup) answered(addr netip.AddrPort, id nodeID, token string) {
	i := l.index(addr)
	if i < 0 {
		return
	}
	c := l.cands[i]
	l.cands = slices.Delete(l.cands, i, i+1)
	if id == l.self {
		return // a bootstrap address that is ours
	}
	c.id, c.known, c.state, c.token = id, true, answered, token
	c.secure = secureID(c.contact)
	l.insert(c)
}

// failed reports that the node asked at addr did not answer.
func (l *lookup) failed(addr netip.AddrPort) {
	if i := l.index(addr); i >= 0 {
		l.cands[i].state = failed
	}
}

func (l *lookup) index(addr netip.AddrPort) int {
	return slices.IndexFunc(l.cands, func(c candidate) bool { return c.addr == addr })
}

// writable returns the closest nodes that answered with a token.
func (l *lookup) writable() []candidate {
	var out []candidate
	l.closest(func(c *candidate) bool {
		if c.state == answered && c.token != "" {
			out = append(out, *c)
		}
		return true
	})
	return out
}
