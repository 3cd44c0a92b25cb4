//go:build !linux

package wsserver

import (
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/tracker"
)

// haveLoops: the system has what EngineLoops needs.
const haveLoops = false

// loops are none.
type loops struct{}

func (s *Server) startLoops(listeners []net.Listener, _ *sync.WaitGroup, _ chan<- error) ([]net.Listener, error) {
	return listeners, nil
}

func (s *Server) stopLoopListeners()                   {}
func (s *Server) closeLoopConns(ws.StatusCode, string) {}
func (s *Server) abortLoopConns()                      {}
func (s *Server) quitLoops()                           {}
func (s *Server) loopSessions() []*tracker.Session     { return nil }
func (s *Server) loopsBusy() []time.Duration           { return nil }
