package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/tracker/wire"
)

// lookupCommand shows what the DHT says of an info hash, checked as a node
// checks it before it dials.
type lookupCommand struct {
	InfoHash          string        `arg:"" optional:"" name:"infohash" help:"Info hash: 40 hex digits, or another form as clients send it. Without one: whether others would find and reach this node."`
	DataDir           string        `placeholder:"DIR" help:"The node's data directory, as for serve, to look this node up."`
	DHTBootstrap      []string      `name:"dht-bootstrap" placeholder:"HOST:PORT" help:"A DHT node to start from, instead of the public ones. Repeatable."`
	DHTListen         []string      `name:"dht-listen" default:":0" placeholder:"HOST:PORT" help:"UDP address to ask from, one of IPv4 and one of IPv6; :PORT is both. Repeatable."`
	NetworkSecretFile string        `placeholder:"FILE" help:"Look in the closed network of the nodes that have the secret in this file."`
	AllowPrivate      bool          `help:"Admit loopback and private addresses; a --dht-bootstrap of that kind implies it."`
	Timeout           time.Duration `default:"15s" help:"Give up after that (default ${default})."`
}

// Validate implements kong's validation.
func (c *lookupCommand) Validate() error {
	errs := []error{dhtListen("--dht-listen", c.DHTListen)}
	for _, addr := range c.DHTBootstrap {
		errs = append(errs, bootstrap(addr, true))
	}
	if c.Timeout <= 0 {
		errs = append(errs, wrong("--timeout", c.Timeout.String(), "give 1s or more", "nobody answers that fast"))
	}
	return errors.Join(errs...)
}

// Run implements kong's run.
func (c *lookupCommand) Run(ctx context.Context, con *console) error {
	var self ed25519.PublicKey
	if c.InfoHash == "" {
		var err error
		if self, err = c.self(); err != nil {
			return err
		}
	} else if !wire.ValidID([]byte(c.InfoHash), wire.DefaultLimits()) {
		return wrong("INFOHASH", c.InfoHash, "give 40 hex digits, or 1 to 64 characters", "not an info hash")
	}
	net, err := network(c.NetworkSecretFile)
	if err != nil {
		return err
	}
	allowPrivate := c.AllowPrivate || slices.ContainsFunc(c.DHTBootstrap, privateAddr)
	node, err := dhtstore.New(dhtstore.Config{
		Listen:       c.DHTListen,
		Bootstrap:    orPublic(c.DHTBootstrap),
		AllowPrivate: allowPrivate,
		ReadOnly:     true,
		QueryKey:     net.QueryKey(),
		RecordSalt:   net.RecordSalt(),
		Log:          con.log,
	})
	if err != nil {
		return listenError("--dht-listen", strings.Join(c.DHTListen, ", "), err)
	}
	defer node.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if self != nil {
		return c.lookAtSelf(ctx, con, node, net, self, allowPrivate)
	}

	var addrs []netip.AddrPort
	epochs, n := derive.Epochs(time.Now().Unix())
	for _, epoch := range epochs[:n] {
		err := search(ctx, node, net.Swarm(epoch, rawInfoHash(c.InfoHash)), func(a netip.AddrPort) {
			if !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		})
		if err != nil {
			return fmt.Errorf("no DHT node answered (%w); name one that runs with --dht-bootstrap", err)
		}
	}
	verified := 0
	for _, addr := range addrs {
		line, err := describe(ctx, node, net, addr, allowPrivate)
		if err != nil {
			con.log.Info("no usable record", "node", addr, "err", err)
			continue
		}
		verified++
		con.printf("%s", line)
	}
	con.log.Info("looked up", "addresses", len(addrs), "verified", verified)
	return nil
}

// search looks target up, again and again until the node knows anybody to ask.
func search(ctx context.Context, dir federation.Directory, target federation.Target, found func(netip.AddrPort)) error {
	const pause = 200 * time.Millisecond
	for {
		err := dir.Lookup(ctx, target, false, found)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// describe asks the node at addr for its record and returns it as a line.
func describe(ctx context.Context, dir federation.Directory, network derive.Network, addr netip.AddrPort, allowPrivate bool) (string, error) {
	item, err := dir.Resolve(ctx, addr)
	if err != nil {
		return "", err
	}
	signed := record.Signed{Seq: item.Seq, Sig: item.Sig, Value: item.Value}
	copy(signed.Key[:], item.Key)
	r, err := signed.Verify(record.Rules{Now: time.Now().Unix(), AllowPrivate: allowPrivate, RecordKey: network.RecordKey(), Salt: network.RecordSalt()})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s %s seq %d expires %s", addr, hex.EncodeToString(r.Key[:]), urls(r), item.Seq, stamp(r.Expires)), nil
}

func urls(r record.Record) string {
	if len(r.URLs) == 0 {
		return "leaf"
	}
	var list []string
	for _, u := range r.URLs {
		list = append(list, u.String())
	}
	s := strings.Join(list, ",")
	if r.Caps&record.CapUnverified != 0 {
		s += " (unverified)"
	}
	return s
}

func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

// rawInfoHash reads an info hash from a command line.
func rawInfoHash(s string) (h [20]byte) {
	if n, err := hex.Decode(h[:], []byte(s[:min(len(s), 2*len(h))])); err == nil && n == len(h) && len(s) == 2*len(h) {
		return h
	}
	return wire.Raw20([]byte(s))
}

// orPublic is the DHT nodes to start from when none are given.
func orPublic(bootstrap []string) []string {
	if len(bootstrap) == 0 {
		return dhtstore.DefaultBootstrap()
	}
	return bootstrap
}

// privateAddr reports whether an address names a private or loopback IP; an
// unspecified one, as in ":7000", does not.
func privateAddr(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip, e := netip.ParseAddr(host)
	return err == nil && e == nil && !ip.IsUnspecified() && private(host)
}
