package tracker

import (
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"time"

	"github.com/draeder/peerservers/tracker/access"
	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

// Config is what a Tracker is made of. Start from DefaultConfig: for most
// fields zero stands for its value, but Swarm.MaxParkedBytes is off at zero.
type Config struct {
	// Limits bound one frame.
	Limits wire.Limits
	// Swarm bounds each shard's table: what it says of "the table" holds for
	// one shard, so that the whole tracker is bounded by Shards times that.
	// What is zero here gets a shard's part of these bounds of the whole
	// tracker, rather than the values that swarm.Config names: 2,000,000
	// members, 1,000,000 swarms, 2,000,000 entries in the ledgers, 4,096
	// claims of 64 MiB in all; and parked offers, in DefaultConfig, 64 MiB.
	// But a swarm lives in one shard, so no part is less than a large swarm
	// needs (see leastMembers and its like): with more than 32 shards, which
	// take more than four cores, the whole may be more.
	Swarm swarm.Config
	// Interval is after how long clients announce again. Each reply says
	// something within 10 % of it, so that clients who came together after a
	// restart drift apart. At least MinInterval.
	Interval time.Duration
	// Shards is how many tables there are; rounded up to a power of two.
	Shards int
	// MaxMemberships is how many (info hash, peer id) one session may own.
	MaxMemberships int
	// MaxPerSource is how many of them one address prefix (IPv4 /24, IPv6 /48)
	// may own in sessions that have more than a few: a tenth of the swarms there
	// may be. Private addresses and loopback are left out, where a proxy may stand
	// for anybody.
	MaxPerSource int
	// Access judges announces; nil allows all.
	Access *access.Policy
	// ScrapeAll answers a scrape that names no info hash with the swarms
	// there are, MaxScrapeAll at most. Off by default: it tells anybody what
	// is shared here.
	ScrapeAll bool
	// Watcher is told of touched swarms; may be nil.
	Watcher Watcher
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Seed makes every random choice repeatable; nil takes a secret one.
	Seed *[32]byte
}

const (
	// MinInterval is the shortest interval a client is told. Clients keep an
	// offer open for 50 s and make up to five per announce; below this they
	// hang.
	MinInterval = 30 * time.Second
	// MaxScrapeAll is how many swarms a scrape of all of them lists.
	MaxScrapeAll = 1000

	defaultInterval       = 120 * time.Second
	defaultMaxMemberships = 10_000
	defaultMaxPerSource   = allSwarms / 10
	maxShards             = 256
)

// Bounds over all shards, and the least of each that a shard gets.
const (
	allMembers, leastMembers         = 2_000_000, 50_000
	allSwarms, leastSwarms           = 1_000_000, 1_000
	allLedger, leastLedger           = 2_000_000, 50_000
	allClaims, leastClaims           = 4096, 64
	allClaimBytes, leastClaimBytes   = 64 << 20, 1 << 20
	allParkedBytes, leastParkedBytes = 64 << 20, 1 << 20
)

// part is a shard's part of a bound.
func part(all, least, shards int) int { return max(least, all/shards) }

// DefaultConfig is the configuration that protocol.md recommends.
func DefaultConfig() Config {
	cfg := Config{
		Limits:         wire.DefaultLimits(),
		Interval:       defaultInterval,
		Shards:         defaultShards(),
		MaxMemberships: defaultMaxMemberships,
		MaxPerSource:   defaultMaxPerSource,
	}
	cfg.Swarm.MaxParkedBytes = part(allParkedBytes, leastParkedBytes, cfg.Shards)
	return cfg
}

// defaultShards is enough that two busy cores seldom want the same lock.
func defaultShards() int { return powerOfTwo(8 * runtime.GOMAXPROCS(0)) }

func powerOfTwo(n int) int {
	if n <= 1 {
		return 1
	}
	return min(1<<bits.Len(uint(n-1)), maxShards)
}

func (c Config) withDefaults() Config {
	if c.Limits == (wire.Limits{}) {
		c.Limits = wire.DefaultLimits()
	}
	if c.Interval == 0 {
		c.Interval = defaultInterval
	}
	if c.Shards == 0 {
		c.Shards = defaultShards()
	}
	c.Shards = powerOfTwo(c.Shards)
	if c.MaxMemberships == 0 {
		c.MaxMemberships = defaultMaxMemberships
	}
	if c.MaxPerSource == 0 {
		c.MaxPerSource = defaultMaxPerSource
	}
	for _, b := range []struct {
		bound      *int
		all, least int
	}{
		{&c.Swarm.MaxMembers, allMembers, leastMembers},
		{&c.Swarm.MaxSwarms, allSwarms, leastSwarms},
		{&c.Swarm.MaxLedger, allLedger, leastLedger},
		{&c.Swarm.MaxClaims, allClaims, leastClaims},
		{&c.Swarm.MaxClaimBytes, allClaimBytes, leastClaimBytes},
	} {
		if *b.bound == 0 {
			*b.bound = part(b.all, b.least, c.Shards)
		}
	}
	if c.Swarm.MaxOffers == 0 {
		c.Swarm.MaxOffers = c.Limits.MaxOffers
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Validate reports what makes c unusable.
func (c Config) Validate() error {
	var errs []error
	if c.Interval != 0 && c.Interval < MinInterval {
		errs = append(errs, fmt.Errorf("interval %v is below %v: clients would drown in their own offers", c.Interval, MinInterval))
	}
	if c.Interval > 24*time.Hour {
		errs = append(errs, fmt.Errorf("interval %v is above a day: members would expire between announces", c.Interval))
	}
	if c.Shards < 0 || c.Shards > maxShards {
		errs = append(errs, fmt.Errorf("%d shards: 1 to %d make sense", c.Shards, maxShards))
	}
	if c.MaxMemberships < 0 {
		errs = append(errs, fmt.Errorf("at most %d memberships of a session: none could announce", c.MaxMemberships))
	}
	if c.MaxPerSource < 0 {
		errs = append(errs, fmt.Errorf("at most %d memberships of an address prefix: none could announce", c.MaxPerSource))
	}
	return errors.Join(errs...)
}
