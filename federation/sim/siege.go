package sim

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Siege is a network of which 30 % are hostile in five ways, and thousands of
// fresh keys from ten prefixes come to it; against the same run without them.
func Siege(size Size, seed uint64, sw Switches) *Result {
	r := newResult("siege", seed)
	besieged(r, size, seed, sw, 0, silent, liar, flooder, hole, garbager)
	share := r.Figure("honest_share")
	r.set("honest_share_target", 0.9)
	// Of few introductions chance takes more.
	floor, alone, apart := 0.9, 0.015, 0.05
	if size == Tiny {
		floor, alone, apart = 0.8, 0.04, 0.1
	}
	r.must(sw.NoRegistry || r.Figure("answers_of_hostile_responsible") > 0, "no attacker was ever responsible for a swarm")
	r.must(share >= floor, "%.3f of the introductions without attackers, want %.2f at least", share, floor)
	r.must(r.Figure("unmet_share") <= alone, "%.3f of the clients with peers elsewhere met none of them, want %.3f at most", r.Figure("unmet_share"), alone)
	r.must(r.Figure("clients_in_one_graph") >= 1-apart, "%.3f of the clients are in the largest part of their swarm, want %.2f at least", r.Figure("clients_in_one_graph"), 1-apart)
	return r
}

// Mimic is the same siege by nodes that a tracker cannot tell from good ones:
// they offer and answer what a browser accepts, in the name of as many peers as
// they claim, and none of it leads anywhere. What holds here is structure alone,
// of which age is the most: the honest nodes have known each other for ten days
// and the hostile ones among them for an hour when the run begins, and the fresh
// keys not at all. But for a tiny one it is run as well with all of the same age, where
// the shares of keys and prefixes are what is left.
func Mimic(size Size, seed uint64, sw Switches) *Result {
	r := newResult("mimic", seed)
	besieged(r, size, seed, sw, 10*24*time.Hour, mimic)
	floor := 0.75
	if size == Tiny {
		floor = 0.65
	}
	share := r.Figure("honest_share")
	r.must(share >= floor, "%.3f of the introductions without attackers, want %.2f at least", share, floor)
	if size > Tiny {
		share = r.Figure("honest_share_same_age")
		r.must(share >= 0.2, "%.3f of the introductions without attackers if all are of one age, want 0.2 at least", share)
	}
	return r
}

// hostileAge is for how long the hostile nodes of a scenario with ages have been known.
const hostileAge = time.Hour

// besieged runs a network with attackers and without. The honest nodes have known
// each other for so long.
func besieged(r *Result, size Size, seed uint64, sw Switches, age time.Duration, ways ...way) {
	honest, bad, keys := size.pick(7, 21, 140), size.pick(3, 9, 60), size.pick(300, 1000, 10_000)
	peers, swarms := size.pick(80, 600, 10_000), size.pick(10, 60, 800)
	const end = 30 * time.Minute
	r.input("honest_nodes", float64(honest))
	r.input("hostile_nodes", float64(bad))
	r.input("fresh_keys", float64(keys))
	r.input("prefixes_of_fresh_keys", 10)
	r.input("peers", float64(peers))
	r.input("swarms", float64(swarms))
	r.input("honest_known_for_h", age.Hours())
	run := func(hostile bool, age time.Duration) *World {
		cfg := configOf(size, seed, honest, sw)
		// Attackers become responsible for swarms, too.
		cfg.RegistryFrom = size.pick(6, 15, 100)
		w := NewWorld(cfg)
		for range swarms {
			w.newSwarm()
		}
		w.startAll(10 * time.Second)
		popular := newZipf(swarms, 0.9)
		w.crowd(peers, time.Minute, 5*time.Minute, end, 15*time.Minute, func(p *rand.Rand) (*node, *group) {
			return w.nodes[p.IntN(honest)], w.swarms[popular.pick(p)]
		})
		if hostile {
			w.besiege(honest, bad, keys, ways)
		}
		if age > 0 {
			w.aged(honest, age)
		}
		w.Run(end)
		r.check(w)
		return w
	}
	without, with := run(false, 0), run(true, age)
	k := &with.count
	ratio := float64(k.pairs) / float64(without.count.pairs)
	across := float64(k.pairsAcross) / float64(without.count.pairsAcross)
	last := float64(k.pairsIn(20*time.Minute, end)) / float64(without.count.pairsIn(20*time.Minute, end))
	r.set("honest_share", ratio)
	if age > 0 && size > Tiny {
		r.set("honest_share_same_age", float64(run(true, 0).count.pairs)/float64(without.count.pairs))
	}
	r.set("honest_share_across", across)
	r.set("honest_share_last_10min", last)
	r.set("honest_pairs_s_with", float64(k.pairs)/end.Seconds())
	r.set("honest_pairs_s_without", float64(without.count.pairs)/end.Seconds())
	r.set("offers_relayed_to_hostile_share", share(int(k.toHostile), int(max(k.relayed, 1))))
	r.set("offers_delivered_of_hostile_share", share(int(k.offeredFake), int(max(k.offered, 1))))
	r.set("garbage_answers", float64(k.garbage))
	r.set("answers_of_hostile_responsible", float64(k.misled))
	r.set("strikes", float64(k.strikes))
	r.set("links_ended_for_strikes", float64(k.barred))
	links, to := 0, 0
	for _, n := range with.nodes[:honest] {
		for _, l := range n.links {
			if links++; l.o.n.hostile != nil {
				to++
			}
		}
	}
	r.set("links_per_honest_node", float64(links)/float64(honest))
	r.set("links_to_hostile_share", share(to, max(links, 1)))
	r.seconds("without_first_across_p50", quantile(without.count.waitsAcross, 0.5))
	r.seconds("without_first_across_p99", quantile(without.count.waitsAcross, 0.99))
	unmet, of := without.unmet(5 * time.Minute)
	r.set("without_unmet_share", share(unmet, max(of, 1)))
	_, one := without.connected()
	r.set("without_clients_in_one_graph", one)
	r.spread(with)
	r.common(with, 0, end)
	r.HonestWith, r.HonestWithout = float64(k.pairs), float64(without.count.pairs)
}

// aged lets the first nodes have known each other for so long, and hostile ones for
// hostileAge, but for the fresh keys. The others are new.
func (w *World) aged(first int, age time.Duration) {
	for _, n := range w.nodes[:first] {
		for i, o := range w.nodes {
			switch {
			case i < first:
				n.knows(o.key).firstSeen = -age
			case o.hostile != nil && !o.hostile.fresh:
				n.knows(o.key).firstSeen = -hostileAge
			}
		}
	}
}

// besiege adds the attackers. The nodes among them are there from the
// beginning and dial everybody; the fresh keys come from the fifth minute on,
// within ten, and dial three nodes each.
func (w *World) besiege(honest, bad, keys int, ways []way) {
	known := w.swarms[:min(len(w.swarms), knownSwarms)]
	for i := range bad {
		h := w.addHostile(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 10}), ways[i%len(ways)], known).hostile
		w.at(w.between(0, time.Minute), h.announce)
		for _, to := range w.nodes[:honest] {
			w.at(time.Minute+w.between(0, 4*time.Minute), func() { h.dial(to, true) })
		}
	}
	for i := range keys {
		some := make([]*group, 10)
		for k := range some {
			some[k] = known[w.rng.IntN(len(known))]
		}
		ip := netip.AddrFrom4([4]byte{90, byte(i % 10), 0, byte(1 + i/10%250)})
		h := w.addHostile(ip, ways[w.rng.IntN(len(ways))], some).hostile
		h.fresh = true
		at := 5*time.Minute + w.between(0, 10*time.Minute)
		w.at(at, h.announce)
		for range 3 {
			to := w.nodes[w.rng.IntN(honest)]
			w.at(at+w.between(0, time.Minute), func() { h.dial(to, true) })
		}
	}
}
