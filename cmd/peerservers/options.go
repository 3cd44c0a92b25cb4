package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/draeder/peerservers/dhtstore"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wsserver"
)

func groups() []kong.Group {
	return []kong.Group{
		{Key: "clients", Title: "Clients:"},
		{Key: "federation", Title: "Federation:"},
		{Key: "access", Title: "Who may come, and how many:"},
		{Key: "operation", Title: "Operation:"},
	}
}

// serveCommand holds the flags of a node. What they mean is said once, in
// their help; Validate says what is wrong with a value and what to do.
type serveCommand struct {
	Listen        []string      `group:"clients" default:":8000" placeholder:"HOST:PORT" help:"Where clients and other nodes connect (default ${default}). Repeatable."`
	TLSCert       string        `group:"clients" name:"tls-cert" placeholder:"FILE" help:"Certificate chain in PEM: wss:// and https:// beside ws:// on the same port. Read again when it changes."`
	TLSKey        string        `group:"clients" name:"tls-key" placeholder:"FILE" help:"The certificate's key in PEM."`
	ACME          []string      `group:"clients" name:"acme" placeholder:"HOST" help:"Get a certificate for this name from Let's Encrypt, and accept its terms. The name must lead to port 443 or 80 of a --listen. Repeatable."`
	ACMEDirectory string        `group:"clients" name:"acme-directory" placeholder:"URL" help:"Get certificates from this authority instead, and accept its terms."`
	Interval      time.Duration `group:"clients" default:"120s" help:"After how long clients announce again (default ${default})."`
	MaxOffers     int           `group:"clients" default:"20" placeholder:"N" help:"Offers used of one announce (default ${default})."`
	StrictIDs     bool          `group:"clients" name:"strict-ids" help:"Take info hashes and peer ids of exactly 20 characters only; some clients use others."`
	ScrapeAll     bool          `group:"clients" help:"Let a scrape that names no info hash list all of them."`
	Compress      int           `group:"clients" placeholder:"BYTES" help:"Compress messages of at least so many bytes for clients that offer permessage-deflate; 0 is never (the default)."`
	Path          []string      `group:"clients" placeholder:"/PATH" help:"Take clients on this path only, instead of on all; /PATH/{token} takes the last element as the client's token. Repeatable."`

	NodeURL           []string `group:"federation" name:"node-url" placeholder:"URL" help:"The wss:// URL at which other nodes reach this one; without it the node finds out at which address others reach it, if any. Repeatable, up to 4."`
	Leaf              bool     `group:"federation" help:"Only dial out: do not look for an address at which others could reach this node."`
	DHTListen         []string `group:"federation" name:"dht-listen" placeholder:"HOST:PORT" help:"UDP address for the DHT, one of IPv4 and one of IPv6; :PORT is IPv4, and IPv6 if this machine has an address there. By default the number of the first --listen if that is at least 1024, else 8000; any for a leaf. Repeatable."`
	DHTBootstrap      []string `group:"federation" name:"dht-bootstrap" placeholder:"HOST:PORT" help:"A DHT node to start from, instead of the public ones. Repeatable."`
	DHTRate           int      `group:"federation" name:"dht-rate" placeholder:"N" help:"DHT queries sent per second, at most (default 40, with --allow-private 250; up to 250)."`
	Seed              []string `group:"federation" placeholder:"URL" help:"The URL of a node to link with whatever the DHT says. Repeatable."`
	NetworkSecretFile string   `group:"federation" placeholder:"FILE" help:"Make a closed network of the nodes that have the secret in this file (16 to 255 bytes)."`
	AllowNodes        string   `group:"federation" placeholder:"FILE" help:"Deal only with the nodes whose keys are in this file, one a line as id prints them. Read again on SIGHUP."`
	DenyNodes         string   `group:"federation" placeholder:"FILE" help:"Do not deal with the nodes whose keys are in this file."`
	NoFederation      bool     `group:"federation" help:"Be a tracker alone."`
	NoRendezvous      bool     `group:"federation" help:"Find nodes by the lists of info hashes only, not by the network's own list."`
	RegistryFrom      int      `group:"federation" name:"registry-from" default:"100" placeholder:"N" help:"From this many known nodes on, find those with the same swarms by three that all compute for each swarm, and be one of the three for others; 0 is never (default ${default})."`
	MaxLinks          int      `group:"federation" default:"1024" placeholder:"N" help:"Links with other nodes at most, some 40 KiB each (default ${default})."`
	AllowPrivate      bool     `group:"federation" help:"Admit loopback and private addresses and ws:// URLs of nodes, for tests and private networks."`

	AllowHashes         string   `group:"access" placeholder:"FILE" help:"Serve only the info hashes in this file, 40 hex digits a line. All lists are read again on SIGHUP."`
	DenyHashes          string   `group:"access" placeholder:"FILE" help:"Do not serve the info hashes in this file."`
	Tokens              string   `group:"access" placeholder:"FILE" help:"Serve only announces with one of the tokens in this file, one a line."`
	AllowOrigin         []string `group:"access" placeholder:"ORIGIN" help:"Take pages of this origin (https://example.org) only. Repeatable."`
	DenyOrigin          []string `group:"access" placeholder:"ORIGIN" help:"Refuse pages of this origin. Repeatable."`
	DenyEmptyOrigin     bool     `group:"access" help:"Refuse clients that name no origin, which those that are no browsers do not."`
	MaxConnections      int      `group:"access" placeholder:"N" help:"Connections at once, at most (default 100000)."`
	MaxConnectionsPerIP int      `group:"access" name:"max-connections-per-ip" placeholder:"N" help:"Connections at once of one IPv4 address or IPv6 /64, at most (default 1000); a /24 or /48 may have four times as many, or an eighth of all if that is more."`
	TrustedProxy        []string `group:"access" placeholder:"CIDR" help:"Believe X-Forwarded-For from this network. Repeatable."`
	ProxyProtocol       bool     `group:"access" help:"Expect the PROXY protocol (1 or 2) from each --trusted-proxy."`

	DataDir     string        `group:"operation" placeholder:"DIR" help:"Where this node keeps its key, certificates and what it knows of others. By default a directory among the user's settings."`
	Admin       string        `group:"operation" placeholder:"HOST:PORT" help:"Serve /metrics, /federation.json and /debug/pprof/ here. Not for the public."`
	StatsHashes bool          `group:"operation" help:"List info hashes on /stats and /stats.json."`
	Engine      string        `group:"operation" default:"" placeholder:"NAME" help:"How connections are served: loops (Linux, the default there) or portable."`
	Loops       int           `group:"operation" placeholder:"N" help:"Event loops of the engine loops, a fixed number; by default one, which serves tens of thousands of clients, and while all are busy one more, up to one for each processor."`
	TLSRecords  bool          `group:"operation" name:"tls-records" help:"Encrypt TLS 1.3 records with our own record layer instead of crypto/tls: less memory and CPU. Engine loops only."`
	Drain       time.Duration `group:"operation" default:"10s" help:"After SIGTERM, how long to wait for connections to close (default ${default})."`
}

// Validate implements kong's validation. Files are looked at when they are
// used.
func (c *serveCommand) Validate() error {
	return errors.Join(
		c.validateClients(),
		c.validateFederation(),
		c.validateAccess(),
		c.validateOperation(),
	)
}

func (c *serveCommand) validateClients() error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	for _, addr := range c.Listen {
		add(hostPort("--listen", addr))
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		given, missing := "--tls-cert", "--tls-key"
		if c.TLSCert == "" {
			given, missing = missing, given
		}
		add(wrong(given, "", "give "+missing+" too", "half of a key pair"))
	}
	errs = append(errs, c.validateACME()...)
	if c.Interval < tracker.MinInterval {
		add(wrong("--interval", c.Interval.String(), fmt.Sprintf("give %v or more", tracker.MinInterval), "clients would drown in their own offers"))
	}
	if c.Interval > time.Hour {
		add(wrong("--interval", c.Interval.String(), "give 1h or less", "new peers would wait too long for old ones"))
	}
	if c.MaxOffers < 1 || c.MaxOffers > maxMaxOffers {
		add(wrong("--max-offers", strconv.Itoa(c.MaxOffers), fmt.Sprintf("give 1 to %d", maxMaxOffers), "out of range"))
	}
	if c.Compress < 0 {
		add(wrong("--compress", strconv.Itoa(c.Compress), "give 1 or more, or 0 for never", "out of range"))
	}
	for _, p := range c.Path {
		if !strings.HasPrefix(p, "/") {
			add(wrong("--path", p, "give /"+p, "not a path"))
		}
	}
	return errors.Join(errs...)
}

// maxMaxOffers fit a message of the size that clients may send.
const maxMaxOffers = 100

func (c *serveCommand) validateFederation() error {
	if c.NoFederation {
		return nil
	}
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	if c.Leaf && len(c.NodeURL) > 0 {
		add(wrong("--leaf", "", "leave it out, or --node-url", "a leaf has no URL"))
	}
	if n := len(c.NodeURL); n > record.MaxURLs {
		add(wrong("--node-url", "", fmt.Sprintf("give up to %d", record.MaxURLs), "%d of them do not fit a node record", n))
	}
	for _, u := range c.NodeURL {
		if _, err := nodeaddr.Parse(u, c.AllowPrivate); err != nil {
			add(wrong("--node-url", u, nodeURLMend(u, c.AllowPrivate), "%w", err))
		}
	}
	for _, u := range c.Seed {
		if _, err := nodeaddr.Parse(u, c.AllowPrivate); err != nil {
			add(wrong("--seed", u, nodeURLMend(u, c.AllowPrivate), "%w", err))
		}
	}
	add(dhtListen("--dht-listen", c.DHTListen))
	for _, addr := range c.DHTBootstrap {
		add(bootstrap(addr, c.AllowPrivate))
	}
	if c.DHTRate < 0 || c.DHTRate > maxDHTRate {
		add(wrong("--dht-rate", strconv.Itoa(c.DHTRate), fmt.Sprintf("give 1 to %d", maxDHTRate), "out of range"))
	}
	if c.RegistryFrom < 0 || c.RegistryFrom > maxKnown {
		add(wrong("--registry-from", strconv.Itoa(c.RegistryFrom), fmt.Sprintf("give 1 to %d, or 0 for never", maxKnown), "out of range"))
	}
	if c.MaxLinks < 1 || c.MaxLinks > maxKnown {
		add(wrong("--max-links", strconv.Itoa(c.MaxLinks), fmt.Sprintf("give 1 to %d", maxKnown), "out of range"))
	}
	return errors.Join(errs...)
}

// maxKnown is how many nodes are known at most (mesh.Config.MaxNodes): responsible
// ones from more on would be never, and there are no links with more.
const maxKnown = 2048

// maxDHTRate: others ban who sends them more than a few packets a second.
const maxDHTRate = 250

func (c *serveCommand) validateAccess() error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	if _, err := c.proxies(); err != nil {
		add(err)
	}
	if c.ProxyProtocol && len(c.TrustedProxy) == 0 {
		add(wrong("--proxy-protocol", "", "name the proxies with --trusted-proxy", "anybody could claim any address"))
	}
	if c.MaxConnections < 0 {
		add(wrong("--max-connections", strconv.Itoa(c.MaxConnections), "give 1 or more, or leave it out", "out of range"))
	}
	if c.MaxConnectionsPerIP < 0 {
		add(wrong("--max-connections-per-ip", strconv.Itoa(c.MaxConnectionsPerIP), "give 1 or more, or leave it out", "out of range"))
	}
	return errors.Join(errs...)
}

func (c *serveCommand) validateOperation() error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	if c.Admin != "" {
		add(hostPort("--admin", c.Admin))
	}
	if !slices.Contains([]string{"", wsserver.EngineLoops, wsserver.EnginePortable}, c.Engine) {
		add(wrong("--engine", c.Engine, "give loops or portable, or leave it out", "there is no such engine"))
	}
	if c.Loops < 0 || c.Loops > wsserver.MaxLoops {
		add(wrong("--loops", strconv.Itoa(c.Loops), fmt.Sprintf("give 1 to %d, or leave it out", wsserver.MaxLoops), "out of range"))
	}
	if c.Drain < 0 {
		add(wrong("--drain", c.Drain.String(), "give 0s or more", "in the past"))
	}
	return errors.Join(errs...)
}

// proxies are the networks of --trusted-proxy; an address alone is itself.
func (c *serveCommand) proxies() ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, s := range c.TrustedProxy {
		if addr, err := netip.ParseAddr(s); err == nil {
			list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, wrong("--trusted-proxy", s, "give a network such as 10.0.0.0/8, or an address", "not a network")
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

func hostPort(flag, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return wrong(flag, addr, "give HOST:PORT, such as 127.0.0.1:8000 or :8000", "not an address to listen on")
	}
	return nil
}

// dhtListen judges the addresses of a DHT node's sockets.
func dhtListen(flag string, addrs []string) error {
	for _, addr := range addrs {
		if err := hostPort(flag, addr); err != nil {
			return err
		}
	}
	if err := (&dhtstore.Config{Listen: addrs}).Validate(); err != nil && len(addrs) > 0 {
		return wrong(flag, strings.Join(addrs, ", "), "give one IPv4 address, one IPv6 address, or one of each", "%w", err)
	}
	return nil
}

func bootstrap(addr string, allowPrivate bool) error {
	host, port, err := net.SplitHostPort(addr)
	n, e := strconv.ParseUint(port, 10, 16)
	if err != nil || e != nil || host == "" || n == 0 {
		return wrong("--dht-bootstrap", addr, "give HOST:PORT, such as router.bittorrent.com:6881", "not an address")
	}
	if !allowPrivate && private(host) {
		return wrong("--dht-bootstrap", addr, "give --allow-private if this is a private network", "not a public address")
	}
	return nil
}

// private reports whether host is an IP literal that is not public.
func private(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && nodeaddr.Classify(ip.Unmap()) != nodeaddr.Public
}

func nodeURLMend(u string, allowPrivate bool) string {
	if _, err := nodeaddr.Parse(u, true); err == nil && !allowPrivate {
		return "give --allow-private if this is a private network"
	}
	return "give a URL such as wss://tracker.example.org"
}

// network is the federation's network: the open one, or that of the secret.
func network(secretFile string) (derive.Network, error) {
	var secret []byte
	if secretFile != "" {
		raw, err := os.ReadFile(secretFile)
		if err != nil {
			mend := "name a file that can be read"
			if errors.Is(err, fs.ErrNotExist) {
				mend = "make it, with 16 to 255 random bytes or letters, the same on all nodes"
			}
			return derive.Network{}, wrong("--network-secret-file", "", mend, "%w", err)
		}
		// An editor's newline at the end is no part of the secret.
		secret = []byte(strings.TrimRight(string(raw), "\r\n"))
		if len(secret) == 0 {
			return derive.Network{}, wrong("--network-secret-file", secretFile, "put 16 to 255 bytes into it, the same on all nodes", "empty")
		}
	}
	n, err := derive.New(derive.DefaultName, secret)
	if err != nil {
		return derive.Network{}, wrong("--network-secret-file", secretFile, "put 16 to 255 bytes into it, the same on all nodes", "%w", err)
	}
	return n, nil
}
