package tracker

import "testing"

// Invariant 8: the whole tracker is bounded, however many shards it has, but
// one shard can hold a large swarm.
func TestDefaultsBoundTheWholeTracker(t *testing.T) {
	for shards := 1; shards <= maxShards; shards *= 2 {
		c := Config{Shards: shards}.withDefaults().Swarm
		for _, b := range []struct {
			what             string
			each, all, least int
		}{
			{"members", c.MaxMembers, 2_000_000, 50_000},
			{"swarms", c.MaxSwarms, 1_000_000, 1_000},
			{"ledger entries", c.MaxLedger, 2_000_000, 50_000},
			{"claims", c.MaxClaims, 4096, 64},
			{"bytes of claims", c.MaxClaimBytes, 64 << 20, 1 << 20},
		} {
			if b.each != max(b.least, b.all/shards) || shards <= 32 && b.each*shards > b.all {
				t.Errorf("%d shards: %d %s each", shards, b.each, b.what)
			}
		}
	}
	c := DefaultConfig()
	if got, want := c.Swarm.MaxParkedBytes, max(1<<20, 64<<20/c.Shards); got != want {
		t.Errorf("%d shards: %d bytes parked in each, want %d", c.Shards, got, want)
	}
	c.Swarm.MaxLedger = 7 // what is configured stays
	if c = c.withDefaults(); c.Swarm.MaxLedger != 7 {
		t.Error(c.Swarm.MaxLedger)
	}
}
