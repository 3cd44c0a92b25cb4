package sim

import (
	"math/rand/v2"
	"time"
)

// Size is how large a scenario is run.
type Size uint8

const (
	// Tiny is for go test, also with the race detector, which makes all fifteen
	// times slower; Short takes seconds; Full is what the issue asks for.
	Tiny Size = iota
	Short
	Full
)

// Scenario runs one world, or several that are compared.
type Scenario struct {
	Name string
	Run  func(size Size, seed uint64, sw Switches) *Result
}

// Scenarios are all of them.
func Scenarios() []Scenario {
	return []Scenario{
		{"realistic", Realistic},
		{"one_swarm", OneSwarm},
		{"late", Late},
		{"siege", Siege},
		{"mimic", Mimic},
		{"partition", Partition},
		{"dht_gone", DHTGone},
		{"restart", Restart},
		{"responsible", Responsible},
		{"yardstick", Yardstick},
	}
}

func (s Size) pick(tiny, short, full int) int { return [...]int{tiny, short, full}[s] }

func configOf(size Size, seed uint64, nodes int, sw Switches) Config {
	return Config{Seed: seed, Nodes: nodes, Loss: 0.01, Dead: 0.15, Coarse: size == Tiny, Switches: sw}
}

// Late is a swarm of 500 peers on one node for two hours, that has many small
// swarms as well, and then the first peer elsewhere: it meets them by its
// first lookup, because what a large swarm published never expires.
func Late(size Size, seed uint64, sw Switches) *Result {
	r := newResult("late", seed)
	nodes, peers, others := size.pick(5, 12, 50), size.pick(60, 500, 500), size.pick(15, 150, 3000)
	w := NewWorld(configOf(size, seed, nodes, sw))
	r.input("nodes", float64(nodes))
	r.input("peers", float64(peers))
	r.input("other_swarms_on_its_node", float64(others))
	const until = 2 * time.Hour
	w.startAll(time.Minute)
	big, at := w.newSwarm(), w.nodes[0]
	const end = until + 2*time.Minute
	w.crowd(peers, time.Minute, 5*time.Minute, end, 30*time.Minute, func(*rand.Rand) (*node, *group) { return at, big })
	small := make([]*group, others)
	for i := range small {
		small[i] = w.newSwarm()
	}
	next := 0
	w.crowd(others, time.Minute, 5*time.Minute, end, 30*time.Minute, func(*rand.Rand) (*node, *group) {
		next++
		return at, small[next%others]
	})
	for _, n := range w.nodes[1:] {
		w.visit(n, w.newSwarm(), 2*time.Minute, 0)
	}
	gap, longest := time.Duration(0), time.Duration(0)
	for t := 10 * time.Minute; t <= until; t += time.Minute {
		w.Run(t)
		gap += time.Minute
		if w.listed(big, at) {
			gap = 0
		}
		longest = max(longest, gap)
	}
	r.check(w)
	away := w.nodes[nodes/2]
	away.watch = big.name
	c := w.visit(away, big, until, 0)
	lookups := 0
	for t := until; t < end; t += 100 * time.Millisecond {
		w.Run(t)
		if st := away.state(big.name); lookups == 0 && st.RemoteComplete+st.RemoteIncomplete > 0 {
			lookups = away.watched
		}
	}
	r.check(w)
	met := c.across
	if met == never {
		met = end
	}
	r.seconds("longest_unlisted", longest)
	r.set("lookups_until_found", float64(lookups))
	r.seconds("met", met-c.began)
	r.set("met_in_2min", float64(len(c.conns)))
	r.common(w, 0, end)
	r.HonestWith, r.HonestWithout = float64(w.count.pairs), float64(w.count.pairs)
	r.must(longest == 0, "what the large swarm published was gone for %v", longest)
	r.must(lookups == 1, "the large swarm was found by lookup %d, want the first", lookups)
	r.must(met-c.began < 10*time.Second, "the first introduction took %v", met-c.began)
	return r
}

// Yardstick is a swarm spread over nodes, against the same swarm on one; and once
// more with half of the nodes new to the others, which have known each other for ten
// days: what it costs honest newcomers, and those that they come to, that age counts.
func Yardstick(size Size, seed uint64, sw Switches) *Result {
	r := newResult("yardstick", seed)
	nodes, peers := size.pick(6, 16, 100), size.pick(50, 400, 5000)
	const end = 30 * time.Minute
	r.input("nodes", float64(nodes))
	r.input("peers", float64(peers))
	run := func(spread bool, old int) *World {
		w := NewWorld(configOf(size, seed, nodes, sw))
		w.aged(old, 10*24*time.Hour)
		w.startAll(10 * time.Second)
		s := w.newSwarm()
		w.crowd(peers, time.Minute, 5*time.Minute, end, 15*time.Minute, func(p *rand.Rand) (*node, *group) {
			n := w.nodes[p.IntN(nodes)]
			if !spread {
				n = w.nodes[0]
			}
			return n, s
		})
		w.Run(end)
		r.check(w)
		return w
	}
	one, mixed := run(false, 0), run(true, nodes/2)
	w := run(true, 0)
	early := float64(w.count.pairsIn(0, 8*time.Minute)) / float64(one.count.pairsIn(0, 8*time.Minute))
	all := float64(w.count.pairs) / float64(one.count.pairs)
	r.set("introductions_one_tracker", float64(one.count.pairs))
	young := float64(mixed.count.pairs) / float64(one.count.pairs)
	r.set("share_of_one_tracker", all)
	r.set("share_half_of_the_nodes_new", young)
	r.set("share_first_8min", early)
	r.seconds("first_p50", quantile(w.count.waits, 0.5))
	r.seconds("first_p99", quantile(w.count.waits, 0.99))
	r.seconds("one_tracker_first_p50", quantile(one.count.waits, 0.5))
	r.seconds("one_tracker_first_p99", quantile(one.count.waits, 0.99))
	_, part := w.connected()
	_, onePart := one.connected()
	r.set("in_one_graph", part)
	r.set("one_tracker_in_one_graph", onePart)
	r.common(w, 0, end)
	r.HonestWith, r.HonestWithout = float64(w.count.pairs), float64(w.count.pairs)
	r.must(all >= 0.95, "%.3f of one tracker's introductions, want 0.95", all)
	least := 0.93
	if size == Tiny {
		least = 0.8
	}
	r.must(young >= least, "%.3f of one tracker's introductions with half of the nodes new, want %.2f", young, least)
	return r
}
