package dhtstore

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
)

const (
	firstRetry  = 250 * time.Millisecond
	lastRetry   = time.Minute
	maintenance = 5 * time.Second
	// quietFor is how long nobody may have answered before we ask somebody
	// how they are; it leaves time for an answer before deadAfter.
	quietFor = 20 * time.Second
	// checkAfter is when a silent node is pinged, well before goodFor ends.
	checkAfter   = 10 * time.Minute
	refreshEvery = 10 * time.Minute
	saveEvery    = 5 * time.Minute
	maxSavedPing = 20 // saved nodes that are asked in one attempt
)

// maintain keeps the node in its network: it finds one at the start and
// whenever all have gone silent, for ever and ever less often, keeps the
// table alive, and forgets what has expired.
func (n *Node) maintain(ctx context.Context) {
	retry := firstRetry
	started := time.Now()
	refreshed, saved := started, started
	early := []time.Duration{3 * time.Second, 15 * time.Second, time.Minute} // refreshes of a young table
	told := false
	for {
		now := time.Now()
		wait := maintenance
		if n.alone(now) {
			n.bootstrap(ctx)
			if n.alone(time.Now()) {
				wait = retry + n.jitter(retry/2)
				retry = min(2*retry, lastRetry)
				if !told && now.Sub(started) > 10*time.Second {
					told = true
					n.cfg.Log.Info("no DHT node answers; still trying, quietly")
				}
			} else {
				if told {
					n.cfg.Log.Info("DHT reached", "nodes", n.GoodNodes())
				}
				retry, told = firstRetry, false
				wait = time.Second
			}
		} else {
			n.keepAlive(ctx, now)
			due := now.Sub(refreshed) >= refreshEvery
			if len(early) > 0 && now.Sub(started) >= early[0] {
				due, early = true, early[1:]
			}
			if due {
				refreshed = now
				n.refresh(ctx)
			}
		}
		if now.Sub(saved) >= saveEvery {
			saved = now
			if err := n.save(); err != nil {
				n.cfg.Log.Warn("cannot save the DHT state", "error", err)
			}
		}
		n.mu.Lock()
		n.peers.expire(now)
		n.items.expire(now)
		n.mu.Unlock()

		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-n.wake:
			t.Stop()
			// Who is asked for our own place, and finds us answering, names us
			// to those who look there.
			n.findNodes(ctx, n.table.self, nil)
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

func (n *Node) jitter(d time.Duration) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Duration(n.rand.Int64N(int64(d) + 1))
}

// alone reports that there is nobody to ask, or nobody has answered for long.
func (n *Node) alone(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	good, _ := n.table.counts(now)
	return good == 0 || now.Sub(n.lastAnswer) > deadAfter
}

// bootstrap asks the configured addresses and, at the same time, nodes of the
// last known table, and then for the nodes closest to us.
func (n *Node) bootstrap(ctx context.Context) {
	n.counts.inc(countBootstraps)
	boot := n.resolveBootstrap(ctx)
	n.mu.Lock()
	n.boot = boot
	self := n.table.self
	saved := slices.Clone(n.saved)
	n.rand.Shuffle(len(saved), func(i, j int) { saved[i], saved[j] = saved[j], saved[i] })
	n.mu.Unlock()

	var wg sync.WaitGroup
	wg.Go(func() { n.findNodes(ctx, self, boot) }) // and the table's
	found := false
	wg.Go(func() { found = n.pingAny(ctx, saved[:min(maxSavedPing, len(saved))]) })
	wg.Wait()
	if found && ctx.Err() == nil {
		n.findNodes(ctx, self, nil)
	}
}

// pingAny pings all of nodes, few at a time, and reports whether one answered.
func (n *Node) pingAny(ctx context.Context, nodes []contact) bool {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		found bool
	)
	slot := make(chan struct{}, alpha)
	for _, c := range nodes {
		slot <- struct{}{}
		wg.Go(func() {
			_, err := n.query(ctx, c.addr, methodPing, krpc.MsgArgs{}, false)
			mu.Lock()
			found = found || err == nil
			mu.Unlock()
			<-slot
		})
	}
	wg.Wait()
	return found
}

// resolveBootstrap returns the bootstrap addresses. Names that do not resolve
// now are tried again next time.
func (n *Node) resolveBootstrap(ctx context.Context) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		out []netip.AddrPort
	)
	for _, b := range n.cfg.Bootstrap {
		hostname, p, _ := net.SplitHostPort(b) // Validate has seen it
		port, _ := strconv.ParseUint(p, 10, 16)
		wg.Go(func() {
			ips := []netip.Addr{}
			if ip, err := netip.ParseAddr(hostname); err == nil {
				ips = append(ips, ip)
			} else if ips, err = n.cfg.LookupHost(ctx, hostname); err != nil {
				n.cfg.Log.Debug("bootstrap name", "name", hostname, "error", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, ip := range ips[:min(4, len(ips))] {
				addr := netip.AddrPortFrom(ip.Unmap(), uint16(port))
				if n.cfg.usable(addr) && addr != n.local && !slices.Contains(out, addr) {
					out = append(out, addr)
				}
			}
		})
	}
	wg.Wait()
	return out
}

// findNodes looks for the nodes closest to target; what answers is in the
// table afterwards.
func (n *Node) findNodes(ctx context.Context, target nodeID, boot []netip.AddrPort) {
	l := n.newLookup(target)
	for _, addr := range boot {
		l.seed(addr)
	}
	args := krpc.MsgArgs{Target: krpc.ID(target), Want: []krpc.Want{krpc.WantNodes}}
	err := n.traverse(ctx, l, methodFindNode, args, nil)
	if err != nil && !errors.Is(err, errNoAnswer) && ctx.Err() == nil {
		n.cfg.Log.Debug("find_node", "error", err)
	}
}

// keepAlive pings nodes that have been silent: a few of the oldest, or any
// when nobody has said anything lately.
func (n *Node) keepAlive(ctx context.Context, now time.Time) {
	n.mu.Lock()
	old := n.table.stalest(now, checkAfter, alpha)
	if len(old) == 0 && now.Sub(n.lastAnswer) > quietFor {
		old = n.table.stalest(now, 0, 2)
	}
	n.mu.Unlock()
	n.pingAny(ctx, old)
}

// refresh looks for a random key of a random bucket, so that none decays.
func (n *Node) refresh(ctx context.Context) {
	n.mu.Lock()
	target := n.table.randomIn(n.rand, n.rand.IntN(max(1, n.table.depth())))
	n.mu.Unlock()
	n.findNodes(ctx, target, nil)
}
