package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Realistic is nodes and swarms of every size, with clients that come and go
// and nodes that crash now and then.
func Realistic(size Size, seed uint64, sw Switches) *Result {
	r := newResult("realistic", seed)
	nodes, peers, swarms := size.pick(8, 40, 500), size.pick(150, 3000, 100_000), size.pick(30, 600, 20_000)
	end := time.Duration(size.pick(20, 30, 20)) * time.Minute
	w := NewWorld(configOf(size, seed, nodes, sw))
	r.input("nodes", float64(nodes))
	r.input("peers", float64(peers))
	r.input("swarms", float64(swarms))
	r.seconds("duration", end)
	for range swarms {
		w.newSwarm()
	}
	w.startAll(time.Minute)
	popular, large := newZipf(swarms, 1), newZipf(nodes, 0.5)
	w.crowd(peers, time.Minute, 10*time.Minute, end, 30*time.Minute, func(p *rand.Rand) (*node, *group) {
		return w.nodes[large.pick(p)], w.swarms[popular.pick(p)]
	})
	w.churn(4*time.Hour, end)
	w.Run(end)
	r.check(w)
	r.spread(w)
	r.common(w, 0, end)
	r.HonestWith, r.HonestWithout = float64(w.count.pairs), float64(w.count.pairs)
	r.must(r.Figure("unmet_share") < 0.05, "%.3f of the clients with peers elsewhere met none of them in 5 min", r.Figure("unmet_share"))
	r.must(r.Figure("clients_in_one_graph") > 0.9, "%.3f of the clients are in the largest part of their swarm", r.Figure("clients_in_one_graph"))
	return r
}

// spread sets the figures of how clients meet across nodes.
func (r *Result) spread(w *World) {
	r.seconds("first_p50", quantile(w.count.waits, 0.5))
	r.seconds("first_p99", quantile(w.count.waits, 0.99))
	r.seconds("first_across_p50", quantile(w.count.waitsAcross, 0.5))
	r.seconds("first_across_p90", quantile(w.count.waitsAcross, 0.9))
	r.seconds("first_across_p99", quantile(w.count.waitsAcross, 0.99))
	unmet, of := w.unmet(5 * time.Minute)
	r.set("unmet_share", share(unmet, max(of, 1)))
	swarms, clients := w.connected()
	r.set("swarms_one_graph", swarms)
	r.set("clients_in_one_graph", clients)
}

// OneSwarm is a single large swarm with one seeder.
func OneSwarm(size Size, seed uint64, sw Switches) *Result {
	r := newResult("one_swarm", seed)
	nodes, peers := size.pick(8, 30, 200), size.pick(150, 1500, 50_000)
	const end = 30 * time.Minute
	w := NewWorld(configOf(size, seed, nodes, sw))
	r.input("nodes", float64(nodes))
	r.input("peers", float64(peers))
	s := w.newSwarm()
	w.startAll(10 * time.Second)
	seeder := w.visit(w.nodes[0], s, 30*time.Second, 0)
	seeder.seeder = true
	w.crowd(peers, time.Minute, 5*time.Minute, end, 30*time.Minute, func(p *rand.Rand) (*node, *group) {
		return w.nodes[p.IntN(nodes)], s
	})
	for _, c := range w.clients[1:] {
		c.seeder = false
	}
	w.Run(end)
	r.check(w)
	all, _, with := w.graph(s, seeder)
	r.set("with_seeder", share(with, all))
	offered := make([]time.Duration, 0, all)
	sum, squares := 0.0, 0.0
	for _, c := range s.live {
		if w.now-c.began > 10*time.Minute {
			per := float64(c.offered) / (w.now - c.began).Minutes()
			offered = append(offered, time.Duration(per*1e9))
			sum += per
			squares += per * per
		}
	}
	mean := sum / float64(max(len(offered), 1))
	r.set("offers_per_client_min_p5", quantile(offered, 0.05).Seconds())
	r.set("offers_per_client_min_p50", quantile(offered, 0.5).Seconds())
	r.set("offers_per_client_min_p95", quantile(offered, 0.95).Seconds())
	r.set("offers_spread", squares/float64(max(len(offered), 1))/(mean*mean)-1)
	overlay := make([]int, 0, nodes)
	for _, n := range w.nodes {
		overlay = append(overlay, n.state(s.name).Nodes)
	}
	slices.Sort(overlay)
	r.set("partners_min", float64(overlay[0]))
	r.set("partners_max", float64(overlay[nodes-1]))
	off, square := 0.0, 0.0
	for _, n := range w.nodes {
		st := n.state(s.name)
		local, remote := float64(st.LocalComplete+st.LocalIncomplete), float64(st.RemoteComplete+st.RemoteIncomplete)
		if st.Population > st.Nodes {
			remote *= float64(st.Population) / float64(st.Nodes)
		}
		e := (local+remote)/float64(max(all, 1)) - 1
		off += e / float64(nodes)
		square += e * e / float64(nodes)
	}
	r.set("count_error_mean", off)
	r.set("count_error_rms", math.Sqrt(square))
	r.must(math.Abs(off) < 0.05 && square < 0.15*0.15, "what clients are told of the swarm's size is off by %.3f, and by %.3f on average", off, math.Sqrt(square))
	r.spread(w)
	r.common(w, 0, end)
	r.HonestWith, r.HonestWithout = float64(w.count.pairs), float64(w.count.pairs)
	r.must(with >= all-all/100, "%d of %d clients are in the seeder's part", with, all)
	return r
}
