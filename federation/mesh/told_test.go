package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/registry"
)

// Who was told of is dialled, told the name under the link's key, and the info
// hash only once it has shown that it knows it: never before, even if it does not
// understand names.
func TestWhoIsToldOfIsToldTheNameFirst(t *testing.T) {
	for _, speaks := range []bool{true, false} {
		s, ih, keepers := asked(t, Config{})
		s.m.Told(s.now, keepers[0], registry.Name(s.m.cfg.BucketKey, keepers[0], ih), []Record{keeper(50)})
		s.to(s.now + 10*time.Millisecond)
		if got := s.dialled(); !slices.Equal(got, []Key{key(50)}) {
			t.Fatalf("dialled %x", got)
		}
		if speaks {
			s.m.Census(s.now, key(50), 5)
		}
		s.to(s.now + 5*time.Second)
		if told := s.toldOf(50); len(told) > 0 != speaks {
			t.Errorf("named %q", told)
		}
		if joins := s.of(ActJoin); len(joins) > 0 {
			t.Fatalf("told the info hash to %x", joins[0].Key)
		}
		s.to(s.now + 30*time.Second)
		if len(s.of(ActJoin)) > 0 {
			t.Fatal("told the info hash later")
		}
		s.m.Named(s.now, key(50), theirs(50), []uint64{s.nameOf(theirs(50), ih)})
		s.to(s.now + time.Second)
		if joins := s.of(ActJoin); len(joins) != 1 || joins[0].Key != key(50) {
			t.Errorf("%d joins once it showed that it knows the swarm", len(joins))
		}
	}
}

// Answers to nothing, to what others were asked, and second ones are dropped.
func TestAnswersThatNobodyAskedFor(t *testing.T) {
	s, ih, keepers := asked(t, Config{})
	network := s.m.cfg.BucketKey
	name := registry.Name(network, keepers[0], ih)
	s.m.Told(s.now, keepers[0], name+1, []Record{keeper(51)})                                // never asked
	s.m.Told(s.now, keepers[1], name, []Record{keeper(52)})                                  // of another
	s.m.Told(s.now, key(901), registry.Name(network, key(901), ih), []Record{keeper(53)})    // not responsible
	s.m.Told(s.now, key(29), registry.Name(network, key(29), ih), []Record{keeper(54)})      // not linked
	s.m.Told(s.now, keepers[0], name, []Record{keeper(0), {Key: keepers[0]}, recordOf(902)}) // ourselves, itself, one that keeps none
	s.m.Told(s.now, keepers[0], name, []Record{keeper(55)})                                  // a second time
	unverified := keeper(56)
	unverified.Unverified = true
	s.m.Told(s.now, keepers[1], registry.Name(network, keepers[1], ih), []Record{unverified})
	s.to(s.now + briefLink + time.Second) // not so brief that it counts as a failure
	s.m.LinkDown(s.now, keepers[2])
	s.m.LinkUp(s.now, keepers[2], Link{Dialled: true})
	s.m.Told(s.now, keepers[2], registry.Name(network, keepers[2], ih), []Record{keeper(57)}) // asked over another link
	s.to(s.now + time.Second)
	if dials := s.of(ActDial); len(dials) > 0 {
		t.Fatalf("dials node %d", index(dials[0].Key))
	}
	if n := s.m.stats.Dropped[DropTold]; n != 8 {
		t.Errorf("%d dropped", n)
	}
}

// Liars among the responsible can name a few nodes each, and not more than a
// few a second: what they name takes half of a swarm's places at most.
func TestHintsAreBounded(t *testing.T) {
	s, ih, keepers := asked(t, Config{})
	at := 100
	for i, k := range keepers {
		var junk []Record
		for range 8 {
			junk = append(junk, keeper(at))
			at++
		}
		s.m.Told(s.now, k, registry.Name(s.m.cfg.BucketKey, k, ih), junk)
		if n := len(s.m.swarms[ih].shares); i == 0 && n != hintsOfOne {
			t.Errorf("%d nodes of one answer are taken in", n)
		}
	}
	if n := len(s.m.swarms[ih].shares); n != hintsInAll {
		t.Errorf("%d nodes of %d are taken in", n, at-100)
	}
	// Each answer of many swarms brings some, up to the rate.
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprint("more", i))
		s.m.Touched(s.now, names[i], alone(1), true)
	}
	s.to(s.now + enlistAfter + 50*time.Millisecond)
	before, linked := s.m.stats.Told, s.dialled()
	linked = append(linked, keepers...)
	s.to(s.now + time.Second)
	from := s.now
	for range 10 {
		s.to(s.now + time.Second)
		for _, k := range linked {
			for _, ih := range names {
				s.m.Told(s.now, k, registry.Name(s.m.cfg.BucketKey, k, ih), []Record{keeper(at % 900)})
				at++
			}
		}
	}
	if got, most := s.m.stats.Told-before, uint64(hintBurst+hintRate*(s.now-from).Seconds()+5); got > most || got < 30 {
		t.Errorf("%d nodes taken in, want %d at most", got, most)
	}
}

// A node that was only told of, and showed nothing, keeps neither its link nor
// its place.
func TestWhoShowsNothingIsLetGo(t *testing.T) {
	s, ih, keepers := asked(t, Config{})
	s.m.Told(s.now, keepers[0], registry.Name(s.m.cfg.BucketKey, keepers[0], ih), []Record{keeper(50)})
	s.to(s.now + 10*time.Millisecond)
	s.dialled()
	s.m.Census(s.now, key(50), 5)
	gone := false
	for range 120 {
		s.to(s.now + time.Second)
		for _, a := range s.of(ActClose) {
			gone = gone || a.Key == key(50)
			s.m.LinkDown(s.now, a.Key)
		}
		for _, a := range s.of(ActDial) {
			if gone && a.Key == key(50) {
				t.Fatal("dialled again")
			}
		}
		for _, a := range s.of(ActSearch) {
			s.m.SearchDone(s.now, a.ID, false)
		}
	}
	if n := s.m.nodes[key(50)]; !gone || n != nil && len(n.shares) > 0 {
		t.Errorf("link gone: %v", gone)
	}
}

// Whom a search names is dialled before those that only a responsible node
// named, whose hosts may answer nothing for as long as a dial waits.
func TestWhoIsToldOfIsDialledLast(t *testing.T) {
	s, ih, keepers := asked(t, Config{})
	s.m.cfg.MaxDials = 2
	at := 100
	for _, k := range keepers[:2] {
		s.m.Told(s.now, k, registry.Name(s.m.cfg.BucketKey, k, ih), []Record{keeper(at), keeper(at + 1), keeper(at + 2), keeper(at + 3)})
		at += 4
	}
	s.to(s.now + 10*time.Millisecond)
	busy := s.of(ActDial)
	if len(busy) != 2 {
		t.Fatalf("%d dials", len(busy))
	}
	for len(s.swarmSearches()) == 0 {
		s.to(s.now + time.Second)
	}
	q := s.swarmSearches()[0]
	s.m.Sighting(s.now, q.ID, private(50))
	s.to(s.now)
	s.m.Resolved(s.now, private(50), recordOf(50))
	s.to(s.now)
	s.m.DialDone(s.now, busy[0].ID, DialFailed, Key{})
	s.to(s.now)
	if dials := s.of(ActDial); len(dials) != 1 || dials[0].Key != key(50) {
		t.Errorf("dials %d nodes, first %d", len(dials), index(dials[0].Key))
	}
}
