package federation

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/dialguard"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/nodelist"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/federation/registry"
	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/wire"
)

// Subprotocol is the WebSocket subprotocol of links.
const Subprotocol = "peerservers.v1"

// Dialer connects to a node. The one by default is a dialguard.Guard; tests
// bring an in-memory network.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Store keeps what is known of other nodes across restarts: whom to try when
// the directory is dead, since when each key is known, and the highest record
// number of each, below which a record is a replay.
type Store interface {
	Load() ([]Saved, error)
	Save([]Saved) error
}

// Saved is one node in a Store.
type Saved struct {
	Record    record.Signed
	FirstSeen time.Time
	Met       bool // its key was proven, in a handshake
}

// Config is what a Federation is made of.
type Config struct {
	// Key is this node's identity.
	Key ed25519.PrivateKey
	// Network is the federation that the node belongs to.
	Network derive.Network
	// Tracker serves the clients. Its Watcher must be this one.
	Tracker *tracker.Tracker
	Watcher *Watcher
	// Directory suggests whom to dial; nil: seeds and gossip alone.
	Directory Directory
	// URLs are where others can dial this node. Without any it finds out where
	// that is (Guess), or is a leaf: it announces nothing and dials out.
	URLs  []nodeaddr.URL
	Guess *Guess
	// Pin is the SHA-256 of the public key of this node's own certificate, if
	// that is one which no public authority signed.
	Pin *[32]byte
	// Seeds are URLs of other nodes to start from.
	Seeds []nodeaddr.URL
	// AllowPrivate admits loopback and private addresses and ws:// URLs.
	AllowPrivate bool
	// NoRendezvous leaves only the lists of swarms (and Seeds): neither
	// rendezvous nor gossip.
	NoRendezvous bool
	// Nodes are those that this one deals with; nil: all. Call RecheckNodes when
	// the lists have changed.
	Nodes *nodelist.Lists
	// Own are the addresses that this node listens on, never to be dialled.
	Own []netip.AddrPort
	// Dialer connects; nil: a dialguard.Guard.
	Dialer Dialer
	// RootCAs verify other nodes' certificates; nil: the system's.
	RootCAs *x509.CertPool
	// Limits bound ids and payloads that nodes send, as those of clients.
	Limits wire.Limits
	// Store is kept up to date; nil: nothing is remembered.
	Store Store
	// Registry bounds what is kept of what other nodes register with this one.
	Registry registry.Limits
	// Quota bounds what one link may send.
	Quota Quota
	// MaxHandshakes is how many accepted links may be unproven at a time (128),
	// and MaxHandshakesGroup how many from one address prefix (8).
	MaxHandshakes, MaxHandshakesGroup int
	// Mesh overrides bounds and rates of package mesh; the rest of it is set
	// from this Config.
	Mesh mesh.Config

	Now    func() time.Time // nil: time.Now
	Rand   *rand.Rand       // nil: seeded at random
	Logger *slog.Logger     // nil: silent
}

// Quota bounds what one link may send per second; each may come in a burst of
// what is allowed in BurstSeconds. Zeros mean the values in parentheses.
type Quota struct {
	Frames, Bytes, Offers, Joins float64 // (6,000; 12 MiB; 4,000; 400)
	Names                        float64 // swarms named (1,000)
	BurstSeconds                 float64 // (15)
	// Strikes is how many faults within a minute close the link (16).
	Strikes int
}

func (q Quota) withDefaults() Quota {
	for _, d := range []struct {
		p *float64
		v float64
	}{{&q.Frames, 6000}, {&q.Bytes, 12 << 20}, {&q.Offers, 4000}, {&q.Joins, 400}, {&q.Names, 1000}, {&q.BurstSeconds, 15}} {
		if *d.p <= 0 {
			*d.p = d.v
		}
	}
	if q.Strikes <= 0 {
		q.Strikes = 16
	}
	return q
}

// Validate reports what makes c unusable.
func (c Config) Validate() error {
	var errs []error
	if len(c.Key) != ed25519.PrivateKeySize {
		errs = append(errs, errors.New("no identity key"))
	}
	if c.Network.Name() == "" {
		errs = append(errs, errors.New("no network"))
	}
	if c.Tracker == nil || c.Watcher == nil {
		errs = append(errs, errors.New("no tracker, or no watcher of it"))
	}
	if len(c.URLs) > record.MaxURLs {
		errs = append(errs, errors.New("more than 4 node URLs"))
	}
	if c.Guess != nil && c.Guess.Pin == nil {
		errs = append(errs, errors.New("a guess without a certificate"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Dialer == nil {
		c.Dialer = dialguard.New(dialguard.Config{AllowPrivate: c.AllowPrivate, Own: c.Own})
	}
	if c.Limits == (wire.Limits{}) {
		c.Limits = wire.DefaultLimits()
	}
	c.Quota = c.Quota.withDefaults()
	if c.MaxHandshakes <= 0 {
		c.MaxHandshakes = 128
	}
	if c.MaxHandshakesGroup <= 0 {
		c.MaxHandshakesGroup = 8
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Mesh.Self = mesh.Key(c.Key.Public().(ed25519.PublicKey))
	c.Mesh.AllowPrivate = c.AllowPrivate
	c.Mesh.NoRendezvous = c.NoRendezvous
	c.Mesh.Seeds = c.Seeds
	c.Mesh.BucketKey = c.Network.BucketKey()
	c.Mesh.Rand = c.Rand
	return c
}
