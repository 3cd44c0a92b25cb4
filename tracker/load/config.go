package load

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Shape is how many clients there are and what they do.
type Shape struct {
	// Connections is the number of clients; each has one connection and is
	// in one of the Swarms.
	Connections int `json:"connections"`
	Swarms      int `json:"swarms"`
	// Every is the time between two announces of one client; 0: it announces
	// once, when it comes, without offers.
	Every time.Duration `json:"every"`
	// Offers is how many offers an announce carries, except the first.
	Offers int `json:"offers"`
	// For is how long to measure.
	For time.Duration `json:"for"`
	// Echo: what is measured is a server that sends back each message. The
	// clients send the frames that they would send to a tracker, at the times
	// at which they would.
	Echo bool `json:"echo,omitempty"`
}

// Profiles are shapes that results can be compared by, by their names. Each
// announce with 10 offers makes 32 messages.
func Profiles() map[string]Shape {
	return map[string]Shape{
		// 64,000 messages a second.
		"heavy": {Connections: 2000, Swarms: 50, Every: time.Second, Offers: 10, For: 20 * time.Second},
		// 128,000 messages a second.
		"full": {Connections: 4000, Swarms: 100, Every: time.Second, Offers: 10, For: 20 * time.Second},
		// 19,200 messages a second, in small batches.
		"light": {Connections: 3000, Swarms: 75, Every: 5 * time.Second, Offers: 10, For: 20 * time.Second},
		// Clients that do nothing: what a connection costs in memory.
		"idle": {Connections: 20000, Swarms: 500, For: 10 * time.Second},
		// What heavy would send to a tracker.
		"echo": {Connections: 2000, Swarms: 50, Every: time.Second, Offers: 10, For: 20 * time.Second, Echo: true},
	}
}

// MaxOffers is the largest number of offers in an announce.
const MaxOffers = 100

// Config says what to load, and how.
type Config struct {
	// URLs is the tracker's, ws:// or wss://, or those of two nodes of one
	// federation.
	URLs []string
	Shape
	// Whole puts each swarm on one of the nodes, alternately. Otherwise the
	// two halves of each swarm are on the two nodes.
	Whole bool
	// PIDs are the servers' processes, on this machine, in the order of URLs.
	PIDs []int
	// Roots verify the servers' certificates; nil means the system's.
	Roots *x509.CertPool

	// Settle is how long to wait between the last connection and the look at
	// memory (1 s; negative: not at all). Meet is how long two nodes may
	// take to find each other's peers (60 s). Drain is how long nothing may
	// come while first announces are to be replied to, and how long to wait for
	// what is under way at the end (5 s).
	Settle, Meet, Drain time.Duration
	// Sample is one in how many frames is decoded and compared as a whole (64).
	Sample int
	// Late is from when on a round trip is counted as late (1 s).
	Late time.Duration
	// Seed makes ids, masks and the times of announces; different runs on one
	// server need different ones.
	Seed [32]byte
	// Progress, unless nil, is told once a second how it goes, from the
	// goroutine of Run.
	Progress func(Progress)
}

// Progress is a moment of a run.
type Progress struct {
	Phase               string
	Elapsed             time.Duration
	Connections         int
	SentRate, RecvdRate int
	Faults              int64
}

func (c Config) withDefaults() Config {
	wait := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	wait(&c.Settle, time.Second)
	wait(&c.Meet, time.Minute)
	wait(&c.Drain, 5*time.Second)
	wait(&c.Late, time.Second)
	if c.Sample == 0 {
		c.Sample = 64
	}
	return c
}

// Validate reports what makes c unusable.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if n := len(c.URLs); n < 1 || n > 2 {
		bad("%d URLs: give one, or those of two nodes", n)
	}
	for _, s := range c.URLs {
		if u, err := url.Parse(s); err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Hostname() == "" {
			bad("%q is no URL of a tracker, such as ws://127.0.0.1:8000", s)
		}
	}
	switch {
	case c.Connections < 1 || c.Connections > 1<<20:
		bad("%d connections", c.Connections)
	case c.Swarms < 1 || c.Swarms > c.Connections:
		bad("%d swarms of %d connections", c.Swarms, c.Connections)
	}
	if c.Offers < 0 || c.Offers > MaxOffers {
		bad("%d offers: up to %d", c.Offers, MaxOffers)
	}
	if c.Every != 0 && c.Every < 10*time.Millisecond {
		bad("an announce every %v: every 10ms at most", c.Every)
	}
	if c.For <= 0 || c.For > time.Hour {
		bad("measuring for %v: up to an hour", c.For)
	}
	if c.Echo && (c.Every == 0 || len(c.URLs) > 1) {
		bad("echoes are of one server, and of clients that send")
	}
	if c.Sample < 0 || c.Meet < 0 || c.Drain < 0 || c.Late < 0 {
		bad("a negative time or number")
	}
	return errors.Join(errs...)
}

// node is the index of the URL that a connection belongs to.
func (c *Config) node(conn int) int {
	if c.Whole {
		return c.swarm(conn) % len(c.URLs)
	}
	return conn / c.Swarms % len(c.URLs)
}

func (c *Config) swarm(conn int) int { return conn % c.Swarms }

// seeder reports whether a client claims to have everything.
func (c *Config) seeder(conn int) bool { return conn/c.Swarms%4 == 3 }
