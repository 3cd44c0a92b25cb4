package mesh

import (
	"math/rand/v2"
	"time"

	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/nodeaddr"
)

// Config of a Mesh. Zero bounds mean the defaults.
type Config struct {
	Self         Key
	Leaf         bool // others cannot dial us: never announce (Reachable)
	AllowPrivate bool // private addresses are nodes too, each its own group
	NoRendezvous bool
	Seeds        []nodeaddr.URL
	Rand         *rand.Rand
	BucketKey    filter.Key // of the network (derive.Network.BucketKey)

	MaxSwarms        int // swarms known, about 390 bytes each (1,000,000)
	MaxPartners      int // nodes that a swarm is shared with (16)
	MaxKnown         int // nodes that a swarm is known to be at (256)
	MaxNodes         int // node records (2,048)
	MaxLinks         int // links up (1,024)
	MaxLinksGroup    int // of them, from one address prefix (16)
	MaxSwarmsPerNode int // swarms shared over one link (10,000)
	MaxAddrs         int // addresses remembered (4,096)
	MaxHosts         int // hosts in backoff (4,096)
	MaxAskers        int // joins remembered for swarms that we lack (20,000)
	// What a search costs depends on the network, a few packets in one of
	// three nodes and about 38 sent in the mainline DHT, and the directory's
	// own budget of packets paces those under way. So few are, and their rate
	// is bounded only where it would cost more than packets.
	SearchRate  float64 // searches per second, in the hours around midnight each counts as two (20)
	SearchBurst float64 // searches at once after a rest (64)
	MaxSearches int     // searches under way; the rendezvous begins with 4 (6)

	ResolveRate  float64 // resolves per second (5)
	ResolveBurst float64 // (8)
	MaxResolves  int     // resolves under way (16)
	MaxDials     int     // dials under way (16)
	JoinRate     float64 // joins per second and link (200)
	JoinBurst    float64 // (2,700: each side answers the joins of the other, too)
	NameRate     float64 // swarms named per second and link (400)
	NameBurst    float64 // (4,000)

	// RegistryFrom is how many nodes there must be for swarms to be registered
	// with those responsible for them (100); below zero they never are. Those that
	// were not met must have been known for RegistryAfter (2 min).
	RegistryFrom  int
	RegistryAfter time.Duration
}

func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	deff := func(p *float64, v float64) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&c.MaxSwarms, 1_000_000)
	def(&c.MaxPartners, 16)
	def(&c.MaxKnown, 256)
	def(&c.MaxNodes, 2048)
	def(&c.MaxLinks, 1024)
	def(&c.MaxLinksGroup, 16)
	def(&c.MaxSwarmsPerNode, 10_000)
	def(&c.MaxAddrs, 4096)
	def(&c.MaxHosts, 4096)
	def(&c.MaxAskers, 20_000)
	deff(&c.SearchRate, 20)
	deff(&c.SearchBurst, 64)
	def(&c.MaxSearches, 6)
	deff(&c.ResolveRate, 5)
	deff(&c.ResolveBurst, 8)
	def(&c.MaxResolves, 16)
	def(&c.MaxDials, 16)
	deff(&c.JoinRate, 200)
	deff(&c.JoinBurst, 2700)
	deff(&c.NameRate, 400)
	deff(&c.NameBurst, 4000)
	if c.RegistryFrom == 0 {
		c.RegistryFrom = 100
	}
	if c.RegistryAfter <= 0 {
		c.RegistryAfter = 2 * time.Minute
	}
	return c
}
