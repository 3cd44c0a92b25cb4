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
	// Listen is the IPv4 UDP address to listen on, such as "127.0.0.1:7001" or
	// ":0". Conn, when set, is used instead, and closed by Close.
	Listen string
	Conn   net.PacketConn
	// Bootstrap are host:port of nodes to ask first, and again whenever
	// nobody answers. A node without any is found by being asked.
	Bootstrap []string
	// Dir is where the routing table and the highest record sequence numbers
	// are kept. Empty: nowhere.
	Dir string
	// AllowPrivate admits loopback and private addresses, and counts limits
	// per address by address and port for them.
	AllowPrivate bool
	// ReadOnly (BEP 43) asks and never answers, for who cannot be reached.
	ReadOnly bool
	// PublicIP is the address that others see, if known: the node's id is made
	// to fit it (BEP 42). Without it, the one that others reported before the
	// last restart is used.
	PublicIP netip.Addr
	// PacketRate bounds our own queries, in packets a second; 0 means
	// DefaultPacketRate. Bursts have twice as many.
	PacketRate int
	// Log gets one line for what an operator can act on. Nil: nothing.
	Log *slog.Logger
	// LookupHost resolves the names in Bootstrap. Nil: the system's resolver.
	LookupHost func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Validate names the first mistake in the configuration.
func (c *Config) Validate() error {
	if c.Conn == nil {
		host, port, err := net.SplitHostPort(c.Listen)
		if err != nil {
			return fmt.Errorf("dhtstore: listen address %q: want host:port", c.Listen)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return fmt.Errorf("dhtstore: listen address %q: bad port", c.Listen)
		}
		if ip, err := netip.ParseAddr(host); err == nil && !ip.Unmap().Is4() {
			return fmt.Errorf("dhtstore: listen address %q: the DHT is spoken over IPv4 only", c.Listen)
		}
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
			return fmt.Errorf("dhtstore: bootstrap address %q is not a public IPv4 address; private ones must be allowed", b)
		}
	}
	if c.PacketRate < 0 || c.PacketRate > MaxPacketRate {
		return fmt.Errorf("dhtstore: packet rate %d: want 1 to %d, or 0 for %d", c.PacketRate, MaxPacketRate, DefaultPacketRate)
	}
	if c.PublicIP.IsValid() && !isPublic(c.PublicIP.Unmap()) && !c.AllowPrivate {
		return fmt.Errorf("dhtstore: public address %v is not one", c.PublicIP)
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
			return net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
		}
	}
	c.PublicIP = c.PublicIP.Unmap()
}

// usable reports whether addr may be a node or a peer.
func (c *Config) usable(addr netip.AddrPort) bool {
	a := addr.Addr()
	if !a.Is4() || addr.Port() == 0 {
		return false
	}
	if isPublic(a) {
		return true
	}
	return c.AllowPrivate && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast())
}

// named reports whether an address that somebody named may be asked. Low
// ports are other services, at which nobody shall make us aim.
func (c *Config) named(addr netip.AddrPort) bool {
	return c.usable(addr) && (addr.Port() >= 1024 || !isPublic(addr.Addr()))
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
