package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
)

const (
	publishEvery    = 50 * time.Minute
	publishRetry    = 5 * time.Second
	publishRetryMax = 5 * time.Minute
	maxGossip       = 8
	// recordSize is how large a signed record's value is: two URLs and some
	// keys of others.
	recordSize = 400
)

// knownNode is what a node keeps of another, across its restarts too. Records
// are not really signed here: nobody in a World forges one, as that is what
// the tests of package record are about.
type knownNode struct {
	record    mesh.Record
	firstSeen time.Duration
	met       bool
}

// knows finds or makes the entry of key.
func (n *node) knows(key mesh.Key) *knownNode {
	k := n.known[key]
	if k == nil {
		k = &knownNode{firstSeen: n.w.now}
		n.known[key] = k
	}
	return k
}

// firstSeen is when key was first met.
func (n *node) firstSeen(key mesh.Key) time.Time {
	k := n.knows(key)
	k.met = true
	if n.w.cfg.Switches.NoTrust {
		return start
	}
	return start.Add(k.firstSeen)
}

// loadKnown gives the mesh what was known before the restart.
func (n *node) loadKnown() {
	keys := make([]mesh.Key, 0, len(n.known))
	for key := range n.known {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b mesh.Key) int { return slices.Compare(a[:], b[:]) })
	for _, key := range keys {
		if k := n.known[key]; k.record.Seq > 0 {
			n.mesh.Learn(0, k.record)
		}
	}
}

// verify judges a record and keeps it if it is good.
func (n *node) verify(r mesh.Record) bool {
	if r.Expires <= n.w.time().Unix() {
		return false
	}
	k := n.knows(r.Key)
	if r.Seq < k.record.Seq {
		return false
	}
	k.record = r
	return true
}

// keepRecord renews our record and keeps it in the DHT, now and from time to
// time.
func (n *node) keepRecord(run int, retry time.Duration) {
	n.renewRecord()
	if n.w.cfg.Switches.NoPublish {
		return
	}
	n.w.dht.publish(n, n.own, func(ok bool) {
		pause := publishEvery*4/5 + n.w.between(0, publishEvery*2/5)
		next := publishRetry
		if !ok {
			pause, next = retry, min(2*retry, publishRetryMax)
		}
		n.later(pause, func() { n.keepRecord(run, next) })
	})
}

// renewRecord makes a new record and sends it to everybody with a link.
func (n *node) renewRecord() {
	now := n.w.time().Unix()
	n.own = n.record(now)
	for _, p := range n.list {
		if p.cur != nil {
			p.cur.sendRecords(n.own)
		}
	}
}

func (n *node) record(now int64) mesh.Record {
	return mesh.Record{Key: n.key, URLs: []nodeaddr.URL{n.url}, Seq: max(now, n.own.Seq+1), Expires: now + record.Lifetime, Registers: true}
}

// greet sends our record, and those of a few others that we have met.
func (l *link) greet() {
	list := []mesh.Record{l.n.own}
	now := l.n.w.time().Unix()
	if peers := l.n.list; len(peers) > 0 {
		from := l.n.w.rng.IntN(len(peers))
		for i := range peers {
			p := peers[(from+i)%len(peers)]
			k := l.n.known[p.key]
			if p != l.p && p.cur != nil && k != nil && len(k.record.URLs) > 0 && k.record.Expires > now {
				if list = append(list, k.record); len(list) > maxGossip {
					break
				}
			}
		}
	}
	l.sendRecords(list...)
}

func (l *link) sendRecords(list ...mesh.Record) {
	w := l.n.w
	records := make([]frame.Record, 0, len(list))
	for i := range list {
		records = append(records, frameRecord(&list[i]))
	}
	w.scratch = frame.AppendRecords(w.scratch[:0], records)
	l.send(frame.KindRecords, w.scratch)
}

// frameRecord is a record as it travels.
func frameRecord(r *mesh.Record) frame.Record {
	value := make([]byte, recordSize)
	binary.BigEndian.PutUint64(value, uint64(r.Expires))
	value[8] = byte(len(r.URLs[0].Host))
	if r.Registers {
		value[recordSize-1] = 1
	}
	copy(value[9:], r.URLs[0].Host)
	return frame.Record{Key: r.Key[:], Seq: r.Seq, Signature: value[:64], Value: value}
}

// recordOf reads it.
func recordOf(r *frame.Record) (mesh.Record, bool) {
	if len(r.Key) != len(mesh.Key{}) || len(r.Value) != recordSize {
		return mesh.Record{}, false
	}
	host := string(r.Value[9 : 9+r.Value[8]])
	return mesh.Record{
		Key: mesh.Key(r.Key), Seq: r.Seq, Expires: int64(binary.BigEndian.Uint64(r.Value)), Registers: r.Value[recordSize-1] == 1,
		URLs: []nodeaddr.URL{{Scheme: "wss", Host: host, Port: 443}},
	}, true
}

// onRecords takes the other side's own record, and gossip.
func (l *link) onRecords(m *frame.Records) {
	n := l.n
	if !l.meter.records.allow(n.now(), 1) || len(m.Records) > 1+maxGossip {
		l.strike()
		return
	}
	list := make([]mesh.Record, 0, len(m.Records))
	for i := range m.Records {
		r, ok := recordOf(&m.Records[i])
		if !ok {
			l.strike()
			return
		}
		list = append(list, r)
	}
	for _, r := range list {
		if r.Key != n.key && n.verify(r) {
			n.mesh.Learn(n.now(), r)
			n.advance()
		}
	}
}
