package reach

import (
	"net/netip"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// rank is how good a candidate is.
type rank uint8

const (
	rankNone   rank = iota
	rankFew         // fewer than three networks say anything, and all name it
	rankAgreed      // three networks and most of all name it
	rankOwn         // it is of this machine
)

func (r *Reach) rank(f *family, a netip.Addr) rank {
	own := r.own(a)
	switch port := r.port(a, own); {
	case port == 0:
		return rankNone
	case own && (r.listens(a) || f.voices.support(r.now, a) > 0):
		return rankOwn
	case own && nodeaddr.Classify(a) == nodeaddr.Public && !f.v6:
		// A host may have many IPv6 addresses, some of them for an hour: which
		// one others see must be said. Of the private ones of either family
		// each may be seen by somebody or nobody.
		return rankOwn
	case own || f.v6: // nobody translates IPv6 addresses
		return rankNone
	case f.voices.agreed(r.now, a):
		return rankAgreed
	case f.voices.unopposed(r.now, a) && r.now-r.began >= patience:
		return rankFew
	}
	return rankNone
}

// choose makes the best candidate the guess, if there is reason to change it.
func (r *Reach) choose(f *family) {
	g := &f.guess
	best, bestRank := netip.Addr{}, rankNone
	consider := func(a netip.Addr) {
		k := r.rank(f, a)
		if k == rankNone || k < bestRank {
			return
		}
		if k > bestRank || r.better(f, a, best) {
			best, bestRank = a, k
		}
	}
	for _, a := range r.local {
		if r.of(a) == f {
			consider(a)
		}
	}
	f.voices.each(r.now, consider)
	lost := g.own && !r.own(g.addr) // with its interface goes all that was proven
	if !lost && (best == g.addr || g.addr.IsValid() && !r.replace(f, best, bestRank)) {
		g.own = r.own(g.addr)
		return
	}
	own := r.own(best)
	*g = guess{addr: best, own: own, port: r.port(best, own), state: Unverified, since: r.now, chosen: r.now}
	if !best.IsValid() {
		g.state = Leaf
	}
}

// better orders candidates of equal rank: what most name, then the present
// guess, then the lowest, so that chance has no part in it.
func (r *Reach) better(f *family, a, b netip.Addr) bool {
	if x, y := f.voices.support(r.now, a), f.voices.support(r.now, b); x != y {
		return x > y
	}
	if a == f.guess.addr || b == f.guess.addr {
		return a == f.guess.addr
	}
	return a.Less(b)
}

// replace reports whether the guess is to give way to best.
func (r *Reach) replace(f *family, best netip.Addr, bestRank rank) bool {
	g := &f.guess
	now := r.rank(f, g.addr)
	_, _, voices := f.voices.count(r.now, g.addr)
	switch {
	case r.now-g.chosen < stay:
		return false
	case g.state == Full:
		// What was proven stays until something else is as good as certain.
		return now < bestRank && bestRank >= rankAgreed
	case now == rankNone:
		// Contradicted; with nobody left who says anything it stays.
		return bestRank > rankNone || voices > 0
	case now == bestRank:
		return g.tries > 0 && f.voices.support(r.now, best) > f.voices.support(r.now, g.addr)
	}
	return now < bestRank
}

// port is the one at which links for a arrive; 0: none.
func (r *Reach) port(a netip.Addr, own bool) uint16 {
	for _, l := range r.cfg.Listen {
		at := plain(l.Addr())
		switch {
		case !dialled(l.Port()):
		case at.IsUnspecified() && (at.Is6() || a.Is4()), at == a:
			return l.Port()
		case !own && !at.IsUnspecified() && !at.IsLoopback() && at.Is4() == a.Is4():
			return l.Port() // behind a router that may forward the port
		}
	}
	return 0
}

// listens reports whether the operator named a as the address to listen on.
func (r *Reach) listens(a netip.Addr) bool {
	for _, l := range r.cfg.Listen {
		if plain(l.Addr()) == a {
			return true
		}
	}
	return false
}

// dialled reports whether others dial a port (nodeaddr.Parse).
func dialled(port uint16) bool { return port == 443 || port >= 1024 }
