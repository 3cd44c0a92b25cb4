package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/access"
	"github.com/draeder/peerservers/tracker/wsserver"
)

// Run implements kong's run: it makes the parts, joins them, and ends them in
// turn. ctx ends with SIGTERM.
func (c *serveCommand) Run(ctx context.Context, con *console) error {
	leanHeap(c.Admin != "")
	policy, err := access.New(access.Config{
		AllowHashes: c.AllowHashes, DenyHashes: c.DenyHashes,
		AllowOrigins: c.AllowOrigin, DenyOrigins: c.DenyOrigin, DenyEmptyOrigin: c.DenyEmptyOrigin,
		Tokens: c.Tokens,
	})
	if err != nil {
		return wrong("--allow-hashes, --deny-hashes, --tokens, --allow-origin, --deny-origin", "", "mend the one it names", "%w", err)
	}
	listeners, err := listen("--listen", c.Loops, c.Listen...)
	if err != nil {
		return err
	}
	defer closeAll(listeners)

	var dir string
	if !c.NoFederation || len(c.ACME) > 0 {
		var release func()
		if dir, release, err = openDataDir(c.DataDir); err != nil {
			return err
		}
		defer release()
	}
	var certs *certificates
	if len(c.ACME) > 0 {
		if certs, err = c.newCertificates(dir, con.log); err != nil {
			return err
		}
	}
	var fed *federated
	var watcher tracker.Watcher // stays nil, not a nil *Watcher
	if !c.NoFederation {
		if fed, err = c.openFederation(dir, con.log, listeners); err != nil {
			return err
		}
		defer fed.close()
		watcher = fed.watcher
	}
	tr, err := tracker.New(c.trackerConfig(policy, watcher))
	if err != nil {
		return err
	}
	if fed != nil {
		if err := fed.join(tr); err != nil {
			return err
		}
	}
	server, err := c.newServer(con, tr, policy, fed, certs)
	if err != nil {
		return err
	}
	ops, err := c.newAdmin(con, tr, server, fed)
	if err != nil {
		return err
	}
	if dir != "" {
		forget, err := noteAdmin(dir, ops.addr())
		if err != nil {
			con.log.Warn("the nodes command will have to be told the admin listener's address", "err", err)
		}
		defer forget()
	}

	// What serves outlives the signal by the time that it takes to drain.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	failed := make(chan error, 3)
	start := func(name string, run func(context.Context) error) {
		parts.Go(func() {
			if err := run(serving); err != nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	start("tracker", tr.Run)
	start("server", func(ctx context.Context) error { return server.Serve(ctx, listeners...) })
	if ops != nil {
		start("admin", ops.run)
	}
	con.printf("clients: %s", c.describeListeners(listeners))
	if certs != nil {
		con.printf("certificates: %s", certs.describe())
		parts.Go(func() { certs.run(serving) })
	}
	// Federation ends first: others learn at once that we go.
	linking, unlink := context.WithCancel(serving)
	linked := make(chan struct{})
	if fed == nil {
		con.printf("federation: off (--no-federation)")
		close(linked)
	} else {
		con.printf("federation: %s", c.describeFederation(fed))
		parts.Go(func() { fed.announceFirstLink(linking, con) })
		go func() {
			defer close(linked)
			_ = fed.node.Run(linking) // always nil
		}()
	}
	parts.Go(func() {
		onHangup(serving, func() {
			if err := errors.Join(policy.Reload(), fed.reload()); err != nil {
				con.log.Error("a list was not read; the former one stays", "err", err)
				return
			}
			con.log.Info("lists read again")
		})
	})

	select {
	case <-ctx.Done():
		con.log.Info("draining", "for", c.Drain)
	case err = <-failed:
	}
	unlink()
	drain, cancel := context.WithTimeout(serving, c.Drain)
	if e := server.Shutdown(drain); e != nil {
		con.log.Warn("connections dropped that did not close in time", "drain", c.Drain)
	}
	cancel()
	<-linked
	stop()
	parts.Wait()
	return err
}

func (c *serveCommand) trackerConfig(policy *access.Policy, w tracker.Watcher) tracker.Config {
	cfg := tracker.DefaultConfig()
	cfg.Limits.MaxOffers = c.MaxOffers
	cfg.Limits.StrictIDs = c.StrictIDs
	cfg.Interval = c.Interval
	cfg.Access = policy
	cfg.ScrapeAll = c.ScrapeAll
	cfg.Watcher = w
	return cfg
}

func (c *serveCommand) newServer(con *console, tr *tracker.Tracker, policy *access.Policy, fed *federated, certs *certificates) (*wsserver.Server, error) {
	proxies, err := c.proxies()
	if err != nil {
		return nil, err
	}
	cfg := wsserver.Config{
		Tracker: tr, Access: policy,
		CertFile: c.TLSCert, KeyFile: c.TLSKey,
		Paths:          c.Path,
		TrustedProxies: proxies, ProxyProtocol: c.ProxyProtocol,
		MaxConns: c.MaxConnections, MaxConnsPerIP: c.MaxConnectionsPerIP,
		AllowPrivate: c.AllowPrivate,
		Engine:       c.Engine, Loops: c.Loops, Compress: c.Compress, TLSRecords: c.TLSRecords,
		HashList: c.StatsHashes,
		Log:      con.log,
	}
	if certs != nil {
		cfg.TLS, cfg.Pages = certs.config(), certs
	}
	if fed != nil {
		if fed.tls != nil {
			cfg.TLS = fed.tls
		}
		if !fed.cfg.Network.Closed() { // whose nodes strangers take for trackers without one
			cfg.Note = func() string { return "Its node in the federation is " + fed.node.Place().String() + "." }
		}
		for _, path := range fed.linkPaths() {
			cfg.Protocols = append(cfg.Protocols, wsserver.Protocol{
				Path: path, Name: federation.Subprotocol, Handler: fed.node.AcceptLink,
			})
		}
	}
	server, err := wsserver.New(cfg)
	if err != nil && c.TLSCert != "" {
		return nil, wrong("--tls-cert", c.TLSCert, "give a certificate and its --tls-key in PEM", "%w", err)
	}
	return server, err
}

// listen listens on all addresses, for so many event loops on each, or on none.
func listen(flag string, loops int, addrs ...string) (list []net.Listener, err error) {
	for _, addr := range addrs {
		ls, err := wsserver.Listen(addr, loops)
		if err != nil {
			closeAll(list)
			return nil, listenError(flag, addr, err)
		}
		list = append(list, ls...)
	}
	return list, nil
}

func closeAll(list []net.Listener) {
	for _, l := range list {
		l.Close()
	}
}

// opsListener is the admin listener and what serves it.
type opsListener struct {
	*admin
	listener net.Listener
}

func (o *opsListener) run(ctx context.Context) error { return o.serve(ctx, o.listener) }

// addr is where it listens, empty without one.
func (o *opsListener) addr() string {
	if o == nil {
		return ""
	}
	return o.listener.Addr().String()
}

func (c *serveCommand) newAdmin(con *console, tr *tracker.Tracker, server *wsserver.Server, fed *federated) (*opsListener, error) {
	if c.Admin == "" {
		return nil, nil
	}
	list, err := listen("--admin", 1, c.Admin)
	if err != nil {
		return nil, err
	}
	take := func() snapshot {
		s := snapshot{tracker: tr.Stats(), server: server.Stats()}
		if fed != nil {
			s.dht, s.federation = fed.stats()
		}
		return s
	}
	status := func() any {
		if fed == nil {
			return report{Off: true}
		}
		return fed.report()
	}
	con.log.Info("admin", "metrics", "http://"+list[0].Addr().String()+"/metrics")
	return &opsListener{&admin{registry: newRegistry(take), status: status, log: con.log}, list[0]}, nil
}

// describeListeners says where clients connect.
func (c *serveCommand) describeListeners(list []net.Listener) string {
	var s string
	for i, l := range list {
		addr := l.Addr().String()
		if i > 0 {
			if addr == list[i-1].Addr().String() {
				continue // another event loop's
			}
			s += ", "
		}
		where := ""
		if host, port, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).IsUnspecified() {
			addr, where = net.JoinHostPort("localhost", port), " on all addresses"
		}
		s += "announce to ws://" + addr
		if c.TLSCert != "" {
			s += " and wss://" + addr
		}
		for _, name := range c.ACME {
			s += " and wss://" + withPort(name, l.Addr())
		}
		s += where
	}
	return s
}

// withPort is a name with a listener's port, as URLs have it.
func withPort(name string, a net.Addr) string {
	if _, port, err := net.SplitHostPort(a.String()); err == nil && port != "443" {
		name = net.JoinHostPort(name, port)
	}
	return name
}
