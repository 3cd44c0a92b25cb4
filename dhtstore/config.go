package dhtstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"
)

const (
	// DefaultPacketRate is how many packets a second our own queries may take.
	DefaultPacketRate = 40
	// MaxPacketRate is the most that may be configured. Others ban a source
	// that sends them more than a few packets a second, and half of all
	// lookups start in the same bucket.
	MaxPacketRate = 250
)

// DefaultBootstrap names the public routers of the BitTorrent DHT.
func DefaultBootstrap() []string {
	return []string{
		"router.bittorrent.com:6881",
		"dht.transmissionbt.com:6881",
		"router.utorrent.com:6881",
		"dht.libtorrent.org:25401",
	}
}

// Config describes a [Node].
type Config struct {
	// Listen are the UDP addresses to listen on, one of each family at most:
	// "192.0.2.1:7001", "[2001:db8::1]:7001". One without a host, ":7001",
	// is IPv4; unless there is another for IPv6 it is IPv6 as well if this
	// machine has an address there that others could use and nobody has the
	// port. Conns, when set, are used instead, and closed by Close.
	Listen []string
	Conns  []net.PacketConn
	// Bootstrap are host:port of nodes to ask first, and again whenever
	// nobody answers. A node without any is found by being asked.
	Bootstrap []string
	// Dir is where the routing table and the highest record sequence numbers
	// are kept. Empty: nowhere.
	Dir string
	// AllowPrivate admits loopback and private addresses, and counts limits
	// per address by address and port for them.
	AllowPrivate bool
	// QueryKey and RecordSalt make the node one of a closed network, whose nodes
	// ask each other so that strangers do not see it (closed.go;
	// derive.Network.QueryKey, RecordSalt). Both are empty for an open network.
	QueryKey   []byte
	RecordSalt string
	// ReadOnly (BEP 43) asks and never answers, for who cannot be reached.
	ReadOnly bool
	// PacketRate bounds our own queries over both families, in packets a
	// second; 0 means DefaultPacketRate. Bursts have twice as many.
	PacketRate int
	// Log gets one line for what an operator can act on. Nil: nothing.
	Log *slog.Logger
	// LookupHost resolves the names in Bootstrap. Nil: the system's resolver.
	LookupHost func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Validate names the first mistake in the configuration.
func (c *Config) Validate() error {
	if err := c.validateListen(); err != nil {
		return err
	}
	for _, b := range c.Bootstrap {
		host, port, err := net.SplitHostPort(b)
		if err != nil || host == "" {
			return fmt.Errorf("dhtstore: bootstrap address %q: want host:port", b)
		}
		if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
			return fmt.Errorf("dhtstore: bootstrap address %q: bad port", b)
		}
		if ip, err := netip.ParseAddr(host); err == nil && !c.AllowPrivate && !isPublic(ip.Unmap()) {
			return fmt.Errorf("dhtstore: bootstrap address %q is not a public address; private ones must be allowed", b)
		}
	}
	if c.PacketRate < 0 || c.PacketRate > MaxPacketRate {
		return fmt.Errorf("dhtstore: packet rate %d: want 1 to %d, or 0 for %d", c.PacketRate, MaxPacketRate, DefaultPacketRate)
	}
	return nil
}

func (c *Config) withDefaults() {
	if c.PacketRate == 0 {
		c.PacketRate = DefaultPacketRate
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.LookupHost == nil {
		c.LookupHost = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
}

const (
	queryTimeout = 600 * time.Millisecond
	// deadAfter is how long nobody may answer before the bootstrap addresses
	// are asked again.
	deadAfter = 30 * time.Second
)

var (
	// ErrClosed says that the node was closed.
	ErrClosed = errors.New("dhtstore: closed")
	// ErrBusy says that the packet budget has no room before the deadline.
	ErrBusy = errors.New("dhtstore: packet budget exhausted")

	errTimeout = errors.New("dhtstore: query timed out")
	errAddress = errors.New("dhtstore: address not allowed")
)
