package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/draeder/peerservers/dhtstore"
)

// dhtCommand runs a DHT node that stores for others and wants nothing.
type dhtCommand struct {
	Listen       []string `default:":7000" placeholder:"HOST:PORT" help:"UDP address, one of IPv4 and one of IPv6; :PORT is IPv4, and IPv6 if this machine has an address there (default ${default}). Repeatable."`
	DHTBootstrap []string `name:"dht-bootstrap" placeholder:"HOST:PORT" help:"A DHT node to join. Repeatable. Without any, this is the first."`
	DataDir      string   `placeholder:"DIR" help:"Where to keep the routing table. By default nowhere."`
	AllowPrivate bool     `help:"Admit loopback and private addresses; a --listen or --dht-bootstrap of that kind implies it."`
}

// Validate implements kong's validation.
func (c *dhtCommand) Validate() error {
	errs := []error{dhtListen("--listen", c.Listen)}
	for _, addr := range c.DHTBootstrap {
		errs = append(errs, bootstrap(addr, true))
	}
	return errors.Join(errs...)
}

// Run implements kong's run.
func (c *dhtCommand) Run(ctx context.Context, con *console) error {
	if c.DataDir != "" {
		_, release, err := openDataDir(c.DataDir)
		if err != nil {
			return err
		}
		defer release()
	}
	node, err := dhtstore.New(dhtstore.Config{
		Listen:       c.Listen,
		Bootstrap:    c.DHTBootstrap,
		Dir:          c.DataDir,
		AllowPrivate: c.AllowPrivate || slices.ContainsFunc(c.Listen, privateAddr) || slices.ContainsFunc(c.DHTBootstrap, privateAddr),
		Log:          con.log,
	})
	if err != nil {
		return listenError("--listen", strings.Join(c.Listen, ", "), err)
	}
	con.printf("DHT node listening on %s (UDP); others start from it with --dht-bootstrap %v", localAddrs(node), reachable(node.LocalAddr()))
	<-ctx.Done()
	return node.Close()
}

// localAddrs are where a DHT node listens, for a person.
func localAddrs(n *dhtstore.Node) string {
	var list []string
	for _, a := range n.LocalAddrs() {
		list = append(list, a.String())
	}
	return strings.Join(list, " and ")
}

// reachable is how others on this machine reach what listens on addr.
func reachable(addr netip.AddrPort) netip.AddrPort {
	if addr.Addr().IsUnspecified() {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if addr.Addr().Is6() {
			loopback = netip.IPv6Loopback()
		}
		return netip.AddrPortFrom(loopback, addr.Port())
	}
	return addr
}

// listenError names the flag if an address could not be listened on.
func listenError(flag, addr string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" {
		return wrong(flag, addr, "free the port or give another", "%w", op.Err)
	}
	return err
}
