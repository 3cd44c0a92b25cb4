package sim

import (
	"math/rand/v2"
	"time"
)

// town is a world for what befalls a network: nodes, and swarms of all sizes
// whose clients come and go until its end.
func town(r *Result, size Size, seed uint64, sw Switches, end time.Duration) *World {
	nodes, peers, swarms := size.pick(8, 20, 60), size.pick(100, 600, 6000), size.pick(15, 80, 800)
	w := NewWorld(configOf(size, seed, nodes, sw))
	r.input("nodes", float64(nodes))
	r.input("peers", float64(peers))
	r.input("swarms", float64(swarms))
	for range swarms {
		w.newSwarm()
	}
	w.startAll(10 * time.Second)
	popular := newZipf(swarms, 0.9)
	w.crowd(peers, time.Minute, 5*time.Minute, end, 20*time.Minute, func(p *rand.Rand) (*node, *group) {
		return w.nodes[p.IntN(nodes)], w.swarms[popular.pick(p)]
	})
	return w
}

// bridged is of those swarms that have clients on both sides the share in which
// some node knows one of the other side.
func (w *World) bridged() float64 {
	cross := make(map[string]bool)
	for _, n := range w.nodes {
		for _, p := range n.list {
			if p.cur == nil || p.cur.o.n.side == n.side {
				continue
			}
			for name, m := range p.shared {
				if m.theirs {
					cross[name] = true
				}
			}
		}
	}
	bridged, of := 0, 0
	for _, s := range w.swarms {
		var sides [2]bool
		for n := range s.perNode {
			sides[n.side] = true
		}
		if sides[0] && sides[1] {
			of++
			if cross[s.name] {
				bridged++
			}
		}
	}
	return share(bridged, of)
}

// Partition cuts the network into halves for ten minutes.
func Partition(size Size, seed uint64, sw Switches) *Result {
	r := newResult("partition", seed)
	const cut, heal, end = 15 * time.Minute, 25 * time.Minute, 45 * time.Minute
	w := town(r, size, seed, sw, end)
	w.Run(cut)
	r.check(w)
	r.set("bridged_before", w.bridged())
	_, before := w.connected()
	w.part()
	w.Run(cut + time.Minute)
	halves := w.count.pairsHalves
	w.Run(heal)
	r.check(w)
	r.set("bridged_at_the_end_of_the_cut", w.bridged())
	r.set("introductions_through_the_cut", float64(w.count.pairsHalves-halves))
	during := w.count.pairsIn(cut, heal)
	w.heal()
	var half, most time.Duration
	for t := heal; t <= end; t += 5 * time.Second {
		w.Run(t)
		b := w.bridged()
		if half == 0 && b >= 0.5 {
			half = t - heal
		}
		if most == 0 && b >= 0.95 {
			most = t - heal
		}
	}
	r.check(w)
	if most == 0 {
		most = end
	}
	_, after := w.connected()
	r.seconds("half_bridged_after", half)
	r.seconds("95_bridged_after", most)
	r.set("bridged_after_20min", w.bridged())
	r.set("introductions_per_min_before", float64(w.count.pairsIn(6*time.Minute, cut))/9)
	r.set("introductions_per_min_during", float64(during)/10)
	r.set("introductions_per_min_after", float64(w.count.pairsIn(heal, heal+10*time.Minute))/10)
	r.set("clients_in_one_graph_before", before)
	r.set("clients_in_one_graph_after", after)
	r.spread(w)
	r.common(w, 0, end)
	r.HonestWith, r.HonestWithout = float64(w.count.pairs), float64(w.count.pairs)
	r.must(w.count.pairsHalves > halves, "nobody met across the halves after they were joined again")
	r.must(most <= 12*time.Minute, "95 %% of the swarms were joined again after %v", most)
	r.must(after >= before-0.05, "%.3f of the clients in one graph after the cut, %.3f before", after, before)
	return r
}

// DHTGone takes the DHT away for an hour.
func DHTGone(size Size, seed uint64, sw Switches) *Result {
	r := newResult("dht_gone", seed)
	const gone, back, end = 15 * time.Minute, 75 * time.Minute, 95 * time.Minute
	w := town(r, size, seed, sw, end)
	w.Run(gone)
	r.check(w)
	w.dht.gone = true
	unmet, of := w.unmet(2 * time.Minute)
	r.set("unmet_share_before", share(unmet, max(of, 1)))
	w.Run(back)
	r.check(w)
	unmet, of = w.unmet(2 * time.Minute)
	r.set("unmet_share_during", share(unmet, max(of, 1)))
	w.dht.gone = false
	w.Run(back + 10*time.Minute)
	unmet, of = w.unmet(2 * time.Minute)
	late := share(unmet, max(of, 1))
	r.set("unmet_share_10min_after", late)
	w.Run(end)
	r.check(w)
	before, during := float64(w.count.pairsIn(6*time.Minute, gone))/9, float64(w.count.pairsIn(gone, back))/60
	r.set("introductions_per_min_before", before)
	r.set("introductions_per_min_during", during)
	r.set("introductions_per_min_after", float64(w.count.pairsIn(back, end))/20)
	r.spread(w)
	r.common(w, 0, end)
	r.HonestWith, r.HonestWithout = float64(w.count.pairs), float64(w.count.pairs)
	r.must(during > before/4, "%.1f introductions a minute without the DHT, %.1f with it: links that are up should go on", during, before)
	r.must(late < 0.05, "10 min after the DHT came back %.3f of the clients with peers elsewhere have met none", late)
	return r
}

// Restart restarts all nodes at once.
func Restart(size Size, seed uint64, sw Switches) *Result {
	r := newResult("restart", seed)
	const at, end = 40 * time.Minute, 60 * time.Minute
	w := town(r, size, seed, sw, end)
	w.Run(at)
	r.check(w)
	for _, n := range w.nodes {
		n.stop(false)
	}
	w.after(3*time.Second, func() {
		for _, n := range w.nodes {
			n.run()
		}
	})
	w.Run(end)
	r.check(w)
	steady, _ := w.count.packetsIn(20*time.Minute, at)
	mean, peak := w.count.packetsIn(at, at+10*time.Minute)
	nodes := float64(len(w.nodes))
	r.set("packets_steady_per_node_s", steady/nodes)
	r.set("packets_after_per_node_s", mean/nodes)
	r.set("packets_peak_per_node_s", peak/nodes)
	r.set("packets_peak_to_steady", peak/steady)
	r.set("introductions_per_min_before", float64(w.count.pairsIn(30*time.Minute, at))/10)
	r.set("introductions_per_min_after", float64(w.count.pairsIn(at, at+10*time.Minute))/10)
	r.spread(w)
	r.common(w, 0, end)
	r.HonestWith, r.HonestWithout = float64(w.count.pairs), float64(w.count.pairs)
	r.must(peak/nodes <= w.cfg.PacketRate+8, "%.1f packets a second and node after the restart, the budget is %.0f", peak/nodes, w.cfg.PacketRate)
	r.must(r.Figure("unmet_share") < 0.05, "%.3f of the clients with peers elsewhere met none of them", r.Figure("unmet_share"))
	return r
}
