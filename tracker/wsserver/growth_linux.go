package wsserver

import (
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// growth is what the first loop needs to start others, if their number is not
// fixed: it is the one that has the listeners, and hands the sockets that it
// accepts to the loop that has the least to do, through that loop's mailbox and
// before anything is read from them. With listeners of their own the kernel
// would go on dealing the busy loop as many as the new one, and would have to
// be told before the first socket is bound that there might be others.
type growth struct {
	*balancer
	running *sync.WaitGroup
	loops   []*loop // by number; the first is the owner
	worked  []time.Duration
}

// arrival is a socket that was accepted and counted, on its way to its loop.
// There are no more of them than sockets are let in.
type arrival struct {
	fd      int
	addr    netip.AddrPort
	place   place
	trusted bool // it is a proxy's
}

// drop ends a socket that no loop takes.
func (a *arrival) drop(s *Server) {
	unix.Close(a.fd)
	s.limits.leaveSocket(&a.place)
}

// growFrom makes first start others when they are needed.
func (s *Server) growFrom(first *loop, running *sync.WaitGroup) {
	most := s.cfg.processors
	if most == 0 {
		most = runtime.GOMAXPROCS(0)
	}
	first.growth = &growth{
		balancer: newBalancer(min(most, MaxLoops), s.elapsed()), running: running, loops: []*loop{first},
	}
}

// survey looks, now and then, at how busy all loops are, and starts one if they
// all are. It runs when the first loop's clock ticks, which it does not while
// that one sleeps: then it is not busy either.
func (l *loop) survey() {
	g := l.growth
	if g == nil {
		return
	}
	now := l.s.elapsed()
	if !g.due(now) {
		return
	}
	g.worked = g.worked[:0]
	for _, o := range g.loops {
		g.worked = append(g.worked, l.s.workedBy(o))
	}
	if _, sockets := l.s.limits.counts(); g.observe(now, g.worked, sockets) {
		l.grow()
	}
}

// workedBy is how long a loop has been neither waiting nor pausing. What it does
// just now is part of it when it has done it.
func (s *Server) workedBy(l *loop) time.Duration {
	if s.cfg.worked != nil {
		return s.cfg.worked(l.number)
	}
	return time.Duration(l.worked.Load())
}

// grow starts one more loop, unless the server is draining.
func (l *loop) grow() {
	g, s := l.growth, l.s
	if s.Draining() {
		return
	}
	n, err := newLoop(s, len(g.loops), l.failed)
	if err != nil {
		// It is tried again as long as they are busy.
		if l.tick >= l.warnAt {
			l.warnAt = l.tick + ticks(time.Minute)
			s.cfg.Log.Warn("cannot start another event loop", "err", err)
		}
		return
	}
	part := s.incompletePart(n.number + 1)
	n.dec.held.limit = part
	s.mu.Lock()
	if s.draining { // who ends the loops may have done so
		s.mu.Unlock()
		n.end()
		return
	}
	s.loops.list = append(s.loops.list, n)
	g.running.Go(n.run)
	s.mu.Unlock()
	// The others have less from now on, and let go of what is too much.
	s.incoming.bound(part)
	l.bound(part)
	for _, o := range g.loops[1:] {
		o.mail.call(func() { o.bound(part) })
	}
	g.loops = append(g.loops, n)
	g.add()
	s.cfg.Log.Info("all event loops are busy: one more was started", "loops", len(g.loops))
}

// bound limits what is held of what has arrived in part.
func (l *loop) bound(limit int64) {
	l.dec.held.limit = limit
	l.press()
}

// press makes the oldest give way as long as too much is held.
func (l *loop) press() {
	for l.dec.held.over() {
		l.dec.held.oldest.owner.yield()
	}
}

// assign gives a socket to the loop that is to have it.
func (l *loop) assign(a arrival) {
	if g := l.growth; g != nil {
		if to := g.loops[g.next()]; to != l && to.mail.hand(a) {
			return
		}
	}
	l.enter(a)
}
