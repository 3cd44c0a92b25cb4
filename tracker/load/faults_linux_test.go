package load_test

import (
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker/load"
)

// every lets a spoiler act on one in n frames of a kind, once all have joined.
func every(n int, kind string, act func(f *fake, to *fakePeer, frame map[string]any)) func(*fake, string, *fakePeer, map[string]any) {
	return func(f *fake, k string, to *fakePeer, frame map[string]any) {
		if k != kind || f.sent["offer"] == 0 || f.sent[k]%n != 0 {
			f.send(to, frame)
			return
		}
		act(f, to, frame)
	}
}

func change(of any, from, to string) any {
	m := of.(map[string]any)
	m["sdp"] = strings.Replace(m["sdp"].(string), from, to, 1)
	return m
}

// Each fault that a tracker can have is reported, and as what it is.
func TestFaults(t *testing.T) {
	lose := func(*fake, *fakePeer, map[string]any) {}
	twice := func(f *fake, to *fakePeer, frame map[string]any) { f.send(to, frame); f.send(to, frame) }
	later := func(f *fake, to *fakePeer, frame map[string]any) {
		time.AfterFunc(100*time.Millisecond, func() { f.send(to, frame) })
	}
	member := func(name string, value any) func(*fake, *fakePeer, map[string]any) {
		return func(f *fake, to *fakePeer, frame map[string]any) {
			frame[name] = value
			f.send(to, frame)
		}
	}
	for name, c := range map[string]struct {
		spoil func(*fake, string, *fakePeer, map[string]any)
		want  func(*load.Faults) *int64
	}{
		"reply lost":   {every(5, "reply", lose), func(f *load.Faults) *int64 { return &f.RepliesLost }},
		"offer lost":   {every(5, "offer", lose), func(f *load.Faults) *int64 { return &f.OffersLost }},
		"answer lost":  {every(5, "answer", lose), func(f *load.Faults) *int64 { return &f.AnswersLost }},
		"reply twice":  {every(5, "reply", twice), func(f *load.Faults) *int64 { return &f.RepliesUnasked }},
		"offer twice":  {every(5, "offer", twice), func(f *load.Faults) *int64 { return &f.OffersTwice }},
		"answer twice": {every(5, "answer", twice), func(f *load.Faults) *int64 { return &f.AnswersTwice }},
		"reply late":   {every(5, "reply", later), func(f *load.Faults) *int64 { return &f.Late }},
		"answer late":  {every(5, "answer", later), func(f *load.Faults) *int64 { return &f.Late }},

		"offer to two peers": {every(5, "offer", func(f *fake, to *fakePeer, frame map[string]any) {
			f.send(to, frame)
			f.send(f.other(to, true), frame)
		}), func(f *load.Faults) *int64 { return &f.OffersTwice }},
		"offer back to its sender": {every(5, "offer", func(f *fake, to *fakePeer, frame map[string]any) {
			f.send(f.swarms[to.swarm][frame["peer_id"].(string)], frame)
		}), func(f *load.Faults) *int64 { return &f.Misrouted }},
		"offer in another swarm": {every(5, "offer", func(f *fake, to *fakePeer, frame map[string]any) {
			if q := f.other(to, false); q != nil {
				f.send(q, frame)
			}
		}), func(f *load.Faults) *int64 { return &f.Misrouted }},
		"offer in another swarm, under its name": {every(5, "offer", func(f *fake, to *fakePeer, frame map[string]any) {
			if q := f.other(to, false); q != nil {
				frame["info_hash"] = q.swarm
				f.send(q, frame)
			}
		}), func(f *load.Faults) *int64 { return &f.Misrouted }},
		"answer to another": {every(5, "answer", func(f *fake, to *fakePeer, frame map[string]any) {
			f.send(f.other(to, true), frame)
		}), func(f *load.Faults) *int64 { return &f.Misrouted }},

		"offer altered": {every(5, "offer", func(f *fake, to *fakePeer, frame map[string]any) {
			frame["offer"] = change(frame["offer"], "webrtc", "webrct")
			f.send(to, frame)
		}), func(f *load.Faults) *int64 { return &f.Altered }},
		"answer altered": {every(5, "answer", func(f *fake, to *fakePeer, frame map[string]any) {
			frame["answer"] = change(frame["answer"], "active", "passive")
			f.send(to, frame)
		}), func(f *load.Faults) *int64 { return &f.Altered }},
		"offer with another's id":  {every(5, "offer", member("peer_id", "-WW0208-aaaaaaaaaaaa")), func(f *load.Faults) *int64 { return &f.Altered }},
		"answer with another's id": {every(5, "answer", member("peer_id", "-WW0208-aaaaaaaaaaaa")), func(f *load.Faults) *int64 { return &f.Altered }},
		"offer id altered":         {every(5, "offer", member("offer_id", "abc")), func(f *load.Faults) *int64 { return &f.Altered }},
		"answer's offer id altered": {every(5, "answer", func(f *fake, to *fakePeer, frame map[string]any) {
			frame["offer_id"] = frame["offer_id"].(string) + "x"
			f.send(to, frame)
		}), func(f *load.Faults) *int64 { return &f.Altered }},
		"an offer of nobody": {every(5, "offer", func(f *fake, to *fakePeer, frame map[string]any) {
			f.send(to, frame)
			id := []rune(frame["offer_id"].(string))
			frame["offer_id"] = string(id[:9]) + "AAAAB" + string(id[14:])
			f.send(to, frame)
		}), func(f *load.Faults) *int64 { return &f.Unknown }},

		"wrong counts":                   {every(5, "reply", member("incomplete", 1)), func(f *load.Faults) *int64 { return &f.Counts }},
		"seeds as leechers":              {every(5, "reply", member("complete", 0)), func(f *load.Faults) *int64 { return &f.Counts }},
		"no interval":                    {every(5, "reply", member("interval", 0)), func(f *load.Faults) *int64 { return &f.Malformed }},
		"an interval that is no integer": {every(5, "reply", member("interval", "120")), func(f *load.Faults) *int64 { return &f.Malformed }},
		"another action":                 {every(5, "reply", member("action", "welcome")), func(f *load.Faults) *int64 { return &f.Malformed }},
		"failure":                        {every(5, "reply", member("failure reason", "no")), func(f *load.Faults) *int64 { return &f.Refused }},
		"no JSON": {every(5, "reply", func(f *fake, to *fakePeer, frame map[string]any) {
			f.send(to, frame)
			f.raw(to, []byte(`{"action":"announce"`))
		}), func(f *load.Faults) *int64 { return &f.Malformed }},
		"closed": {every(50, "offer", func(f *fake, to *fakePeer, frame map[string]any) {
			to.conn.Close()
		}), func(f *load.Faults) *int64 { return &f.Disconnected }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.spoil = c.spoil
			cfg := small(f.listen())
			cfg.Drain = 300 * time.Millisecond
			if strings.HasSuffix(name, "late") {
				cfg.Late = 50 * time.Millisecond
			}
			report := run(t, cfg)
			if *c.want(&report.Faults) == 0 {
				t.Errorf("not noticed: %+v", report.Faults)
			}
		})
	}
}

// What a correct tracker sends is no fault in any form of JSON.
func TestOtherJSON(t *testing.T) {
	report := run(t, small(newFake(t).listen()))
	if n := report.Faults.Total(); n != 0 {
		t.Errorf("%d faults: %+v", n, report.Faults)
	}
	if report.Answer.Count != 4*report.Reply.Count || report.Reply.Count == 0 {
		t.Errorf("%+v", report)
	}
}

// Two nodes: what crosses between them is counted as relayed.
func TestTwoNodes(t *testing.T) {
	f := newFake(t)
	cfg := small(f.listen(), f.listen())
	halves := run(t, cfg)
	cfg.Whole = true
	cfg.Seed[0]++
	whole := run(t, cfg)
	for _, r := range []*load.Report{halves, whole} {
		if n := r.Faults.Total(); n != 0 {
			t.Errorf("%d faults: %+v", n, r.Faults)
		}
	}
	if halves.Relayed == 0 || halves.RelayedAnswer.Count == 0 || halves.Answer.Count == 0 {
		t.Errorf("halves: %+v", halves)
	}
	if whole.Relayed != 0 || whole.RelayedAnswer.Count != 0 || whole.Answer.Count == 0 {
		t.Errorf("whole: %+v", whole)
	}
	// Two that do not know each other.
	cfg = small(newFake(t).listen(), newFake(t).listen())
	cfg.Meet = 10 * time.Millisecond
	if report := run(t, cfg); report.Faults.NeverMet != 3 {
		t.Errorf("%+v", report.Faults)
	}
}
