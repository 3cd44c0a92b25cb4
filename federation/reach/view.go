package reach

import (
	"fmt"
	"net/netip"
	"slices"
)

// View is what a node may say of itself.
type View struct {
	State State
	// Addrs are to be published, the proven before the others; none for a
	// leaf.
	Addrs []netip.AddrPort
	// Accept are those for which links are accepted: a leaf's too, for that
	// nobody got through does not mean that nobody will.
	Accept []netip.AddrPort
	// Why says, unless the node is full, what it lacks; for a person.
	Why string
}

func (v View) equal(o View) bool {
	return v.State == o.State && v.Why == o.Why && slices.Equal(v.Addrs, o.Addrs) && slices.Equal(v.Accept, o.Accept)
}

// View returns what the last Advance came to.
func (r *Reach) View() (v View) {
	for i := range r.families {
		v.State = max(v.State, r.families[i].guess.state)
	}
	for _, full := range []bool{true, false} {
		for i := range r.families {
			g := &r.families[i].guess
			if !g.addr.IsValid() || (g.state == Full) != full {
				continue
			}
			at := netip.AddrPortFrom(g.addr, g.port)
			v.Accept = append(v.Accept, at)
			// Beside a proven address one of this machine is as good as proven.
			if g.state != Leaf && (g.state == v.State || g.own) {
				v.Addrs = append(v.Addrs, at)
			}
		}
	}
	v.Why = r.why(v.State)
	return v
}

func (r *Reach) why(s State) string {
	switch s {
	case Full:
		return ""
	case Unverified:
		return "no node from outside its own network has dialled it there yet"
	}
	for i := range r.families {
		if g := &r.families[i].guess; g.addr.IsValid() {
			return r.unreached(g)
		}
	}
	ports, loopback := false, true
	for _, l := range r.cfg.Listen {
		ports = ports || dialled(l.Port())
		loopback = loopback && plain(l.Addr()).IsLoopback()
	}
	switch {
	case !ports:
		return "none of its ports is one that others dial: 443, or from 1024 on"
	case loopback && !r.cfg.AllowPrivate:
		return "it listens on this machine alone"
	}
	for i := range r.families {
		if _, _, all := r.families[i].voices.count(r.now, netip.Addr{}); all >= quorum {
			return "those who see it name different addresses"
		}
	}
	return "nobody has told it a public address of its own yet"
}

func (r *Reach) unreached(g *guess) string {
	at := netip.AddrPortFrom(g.addr, g.port)
	if g.own {
		return fmt.Sprintf("no other node got through to %v: open TCP port %d, and UDP for the DHT, in the firewall", at, g.port)
	}
	return fmt.Sprintf("no other node got through to %v, which is not an address of this machine: forward TCP port %d there to this machine", at, g.port)
}
