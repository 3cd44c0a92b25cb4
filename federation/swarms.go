package federation

import (
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
)

const (
	// partPause is the pause between two parts of a filter, so that a large one
	// does not hold up the offers on its link.
	partPause = 100 * time.Millisecond
	// partTries is how often a part is tried that finds no room in the outbox.
	partTries = 20
	// lookAtOnce is about how many swarms are copied under Federation.mu at a
	// time, to be put into a filter or compared with one.
	lookAtOnce = 2048
	// namesPerStep is how many names are looked up under Federation.mu at a
	// time, and lookedPerName how many swarms each of those that a link may send
	// may have us look at on average: an attacker may crowd a bucket.
	namesPerStep  = 16
	lookedPerName = 1024
)

// filterWork is the memory in which filters are made, one part at a time for
// all links together.
type filterWork struct {
	hashes []string
	sums   []uint64
	data   []byte
	frame  []byte
}

// someBuckets appends the info hashes of a few buckets, until they are
// lookAtOnce or more.
func (f *Federation) someBuckets(from, end int, buf []string) (hashes []string, to int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	most := len(buf) + lookAtOnce
	for to = from; to < end && len(buf) < most; to++ {
		if had := len(buf); had > 0 && had+f.mesh.BucketLen(to) > filter.MaxPart {
			break
		}
		buf = f.mesh.Bucket(to, buf)
	}
	return buf, to
}

// partFrom copies the info hashes of as many buckets as make one part.
func (f *Federation) partFrom(from int, buf []string) (hashes []string, to int) {
	for to = from; to < filter.Buckets; {
		before := to
		if buf, to = f.someBuckets(to, filter.Buckets, buf); to == before {
			break
		}
	}
	if len(buf) > filter.MaxPart { // a crowded bucket: the rest is left to the directory
		buf = buf[:filter.MaxPart]
	}
	return buf, to
}

// makePart makes the part of a filter that begins at bucket from, as a frame
// that is good until the next call. Caller holds f.filterMu.
func (f *Federation) makePart(k filter.Key, generation uint32, from int) (part []byte, to int) {
	w := &f.filters
	w.hashes, to = f.partFrom(from, w.hashes[:0])
	w.sums = w.sums[:0]
	for _, infoHash := range w.hashes {
		w.sums = append(w.sums, k.Sum(infoHash))
	}
	clear(w.hashes)
	if len(w.sums) == 0 {
		return nil, to
	}
	w.data = filter.Append(w.data[:0], w.sums)
	w.frame = frame.AppendFilter(w.frame[:0], &frame.Filter{Generation: generation, From: uint32(from), To: uint32(to), Data: w.data})
	return w.frame, to
}

// sendFilter sends p a filter of all swarms, for mesh. Swarms that begin
// meanwhile are named to it.
func (f *Federation) sendFilter(p *peer) {
	l := p.cur.Load()
	if l == nil {
		return
	}
	generation := l.generation.Add(1)
	k := filter.Key(l.session.SendKey).Generation(generation)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for from, tries := 0, 0; from < filter.Buckets && tries < partTries; {
		select {
		case <-pause.C:
		case <-l.dead:
			return
		case <-f.ctx.Done():
			return
		}
		f.filterMu.Lock()
		part, to := f.makePart(k, generation, from)
		res := sentOK
		if part != nil {
			res = l.out.putOffers(ws.OpBinary, part, true, 0)
		}
		f.filterMu.Unlock()
		switch res {
		case sentOK:
			from, tries = to, 0
		case sentDropped:
			tries++
		default:
			return
		}
		pause.Reset(partPause)
	}
}

// sendNames names swarms, for mesh.
func (p *peer) sendNames(infoHashes []string) {
	l := p.cur.Load()
	if l == nil {
		return
	}
	k := filter.Key(l.session.SendKey).Generation(0)
	names := make([]uint64, 0, len(infoHashes))
	for _, infoHash := range infoHashes {
		names = append(names, k.Name(p.f.cfg.Mesh.BucketKey.Bucket(infoHash), infoHash))
	}
	l.out.put(ws.OpBinary, frame.AppendNames(nil, names), false)
}

func (p *peer) sendCensus(swarms int) {
	if l := p.cur.Load(); l != nil {
		l.out.put(ws.OpBinary, frame.AppendCensus(nil, uint64(swarms)), false)
	}
}

func (l *link) onCensus(m *frame.Census) bool {
	l.f.step(func(mesh *mesh.Mesh, now time.Duration) { mesh.Census(now, l.peer.key, clampCount(m.Swarms)) })
	return true
}

// onFilter looks which of our swarms a part hits. It is done with the part
// when it returns: a filter takes no memory, however many parts it has.
func (l *link) onFilter(m *frame.Filter) bool {
	if !l.quota.parts.allow(l.f.now(), 1) {
		return !l.strike(strikeNames)
	}
	if m.Generation == 0 || m.From >= m.To || m.To > filter.Buckets {
		return !l.strike(strikeFrame)
	}
	var part filter.Part
	switch err := part.Decode(m.Data); {
	case err == filter.FaultVersion:
		return true // a later one's
	case err != nil:
		return !l.strike(strikeFrame)
	case part.Len() == 0:
		return true
	}
	k := filter.Key(l.session.RecvKey).Generation(m.Generation)
	var hashes, hits []string
	for from := int(m.From); from < int(m.To) && l.quota.compared.has(l.f.now(), 1); {
		hashes, from = l.f.someBuckets(from, int(m.To), hashes[:0])
		l.quota.compared.take(l.f.now(), float64(len(hashes)))
		hits = hits[:0]
		for _, infoHash := range hashes {
			if part.Has(k.Sum(infoHash)) {
				hits = append(hits, infoHash)
			}
		}
		if len(hits) > 0 {
			l.f.step(func(m *mesh.Mesh, now time.Duration) { m.Hits(now, l.peer.key, hits) })
		}
	}
	return true
}

func (l *link) onNames(m *frame.Names) bool {
	if !l.quota.names.allow(l.f.now(), float64(len(m.Names))) {
		return !l.strike(strikeNames)
	}
	k := filter.Key(l.session.RecvKey).Generation(0)
	for names := m.Names; len(names) > 0; {
		if !l.quota.named.has(l.f.now(), 1) {
			return true // a crowded bucket is not the sender's fault; the rest is left to the directory
		}
		n := min(len(names), namesPerStep)
		looked := 0
		l.f.step(func(m *mesh.Mesh, now time.Duration) { looked = m.Named(now, l.peer.key, k, names[:n]) })
		names = names[n:]
		l.quota.named.take(l.f.now(), float64(looked))
	}
	return true
}
