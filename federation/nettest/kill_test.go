//go:build linux

package nettest_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nettest"
)

// TestKill kills one of three nodes while offers and answers are on their way
// to it and from it.
func TestKill(t *testing.T) {
	t.Parallel()
	l := newLab(t, far)
	l.start()
	var all []*nettest.Client
	for i := range l.nodes {
		for j := range 2 {
			all = append(all, l.client(i, fmt.Sprintf("kill%d%d", i, j), "kill"))
		}
	}
	c, victims := all[0], all[2:4]
	survivors := append(others(all[:2], c), all[4:]...)
	for _, o := range all {
		members(t, o, "kill", len(all))
	}

	// c and one who is to be cut off offer to everybody, again and again: no
	// faster than nodes take offers of each other, and fast enough that some are
	// always on their way.
	const each = 5
	announces := 0
	pace := time.NewTicker(250 * time.Millisecond)
	defer pace.Stop()
	stream := func(what string, enough func() bool) {
		t.Helper()
		nettest.Eventually(t, what, func() bool {
			<-pace.C
			c.Announce(hash("kill"), each)
			announces++
			return enough()
		})
	}
	stream("answers of a victim and to it", func() bool {
		victims[1].Announce(hash("kill"), each)
		return len(answered(t, c, victims[0], each)) >= 5 && len(answered(t, victims[1], c, each)) >= 5
	})
	l.nodes[1].Kill()
	for _, i := range []int{0, 2} {
		stream(fmt.Sprintf("node %d has one link", i), func() bool { return len(l.nodes[i].Status().Links) == 1 })
	}
	rest := announces + 4
	stream("some more", func() bool { return announces >= rest })

	for _, s := range survivors {
		nettest.Eventually(t, s.ID+" has answered everything", func() bool { return len(answered(t, c, s, each)) >= announces })
		if got := answered(t, c, s, each); !slices.Equal(got, sequence(announces)) {
			t.Errorf("%s answered %v, want each announce once", s.ID, got)
		}
	}
	for _, v := range victims {
		got := answered(t, c, v, each)
		if !slices.Equal(got, sequence(len(got))) {
			t.Errorf("%s answered %v: something was lost that was not the last", v.ID, got)
		}
		if len(got) == announces {
			t.Errorf("%s has answered all: it was not killed in time", v.ID)
		}
	}
	for _, s := range append(survivors, c) {
		from, to := offered(t, victims[1], s, each), answered(t, victims[1], s, each)
		if !slices.Equal(from, sequence(len(from))) || !slices.Equal(to, sequence(len(to))) || len(to) > len(from) {
			t.Errorf("%s had offers %v, and answers of it came to %v: something was lost that was not the last", s.ID, from, to)
		}
	}
	for _, s := range append(survivors, c) {
		members(t, s, "kill", 4)
	}
	alive(t, append(survivors, c)...)

	// It comes back as who it was.
	l.startNode(1, nettest.NodeConfig{Dir: l.nodes[1].Dir})
	l.start()
	again := append(survivors, c)
	for i := range victims {
		again = append(again, l.client(1, fmt.Sprintf("back%d", i), "kill"))
	}
	for _, o := range again {
		members(t, o, "kill", len(again))
		reaches(t, o, "kill", others(again, o)...)
	}
	alive(t, again...)
}

// answered are the numbers of those announces of c to which by has sent an
// answer, sorted. Each announce had so many offers.
func answered(t *testing.T, c, by *nettest.Client, each int) []int {
	t.Helper()
	return announcesOf(t, c.Log().Answers, by, each)
}

// offered are the numbers of those announces of which to got an offer.
func offered(t *testing.T, by, to *nettest.Client, each int) []int {
	t.Helper()
	return announcesOf(t, to.Log().Offers, by, each)
}

// announcesOf are the numbers of the announces that brought about those
// exchanges that somebody had with another.
func announcesOf(t *testing.T, all []nettest.Exchange, with *nettest.Client, each int) (list []int) {
	t.Helper()
	for _, e := range all {
		if e.From != with.ID {
			continue
		}
		n, err := strconv.Atoi(e.OfferID[12:])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, (n-1)/each)
	}
	slices.Sort(list)
	return list
}

// sequence is 0 to n-1.
func sequence(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}
