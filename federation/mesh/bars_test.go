package mesh

import (
	"fmt"
	"testing"
	"time"
)

// Each time doubles the bar, up to a day; a quiet day makes up for it.
func TestBarsDouble(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	for _, want := range []time.Duration{30, 60, 120, 240, 480, 960, 1440, 1440} {
		want *= time.Minute
		s.m.Misbehaved(s.now, key(1), "p")
		if !s.m.Barred(s.now+want-1, key(1)) || s.m.Barred(s.now+want, key(1)) || s.m.Barred(s.now, key(2)) {
			t.Fatalf("not barred for %v", want)
		}
		if b := s.m.Bars(s.now); len(b) != 1 || b[0].Key != key(1) || b[0].For != want {
			t.Fatalf("%+v", b)
		}
		s.to(s.now + want)
	}
	s.to(s.now + barMemory + 1)
	s.m.Misbehaved(s.now, key(1), "p")
	if s.m.Barred(s.now+barFirst, key(1)) {
		t.Error("what it did days ago counts")
	}
	if s.m.BarredAt(s.now, "p", s.now) {
		t.Error("one key bars its prefix")
	}
}

// A prefix of which several keys were barred is, for those who came after.
func TestBarsOfAPrefix(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	s.to(time.Hour)
	began := s.now
	for i := range barPrefix {
		if s.m.BarredAt(s.now, "p", s.now) {
			t.Fatalf("barred after %d keys", i)
		}
		s.m.Misbehaved(s.now, key(1+i), "p")
		s.m.Misbehaved(s.now, key(1+i), "p") // the same once more does not count
		s.to(s.now + time.Minute)
	}
	if !s.m.BarredAt(s.now, "p", began) || !s.m.BarredAt(s.now, "p", s.now) {
		t.Error("not barred")
	}
	if s.m.BarredAt(s.now, "p", began-1) {
		t.Error("who was known before pays for those who came after")
	}
	if s.m.BarredAt(s.now, "q", s.now) {
		t.Error("another prefix is barred")
	}
	s.to(s.now + barFirst)
	if s.m.BarredAt(s.now, "p", s.now) {
		t.Error("barred for ever")
	}
}

// Bars outlive what is known of a node, are bounded, and those that are to last
// longest are kept.
func TestBarsAreBounded(t *testing.T) {
	s := newScript(t, Config{NoRendezvous: true})
	for range 3 {
		s.m.Misbehaved(s.now, key(0), "worst")
	}
	for i := range 3 * maxBars {
		s.m.Misbehaved(s.now, key(1+i), fmt.Sprint("p", i))
	}
	if s.to(s.now + time.Second); len(s.m.barredKeys) != maxBars || len(s.m.barredPrefixes) != maxBars || s.m.Stats().Dropped[DropBars] == 0 {
		t.Errorf("%d keys, %d prefixes", len(s.m.barredKeys), len(s.m.barredPrefixes))
	}
	if !s.m.Barred(s.now, key(0)) || !s.m.Barred(s.now, key(3*maxBars)) {
		t.Error("the wrong ones were forgotten")
	}
}

// A barred node is not dialled, whatever is learned of it meanwhile.
func TestBarredNodesAreNotDialled(t *testing.T) {
	s := newScript(t, Config{})
	s.m.Misbehaved(s.now, key(1), "p")
	s.m.Learn(s.now, recordOf(1))
	if s.to(barFirst - time.Second); len(s.of(ActDial)) != 0 {
		t.Fatal("dialled")
	}
	if s.to(barFirst + 2*time.Minute); len(s.of(ActDial)) == 0 {
		t.Error("left alone for ever")
	}
}
