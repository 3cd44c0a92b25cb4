//go:build linux

package nettest_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nettest"
)

// rounds is a swarm in which every member offers to every other, again and
// again, and each offer and answer is accounted for.
type rounds struct {
	*lab
	swarm   string
	members []*nettest.Client
	each    int // offers in an announce: one for each other member
	done    int // announces of each client that takes part
}

// rounds begins with one client at each node, after a round in which all meet.
func (l *lab) rounds(swarm string) *rounds {
	l.t.Helper()
	r := &rounds{lab: l, swarm: swarm, each: len(l.nodes) - 1}
	l.t.Cleanup(r.explain)
	for i := range l.nodes {
		r.members = append(r.members, l.client(i, fmt.Sprint(swarm, i), swarm))
	}
	for _, c := range r.members {
		members(l.t, c, swarm, len(r.members))
	}
	for range 3 {
		r.next(r.members...)
	}
	for i, c := range r.members {
		for j := range r.members {
			if i != j {
				nettest.Eventually(l.t, c.ID+" has all answers", func() bool { return len(r.answers(i, j)) >= r.done })
			}
		}
	}
	return r
}

// explain says what came of each pair's rounds, if the test failed.
func (r *rounds) explain() {
	if !r.t.Failed() {
		return
	}
	for i := range r.members {
		for j := range r.members {
			if i != j {
				r.t.Logf("%d to %d, of %d rounds: offers of %v, answers of %v", i, j, r.done, r.offers(i, j), r.answers(i, j))
			}
		}
		r.t.Logf("node %d: %s", i, r.nodes[i].Report())
	}
}

// next is another round, of these clients.
func (r *rounds) next(clients ...*nettest.Client) {
	for _, c := range clients {
		c.Announce(hash(r.swarm), r.each)
	}
	r.done++
}

// until lets clients offer until ok holds, and some more. Their pace is one that
// a node takes from any other for as long as it likes: of two peers who answer each
// other at the same time only one node is met at the other (swarm.Record), and one
// that is not has room for 32 offers, and in two minutes for as many again, where
// there is one member and another such node.
func (r *rounds) until(what string, ok func() bool, clients ...*nettest.Client) {
	r.t.Helper()
	pace := time.NewTicker(4 * time.Second)
	defer pace.Stop()
	again := func() bool {
		<-pace.C
		r.next(clients...)
		return ok()
	}
	nettest.Eventually(r.t, what, again)
	for range 3 {
		r.next(clients...)
	}
}

// answers are the rounds of member i that member j's answers have come to;
// offers those whose offers have come to j.
func (r *rounds) answers(i, j int) []int { return answered(r.t, r.members[i], r.members[j], r.each) }
func (r *rounds) offers(i, j int) []int  { return offered(r.t, r.members[i], r.members[j], r.each) }

// whole waits until two members have all of each other's answers, each once.
func (r *rounds) whole(i, j int) {
	r.t.Helper()
	for _, pair := range [][2]int{{i, j}, {j, i}} {
		nettest.Eventually(r.t, fmt.Sprintf("%v: all answers", pair), func() bool { return len(r.answers(pair[0], pair[1])) >= r.done })
		if got := r.answers(pair[0], pair[1]); !slices.Equal(got, sequence(r.done)) {
			r.t.Errorf("%v: rounds %v were answered, want each of %d once", pair, got, r.done)
		}
	}
}

// first fails unless list is rounds 0 to n-1.
func (r *rounds) first(what string, list []int, n int) {
	r.t.Helper()
	if !slices.Equal(list, sequence(n)) {
		r.t.Errorf("%s: %v, want the first %d of %d rounds", what, list, n, r.done)
	}
}

// meet waits until all members see and reach each other.
func (r *rounds) meet() {
	r.t.Helper()
	for _, c := range r.members {
		members(r.t, c, r.swarm, len(r.members))
		reaches(r.t, c, r.swarm, others(r.members, c)...)
	}
	alive(r.t, r.members...)
}

// TestHalfOpen cuts one direction between two of three nodes: node 1 hears
// nothing of node 0 any more, which hears all that node 1 says. Nothing tells
// node 1 that the link is over (no RST comes): it ends it for its silence, and
// its end is what node 0 hears. Until then their clients lose what goes where
// nothing arrives, and nothing else.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	l := newLab(t, far)
	l.start()
	r := l.rounds("half")
	before := r.done
	// Or the window of node 1 might be full of what has arrived already.
	nettest.Eventually(t, "node 1 knows that all has arrived", func() bool { return l.hosts[1].Unacked(l.hosts[0]) == 0 })
	l.CutOneWay(l.hosts[0], l.hosts[1])
	r.until("node 0 has one link", func() bool { return len(l.nodes[0].Status().Links) == 1 }, r.members...)
	// It would not have noticed by itself.
	if n := len(l.nodes[1].Status().Links); n != 1 {
		t.Errorf("node 1 has %d links when node 0 has ended theirs", n)
	}
	if n := len(l.nodes[2].Status().Links); n != 2 {
		t.Errorf("node 2 has %d links", n)
	}
	r.whole(0, 2)
	r.whole(1, 2)
	r.first("offers of 0 that came to 1", r.offers(0, 1), before)
	r.first("answers of 0 that came to 1", r.answers(1, 0), before)
	r.first("answers of 1 that came to 0", r.answers(0, 1), before)
	if got := r.offers(1, 0); len(got) <= before || len(got) == r.done {
		t.Errorf("%d of %d offers of 1 came to 0, %d of them before the cut", len(got), r.done, before)
	} else {
		r.first("offers of 1 that came to 0", got, len(got))
	}
	// The third still has both of them, and they have it.
	for i, want := range []int{2, 2, 3} {
		members(t, r.members[i], "half", want)
	}
	l.Heal(l.hosts[0], l.hosts[1])
	l.linked()
	r.meet()
}

// TestPowerCut: a node is gone, and no kernel is left to say so, as kill -9 has
// it. The two others each have a link that leads nowhere, and end it for its
// silence. What was under way to the node and from it is lost, exactly.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	l := newLab(t, far)
	l.start()
	r := l.rounds("power")
	stay := []*nettest.Client{r.members[0], r.members[2]}
	before, between := r.done, l.connections(0)
	maps.DeleteFunc(between, func(c nettest.Connection, _ bool) bool { return c.Remote.Addr() != l.hosts[2].Addr })

	// The cut keeps under way what is announced now: all three nodes have taken
	// it, and sent it.
	replies := r.members[1].Log().Replies
	l.Partition(l.hosts[1])
	for range 3 {
		r.next(r.members...)
	}
	nettest.Eventually(t, "node 1 has taken what its client announced", func() bool { return r.members[1].Log().Replies == replies+3 })
	r.whole(0, 2)
	l.nodes[1].Kill()
	r.until("both have one link", func() bool {
		return len(l.nodes[0].Status().Links) == 1 && len(l.nodes[2].Status().Links) == 1
	}, stay...)
	r.whole(0, 2)
	for _, i := range []int{0, 2} {
		r.first(fmt.Sprintf("offers of %d that came to 1", i), r.offers(i, 1), before)
		r.first(fmt.Sprintf("answers of 1 that came to %d", i), r.answers(i, 1), before)
		r.first(fmt.Sprintf("offers of 1 that came to %d", i), r.offers(1, i), before)
		r.first(fmt.Sprintf("answers of %d that came to 1", i), r.answers(1, i), before)
	}
	for c := range between {
		if !l.connections(0)[c] {
			t.Error("the link between the others is not the same")
		}
	}
	alive(t, stay...)

	// It comes back as who it was.
	l.HealPartition(l.hosts[1])
	l.startNode(1, nettest.NodeConfig{Dir: l.nodes[1].Dir})
	l.start()
	r.members[1] = l.client(1, "back", "power")
	r.meet()
}
