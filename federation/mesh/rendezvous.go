package mesh

import (
	"crypto/ed25519"
	"time"

	"github.com/draeder/peerservers/federation/derive"
)

// rendezvousSteps are the pauses between readings of all shards while there
// is no link.
var rendezvousSteps = [...]time.Duration{2e9, 5e9, 15e9, 60e9, 120e9, 300e9, 600e9}

// rendezvousAfter is the pause between readings of one shard each once there
// is a link.
const rendezvousAfter = 10 * time.Minute

// rendezvous looks for nodes of this network whatever their swarms. It costs
// the same however many swarms there are.
type rendezvous struct {
	task    task   // the next reading
	publish task   // the next announcement on our own shard
	shards  []bool // to be read now
	waiting bool   // some shard is
	own     int
	next    int // the shard of the next single reading
	fails   int // readings of all shards in a row without a link
}

func (m *Mesh) startRendezvous() {
	r := &m.rendezvous
	r.shards = make([]bool, derive.Shards)
	r.own = int(derive.Shard(ed25519.PublicKey(m.cfg.Self[:])))
	r.next = m.rand.IntN(derive.Shards)
	r.task.run = m.readRendezvous
	r.publish.run = func() {
		r.shards[r.own], r.waiting = true, true
		m.at(&r.publish, m.now+m.jitter(refreshAfter, 0.25))
	}
	if m.cfg.NoRendezvous {
		return
	}
	m.at(&r.task, m.now)
	if !m.cfg.Leaf {
		m.at(&r.publish, m.now)
	}
}

func (m *Mesh) readRendezvous() {
	r := &m.rendezvous
	if m.links > 0 {
		r.fails = 0
		r.shards[r.next], r.waiting = true, true
		r.next = (r.next + 1) % len(r.shards)
		m.at(&r.task, m.now+m.jitter(rendezvousAfter, 0.25))
		return
	}
	for i := range r.shards {
		r.shards[i] = true
	}
	r.waiting = true
	step := r.fails
	if m.unproven && len(m.swarms) > 0 {
		step = min(step, 3) // clients wait: each minute
	}
	m.at(&r.task, m.now+m.jitter(rendezvousSteps[min(step, len(rendezvousSteps)-1)], 0.1))
	r.fails++
}

// searchRendezvous starts the reading of one shard that waits.
func (m *Mesh) searchRendezvous(epochs []uint32) {
	r := &m.rendezvous
	for shard := range r.shards {
		if !r.shards[shard] {
			continue
		}
		r.shards[shard] = false
		m.stats.Rendezvous++
		q := m.newSearch(nil, true)
		m.emit(Action{Kind: ActSearch, ID: q.id, Shard: shard, Epochs: epochs, Announce: !m.cfg.Leaf && shard == r.own})
		break
	}
	r.waiting = false
	for _, w := range r.shards {
		r.waiting = r.waiting || w
	}
}
