package reach

import (
	"net/netip"
	"time"
)

const (
	// maxSaid and maxVoices bound what is remembered of one family.
	maxSaid   = 32
	maxVoices = 32
	// voiceLife is for how long a linked node's word counts.
	voiceLife = 2 * time.Hour
)

// Tally says how many networks name an address.
type Tally struct {
	Addr     netip.Addr
	Networks int
}

// voices are what others say of this node's address: the directory in sum,
// linked nodes one by one. A network may be among both and then counts twice
// for what most say, but never for the quorum.
type voices struct {
	said  []Tally
	links [maxVoices]voice
}

type voice struct {
	network netip.AddrPort
	says    netip.Addr
	at      time.Duration
}

// hear adds to the directory's sum: addresses that differ in their port only
// are one.
func (v *voices) hear(a netip.Addr, networks int) {
	for i := range v.said {
		if v.said[i].Addr == a {
			v.said[i].Networks += networks
			return
		}
	}
	if len(v.said) < maxSaid {
		v.said = append(v.said, Tally{a, networks})
	}
}

// note takes the word of a linked node. The oldest gives way.
func (v *voices) note(now time.Duration, network netip.AddrPort, says netip.Addr) {
	oldest := &v.links[0]
	for i := range v.links {
		x := &v.links[i]
		if x.network == network {
			oldest = x
			break
		}
		if !x.says.IsValid() && oldest.says.IsValid() || x.says.IsValid() == oldest.says.IsValid() && x.at < oldest.at {
			oldest = x
		}
	}
	*oldest = voice{network, says, now}
}

// count is how many networks of the directory and of links name a, and how
// many name any address.
func (v *voices) count(now time.Duration, a netip.Addr) (said, links, all int) {
	for _, t := range v.said {
		if t.Addr == a {
			said += t.Networks
		}
		all += t.Networks
	}
	for _, x := range v.links {
		if !x.says.IsValid() || now-x.at >= voiceLife {
			continue
		}
		if x.says == a {
			links++
		}
		all++
	}
	return said, links, all
}

// support is how many networks name a, at least.
func (v *voices) support(now time.Duration, a netip.Addr) int {
	said, links, _ := v.count(now, a)
	return max(said, links)
}

// agreed reports whether enough networks name a, and most of them do.
func (v *voices) agreed(now time.Duration, a netip.Addr) bool {
	said, links, all := v.count(now, a)
	return max(said, links) >= quorum && 2*(said+links) > all
}

// unopposed reports whether few say anything, and all of them name a.
func (v *voices) unopposed(now time.Duration, a netip.Addr) bool {
	said, links, all := v.count(now, a)
	return said+links > 0 && said+links == all
}

// each calls yield with every address that somebody names.
func (v *voices) each(now time.Duration, yield func(netip.Addr)) {
	for _, t := range v.said {
		yield(t.Addr)
	}
	for _, x := range v.links {
		if x.says.IsValid() && now-x.at < voiceLife {
			yield(x.says)
		}
	}
}
