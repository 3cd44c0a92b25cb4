package wsserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/tracker/wsserver/tlsstream"
)

// Server serves clients of one tracker. It is an http.Handler for programs
// that have an HTTP server already; Serve is for those that have none.
type Server struct {
	cfg   Config
	begun time.Time // what moments are measured from
	loops loops
	// handshakes makes the loops' TLS; nil: no TLS.
	handshakes *tlsstream.Server
	http       *http.Server
	tls        *tls.Config // nil: no TLS
	certs      *certs      // nil: not from files
	limits     limits
	pool       buffers
	counts     counters
	// backlog is what is unsent over all connections.
	backlog atomic.Int64
	// held is the memory for what has arrived in part; incoming has that of
	// connections without a loop.
	held     atomic.Int64
	incoming incoming
	summary  summary
	// visitors are connections that net/http serves.
	visitors atomic.Int64

	mu       sync.Mutex
	conns    map[*conn]struct{}
	others   map[net.Conn]struct{} // handed to a Protocol
	draining bool                  // nobody is let in
	ending   bool                  // Shutdown has begun
	// live counts the goroutines that own a connection. Adding to it while
	// somebody waits is safe because it is done under mu before draining.
	live sync.WaitGroup
	// drained is closed when Shutdown is through.
	drained chan struct{}
}

// connKey is the context key of a request's *sniffConn.
type connKey struct{}

// New makes a server.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("wsserver: %w", err)
	}
	s := &Server{
		cfg:     cfg.withDefaults(),
		conns:   make(map[*conn]struct{}),
		others:  make(map[net.Conn]struct{}),
		drained: make(chan struct{}),
	}
	s.begun = s.cfg.Now()
	s.incoming.total = &s.held
	s.incoming.bound(s.cfg.TotalIncomplete)
	s.limits = limits{
		maxConns: s.cfg.MaxConns, maxPerIP: s.cfg.MaxConnsPerIP, allowPrivate: s.cfg.AllowPrivate,
		byIP: make(map[netip.Prefix]*ipGroup),
	}
	s.tls = cfg.TLS
	if cfg.CertFile != "" {
		var err error
		if s.certs, err = newCerts(cfg.CertFile, cfg.KeyFile); err != nil {
			return nil, fmt.Errorf("wsserver: %w", err)
		}
		s.tls = s.certs.config
	}
	if s.tls != nil {
		s.handshakes = tlsstream.NewServer(tlsstream.Config{
			TLS:        func() *tls.Config { return s.tls },
			OwnRecords: s.cfg.TLSRecords,
		})
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler:           s,
		Protocols:         protocols,
		ReadHeaderTimeout: s.cfg.HeaderTimeout,
		ReadTimeout:       httpTimeout,
		WriteTimeout:      httpTimeout,
		IdleTimeout:       httpTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// Port scanners and failed handshakes are no news.
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.visitors.Add(1)
			case http.StateHijacked, http.StateClosed:
				s.visitors.Add(-1)
			}
		},
	}
	return s, nil
}

// Serve serves the listeners, which it closes, until ctx is done, Shutdown was
// called or one of them fails. It returns when every connection has ended;
// those that have not when ctx is done are dropped. A server serves once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var background sync.WaitGroup
	if s.certs != nil {
		background.Go(func() { s.certs.watch(ctx, s.cfg.Log, &s.counts.reloads) })
	}
	// Room for all that ever ends: nobody reads more than the first.
	ended := make(chan error, 2*len(listeners)+MaxLoops+1)
	listeners, err := s.startLoops(listeners, &background, ended)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		background.Go(func() { ended <- s.http.Serve(&listener{l, s}) })
	}
	select {
	case <-ctx.Done():
	case err = <-ended:
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
			select {
			case <-s.drained:
			case <-ctx.Done():
			}
		}
	}
	s.stop()
	cancel()
	background.Wait()
	return err
}

// stop ends everything now.
func (s *Server) stop() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.http.Close()
	s.stopLoopListeners()
	s.abortAll()
	s.live.Wait()
	s.quitLoops()
}

// Drain lets nobody in any more, closes the listeners and keeps whoever is
// connected, who notices nothing. Clients come back minutes after a close, so
// the longer there is between Drain and Shutdown, the fewer miss anything.
func (s *Server) Drain() error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.stopLoopListeners()
	err := s.http.Shutdown(alreadyDone())
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// Shutdown drains, and ends what is left: every client gets a close frame with
// 1001 and a little time to answer it. It returns when all have gone, or drops
// those that have not when ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.Drain()
	s.mu.Lock()
	first := !s.ending
	s.ending = true
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	if first {
		defer close(s.drained)
	}
	for _, c := range conns {
		c.Close(int(ws.StatusGoingAway), "going away")
	}
	s.closeLoopConns(ws.StatusGoingAway, "going away")
	gone := make(chan struct{})
	go func() {
		s.live.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		err = ctx.Err()
		s.abortAll()
		<-gone
	}
	return err
}

// alreadyDone makes http.Server.Shutdown close the listeners and return
// without waiting for requests: pages take no time worth waiting for, and
// WebSockets are ours to end.
func alreadyDone() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// elapsed is how long the server has been there.
func (s *Server) elapsed() time.Duration { return s.cfg.Now().Sub(s.begun) }

// abortAll drops every connection.
func (s *Server) abortAll() {
	s.abortLoopConns()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		abort(c.nc)
	}
	for nc := range s.others {
		abort(nc)
	}
}

// enter makes Serve and Shutdown wait for an upgrade under way, which
// net/http does not; false if the server is draining.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.live.Add(1)
	return true
}

// add takes a connection in, unless the server is draining.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.conns[c] = struct{}{}
	s.live.Add(1)
	return true
}

// remove is the last thing a connection's goroutine does.
func (s *Server) remove(c *conn) {
	s.limits.leaveConn(&c.place)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.live.Done()
}

// Draining reports whether the server lets nobody in any more.
func (s *Server) Draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}
