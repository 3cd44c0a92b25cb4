package mesh

import (
	"slices"
	"time"

	"github.com/draeder/peerservers/federation/filter"
)

const (
	// censusAfter is how often linked nodes compare their swarms as a whole.
	censusAfter = 30 * time.Minute
	// filterPause is the least time between two filters for one node, and
	// relinkPause that after a change of links, on which one may be lost. Keys
	// are free, so there is a rate for all together.
	filterPause = 10 * time.Minute
	relinkPause = 15 * time.Second
	filterRate  = 2.0
	filterBurst = 64
	// namePause is for how long new swarms gather before they are named, and
	// nameGather the least time between two rounds of naming.
	namePause  = 20 * time.Millisecond
	nameGather = 250 * time.Millisecond
	// namesAtOnce is how many swarms one action names.
	namesAtOnce = 512
	// maxNews is how many new swarms are kept for links that are behind. One
	// that is further behind compares everything again.
	maxNews = 1 << 16
	// tellAgain is how often a swarm is named at least to a node that named it,
	// if both have other partners.
	tellAgain = 15 * time.Minute
	// linksFirst is how long a new swarm leaves it to the links to find others,
	// before it searches.
	linksFirst = 500 * time.Millisecond
)

// talker is what a node does with the swarms that both may have.
type talker struct {
	speaks      bool // it sent a census over the present link
	said, heard int  // how many swarms we told, and were told of
	saidAt      time.Duration
	told        uint64      // place in Mesh.news up to which it was told
	hits        [2][]*swarm // that its filter or a search hit: hungry ones, others
	names       bucket
	census      task
	filter      task
	filtered    time.Duration // when its last filter was made
	filterFree  time.Duration
}

func (m *Mesh) newTalker(n *node) {
	n.names = newBucket(m.cfg.NameRate, m.cfg.NameBurst, m.now)
	n.census.run = func() { m.sayCensus(n) }
	n.filter.run = func() { m.sendFilter(n) }
	n.filterFree = m.now
}

// sayCensus tells n how many swarms there are here, which also says that we
// understand filters: n sends one if it has fewer, and so do we when n says
// the same. To an older node it is one small frame that it skips.
func (m *Mesh) sayCensus(n *node) {
	if !n.up {
		return
	}
	n.said, n.saidAt = len(m.swarms), m.now
	if n.speaks {
		m.at(&n.census, m.now+m.jitter(censusAfter, 0.25))
	}
	m.emit(Action{Kind: ActCensus, Key: n.key, Count: n.said})
}

// Census tells that key has that many swarms, and understands filters.
func (m *Mesh) Census(now time.Duration, key Key, swarms int) {
	m.moveTo(now)
	n := m.nodes[key]
	if n == nil || !n.up {
		return
	}
	n.heard = swarms
	if !n.speaks {
		n.speaks, n.told = true, m.newsEnd()
		m.speakers++
		m.sooner(&n.census, m.now+m.jitter(censusAfter, 0.25))
		for _, sh := range n.shares {
			m.refresh(sh)
		}
	}
	if m.fewer(n) {
		m.at(&n.filter, max(m.now, n.filterFree))
	}
}

// fewer reports whether we are the side that sends filters: the one with fewer
// swarms, since a filter's size is that of the set. Both sides know both
// numbers.
func (m *Mesh) fewer(n *node) bool {
	if n.said != n.heard {
		return n.said < n.heard
	}
	return string(m.cfg.Self[:]) < string(n.key[:])
}

func (m *Mesh) sendFilter(n *node) {
	if !n.up || !n.speaks || len(m.swarms) == 0 {
		return
	}
	if !m.filterTokens.take(m.now, 1) {
		m.at(&n.filter, m.filterTokens.when(m.now, 1))
		return
	}
	n.filtered, n.filterFree = m.now, m.now+filterPause
	m.stats.Filters++
	m.emit(Action{Kind: ActFilter, Key: n.key})
}

// compareAgain makes up for what was lost on the way to n, or from it.
func (m *Mesh) compareAgain(n *node) {
	if m.fewer(n) {
		m.sooner(&n.filter, max(m.now, n.filterFree))
		return
	}
	m.sooner(&n.census, max(m.now, n.saidAt+filterPause))
}

// relinked compares everything again: frames on another link than the present
// one may be lost.
func (m *Mesh) relinked(n *node) {
	n.filterFree = min(n.filterFree, n.filtered+relinkPause)
	m.sooner(&n.census, m.now)
	if n.duty != nil {
		n.duty.lost = true
		m.retell(n.duty)
	}
}

// silenced forgets what was to be told to n, whose link is down.
func (m *Mesh) silenced(n *node) {
	if n.speaks {
		m.speakers--
	}
	n.speaks, n.said, n.heard = false, 0, 0
	n.hits = [2][]*swarm{}
	m.cancel(&n.census)
	m.cancel(&n.filter)
	n.filterFree = min(n.filterFree, n.filtered+relinkPause)
}

// bucketed is a swarm in its bucket, with what is looked at for each name.
type bucketed struct {
	infoHash string
	s        *swarm
}

// enterBucket makes s findable by its name, and tells linked nodes its name
// soon.
func (m *Mesh) enterBucket(s *swarm) {
	s.bucket = int32(m.cfg.BucketKey.Bucket(s.infoHash))
	b := &m.buckets[s.bucket]
	s.inBucket = int32(len(*b))
	*b = append(*b, bucketed{s.infoHash, s})
	if m.speakers == 0 {
		return
	}
	m.news = append(m.news, s)
	if len(m.news) > maxNews {
		m.dropNews(maxNews / 4)
	}
	m.sooner(&m.talk, max(m.now+namePause, m.talked+nameGather))
}

func (m *Mesh) leaveBucket(s *swarm) {
	b := m.buckets[s.bucket]
	last := len(b) - 1
	b[s.inBucket] = b[last]
	b[s.inBucket].s.inBucket = s.inBucket
	b[last] = bucketed{}
	m.buckets[s.bucket] = b[:last]
}

func (m *Mesh) newsEnd() uint64 { return m.newsBase + uint64(len(m.news)) }

// dropNews forgets the oldest news. Who has not been told them compares
// everything.
func (m *Mesh) dropNews(count int) {
	m.newsBase += uint64(count)
	m.news = slices.Delete(m.news, 0, count)
	for _, n := range m.list {
		if n.up && n.speaks && n.told < m.newsBase {
			m.stats.Dropped[DropNames] += m.newsBase - n.told
			n.told = m.newsBase
			m.compareAgain(n)
		}
	}
}

// tell names to each linked node what it does not know yet.
func (m *Mesh) tell() {
	m.talked = m.now
	more, told := false, m.newsEnd()
	for _, n := range m.list {
		if !n.up || !n.speaks {
			continue
		}
		for m.tellNode(n) {
		}
		more = more || n.told < m.newsEnd() || len(n.hits[0])+len(n.hits[1]) > 0
		told = min(told, n.told)
	}
	if count := int(told - m.newsBase); count > 0 {
		m.newsBase = told
		m.news = slices.Delete(m.news, 0, count)
	}
	if more {
		m.at(&m.talk, m.now+nameGather)
	}
}

// tellNode names as many swarms as go into one frame; false if there is no
// more to say now.
func (m *Mesh) tellNode(n *node) bool {
	var names []string
	for len(names) < namesAtOnce {
		if n.names.refill(m.now); n.names.tokens < 1 {
			break
		}
		s := m.nextName(n)
		if s == nil {
			break
		}
		sh := m.share(s, n)
		if sh != nil {
			sh.naming = false
		}
		if s.gone || sh.told() {
			continue
		}
		if sh != nil {
			sh.namedAt = m.now
		}
		n.names.take(m.now, 1)
		names = append(names, s.infoHash)
	}
	if len(names) == 0 {
		return false
	}
	m.stats.Names += uint64(len(names))
	m.emit(Action{Kind: ActNames, Key: n.key, Names: names})
	return len(names) == namesAtOnce
}

// nextName takes out what is to be named to n next: new swarms first, then
// hungry ones.
func (m *Mesh) nextName(n *node) *swarm {
	if n.told < m.newsEnd() {
		n.told++
		return m.news[n.told-1-m.newsBase]
	}
	for i := range n.hits {
		if q := n.hits[i]; len(q) > 0 {
			n.hits[i] = q[1:]
			return q[0]
		}
	}
	return nil
}

// told reports whether the node was told of the swarm in full, or is about to
// be.
func (sh *share) told() bool { return sh != nil && (sh.joined || sh.dirty) }

// Bucket appends the info hashes of the swarms in a bucket of package filter.
func (m *Mesh) Bucket(bucket int, buf []string) []string {
	for _, e := range m.buckets[bucket] {
		buf = append(buf, e.infoHash)
	}
	return buf
}

// BucketLen is how many swarms are in a bucket.
func (m *Mesh) BucketLen(bucket int) int { return len(m.buckets[bucket]) }

// Hits tells which of our swarms a filter of key hit. That is no permission to
// tell it their info hashes: it may have none of them. It is told their names.
func (m *Mesh) Hits(now time.Duration, key Key, infoHashes []string) {
	m.moveTo(now)
	n := m.nodes[key]
	if n == nil || !n.up || !n.speaks {
		return
	}
	for _, infoHash := range infoHashes {
		s := m.swarms[infoHash]
		if s == nil {
			continue
		}
		if sh := m.share(s, n); sh.told() || sh != nil && sh.naming {
			continue
		}
		m.stats.Hits++
		if len(n.hits[0])+len(n.hits[1])+len(n.shares) >= m.mostNamed() {
			m.stats.Dropped[DropNames]++
			continue
		}
		m.hit(s, n)
	}
}

// hit makes s wait to be named to n.
func (m *Mesh) hit(s *swarm, n *node) {
	i := 0
	if s.state.Remote > 0 {
		i = 1
	}
	n.hits[i] = append(n.hits[i], s)
	m.sooner(&m.talk, max(m.now, m.talked+nameGather))
}

// Named tells that key sent these names; k is the key of the names in that
// direction of its link. Who names one of our swarms knows its info hash: it
// is told that we have it. looked is how many swarms had to be looked at.
func (m *Mesh) Named(now time.Duration, key Key, k filter.Key, names []uint64) (looked int) {
	m.moveTo(now)
	n := m.nodes[key]
	if n == nil || !n.up {
		return 0
	}
	for _, name := range names {
		bucket := filter.BucketOf(name)
		for _, e := range m.buckets[bucket] {
			looked++
			if k.Name(bucket, e.infoHash) == name {
				m.stats.Named++
				m.named(e.s, n)
				break
			}
		}
	}
	return looked
}

// mostNamed is up to how many shares with one node come from names. Two large
// nodes always have more swarms in common than they may share; and a join too
// many, because the other side's count is a moment ahead, is a strike there.
func (m *Mesh) mostNamed() int { return m.cfg.MaxSwarmsPerNode - m.cfg.MaxSwarmsPerNode/16 }

func (m *Mesh) named(s *swarm, n *node) {
	if m.share(s, n) == nil && len(n.shares) >= m.mostNamed() {
		m.stats.Dropped[DropShares]++
		return
	}
	sh := m.has(s, n)
	if sh == nil {
		return
	}
	sh.known = true
	switch {
	case sh.partner || m.invites(s) && m.admit(s, sh, false):
		if !sh.joined && !sh.dirty {
			sh.named = true
			m.refresh(sh)
		}
	case n.speaks && !sh.naming && m.now-sh.namedAt >= tellAgain && len(n.hits[0])+len(n.hits[1])+len(n.shares) < m.mostNamed():
		// It is to know us as well, to pick from and to count.
		sh.naming = true
		m.hit(s, n)
	}
	m.settle(s)
}

// invites reports whether a name of s is to be answered with a join. One that
// begins at a node is named to all of its neighbours, and if all of them have
// the swarm and joined, it had to refuse most: so of a crowd about as many do,
// at random, as it wants.
func (m *Mesh) invites(s *swarm) bool {
	return !s.crowded || s.partners < m.fewPartners() || m.rand.IntN(len(s.shares)) < m.cfg.MaxPartners
}
