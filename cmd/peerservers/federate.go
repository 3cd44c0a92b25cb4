package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/identity"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/nodelist"
	"github.com/draeder/peerservers/tracker"
)

// nodesName is the file in the data directory with what is known of others.
const nodesName = "nodes.json"

// federated is the federation of a node with what it stands on.
type federated struct {
	cfg     federation.Config
	watcher *federation.Watcher
	dht     *dhtstore.Node
	node    *federation.Federation // once joined
	boot    string                 // the DHT nodes to start from, for a person
	nodes   *nodelist.Lists
	tls     *tls.Config // for links, if the listen port has no other
}

// openFederation takes the key in the data directory and the DHT port.
func (c *serveCommand) openFederation(dir string, log *slog.Logger, listeners []net.Listener) (*federated, error) {
	network, err := network(c.NetworkSecretFile)
	if err != nil {
		return nil, err
	}
	f := &federated{watcher: federation.NewWatcher()}
	if f.nodes, err = nodelist.Load(c.AllowNodes, c.DenyNodes); err != nil {
		return nil, wrong("--allow-nodes, --deny-nodes", "", "mend the one it names", "%w", err)
	}
	key, created, err := identity.LoadOrCreate(dir)
	if err != nil {
		return nil, wrong("--data-dir", dir, "give a directory of the node's own", "%w", err)
	}
	if created {
		log.Info("made this node's key", "dir", dir)
	}
	boot := orPublic(c.DHTBootstrap)
	f.boot = strings.Join(boot, ", ")
	listen := c.dhtListen(listeners)
	cfg := dhtstore.Config{
		Listen:       listen,
		Bootstrap:    boot,
		Dir:          dir,
		AllowPrivate: c.AllowPrivate,
		// A leaf that answered would be named by others and then not reached.
		ReadOnly:   len(c.NodeURL) == 0,
		PacketRate: c.dhtRate(),
		Log:        log,
		QueryKey:   network.QueryKey(),
		RecordSalt: network.RecordSalt(),
	}
	var guess *federation.Guess
	if c.guesses() {
		if guess, f.tls, err = c.guess(dir); err != nil {
			return nil, err
		}
	}
	f.dht, err = dhtstore.New(cfg)
	if err != nil && guess != nil && len(c.DHTListen) == 0 {
		// Nobody chose that port, and any other does.
		cfg.Listen = []string{":0"}
		f.dht, err = dhtstore.New(cfg)
	}
	if err != nil {
		return nil, listenError("--dht-listen", strings.Join(listen, ", "), err)
	}
	f.cfg = federation.Config{
		Key: key, Network: network,
		Watcher: f.watcher, Directory: directory{f.dht, ownRecordFile(dir)},
		URLs: parseURLs(c.NodeURL, c.AllowPrivate), Guess: guess, Seeds: parseURLs(c.Seed, c.AllowPrivate),
		AllowPrivate: c.AllowPrivate, NoRendezvous: c.NoRendezvous,
		Mesh:   c.mesh(),
		Nodes:  f.nodes,
		Own:    addrs(listeners),
		Store:  federation.FileStore{Path: filepath.Join(dir, nodesName)},
		Logger: log,
	}
	return f, nil
}

// ownRecordFile is where a node's own record is kept.
func ownRecordFile(dir string) federation.FileStore {
	return federation.FileStore{Path: filepath.Join(dir, "record.json")}
}

// join makes the federation of a tracker.
func (f *federated) join(tr *tracker.Tracker) (err error) {
	f.cfg.Tracker = tr
	f.node, err = federation.New(f.cfg)
	return err
}

// reload reads the lists of nodes again, and applies them.
func (f *federated) reload() error {
	if f == nil {
		return nil
	}
	if err := f.nodes.Reload(); err != nil {
		return err
	}
	f.node.RecheckNodes()
	return nil
}

func (f *federated) close() { f.dht.Close() }

func (f *federated) stats() (*dhtstore.Stats, *federation.Stats) {
	d, n := f.dht.Stats(), f.node.Stats()
	return &d, &n
}

// linkPaths are where links come in: below each node URL, and at the root for
// proxies that take a URL's path off.
func (f *federated) linkPaths() []string {
	link := f.cfg.Network.LinkPath()
	paths := []string{link}
	for _, u := range f.cfg.URLs {
		if p := u.Path + link; !slices.Contains(paths, p) {
			paths = append(paths, p)
		}
	}
	return paths
}

// describe says how far federation got, which at the start is what it will
// try, and what would get it further.
func (c *serveCommand) describeFederation(f *federated) string {
	key := hex.EncodeToString(f.cfg.Key.Public().(ed25519.PublicKey)[:4])
	dht := fmt.Sprintf("DHT on UDP %s, bootstrap %s", localAddrs(f.dht), f.boot)
	return fmt.Sprintf("node %s is %s. %s", key, c.describePlace(f.node.Place()), dht)
}

// announceFirstLink prints one line when another node is found.
func (f *federated) announceFirstLink(ctx context.Context, con *console) {
	started := time.Now()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		links := f.node.Status().Links
		if len(links) == 0 {
			continue
		}
		l := links[0]
		at := "a leaf"
		if len(l.URLs) > 0 {
			at = l.URLs[0]
		}
		con.printf("federation: first link up after %v, with node %.8s (%s)", time.Since(started).Round(time.Millisecond), l.Key, at)
		return
	}
}

// dhtListen is where the DHT node listens. Nobody asks a leaf anything, so its
// port does not matter. Others are named by their port, and low ones are not
// asked (dhtstore, named).
func (c *serveCommand) dhtListen(listeners []net.Listener) []string {
	const lowest, fallback = 1024, 8000
	switch {
	case len(c.DHTListen) > 0:
		return c.DHTListen
	case c.Leaf || len(c.NodeURL) == 0 && !c.guesses():
		return []string{":0"}
	}
	if port := addrs(listeners)[0].Port(); port >= lowest {
		return []string{":" + strconv.Itoa(int(port))}
	}
	return []string{":" + strconv.Itoa(fallback)}
}

func addrs(listeners []net.Listener) (list []netip.AddrPort) {
	for _, l := range listeners {
		a := l.Addr().(*net.TCPAddr).AddrPort()
		list = append(list, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	return list
}

// parseURLs reads URLs that Validate has read before.
func parseURLs(list []string, allowPrivate bool) (urls []nodeaddr.URL) {
	for _, s := range list {
		if u, err := nodeaddr.Parse(s, allowPrivate); err == nil {
			urls = append(urls, u)
		}
	}
	return urls
}

// dhtRate is the packet budget. A private network burdens nobody else.
func (c *serveCommand) dhtRate() int {
	if c.DHTRate == 0 && c.AllowPrivate {
		return maxDHTRate
	}
	return c.DHTRate
}

// mesh is what flags say of bounds of package mesh, for which 0 is no choice.
func (c *serveCommand) mesh() mesh.Config {
	m := mesh.Config{RegistryFrom: c.RegistryFrom, MaxLinks: c.MaxLinks}
	if m.RegistryFrom == 0 {
		m.RegistryFrom = -1
	}
	return m
}
