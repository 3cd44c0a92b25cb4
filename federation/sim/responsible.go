package sim

import (
	"math/rand/v2"
	"time"
)

// Responsible is a network so large that two nodes with a swarm in common are
// mostly not linked, with responsible nodes and without: first as usual, then
// with the DHT gone, when swarms of two clients begin that nobody had before. It
// has run for a while: each node has saved a part of the others, another one each.
func Responsible(size Size, seed uint64, sw Switches) *Result {
	r := newResult("responsible", seed)
	nodes, peers, swarms := size.pick(30, 120, 500), size.pick(150, 900, 20_000), size.pick(100, 1800, 20_000)
	pairs := size.pick(60, 500, 5000)
	const gone, end, known = 15 * time.Minute, 27 * time.Minute, 0.85
	r.input("nodes", float64(nodes))
	r.input("peers", float64(peers))
	r.input("swarms", float64(swarms))
	r.input("pairs_without_dht", float64(pairs))
	r.input("known_share", known)
	run := func(prefix string, sw Switches) (met float64) {
		cfg := configOf(size, seed, nodes, sw)
		cfg.RegistryFrom = size.pick(15, 80, 100)
		w := NewWorld(cfg)
		for range swarms {
			w.newSwarm()
		}
		w.acquaint(known)
		w.startAll(time.Minute)
		popular := newZipf(swarms, 0.7)
		w.crowd(peers, 4*time.Minute, 10*time.Minute, end, 30*time.Minute, func(p *rand.Rand) (*node, *group) {
			return w.nodes[p.IntN(nodes)], w.swarms[popular.pick(p)]
		})
		var late []*client
		for range pairs {
			s, a, b := w.newSwarm(), w.pop.IntN(nodes), w.pop.IntN(nodes-1)
			if b >= a {
				b++
			}
			at := gone + time.Minute + time.Duration(w.pop.Int64N(int64(8*time.Minute)))
			late = append(late, w.visit(w.nodes[a], s, at, 0), w.visit(w.nodes[b], s, at+time.Duration(w.pop.Int64N(int64(time.Minute))), 0))
		}
		w.Run(gone)
		r.check(w)
		before := newResult("", seed)
		before.spread(w)
		for _, name := range []string{"first_across_p50_s", "first_across_p90_s", "first_across_p99_s", "unmet_share"} {
			r.set(prefix+name, before.Figure(name))
		}
		packets, _ := w.count.packetsIn(5*time.Minute, gone)
		r.set(prefix+"dht_packets_per_node_s", packets/float64(nodes))
		links, told := 0, w.count.told
		for _, n := range w.nodes {
			links += len(n.links)
		}
		r.set(prefix+"links_per_node", float64(links)/float64(nodes))
		r.set(prefix+"records_told_per_node", float64(told)/float64(nodes))
		w.dht.gone = true
		w.Run(end)
		r.check(w)
		count := 0
		var waits []time.Duration
		for _, c := range late {
			if c.across != never {
				count++
				waits = append(waits, c.across-c.clock)
			}
		}
		met = share(count, len(late))
		r.set(prefix+"met_without_dht", met)
		r.seconds(prefix+"met_without_dht_p50", quantile(waits, 0.5))
		r.seconds(prefix+"met_without_dht_p99", quantile(waits, 0.99))
		if prefix == "" {
			r.common(w, 0, end)
			r.HonestWith, r.HonestWithout = float64(w.count.pairs), float64(w.count.pairs)
		}
		return met
	}
	without := sw
	without.NoRegistry = true
	run("off_", without)
	met := run("", sw)
	r.must(met >= 0.95, "%.3f of the clients whose swarms began without the DHT met, want 0.95", met)
	return r
}

// acquaint has each node know a share of the others, from an earlier run.
func (w *World) acquaint(share float64) {
	for _, n := range w.nodes {
		n.own = n.record(w.time().Unix())
	}
	for _, n := range w.nodes {
		for _, o := range w.nodes {
			if o != n && w.chance(share) {
				n.knows(o.key).record = o.own
			}
		}
	}
}
