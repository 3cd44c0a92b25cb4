package sim

import (
	"time"

	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/frame"
)

// What follows mirrors federation's swarms.go: what linked nodes tell each
// other of the swarms that they may have in common.
const (
	partPause     = 100 * time.Millisecond
	partTries     = 20
	namesPerStep  = 16
	lookedPerName = 1024
	quotaNames    = 1000
)

// sendNames names swarms, for the mesh.
func (p *peer) sendNames(infoHashes []string) {
	l, w := p.cur, p.n.w
	if l == nil || l.ended {
		return
	}
	k := filter.Key(l.sendKey).Generation(0)
	bucket := filter.Key(w.net.BucketKey())
	names := make([]uint64, 0, len(infoHashes))
	for _, infoHash := range infoHashes {
		names = append(names, k.Name(bucket.Bucket(infoHash), infoHash))
	}
	w.scratch = frame.AppendNames(w.scratch[:0], names)
	l.send(frame.KindNames, w.scratch)
}

func (p *peer) sendCensus(swarms int) {
	if l, w := p.cur, p.n.w; l != nil && !l.ended {
		w.scratch = frame.AppendCensus(w.scratch[:0], uint64(swarms))
		l.send(frame.KindCensus, w.scratch)
	}
}

// sendFilter begins to send a filter of all swarms, for the mesh.
func (p *peer) sendFilter() {
	if l := p.cur; l != nil {
		l.generation++
		l.sendParts(l.generation, 0, 0)
	}
}

// sendParts sends the parts of a filter from a bucket on, one after the other.
func (l *link) sendParts(generation uint32, from, tries int) {
	if l.closed || l.ended || from >= filter.Buckets || tries >= partTries {
		return
	}
	n := l.n
	w := n.w
	k := filter.Key(l.sendKey).Generation(generation)
	var hashes []string
	to := from
	for to < filter.Buckets && (len(hashes) == 0 || len(hashes)+n.mesh.BucketLen(to) <= filter.MaxPart) {
		hashes = n.mesh.Bucket(to, hashes)
		to++
	}
	if len(hashes) > filter.MaxPart {
		hashes = hashes[:filter.MaxPart]
	}
	if len(hashes) == 0 {
		return
	}
	sums := make([]uint64, 0, len(hashes))
	for _, infoHash := range hashes {
		sums = append(sums, k.Sum(infoHash))
	}
	part := frame.Filter{Generation: generation, From: uint32(from), To: uint32(to), Data: filter.Append(nil, sums)}
	w.scratch = frame.AppendFilter(w.scratch[:0], &part)
	if l.send(frame.KindFilter, w.scratch) {
		from, tries = to, 0
	} else {
		tries++
	}
	if from < filter.Buckets {
		n.later(partPause, func() { l.sendParts(generation, from, tries) })
	}
}

func (l *link) onCensus(m *frame.Census) {
	l.n.mesh.Census(l.n.now(), l.p.key, clampCount(m.Swarms))
	l.n.advance()
}

// onFilter looks which of our swarms a part hits.
func (l *link) onFilter(m *frame.Filter) {
	n := l.n
	if !l.meter.parts.allow(n.now(), 1) || m.Generation == 0 || m.From >= m.To || m.To > filter.Buckets {
		l.strike()
		return
	}
	var part filter.Part
	if err := part.Decode(m.Data); err != nil {
		l.strike()
		return
	}
	k := filter.Key(l.recvKey).Generation(m.Generation)
	var hits []string
	for bucket := int(m.From); bucket < int(m.To) && part.Len() > 0; bucket++ {
		if n.mesh.BucketLen(bucket) == 0 {
			continue
		}
		for _, infoHash := range n.mesh.Bucket(bucket, nil) {
			if part.Has(k.Sum(infoHash)) {
				hits = append(hits, infoHash)
			}
		}
	}
	if len(hits) > 0 {
		n.mesh.Hits(n.now(), l.p.key, hits)
		n.advance()
	}
}

func (l *link) onNames(m *frame.Names) {
	n := l.n
	if !l.meter.names.allow(n.now(), float64(len(m.Names))) {
		l.strike()
		return
	}
	k := filter.Key(l.recvKey).Generation(0)
	// What the mesh decides may have frames taken apart again before all
	// names are looked at.
	names := append([]uint64(nil), m.Names...)
	for len(names) > 0 {
		some := names[:min(len(names), namesPerStep)]
		names = names[len(some):]
		looked := n.mesh.Named(n.now(), l.p.key, k, some)
		n.advance()
		if !l.meter.names.allow(n.now(), float64(looked/lookedPerName)) {
			return
		}
	}
}
