package tracker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker/access"
	"github.com/draeder/peerservers/tracker/wire"
)

func TestIntroduction(t *testing.T) {
	trk := newTracker(t, nil)
	a, b := open(trk, Client{}), open(trk, Client{})
	a.join(t, hash, pid("a"))
	b.announce(hash, pid("b"), "o1")
	if m := b.one(t); m["incomplete"] != 2.0 {
		t.Errorf("reply: %v", m)
	}
	if m := a.one(t); m["peer_id"] != pid("b") || m["offer_id"] != "o1" {
		t.Errorf("offer: %v", m)
	}
	a.answer(hash, pid("a"), pid("b"), "o1")
	a.none(t)
	if m := b.one(t); m["peer_id"] != pid("a") || m["offer_id"] != "o1" || m["to_peer_id"] != nil {
		t.Errorf("answer: %v", m)
	}
}

// Closing leaves every swarm, by whatever peer id it was joined (case 20).
func TestCloseLeavesEverything(t *testing.T) {
	w := new(watch)
	trk := newTracker(t, func(c *Config) { c.Watcher = w })
	a := open(trk, Client{})
	a.join(t, hash, pid("a"))
	a.join(t, hash, pid("b"))
	a.join(t, hash2, pid("c"))
	if n := trk.Stats(); n.Swarm.Members != 3 || n.Swarm.Swarms != 2 || n.Sessions != 1 {
		t.Errorf("before: %+v", n)
	}
	before := w.count(hash)
	a.Close()
	a.Close()
	if n := trk.Stats(); n.Swarm.Members != 0 || n.Swarm.Swarms != 0 || n.Sessions != 0 {
		t.Errorf("after: %+v", n)
	}
	if w.count(hash) == before {
		t.Error("the watcher was not told")
	}
	a.announce(hash, pid("a"))
	a.none(t)
	if n := trk.Stats(); n.Swarm.Members != 0 {
		t.Errorf("a closed session joined: %+v", n)
	}
}

// A session that closes while it announces owns nothing afterwards.
func TestCloseDuringAnnounce(t *testing.T) {
	trk := newTracker(t, nil)
	for i := range 200 {
		a := open(trk, Client{})
		done := make(chan struct{})
		go func() { a.announce(hash, pid("a")); close(done) }()
		if i%2 == 0 {
			time.Sleep(time.Duration(i) * 100 * time.Nanosecond)
		}
		a.Close()
		<-done
		if n := trk.Stats().Swarm.Members; n != 0 {
			t.Fatalf("round %d: %d members", i, n)
		}
	}
}

func TestFaultsAreAnsweredAndCounted(t *testing.T) {
	trk := newTracker(t, nil)
	a := open(trk, Client{})
	for _, c := range []struct {
		frame, action, infoHash string
		fault                   wire.Fault
	}{
		{"nonsense", "announce", "", wire.FaultSyntax},
		{"[]", "announce", "", wire.FaultNotObject},
		{`{"action":"stop","info_hash":"` + hash + `"}`, "announce", hash, wire.FaultAction},
		{`{"action":"announce","peer_id":"x"}`, "announce", "", wire.FaultInfoHash},
		{`{"action":"announce","info_hash":"` + hash + `"}`, "announce", hash, wire.FaultPeerID},
		{`{"action":"scrape","info_hash":5}`, "scrape", "", wire.FaultInfoHash},
	} {
		before := trk.Stats().Faults[c.fault]
		a.send("%s", c.frame)
		m := a.one(t)
		if m["action"] != c.action || m["info_hash"] != c.infoHash || m["failure reason"] == "" {
			t.Errorf("%s: %v", c.frame, m)
		}
		if got := trk.Stats().Faults[c.fault]; got != before+1 {
			t.Errorf("%s: fault %v not counted", c.frame, c.fault)
		}
	}
	a.send(`{"action":"announce","info_hash":%q,"peer_id":%q,"to_peer_id":"x","offer_id":"y","answer":5}`, hash, pid("a"))
	a.none(t) // nothing is ever said to an answer
}

func TestStrikes(t *testing.T) {
	now := time.Unix(1000, 0)
	trk := newTracker(t, func(c *Config) { c.Now = func() time.Time { return now } })
	a := open(trk, Client{})
	strike := func(n int) {
		for range n {
			a.send("nonsense")
		}
	}
	strike(maxStrikes - 1)
	now = now.Add(strikeWindow + time.Second)
	strike(maxStrikes - 1)
	if a.code != 0 {
		t.Fatalf("closed with %d: the window was not kept", a.code)
	}
	// Faults that a client may commit do not count.
	for range 100 {
		a.send(`{"action":"announce"}`)
	}
	if a.code != 0 {
		t.Fatal("closed for a fault that clients commit")
	}
	strike(1)
	if a.code != 1008 {
		t.Fatalf("closed with %d, want 1008", a.code)
	}
}

// Case 31, and that the rules are for announces only.
func TestAccess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deny")
	os.WriteFile(file, nil, 0o600)
	rules, err := access.New(access.Config{DenyHashes: file})
	if err != nil {
		t.Fatal(err)
	}
	trk := newTracker(t, func(c *Config) { c.Access = rules })
	a, b := open(trk, Client{}), open(trk, Client{})
	a.join(t, hash, pid("a"))
	b.announce(hash, pid("b"), "o")
	a.take()
	b.take()

	os.WriteFile(file, []byte(strings.Repeat("61", 20)), 0o600)
	if err := rules.Reload(); err != nil {
		t.Fatal(err)
	}
	a.answer(hash, pid("a"), pid("b"), "o")
	if m := b.one(t); m["answer"] == nil {
		t.Errorf("an answer was held up: %v", m)
	}
	a.announce(hash, pid("a"))
	if m := a.one(t); m["failure reason"] == nil || m["info_hash"] != hash || m["action"] != "announce" {
		t.Errorf("a denied announce: %v", m)
	}
	a.send(`{"action":"scrape","info_hash":%q}`, hash)
	if m := a.one(t); m["files"].(map[string]any)[hash].(map[string]any)["incomplete"] != 0.0 {
		t.Errorf("a denied scrape: %v", m)
	}
	a.send(`{"action":"announce","info_hash":%q,"peer_id":%q,"event":"stopped"}`, hash, pid("a"))
	a.take()
	if st, _ := trk.State([]byte(hash)); st.LocalIncomplete != 1 {
		t.Errorf("stopping a denied one: %+v", st)
	}
	if n := trk.Stats().Refused[access.Denied]; n != 2 {
		t.Errorf("%d refusals counted", n)
	}
}

func TestMembershipLimit(t *testing.T) {
	now := time.Unix(1000, 0)
	trk := newTracker(t, func(c *Config) {
		c.MaxMemberships = 3
		c.Now = func() time.Time { return now }
	})
	a := open(trk, Client{})
	for i := range 3 {
		a.join(t, fmt.Sprintf("%020d", i), pid("a"))
	}
	refused := func() bool {
		a.announce(hash, pid("a"))
		return a.one(t)["failure reason"] != nil
	}
	if !refused() {
		t.Error("a fourth membership was accepted")
	}
	a.join(t, fmt.Sprintf("%020d", 1), pid("a")) // one it has
	a.send(`{"action":"announce","info_hash":%q,"peer_id":%q,"event":"stopped"}`, fmt.Sprintf("%020d", 0), pid("a"))
	a.take()
	if refused() {
		t.Error("a place that was left was not given again")
	}
	// Memberships that expired make room, once somebody needs it.
	for range 400 {
		now = now.Add(time.Second)
		trk.sweep()
	}
	a.join(t, hash2, pid("a"))
	if n := trk.Stats(); n.Swarm.Members != 1 || n.MembershipLimit != 1 {
		t.Errorf("%+v", n)
	}
}

func TestScrape(t *testing.T) {
	trk := newTracker(t, nil)
	a := open(trk, Client{})
	a.join(t, hash, pid("a"))
	a.send(`{"action":"scrape","info_hash":[%q,%q]}`, hash, hash2)
	files := a.one(t)["files"].(map[string]any)
	if len(files) != 2 || files[hash].(map[string]any)["incomplete"] != 1.0 || files[hash2].(map[string]any)["incomplete"] != 0.0 {
		t.Errorf("%v", files)
	}
	a.send(`{"action":"scrape"}`)
	if m := a.one(t); m["action"] != "scrape" || m["failure reason"] == nil {
		t.Errorf("scrape of all, which is off: %v", m)
	}
	for range 1000 {
		a.send(`{"action":"scrape","info_hash":[]}`)
		if m := a.one(t); len(m["files"].(map[string]any)) != 0 {
			t.Fatalf("keepalive: %v", m)
		}
	}
	if n := trk.Stats(); n.Swarm.Swarms != 1 {
		t.Errorf("scrapes made swarms: %+v", n)
	}

	all := newTracker(t, func(c *Config) { c.ScrapeAll = true })
	b := open(all, Client{})
	b.join(t, hash, pid("b"))
	b.join(t, hash2, pid("b"))
	b.send(`{"action":"scrape"}`)
	if files := b.one(t)["files"].(map[string]any); len(files) != 2 || files[hash2] == nil {
		t.Errorf("scrape of all: %v", files)
	}
}

func TestIntervalIsSpread(t *testing.T) {
	trk := newTracker(t, nil)
	a := open(trk, Client{})
	seen := map[int]int{}
	for range 5000 {
		n := a.interval()
		if n < 108 || n > 132 {
			t.Fatalf("interval %d", n)
		}
		seen[n]++
	}
	if len(seen) != 25 {
		t.Errorf("%d different intervals, want 25", len(seen))
	}
	short := newTracker(t, func(c *Config) { c.Interval = MinInterval })
	b := open(short, Client{})
	for range 1000 {
		if n := b.interval(); n < 30 || n > 33 {
			t.Fatalf("interval %d", n)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{Interval: time.Second}, {Interval: 48 * time.Hour}, {Shards: -1}, {Shards: 1 << 20}, {MaxMemberships: -1}, {MaxPerSource: -1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	if _, err := New(Config{}); err != nil {
		t.Error(err)
	}
}

func TestMembersOfASession(t *testing.T) {
	trk := newTracker(t, nil)
	a := open(trk, Client{})
	a.join(t, hash, pid("a"))
	a.send(`{"action":"announce","info_hash":%q,"peer_id":%q,"left":0}`, hash2, pid("b"))
	got := map[string]bool{}
	a.Members(func(infoHash, peerID string, seeder bool) bool {
		got[infoHash+peerID] = seeder
		return true
	})
	if len(got) != 2 || got[hash+pid("a")] || !got[hash2+pid("b")] {
		t.Errorf("%v", got)
	}
}
