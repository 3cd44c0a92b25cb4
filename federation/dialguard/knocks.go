package dialguard

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ErrCrowded says that an address is not dialled for now: under several names,
// nobody there was what the names promised.
var ErrCrowded = errors.New("too many names lead to this address, and to nobody")

const (
	knockBurst = 4
	knockPause = 15 * time.Second // for one more, after that
	knockMost  = 10 * time.Minute // what it grows to
	// knockMemory is for how long an address is remembered that nobody dials.
	knockMemory = 30 * time.Minute
	// maxKnocks is how many addresses are remembered, and maxGood how many names
	// that led to somebody at one.
	maxKnocks = 4096
	maxGood   = 8
)

// Knocks bounds how often an address is dialled under names that strangers
// made up. Names cost nothing and may all lead to one address, whose owner has
// nothing to do with it: a bound for each name would be none for it. An address
// that was tried under one name only is left to who bounds that. Under several,
// four dials in vain are free; then there is one in 15 seconds, and less and
// less often as they go on to be in vain, down to one in ten minutes, unless
// nodes are there: several may share an address, that of a CDN or of a relay,
// so it stays at one in 15 seconds then. Names under which a node proved its key
// there are not bounded, nor do they count.
//
// Times are durations since an epoch of the caller's choice. It is safe for
// concurrent use.
type Knocks struct {
	mu    sync.Mutex
	addrs map[netip.AddrPort]*knocks
}

type knocks struct {
	name   string // the first that was tried in vain
	many   bool   // there was another
	vain   int
	tokens float64
	at     time.Duration
	good   []string // the newest last
}

// NewKnocks makes a Knocks.
func NewKnocks() *Knocks { return &Knocks{addrs: make(map[netip.AddrPort]*knocks)} }

// Take reports whether a may be dialled now under that name, and counts the
// dial as one in vain until Proven says otherwise.
func (k *Knocks) Take(now time.Duration, a netip.AddrPort, name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	a = knockedAt(a)
	e := k.addrs[a]
	if e == nil || len(e.good) == 0 && now-e.at > knockMemory {
		if e == nil && len(k.addrs) >= maxKnocks {
			k.forget(now)
		}
		e = &knocks{name: name, tokens: knockBurst, at: now}
		k.addrs[a] = e
	}
	if slices.Contains(e.good, name) {
		return true
	}
	if e.name == "" {
		e.name = name
	}
	e.many = e.many || e.name != name
	e.tokens = min(e.tokens+float64(now-e.at)/float64(e.pause()), knockBurst)
	e.at = now
	if e.tokens < 1 && e.many {
		return false
	}
	e.tokens = max(e.tokens-1, 0)
	e.vain++
	return true
}

// pause is how long another dial takes to become free.
func (e *knocks) pause() time.Duration {
	if len(e.good) > 0 {
		return knockPause
	}
	return min(knockPause<<min(e.vain/knockBurst, 8), knockMost)
}

// Proven tells that who was dialled at a under that name was the one expected.
func (k *Knocks) Proven(now time.Duration, a netip.AddrPort, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.addrs[knockedAt(a)]
	if e == nil || slices.Contains(e.good, name) {
		return
	}
	if e.good = append(e.good, name); len(e.good) > maxGood {
		e.good = e.good[1:]
	}
	if e.name == name {
		e.name, e.many = "", false
	}
	e.vain, e.tokens = max(e.vain-1, 0), min(e.tokens+1, knockBurst)
}

// forget makes room: for one at least, so that who uses many addresses does not
// keep others from being dialled.
func (k *Knocks) forget(now time.Duration) {
	for a, e := range k.addrs {
		if now-e.at > knockMemory {
			delete(k.addrs, a)
		}
	}
	for a, e := range k.addrs {
		if len(k.addrs) < maxKnocks {
			return
		}
		if len(e.good) == 0 {
			delete(k.addrs, a)
		}
	}
	for a := range k.addrs {
		if len(k.addrs) < maxKnocks {
			return
		}
		delete(k.addrs, a)
	}
}

// knockedAt is what is bounded together: all ports of a public address, and of
// IPv6 a /64, which one host has. In a private network each port is a node.
func knockedAt(a netip.AddrPort) netip.AddrPort {
	ip := a.Addr().WithZone("").Unmap()
	if ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return netip.AddrPortFrom(ip, a.Port())
	}
	if ip.Is6() {
		p, _ := ip.Prefix(64)
		ip = p.Addr()
	}
	return netip.AddrPortFrom(ip, 0)
}

type attemptKey struct{}

// WithAttempt returns a context under which a Guard asks allow, too, for each
// address that it is about to connect to. It may be called from several
// goroutines at once.
func WithAttempt(ctx context.Context, allow func(netip.AddrPort) error) context.Context {
	return context.WithValue(ctx, attemptKey{}, allow)
}

func attempt(ctx context.Context, a netip.AddrPort) error {
	if allow, ok := ctx.Value(attemptKey{}).(func(netip.AddrPort) error); ok {
		return allow(a)
	}
	return nil
}
