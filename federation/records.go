package federation

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"time"

	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/reach"
	"github.com/draeder/peerservers/federation/record"
	"github.com/gobwas/ws"
)

const (
	// publishEvery is how often our record is renewed, ±20 %.
	publishEvery   = 50 * time.Minute
	publishTimeout = 30 * time.Second
	// publishRetry is the first pause after a failure; it doubles up to
	// publishRetryMax.
	publishRetry    = 5 * time.Second
	publishRetryMax = 5 * time.Minute
	// maxGossip is how many nodes besides itself a node speaks of.
	maxGossip = 8
	// maxKnown is how many records are kept.
	maxKnown = 2048
)

// ownRecord is what we say of ourselves.
type ownRecord struct{ signed record.Signed }

// knownNode is what is known of a node, whether or not it has a link.
type knownNode struct {
	signed    record.Signed // zero: it never sent one
	record    record.Record
	firstSeen time.Time
	met       bool // its key was proven to us, in this run or an earlier one
}

// nodeBook keeps known nodes. It is guarded by Federation.mu.
type nodeBook struct {
	nodes map[mesh.Key]*knownNode
	dirty bool
}

func newNodeBook() nodeBook { return nodeBook{nodes: make(map[mesh.Key]*knownNode)} }

func (b *nodeBook) lastSeq(key mesh.Key) int64 {
	if n := b.nodes[key]; n != nil {
		return n.signed.Seq
	}
	return 0
}

// get finds or makes the entry of key; nil if there is no room.
func (b *nodeBook) get(key mesh.Key, now time.Time) *knownNode {
	n := b.nodes[key]
	if n == nil {
		if len(b.nodes) >= maxKnown && !b.evict() {
			return nil
		}
		n = &knownNode{firstSeen: now}
		b.nodes[key] = n
		b.dirty = true
	}
	return n
}

// evict forgets a node: of those that were never met, if there are any, the one
// first seen last. So a flood of new keys does not cost those before it
// their age, of which the tracker makes something.
func (b *nodeBook) evict() bool {
	var out mesh.Key
	var last *knownNode
	for key, n := range b.nodes {
		if last == nil || last.met && !n.met || last.met == n.met && n.firstSeen.After(last.firstSeen) {
			out, last = key, n
		}
	}
	delete(b.nodes, out)
	return last != nil
}

func (b *nodeBook) keep(s record.Signed, r record.Record, now time.Time) {
	if n := b.get(mesh.Key(s.Key), now); n != nil && s.Seq >= n.signed.Seq {
		b.dirty = b.dirty || s.Seq > n.signed.Seq
		n.signed, n.record = s, r
	}
}

// firstSeen is when key was first met; now, if it is new. Caller holds f.mu.
func (f *Federation) firstSeen(key mesh.Key) time.Time {
	n := f.known.get(key, f.cfg.Now())
	if n == nil {
		return f.cfg.Now()
	}
	f.known.dirty = f.known.dirty || !n.met
	n.met = true
	return n.firstSeen
}

// seenAt is when key was first seen, since the federation's epoch; now, if it
// was not. Caller holds f.mu.
func (f *Federation) seenAt(key mesh.Key) time.Duration {
	if n := f.known.nodes[key]; n != nil {
		return n.firstSeen.Sub(f.epoch)
	}
	return f.now()
}

func (f *Federation) pinOf(key mesh.Key) (pin [32]byte, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.known.nodes[key]; n != nil {
		return n.record.Pin, n.record.Pinned
	}
	return pin, false
}

// publishRecord keeps our record in the directory, and with those we have
// links with, alive and rising. A leaf's goes over links only.
func (f *Federation) publishRecord() {
	retry := publishRetry
	for {
		place := f.place.Load()
		item := f.renewRecord(place)
		pause := publishEvery*4/5 + time.Duration(f.random(int64(publishEvery*2/5)))
		err, again := f.putRecord(place, item)
		if again {
			continue
		}
		if err != nil {
			f.stats.publishFailed.Add(1)
			f.log.Debug("own record not published", "why", err)
			pause = retry
			retry = min(2*retry, publishRetryMax)
		} else {
			retry = publishRetry
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-f.renew:
			t.Stop()
			retry = publishRetry
		case <-f.ctx.Done():
			t.Stop()
			return
		}
	}
}

// putRecord publishes our record in the directory. again: there is a newer one
// already, which is not to wait.
func (f *Federation) putRecord(p *Place, s record.Signed) (err error, again bool) {
	if f.cfg.Directory == nil || len(p.URLs) == 0 {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(f.ctx, publishTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- f.cfg.Directory.Publish(ctx, Item{Key: ed25519.PublicKey(s.Key[:]), Seq: s.Seq, Sig: s.Sig, Value: s.Value})
	}()
	select {
	case err = <-done:
		return err, false
	case <-f.renew:
		cancel()
		return <-done, true
	}
}

// renewRecord signs a new record and sends it to everybody we have a link with.
func (f *Federation) renewRecord(p *Place) record.Signed {
	now := f.cfg.Now().Unix()
	r := record.Record{Caps: record.CapRelay, Protocol: handshake.Version, Expires: now + record.Lifetime, URLs: p.URLs}
	switch {
	case p.State == reach.Leaf:
		r.Caps |= record.CapLeaf
	case f.guesses():
		r.Pin, r.Pinned = f.cfg.Guess.Pin(), true
	case f.cfg.Pin != nil:
		r.Pin, r.Pinned = *f.cfg.Pin, true
	}
	if f.keepsRegistrations() && p.State != reach.Leaf {
		r.Caps |= record.CapRegister
	}
	if p.State == reach.Unverified {
		r.Caps |= record.CapUnverified
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.cfg.NoRendezvous {
		for _, n := range f.vouched(nil) {
			r.Peers = append(r.Peers, n.record.Key)
		}
	}
	s, err := record.Sign(f.cfg.Key, record.NextSeq(now, f.own.signed.Seq), r, SealFor(f.cfg.Network))
	if err != nil {
		// Only URLs that do not fit make it fail; they were parsed, so it is
		// their number. Better a record without than none.
		f.log.Error("own record cannot be signed", "why", err)
		return f.own.signed
	}
	f.own.signed = s
	b := frame.AppendRecords(nil, []frame.Record{frameRecord(&s)})
	for _, p := range f.peers {
		if l := p.cur.Load(); l != nil {
			l.send(b, true)
		}
	}
	return s
}

// SealFor is how the next record of a node in that network is sealed, if the
// network is closed.
func SealFor(network derive.Network) record.Seal {
	s := record.Seal{Key: network.RecordKey(), Salt: network.RecordSalt()}
	rand.Read(s.Nonce[:])
	return s
}

// vouched are up to maxGossip reachable nodes that we have met, except one.
// What a node only guesses of itself is nobody else's to pass on. Caller holds
// f.mu.
func (f *Federation) vouched(except *peer) (list []*knownNode) {
	now := f.cfg.Now().Unix()
	for key, p := range f.peers {
		n := f.known.nodes[key]
		if p != except && p.cur.Load() != nil && n != nil && len(n.record.URLs) > 0 && n.record.Caps&record.CapUnverified == 0 && n.record.Expires > now {
			if list = append(list, n); len(list) == maxGossip {
				break
			}
		}
	}
	return list
}

// greet sends our record, and those of others unless told not to.
func (f *Federation) greet(l *link) {
	f.mu.Lock()
	var list []frame.Record
	own := f.own.signed
	if own.Value != nil {
		list = append(list, frameRecord(&own))
	}
	if !f.cfg.NoRendezvous {
		for _, n := range f.vouched(l.peer) {
			list = append(list, frameRecord(&n.signed))
		}
	}
	b := frame.AppendRecords(nil, list) // under the lock: the list aliases what it guards
	f.mu.Unlock()
	if len(list) > 0 {
		l.out.put(ws.OpBinary, b, true)
	}
	if b := l.appendSeen(nil); len(b) > 0 {
		l.out.put(ws.OpBinary, b, true)
	}
}

func frameRecord(s *record.Signed) frame.Record {
	return frame.Record{Key: s.Key[:], Seq: s.Seq, Signature: s.Sig[:], Value: s.Value}
}

// onRecords takes the other side's own record, and gossip.
func (l *link) onRecords(m *frame.Records) bool {
	if !l.quota.records.allow(l.f.now(), 1) || len(m.Records) > 1+maxGossip {
		return !l.strike(strikeRecords)
	}
	for i := range m.Records {
		r := &m.Records[i]
		if len(r.Key) != len(mesh.Key{}) || len(r.Signature) != ed25519.SignatureSize {
			return !l.strike(strikeRecords)
		}
		s := record.Signed{Key: record.Key(r.Key), Seq: r.Seq, Sig: [64]byte(r.Signature), Value: append([]byte(nil), r.Value...)}
		own := mesh.Key(s.Key) == l.peer.key
		if !own && (l.f.cfg.NoRendezvous || mesh.Key(s.Key) == l.f.key) {
			continue
		}
		l.f.stats.gossipIn.Add(1)
		// A bad one is counted by reason; clocks and caches differ, so that it
		// is no proof of bad faith.
		_ = l.f.learn(s)
	}
	return true
}
