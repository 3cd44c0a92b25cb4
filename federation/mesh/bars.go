package mesh

import (
	"slices"
	"strings"
	"time"
)

// Who breaks the rules of a link is left alone for a while, by its key: not
// dialled, and not accepted. Each time that follows within a day doubles the
// while. Keys are free, so where several had to be barred, their address prefix
// is too, for keys that were first seen after that began: those who were known
// before are judged by their own deeds, or it would take a few keys on a rented
// machine to part us from all its neighbours.
const (
	// barFirst is how long the first bar lasts, and barMost the longest. A bar is
	// forgotten when nothing was added to it for barMemory.
	barFirst  = 30 * time.Minute
	barMost   = 24 * time.Hour
	barMemory = 24 * time.Hour
	// barPrefix is how many keys of a prefix are barred before it is.
	barPrefix = 4
	// maxBars is how many keys, and how many prefixes, are remembered. Beyond, the
	// one that ends first is forgotten.
	maxBars = 2048
)

// bar is the record of one key or prefix.
type bar struct {
	began, last time.Duration // the first and the last time
	until       time.Duration
	times       int
}

// Bar is who is left alone: a key or a prefix.
type Bar struct {
	Key    Key
	Prefix string // empty: Key is barred
	For    time.Duration
	Times  int // how often it had to be, in a row
}

// Misbehaved tells that key, whose link came from prefix, broke the rules.
func (m *Mesh) Misbehaved(now time.Duration, key Key, prefix string) {
	m.moveTo(now)
	m.stats.Barred++
	b := enter(m, m.barredKeys, key)
	if b.times++; b.times == 1 && prefix != "" {
		p := enter(m, m.barredPrefixes, prefix)
		if p.times++; p.times >= barPrefix {
			p.until = m.now + barFor(p.times-barPrefix+1)
		}
	}
	b.until = m.now + barFor(b.times)
	if n := m.nodes[key]; n != nil {
		m.unweigh(n)
	}
}

// barFor is how long a bar lasts that is the n-th.
func barFor(n int) time.Duration { return min(barMost, barFirst<<min(n-1, 10)) }

// enter finds or makes the record of k, for something that happened now.
func enter[K comparable](m *Mesh, bars map[K]*bar, k K) *bar {
	b := bars[k]
	if b != nil && b.last+barMemory < m.now && b.until <= m.now {
		b = nil
	}
	if b == nil {
		if bars[k] == nil && len(bars) >= maxBars {
			dropBar(m, bars)
		}
		b = &bar{began: m.now}
		bars[k] = b
	}
	b.last = m.now
	return b
}

// dropBar forgets the bar that ends first, and among equals the older one.
func dropBar[K comparable](m *Mesh, bars map[K]*bar) {
	var first K
	var least *bar
	for k, b := range bars {
		if least == nil || b.until < least.until || b.until == least.until && b.last < least.last {
			first, least = k, b
		}
	}
	delete(bars, first)
	m.stats.Dropped[DropBars]++
}

// Barred reports whether key is left alone.
func (m *Mesh) Barred(now time.Duration, key Key) bool { return m.barredUntil(key) > now }

func (m *Mesh) barredUntil(key Key) time.Duration {
	if b := m.barredKeys[key]; b != nil {
		return b.until
	}
	return 0
}

// BarredAt reports whether a key first seen at seen is left alone because of
// others of its prefix.
func (m *Mesh) BarredAt(now time.Duration, prefix string, seen time.Duration) bool {
	b := m.barredPrefixes[prefix]
	return b != nil && b.until > now && seen >= b.began
}

// Bars are all bars at now, the longest first.
func (m *Mesh) Bars(now time.Duration) (list []Bar) {
	for k, b := range m.barredKeys {
		if b.until > now {
			list = append(list, Bar{Key: k, For: b.until - now, Times: b.times})
		}
	}
	for p, b := range m.barredPrefixes {
		if b.until > now {
			list = append(list, Bar{Prefix: p, For: b.until - now, Times: b.times})
		}
	}
	slices.SortFunc(list, func(a, b Bar) int {
		if a.For != b.For {
			return int(max(-1, min(1, b.For-a.For)))
		}
		return strings.Compare(a.Prefix+string(a.Key[:]), b.Prefix+string(b.Key[:]))
	})
	return list
}
