package wsserver

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/tracker"
)

// haveLoops: the system has what EngineLoops needs.
const haveLoops = true

// loops are a server's event loops.
type loops struct {
	list     []*loop // by number; under Server.mu, as more may be started
	handover *handover
}

// startLoops starts the loops for those listeners that they can serve, and
// returns the others.
func (s *Server) startLoops(listeners []net.Listener, running *sync.WaitGroup, ended chan<- error) ([]net.Listener, error) {
	if s.cfg.Engine == EnginePortable {
		return listeners, nil
	}
	var others []net.Listener
	var ours []*net.TCPListener
	for _, ln := range listeners {
		if t, ok := ln.(*net.TCPListener); ok {
			ours = append(ours, t)
		} else {
			others = append(others, ln)
		}
	}
	if len(others) > 0 && s.cfg.Engine == EngineLoops {
		closeListeners(listeners)
		return nil, fmt.Errorf("wsserver: %T is no TCP socket for an event loop", others[0])
	}
	if len(ours) == 0 {
		return others, nil
	}
	var list []*loop
	n := min(max(s.cfg.Loops, 1), len(ours))
	part := s.incompletePart(n)
	s.incoming.bound(part)
	for i := range n {
		l, err := newLoop(s, i, ended)
		if err == nil {
			l.dec.held.limit = part
			list = append(list, l)
			for k := i; k < len(ours) && err == nil; k += max(s.cfg.Loops, 1) {
				err = l.listen(ours[k])
			}
		}
		if err != nil {
			for _, l := range list {
				l.end()
			}
			closeListeners(listeners)
			return nil, fmt.Errorf("wsserver: %w", err)
		}
	}
	if s.cfg.Loops == 0 {
		s.growFrom(list[0], running)
	}
	s.mu.Lock()
	s.loops = loops{list, newHandover(s)}
	if s.draining {
		for _, l := range list {
			l.stopListening()
		}
	}
	s.mu.Unlock()
	running.Go(func() { ended <- s.http.Serve(s.loops.handover) })
	for _, l := range list {
		running.Go(l.run)
	}
	return others, nil
}

// incompletePart is what each of n loops, and what has no loop, has of
// Config.TotalIncomplete.
func (s *Server) incompletePart(n int) int64 { return s.cfg.TotalIncomplete / int64(n+1) }

func closeListeners(list []net.Listener) {
	for _, ln := range list {
		ln.Close()
	}
}

// loopList is the loops that there are by now. When the server drains there will
// be no others.
func (s *Server) loopList() []*loop {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loops.list
}

// eachLoop runs f on one loop after the other. No lock may be held that a loop
// takes.
func (s *Server) eachLoop(f func(l *loop)) {
	for _, l := range s.loopList() {
		l.do(func() { f(l) })
	}
}

// eachLoopConn runs f for every connection of the loops.
func (s *Server) eachLoopConn(f func(l *loop, c *loopConn)) {
	s.eachLoop(func(l *loop) {
		for _, c := range l.conns {
			if c != nil {
				f(l, c)
			}
		}
	})
}

// stopLoopListeners lets nobody in any more.
func (s *Server) stopLoopListeners() { s.eachLoop((*loop).stopListening) }

// closeLoopConns begins to end every conversation.
func (s *Server) closeLoopConns(code ws.StatusCode, reason string) {
	s.eachLoopConn(func(l *loop, c *loopConn) {
		l.close(c, code, reason, endClosed)
		l.relieve()
	})
}

// abortLoopConns drops every connection.
func (s *Server) abortLoopConns() {
	s.eachLoopConn(func(l *loop, c *loopConn) { l.doom(c, endClosed, true) })
}

// quitLoops ends the loops, which have nobody left.
func (s *Server) quitLoops() { s.eachLoop(func(l *loop) { l.quit = true }) }

// loopSessions is the session of every client on a loop.
func (s *Server) loopSessions() (list []*tracker.Session) {
	s.eachLoopConn(func(_ *loop, c *loopConn) {
		if c.is(wasOpen) {
			list = append(list, c.session)
		}
	})
	return list
}

// loopsBusy is how long each loop has been busy.
func (s *Server) loopsBusy() (list []time.Duration) {
	for _, l := range s.loopList() {
		list = append(list, s.workedBy(l))
	}
	return list
}
