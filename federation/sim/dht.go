package sim

import (
	"math"
	"net/netip"
	"time"

	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/tracker/wire"
)

const (
	// replicas is how many DHT nodes keep what is announced under a target.
	replicas = 8
	// valuesPerReply is how many addresses fit into one reply.
	valuesPerReply = 50
	// storeLimit is how many addresses a DHT node keeps of one target. A full
	// list takes a new one in the place of any.
	storeLimit = 2000
	peerExpiry = 30 * time.Minute
	itemExpiry = 2 * time.Hour
	// replicaLife is for how long the same DHT node answers for a replica's
	// place, or for how long nobody does.
	replicaLife = 20 * time.Minute

	searchTimeout = 15 * time.Second
	queryTimeout  = 600 * time.Millisecond
)

// dht models the mainline DHT as its users see it: lists of addresses under
// targets, on 8 nodes each of which some are dead, replies that carry a part
// of a long list, and the time and the packets that a search takes.
type dht struct {
	w       *World
	targets map[derive.Target]*target
	items   map[mesh.Key]item
	gone    bool
	index   []int32
}

type target struct {
	id      uint64
	entries []entry
	at      map[netip.AddrPort]int32
}

// entry is an address that was announced, and which replicas have it.
type entry struct {
	addr  netip.AddrPort
	until time.Duration
	mask  uint8
}

type item struct {
	record mesh.Record
	until  time.Duration
}

func (d *dht) init(w *World) {
	d.w = w
	d.targets = make(map[derive.Target]*target)
	d.items = make(map[mesh.Key]item)
}

func (d *dht) target(name derive.Target) *target {
	t := d.targets[name]
	if t == nil {
		t = &target{id: d.w.rng.Uint64(), at: make(map[netip.AddrPort]int32)}
		d.targets[name] = t
	}
	return t
}

// alive reports whether a replica's place has a node that answers n.
func (d *dht) alive(n *node, t *target, replica int) bool {
	x := t.id + uint64(replica)*0x9e3779b97f4a7c15 + uint64((d.w.now+time.Duration(t.id%uint64(replicaLife)))/replicaLife)*0xbf58476d1ce4e5b9
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	if float64(x>>11)/(1<<53) < d.w.cfg.Dead {
		return false
	}
	return !d.w.parted || int(t.id>>replica)&1 == n.side
}

// write announces addr under t at the replicas that n reaches.
func (d *dht) write(n *node, t *target, addr netip.AddrPort) {
	mask := uint8(0)
	for r := range replicas {
		if d.alive(n, t, r) && !d.w.chance(d.w.cfg.Loss*d.w.cfg.Loss) { // tried twice
			mask |= 1 << r
		}
	}
	until := d.w.now + peerExpiry
	if i, ok := t.at[addr]; ok {
		t.entries[i].until = until
		t.entries[i].mask |= mask
		return
	}
	t.expire(d.w.now)
	if len(t.entries) >= storeLimit {
		i := d.w.rng.IntN(len(t.entries))
		delete(t.at, t.entries[i].addr)
		t.entries[i] = entry{addr, until, mask}
		t.at[addr] = int32(i)
		return
	}
	t.at[addr] = int32(len(t.entries))
	t.entries = append(t.entries, entry{addr, until, mask})
}

// expire drops what is over.
func (t *target) expire(now time.Duration) {
	for i := 0; i < len(t.entries); {
		if t.entries[i].until > now {
			i++
			continue
		}
		last := len(t.entries) - 1
		delete(t.at, t.entries[i].addr)
		t.entries[i] = t.entries[last]
		t.entries = t.entries[:last]
		if i < last {
			t.at[t.entries[i].addr] = int32(i)
		}
	}
}

// read is one replica's reply to n.
func (d *dht) read(n *node, t *target, replica int, found func(netip.AddrPort)) {
	d.index = d.index[:0]
	for i := range t.entries {
		if e := &t.entries[i]; e.mask&(1<<replica) != 0 && e.until > d.w.now && e.addr != n.addr {
			d.index = append(d.index, int32(i))
		}
	}
	for k := range min(len(d.index), valuesPerReply) {
		j := k + d.w.rng.IntN(len(d.index)-k)
		d.index[k], d.index[j] = d.index[j], d.index[k]
		found(t.entries[d.index[k]].addr)
	}
}

// listed reports whether n is announced for a swarm.
func (w *World) listed(s *group, n *node) bool {
	t := w.dht.targets[w.net.Swarm(derive.Epoch(w.time().Unix()), wire.Raw20([]byte(s.name)))]
	if t == nil {
		return false
	}
	i, ok := t.at[n.addr]
	return ok && t.entries[i].until > w.now
}

// query is one lookup under way.
type query struct {
	n        *node
	run      int
	t        *target
	search   uint64
	announce bool
	mute     bool // nothing that it finds counts
	failed   bool
	done     func(failed bool)
}

// lookup asks for a target, and announces n there.
func (d *dht) lookup(n *node, name derive.Target, search uint64, announce, mute bool, done func(failed bool)) {
	w := d.w
	w.count.lookups++
	q := &query{n: n, run: n.runs, t: d.target(name), search: search, announce: announce, mute: mute, done: done}
	if d.gone {
		n.packets.take(8, 2*time.Second)
		q.failed = true
		w.queue.push(w.now+2*time.Second+queryTimeout, q, replicas)
		return
	}
	packets := 18 + w.rng.IntN(10)
	if announce {
		packets += replicas
	}
	took := w.lookupTime()
	wait, ok := n.packets.take(packets, took)
	if took = max(took, wait); !ok || took > searchTimeout {
		q.failed = true
		w.queue.push(w.now+searchTimeout, q, replicas)
		return
	}
	for r := range replicas {
		w.queue.push(w.now+took/2+w.between(0, took/2), q, uint64(r))
	}
	w.queue.push(w.now+took+w.between(0, queryTimeout), q, replicas)
}

// lookupTime is how long a lookup takes whose packets wait for nothing.
func (w *World) lookupTime() time.Duration {
	return time.Duration(1.8e9 * math.Exp(0.4*w.rng.NormFloat64()))
}

// fire implements actor: a replica has answered, or all of them.
func (q *query) fire(w *World, arg uint64) {
	n := q.n
	if !n.up || n.runs != q.run {
		return
	}
	if arg < replicas {
		if q.mute || !w.dht.alive(n, q.t, int(arg)) || w.chance(w.cfg.Loss) {
			return
		}
		w.dht.read(n, q.t, int(arg), func(addr netip.AddrPort) {
			n.mesh.Sighting(n.now(), q.search, w.seenAs(addr))
		})
		n.advance()
		return
	}
	if q.announce && !q.failed {
		w.dht.write(n, q.t, n.addr)
	}
	q.done(q.failed)
}

// seenAs is the address under which the mesh gets to see another: without
// trust, each in a prefix of its own.
func (w *World) seenAs(addr netip.AddrPort) netip.AddrPort {
	if n := w.addrs[addr]; n != nil && w.cfg.Switches.NoTrust {
		return n.alias
	}
	return addr
}

// search performs mesh.ActSearch.
func (n *node) search(a mesh.Action) {
	w := n.w
	announce := a.Announce && !w.cfg.Switches.NoPublish
	mute := false
	if a.InfoHash != "" {
		mute = w.cfg.Switches.NoRetries && n.tried[a.InfoHash]
		n.tried[a.InfoHash] = w.cfg.Switches.NoRetries
		if n.watch == a.InfoHash {
			n.watched++
		}
	}
	left, bad := len(a.Epochs), false
	for _, epoch := range a.Epochs {
		name := w.net.Node(epoch, uint8(a.Shard))
		if a.InfoHash != "" {
			name = w.net.Swarm(epoch, wire.Raw20([]byte(a.InfoHash)))
		}
		w.dht.lookup(n, name, a.ID, announce, mute, func(failed bool) {
			bad = bad || failed
			if left--; left == 0 {
				n.mesh.SearchDone(n.now(), a.ID, bad)
				n.advance()
			}
		})
	}
}

// resolve performs mesh.ActResolve: a token, then the record.
func (n *node) resolve(addr netip.AddrPort) {
	w := n.w
	w.count.resolves++
	to := w.addrs[addr]
	n.packets.take(2, time.Second)
	if to == nil || !to.up || !w.reach(n, to) || to.own.Seq == 0 || to.hostile != nil && to.hostile.mute || w.chance(w.cfg.Loss*w.cfg.Loss) {
		n.packets.take(1, time.Second)
		n.later(3*queryTimeout, func() { n.mesh.Unresolved(n.now(), addr, false); n.advance() })
		return
	}
	took := 2 * (w.latency(n, to) + w.latency(to, n))
	if w.chance(2 * w.cfg.Loss) {
		took += queryTimeout
	}
	n.later(took, func() {
		if r := to.own; n.verify(r) {
			n.mesh.Resolved(n.now(), addr, r)
		} else {
			n.mesh.Unresolved(n.now(), addr, true)
		}
		n.advance()
	})
}

// fetch performs mesh.ActFetch.
func (n *node) fetch(key mesh.Key) {
	w := n.w
	wait, ok := n.packets.take(20, time.Second)
	if !ok || w.dht.gone {
		return
	}
	n.later(max(wait, w.lookupTime()), func() {
		if it, found := w.dht.items[key]; found && it.until > w.now && n.verify(it.record) {
			n.mesh.Learn(n.now(), it.record)
			n.advance()
		}
	})
}

// publish stores n's record.
func (d *dht) publish(n *node, r mesh.Record, done func(ok bool)) {
	took := d.w.lookupTime()
	wait, ok := n.packets.take(22+replicas, took)
	if d.gone {
		ok = false
	}
	n.later(max(took, wait), func() {
		if ok && !d.gone {
			d.items[n.key] = item{r, d.w.now + itemExpiry}
		}
		done(ok && !d.gone)
	})
}

// packets is the budget of a node's own queries: so many a second, with a
// burst of two seconds' worth.
type packets struct {
	w    *World
	rate float64
	due  time.Duration // when the last packet that was promised leaves
}

func (p *packets) init(w *World) {
	p.w, p.rate = w, w.cfg.PacketRate
	p.due = w.now - 2*time.Second
}

// take promises n packets, which leave in the time that the caller needs them
// in or later; wait is when the last one does. Not ok: it would be too late.
func (p *packets) take(n int, in time.Duration) (wait time.Duration, ok bool) {
	now := p.w.now
	due := max(p.due, now-2*time.Second) + time.Duration(float64(n)/p.rate*1e9)
	if wait = max(0, due-now); wait > searchTimeout {
		return wait, false
	}
	from := max(now, min(p.due, due))
	p.due = due
	p.w.count.spread(n, from, max(in, due-from))
	return wait, true
}
