package federation_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/tracker"
)

// slowDirectory takes the time that a DHT takes: what a lookup publishes is
// there only at its end, after it has looked.
type slowDirectory struct {
	*dhtstore.MemoryNode
	mu sync.Mutex
	r  *rand.Rand
}

func (d *slowDirectory) pause(ctx context.Context, least, most time.Duration) {
	d.mu.Lock()
	t := least + time.Duration(d.r.Int64N(int64(most-least)))
	d.mu.Unlock()
	select {
	case <-time.After(t):
	case <-ctx.Done():
	}
}

func (d *slowDirectory) Lookup(ctx context.Context, target federation.Target, announce bool, found func(netip.AddrPort)) error {
	d.pause(ctx, 100*time.Millisecond, 800*time.Millisecond)
	if err := d.MemoryNode.Lookup(ctx, target, false, found); err != nil || !announce {
		return err
	}
	d.pause(ctx, 100*time.Millisecond, 800*time.Millisecond)
	return d.MemoryNode.Lookup(ctx, target, true, nil)
}

func (d *slowDirectory) Resolve(ctx context.Context, addr netip.AddrPort) (federation.Item, error) {
	d.pause(ctx, 10*time.Millisecond, 300*time.Millisecond)
	return d.MemoryNode.Resolve(ctx, addr)
}

func (d *slowDirectory) Publish(ctx context.Context, item federation.Item) error {
	d.pause(ctx, 10*time.Millisecond, time.Second)
	return d.MemoryNode.Publish(ctx, item)
}

// Nodes that start a swarm at the same moment have all looked before anybody
// had published, and are asked for their records before they have any. Each
// finds each other all the same.
func TestFiveNodesAtTheSameMoment(t *testing.T) {
	const nodes = 5
	for seed := range 40 {
		inBubble(t, func(t *testing.T, w *world) {
			toNoon()
			var all []*node
			for i := range nodes {
				all = append(all, w.make(1+i, func(c *federation.Config, _ *tracker.Config) {
					c.NoRendezvous = seed%2 == 0
					c.Rand = rand.New(rand.NewPCG(uint64(seed), uint64(i)))
					if seed%4 < 2 { // else all at once
						c.Directory = &slowDirectory{MemoryNode: c.Directory.(*dhtstore.MemoryNode), r: rand.New(rand.NewPCG(uint64(seed), 100+uint64(i)))}
					}
				}))
			}
			for i, n := range all {
				n.client(fmt.Sprint("c", i)).announce(hash(1), 5)
				n.run()
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			for i, n := range all {
				shared := 0
				for _, l := range n.fed.Status().Links {
					shared += l.Shared
				}
				if st, _ := n.tr.State([]byte(hash(1))); shared != nodes-1 || st.RemoteIncomplete+st.RemoteComplete != nodes-1 {
					t.Errorf("seed %d: node %d shares with %d others, who have %d peers", seed, i, shared, st.RemoteIncomplete)
				}
			}
		})
	}
}
