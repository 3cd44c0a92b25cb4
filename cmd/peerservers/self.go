package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/dialguard"
	"github.com/draeder/peerservers/federation/identity"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
)

// maxAsked is how many addresses of the network's list are asked who they are,
// to find ourselves among them.
const maxAsked = 32

// errUnseen: others would not find this node, or not reach it. What is wrong was
// printed.
var errUnseen = errors.New("others would not find and reach this node")

// self is the key of the node whose data directory it is.
func (c *lookupCommand) self() (ed25519.PublicKey, error) {
	dir := c.DataDir
	if dir == "" {
		var err error
		if dir, err = defaultDataDir(); err != nil {
			return nil, err
		}
	}
	key, err := identity.Load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wrong("--data-dir", dir, "name the node's data directory, start the node once, or give an info hash", "no node's key is there")
	}
	if err != nil {
		return nil, wrong("--data-dir", dir, "name the node's data directory", "%w", err)
	}
	return key.Public().(ed25519.PublicKey), nil
}

// lookAtSelf shows what other nodes would see of the node with key: its record,
// its place in the network's list, and whether it answers at its URLs.
func (c *lookupCommand) lookAtSelf(ctx context.Context, con *console, dht *dhtstore.Node, network derive.Network, key ed25519.PublicKey, allowPrivate bool) error {
	con.printf("key     %s", hex.EncodeToString(key))
	r, found, err := ownRecordSeen(ctx, con, dht, network, key, allowPrivate)
	if err != nil {
		return err
	}
	listed := c.ownPlaces(ctx, con, dht, network, key)
	reached := 0
	for _, u := range r.URLs {
		if probe(ctx, con, network, u, r, allowPrivate) {
			reached++
		}
	}
	switch {
	case !found:
		con.printf("verdict no record of this node is in the DHT: it does not run, is a leaf, or its UDP port does not reach the DHT (see nodes)")
	case len(r.URLs) == 0:
		con.printf("verdict a leaf: others cannot dial it, it dials them. Give it a --node-url to change that")
	case reached == 0:
		con.printf("verdict others find this node, and cannot reach it")
	case reached < len(r.URLs):
		con.printf("verdict others find this node, and reach it at %d of its %d URLs", reached, len(r.URLs))
	case listed == 0:
		con.printf("verdict others reach this node, and find it by its swarms alone: it is not in the network's list (--no-rendezvous, or it has just started)")
		return nil
	default:
		con.printf("verdict others find this node, and reach it")
		return nil
	}
	return errUnseen
}

// ownRecordSeen fetches the record of key as others would.
func ownRecordSeen(ctx context.Context, con *console, dht *dhtstore.Node, network derive.Network, key ed25519.PublicKey, allowPrivate bool) (r record.Record, found bool, err error) {
	// Somebody has to be there to be asked first.
	if err := search(ctx, dht, federation.Target(sha1.Sum(key)), nil); err != nil {
		return r, false, wrong("--dht-bootstrap", "", "name a DHT node that runs", "no DHT node answered: %w", err)
	}
	item, err := dht.Fetch(ctx, key)
	if err != nil {
		con.printf("record  none in the DHT (%v)", err)
		return r, false, nil
	}
	signed := record.Signed{Key: record.Key(item.Key), Seq: item.Seq, Sig: item.Sig, Value: item.Value}
	if r, err = signed.Verify(record.Rules{Now: time.Now().Unix(), AllowPrivate: allowPrivate, RecordKey: network.RecordKey(), Salt: network.RecordSalt()}); err != nil {
		con.printf("record  refused: %v; check this machine's clock and the node's", err)
		return r, false, nil
	}
	con.printf("record  %s seq %d, good for another %s", urls(r), item.Seq, age(float64(r.Expires-time.Now().Unix())))
	return r, true, nil
}

// ownPlaces looks for the node in the network's list, and returns at how many
// addresses it is there.
func (c *lookupCommand) ownPlaces(ctx context.Context, con *console, dht *dhtstore.Node, network derive.Network, key ed25519.PublicKey) (listed int) {
	var addrs []netip.AddrPort
	epochs, n := derive.Epochs(time.Now().Unix())
	for _, epoch := range epochs[:n] {
		_ = dht.Lookup(ctx, federation.Target(network.Node(epoch, derive.Shard(key))), false, func(a netip.AddrPort) {
			if !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		})
	}
	for _, a := range addrs[:min(len(addrs), maxAsked)] {
		if item, err := dht.Resolve(ctx, a); err == nil && slices.Equal(item.Key, key) {
			con.printf("list    at %v, where it answers", a)
			listed++
		}
	}
	if listed == 0 {
		con.printf("list    not among %d of the %d addresses in its part of the network's list", min(len(addrs), maxAsked), len(addrs))
	}
	return listed
}

// probe dials one URL as others would, and says what came of it.
func probe(ctx context.Context, con *console, network derive.Network, u nodeaddr.URL, r record.Record, allowPrivate bool) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	guard := dialguard.New(dialguard.Config{AllowPrivate: allowPrivate})
	if err := federation.Probe(ctx, guard, network, u, r); err != nil {
		con.printf("dial    %s: %v", u, err)
		con.printf("        see that the URL leads to the node from outside, with a certificate for its name, and WebSocket upgrades on %s%s", u.Path, network.LinkPath())
		return false
	}
	con.printf("dial    %s: it proved its key", u)
	return true
}
