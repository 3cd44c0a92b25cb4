package dhtstore

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxVotes bounds how many networks have a say about our address.
	maxVotes = 32
	// voteExpiry is longer than any node that lives stays unasked.
	voteExpiry = 30 * time.Minute
	// votesNeeded make an address ours.
	votesNeeded = 3
)

// External is an address at which others see this node's DHT socket.
type External struct {
	Addr netip.AddrPort
	// Networks says how many networks (IPv4 /24, IPv6 /48; a private address
	// and port are one) have a node that said so when it last answered, within
	// the last half hour.
	Networks int
}

// votes collects what others say our address is: one vote a network, and as
// they come in answers to our own queries only, nobody votes unasked. The
// oldest gives way.
type votes struct {
	last [maxVotes]vote
}

type vote struct {
	network netip.AddrPort
	says    netip.AddrPort
	at      time.Time
}

func (v *votes) note(now time.Time, from, says netip.AddrPort) {
	network := subnet(from)
	oldest := &v.last[0]
	for i := range v.last {
		x := &v.last[i]
		if x.network == network {
			oldest = x
			break
		}
		if x.at.Before(oldest.at) {
			oldest = x
		}
	}
	*oldest = vote{network, says, now}
}

// count returns the addresses voted for, the most votes first.
func (v *votes) count(now time.Time) []External {
	var out []External
	for _, x := range v.last {
		if !x.says.IsValid() || now.Sub(x.at) > voteExpiry {
			continue
		}
		i := slices.IndexFunc(out, func(e External) bool { return e.Addr == x.says })
		if i < 0 {
			i = len(out)
			out = append(out, External{Addr: x.says})
		}
		out[i].Networks++
	}
	sortExternal(out)
	return out
}

func sortExternal(list []External) {
	slices.SortFunc(list, func(a, b External) int {
		return cmp.Or(cmp.Compare(b.Networks, a.Networks), a.Addr.Compare(b.Addr))
	})
}

// ip is the public IP address that most of at least votesNeeded networks name,
// whatever the port.
func (v *votes) ip(now time.Time) (netip.Addr, bool) {
	networks := make(map[netip.Addr]int)
	all := 0
	for _, e := range v.count(now) {
		networks[e.Addr.Addr()] += e.Networks
		all += e.Networks
	}
	for ip, n := range networks {
		if n >= votesNeeded && 2*n > all && isPublic(ip) {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// confirms reports whether to believe from that our IP address is ip, where
// somebody else's could be told us to be made use of: others say it too, or
// nobody else says anything. A private address is nobody's on the Internet.
func (v *votes) confirms(now time.Time, from netip.AddrPort, ip netip.Addr) bool {
	if !isPublic(ip) {
		return true
	}
	network, others := subnet(from), false
	for _, x := range v.last {
		if !x.says.IsValid() || now.Sub(x.at) > voteExpiry || x.network == network {
			continue
		}
		if x.says.Addr() == ip {
			return true
		}
		others = true
	}
	return !others
}

// address is the address that most networks name, if enough do.
func (v *votes) address(now time.Time) (netip.AddrPort, bool) {
	if all := v.count(now); len(all) > 0 && all[0].Networks >= votesNeeded {
		return all[0].Addr, true
	}
	return netip.AddrPort{}, false
}
