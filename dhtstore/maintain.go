package dhtstore

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
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
	maxHints     = 16
	// moveEvery is how often our id may change at most: whoever lies about
	// our address in numbers shall not have us move about.
	moveEvery = time.Hour
)

// maintain keeps the node in its network: it finds one at the start and
// whenever all have gone silent, for ever and ever less often, and keeps the
// table alive.
func (s *stack) maintain(ctx context.Context) {
	log := s.node.cfg.Log.With("family", s.family.String())
	retry := firstRetry
	refreshed := s.began
	early := []time.Duration{3 * time.Second, 15 * time.Second, time.Minute} // refreshes of a young table
	told := false
	for {
		now := time.Now()
		wait := maintenance
		if s.alone(now) {
			tried := s.bootstrap(ctx)
			if s.alone(time.Now()) {
				wait = retry + s.jitter(retry/2)
				retry = min(2*retry, lastRetry)
				// A machine may well have addresses that lead nowhere, if it has
				// others.
				if !told && tried && now.Sub(s.began) > 10*time.Second && s.other() == nil {
					told = true
					log.Info("no DHT node answers; still trying, quietly")
				}
			} else {
				if told {
					log.Info("DHT reached", "nodes", s.goodNodes(time.Now()))
				}
				retry, told = firstRetry, false
				wait = time.Second
			}
		} else {
			s.keepAlive(ctx, now)
			due := now.Sub(refreshed) >= refreshEvery
			if len(early) > 0 && now.Sub(s.began) >= early[0] {
				due, early = true, early[1:]
			}
			if due {
				refreshed = now
				s.refresh(ctx)
			}
			if s.moveID(now) {
				s.nudge()
			}
		}

		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-s.wake:
			t.Stop()
			// Who is asked for our own place, and finds us answering, names us
			// to those who look there.
			s.findNodes(ctx, s.self(), nil, nil)
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

func (s *stack) jitter(d time.Duration) time.Duration {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	return time.Duration(s.node.rand.Int64N(int64(d) + 1))
}

func (s *stack) self() nodeID {
	self, _ := s.identity()
	return self
}

// moveID changes our id if it does not fit the address that others see.
func (s *stack) moveID(now time.Time) bool {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	if !s.moved.IsZero() && now.Sub(s.moved) < moveEvery {
		return false
	}
	ip, ok := s.external.ip(now)
	if !ok || !s.fitID(ip) {
		return false
	}
	s.moved = now
	s.node.counts.inc(countMoves)
	return true
}

// alone reports that there is nobody to ask, or nobody has answered for long.
func (s *stack) alone(now time.Time) bool {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	return s.isAlone(now)
}

func (s *stack) isAlone(now time.Time) bool {
	good, _ := s.table.counts(now)
	return good == 0 || now.Sub(s.lastAnswer) > deadAfter
}

func (s *stack) goodNodes(now time.Time) int {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	good, _ := s.table.counts(now)
	return good
}

// bootstrap asks the configured addresses, what nodes of the other DHT know of
// this one, and, at the same time, nodes of the last known table; then the
// nodes closest to us. It reports whether there was anybody to ask.
func (s *stack) bootstrap(ctx context.Context) bool {
	n := s.node
	n.counts.inc(countBootstraps)
	boot := s.resolveBootstrap(ctx)
	s.askOther(ctx)
	n.mu.Lock()
	s.boot = boot
	self := s.table.self
	saved, hints := slices.Clone(s.saved), s.hints
	s.hints = nil
	n.rand.Shuffle(len(saved), func(i, j int) { saved[i], saved[j] = saved[j], saved[i] })
	_, known := s.table.counts(time.Now())
	nobody := len(boot)+len(saved)+len(hints)+known == 0
	if nobody {
		s.settle()
	}
	n.mu.Unlock()
	if nobody {
		return false
	}

	var wg sync.WaitGroup
	wg.Go(func() { s.findNodes(ctx, self, boot, hints) }) // and the table's
	found := false
	wg.Go(func() { found = s.pingAny(ctx, saved[:min(maxSavedPing, len(saved))]) })
	wg.Wait()
	if found && ctx.Err() == nil {
		s.findNodes(ctx, self, nil, nil)
	}
	return true
}

// askOther asks a few nodes of the other DHT for nodes of this one (BEP 32),
// of which the public bootstrap nodes are few.
func (s *stack) askOther(ctx context.Context) {
	o := s.other()
	now := time.Now()
	if o == nil || o.alone(now) {
		return
	}
	s.node.mu.Lock()
	self := s.table.self
	some := o.table.closest(now, self, maxSaved, true)
	s.node.rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	s.node.mu.Unlock()
	args := krpc.MsgArgs{Target: krpc.ID(self), Want: s.want()}
	few(some[:min(alpha, len(some))], func(c contact) {
		reply, err := o.query(ctx, c.addr, methodFindNode, args, false)
		if err != nil {
			return
		}
		reply.R.ForAllNodes(func(info krpc.NodeInfo) {
			if addr, ok := addrOf(info.Addr); ok {
				s.hint(contact{nodeID(info.ID), addr})
			}
		})
	})
}

// hint takes a node that somebody in the other DHT named, while nobody
// answers in this one.
func (s *stack) hint(c contact) {
	if !s.named(c.addr) {
		return
	}
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	if len(s.hints) < maxHints && s.isAlone(time.Now()) && !slices.Contains(s.hints, c) {
		s.hints = append(s.hints, c)
	}
}

// few calls f for each of nodes, few at a time.
func few(nodes []contact, f func(contact)) {
	var wg sync.WaitGroup
	slot := make(chan struct{}, alpha)
	for _, c := range nodes {
		slot <- struct{}{}
		wg.Go(func() {
			f(c)
			<-slot
		})
	}
	wg.Wait()
}

// pingAny pings all of nodes and reports whether one answered.
func (s *stack) pingAny(ctx context.Context, nodes []contact) bool {
	var found atomic.Bool
	few(nodes, func(c contact) {
		if _, err := s.query(ctx, c.addr, methodPing, krpc.MsgArgs{}, false); err == nil {
			found.Store(true)
		}
	})
	return found.Load()
}

// resolveBootstrap returns the bootstrap addresses of this DHT. Names that do
// not resolve now are tried again next time.
func (s *stack) resolveBootstrap(ctx context.Context) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		out []netip.AddrPort
	)
	cfg := &s.node.cfg
	for _, b := range cfg.Bootstrap {
		hostname, p, _ := net.SplitHostPort(b) // Validate has seen it
		port, _ := strconv.ParseUint(p, 10, 16)
		wg.Go(func() {
			ips := []netip.Addr{}
			if ip, err := netip.ParseAddr(hostname); err == nil {
				ips = append(ips, ip)
			} else if ips, err = cfg.LookupHost(ctx, hostname); err != nil {
				cfg.Log.Debug("bootstrap name", "name", hostname, "error", err)
			}
			mu.Lock()
			defer mu.Unlock()
			taken := 0
			for _, ip := range ips {
				addr := netip.AddrPortFrom(ip.Unmap(), uint16(port))
				if taken < 4 && s.usable(addr) && addr != s.local && !slices.Contains(out, addr) {
					taken++
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
func (s *stack) findNodes(ctx context.Context, target nodeID, boot []netip.AddrPort, hints []contact) {
	l := s.newLookup(target)
	for _, addr := range boot {
		l.seed(addr)
	}
	for _, c := range hints {
		l.add(c)
	}
	args := krpc.MsgArgs{Target: krpc.ID(target), Want: s.want()}
	err := s.traverse(ctx, l, methodFindNode, args, nil)
	if err != nil && !errors.Is(err, errNoAnswer) && ctx.Err() == nil {
		s.node.cfg.Log.Debug("find_node", "error", err)
	}
}

// keepAlive pings nodes that have been silent: a few of the oldest, or any
// when nobody has said anything lately.
func (s *stack) keepAlive(ctx context.Context, now time.Time) {
	s.node.mu.Lock()
	old := s.table.stalest(now, checkAfter, alpha)
	if len(old) == 0 && now.Sub(s.lastAnswer) > quietFor {
		old = s.table.stalest(now, 0, 2)
	}
	s.node.mu.Unlock()
	s.pingAny(ctx, old)
}

// refresh looks for a random key of a random bucket, so that none decays.
func (s *stack) refresh(ctx context.Context) {
	n := s.node
	n.mu.Lock()
	target := s.table.randomIn(n.rand, n.rand.IntN(max(1, s.table.depth())))
	n.mu.Unlock()
	s.findNodes(ctx, target, nil, nil)
}
