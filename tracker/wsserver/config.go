package wsserver

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/access"
)

// Config is what a Server is made of. Zero fields take the value that their
// comment gives in parentheses.
type Config struct {
	// Tracker serves the clients.
	Tracker *tracker.Tracker
	// Echo sends every message back to its sender as it came, text as text
	// and binary as binary, in the tracker's place, which may be nil then. It
	// is for measuring an engine and for testing its framing.
	Echo bool

	// Engine is what moves the bytes: EngineLoops, EnginePortable, or empty
	// for the first where the system and the listeners allow it and for the
	// second elsewhere.
	Engine string
	// Loops is how many event loops EngineLoops runs. 0: one to begin with, and
	// while all there are are busy one more after the other, up to one for each
	// processor (GOMAXPROCS) and MaxLoops. Those that were started stay.
	Loops int
	// Compress, unless 0, offers clients permessage-deflate (RFC 7692), and
	// messages to those who take it are compressed from this size on.
	Compress int
	// TLSRecords makes EngineLoops encrypt TLS 1.3 records itself, instead
	// of through crypto/tls: less memory and CPU for each connection.
	TLSRecords bool

	// Access decides which origins may connect; nil allows all.
	Access *access.Policy
	// CertFile and KeyFile make connections that begin as TLS be TLS. They
	// are read again when they change.
	CertFile, KeyFile string
	// TLS does so too, for programs that have certificates from elsewhere. A
	// connection that agrees with it on a protocol other than http/1.1 is
	// closed after the handshake.
	TLS *tls.Config
	// Pages gets the requests that are neither for a WebSocket nor for one of
	// the server's own pages. (404)
	Pages http.Handler
	// Note is one more sentence for the page at /. Nil: none.
	Note func() string
	// Paths, unless empty, are the only paths on which clients may connect.
	// One that ends in "/{token}" matches any last element, which becomes
	// the connection's token for access rules. (any path)
	Paths []string
	// Protocols are other users of the port.
	Protocols []Protocol

	// TrustedProxies are addresses whose X-Forwarded-For is believed and,
	// with ProxyProtocol, whose PROXY header is too.
	TrustedProxies []netip.Prefix
	ProxyProtocol  bool

	// MaxConns bounds WebSocket connections (100,000); some more sockets are
	// let in to be told so, and for the pages.
	MaxConns int
	// MaxConnsPerIP bounds those of one IPv4 address or IPv6 /64 (1,000):
	// many clients share an address behind carriers' NAT. Loopback is left
	// out: a proxy there stands for all of its clients.
	MaxConnsPerIP int
	// AllowPrivate leaves private addresses out of that bound as well.
	AllowPrivate bool
	// MaxMessage is the largest message of a client (256 KiB).
	MaxMessage int
	// SoftBacklog is how many unsent bytes a connection may have before
	// offers to it are dropped (256 KiB), HardBacklog before it is closed
	// (1 MiB).
	SoftBacklog, HardBacklog int
	// TotalBacklog bounds unsent bytes over all connections (512 MiB). The less
	// is left of it, the less one connection may have.
	TotalBacklog int64
	// TotalIncomplete bounds the memory for messages, requests and the
	// loops' handshakes that have arrived in part, over all connections (256
	// MiB). Each loop that runs has an equal part of it, and so have connections
	// without one; beyond that those whose beginning is the longest ago are closed.
	TotalIncomplete int64

	// HeaderTimeout is how long a request, TLS included, may take to arrive
	// (10 s).
	HeaderTimeout time.Duration
	// MessageTimeout is how long one message may take to arrive (60 s).
	MessageTimeout time.Duration
	// WriteTimeout is how long a write may take before the connection is
	// dropped (15 s).
	WriteTimeout time.Duration

	// HashList adds the list of swarms to /stats.json. It tells anybody what
	// is shared here, and costs.
	HashList bool
	// Log gets what an operator should see; nil discards it.
	Log *slog.Logger
	// Now is the clock of the event loops and of the statistics' age; nil is
	// time.Now. The portable engine's timers are the system's.
	Now func() time.Time

	// pretend, for tests, says where a loop's socket is from.
	pretend func(netip.AddrPort) netip.AddrPort
	// worked, for tests, says how long a loop has been busy, and processors
	// how many there are.
	worked     func(loop int) time.Duration
	processors int
}

// MaxLoops bounds Config.Loops.
const MaxLoops = 64

// The values of Config.Engine.
const (
	// EngineLoops is event loops on raw descriptors: on Linux, for TCP.
	EngineLoops = "loops"
	// EnginePortable is a goroutine per connection above net/http: on every
	// system, for whatever a listener accepts.
	EnginePortable = "portable"
)

// Protocol is another user of the port: a WebSocket that asks for subprotocol
// Name on Path gets it and is handed to Handler, in a goroutine of its own.
// Handler owns conn; br has what was read already, and RemoteAddr of the request
// is the client's, also behind a trusted proxy. Requests on Path that do not
// ask for Name are clients like others.
type Protocol struct {
	Path, Name string
	Handler    func(conn net.Conn, br *bufio.Reader, r *http.Request)
}

const (
	// pingMin and pingSpread: an idle client is pinged after 25 to 30 s,
	// below the minute after which proxies cut idle connections.
	pingMin    = 25 * time.Second
	pingSpread = 5 * time.Second
	// maxMissed pings without a sign of life end a connection.
	maxMissed = 2

	// closeTimeout is how long the client has for its part of a close.
	closeTimeout = 5 * time.Second
	// maxLinger is how much of what the client still sends is read after a
	// close: closing a socket with unread input would reset it, and the
	// client would never see the close frame.
	maxLinger = 4 << 20

	maxHeaderBytes = 16 << 10
	httpTimeout    = 30 * time.Second // for a page, and for keep-alive
	tokenSuffix    = "/{token}"
)

func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.MaxConns, 100_000)
	def(&c.MaxConnsPerIP, 1000)
	def(&c.MaxMessage, 256<<10)
	def(&c.SoftBacklog, 256<<10)
	def(&c.HardBacklog, max(1<<20, c.SoftBacklog))
	if c.TotalBacklog == 0 {
		c.TotalBacklog = 512 << 20
	}
	if c.TotalIncomplete == 0 {
		c.TotalIncomplete = 256 << 20
	}
	wait := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	wait(&c.HeaderTimeout, 10*time.Second)
	wait(&c.MessageTimeout, time.Minute)
	wait(&c.WriteTimeout, 15*time.Second)
	if c.Pages == nil {
		c.Pages = http.NotFoundHandler()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports what makes c unusable.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Tracker == nil && !c.Echo {
		bad("no tracker to serve")
	}
	if !slices.Contains([]string{"", EngineLoops, EnginePortable}, c.Engine) {
		bad("there is no engine %q", c.Engine)
	}
	if c.Engine == EngineLoops && !haveLoops {
		bad("this system has no epoll for the engine %q", c.Engine)
	}
	if c.Loops < 0 || c.Loops > MaxLoops {
		bad("%d loops: 1 to %d, or 0 for the default", c.Loops, MaxLoops)
	}
	if c.Compress < 0 {
		bad("messages of %d bytes cannot be compressed", c.Compress)
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("a certificate and its key come together: one of the two files is missing")
	}
	if c.TLS != nil && c.CertFile != "" {
		bad("certificates come from files or from TLS, not from both")
	}
	if c.TLS != nil && slices.Contains(c.TLS.NextProtos, "h2") {
		bad("HTTP/2 cannot be offered: a WebSocket is upgraded from HTTP/1.1")
	}
	for _, p := range c.Paths {
		if !strings.HasPrefix(p, "/") {
			bad("path %q does not begin with /", p)
		}
	}
	for _, p := range c.Protocols {
		if p.Name == "" || p.Handler == nil || !strings.HasPrefix(p.Path, "/") {
			bad("subprotocol %q on path %q is incomplete", p.Name, p.Path)
		}
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		bad("the PROXY protocol needs trusted proxies: anybody could claim any address")
	}
	if c.MaxConns < 0 || c.MaxConnsPerIP < 0 || c.MaxMessage < 0 || c.SoftBacklog < 0 ||
		c.HardBacklog < 0 || c.TotalBacklog < 0 || c.TotalIncomplete < 0 {
		bad("a limit is negative")
	}
	if c.HardBacklog != 0 && c.HardBacklog < c.SoftBacklog {
		bad("hard backlog %d is below the soft one, %d", c.HardBacklog, c.SoftBacklog)
	}
	return errors.Join(errs...)
}
