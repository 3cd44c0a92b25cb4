package tracker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

func joinMsg(infoHash string, n int) NodeJoin {
	return NodeJoin{InfoHash: []byte(infoHash), Incomplete: n}
}

func offer(id string) swarm.Offer {
	raw := []byte(`"` + id + `"`)
	return swarm.Offer{ID: raw, Key: offerKey(raw), Payload: []byte(`{"type":"offer","sdp":"n"}`)}
}

// An offer goes to a node in one call, its answer comes back, and the reverse.
func TestNodeRelaysBothWays(t *testing.T) {
	trk := newTracker(t, nil)
	a := open(trk, Client{})
	a.join(t, hash, pid("a"))
	link := new(fakeNode)
	n := trk.OpenNode(NodeKey{1}, NodeInfo{FirstSeen: time.Now()})
	n.Attach(link, "192.0.2.0/24")
	if n.Join(joinMsg(hash2, 5)) {
		t.Error("joined a swarm without local members")
	}
	if !n.Join(joinMsg(hash, 5)) {
		t.Fatal("could not join")
	}
	a.announce(hash, pid("a"), "o1", "o2", "o3")
	if m := a.one(t); m["incomplete"] != 6.0 {
		t.Errorf("counts without the node: %v", m)
	}
	if len(link.offers) != 1 || link.offers[0] != hash+" "+pid("a")+` "o1" "o2" "o3"` {
		t.Fatalf("relayed: %q", link.offers)
	}
	n.Answer(swarm.Answer{
		InfoHash: []byte(hash), ToPeerID: []byte(pid("a")), PeerID: []byte(pid("far")), OfferID: []byte(`"o2"`),
		OfferKey: offerKey([]byte(`"o2"`)), Payload: []byte(`{"type":"answer","sdp":"far"}`),
	})
	if m := a.one(t); m["peer_id"] != pid("far") || m["offer_id"] != "o2" {
		t.Errorf("answer: %v", m)
	}

	n.Offers([]byte(hash), []byte(pid("far")), []swarm.Offer{offer("n1")})
	if m := a.one(t); m["peer_id"] != pid("far") || m["offer_id"] != "n1" {
		t.Errorf("offer from the node: %v", m)
	}
	a.answer(hash, pid("a"), pid("far"), "n1")
	if len(link.answers) != 1 || link.answers[0] != hash+" to "+pid("far")+" by "+pid("a")+` for "n1"` {
		t.Errorf("answer to the node: %q", link.answers)
	}
	n.Offers([]byte(hash), []byte(pid("far")), []swarm.Offer{offer("n2"), offer("n3")})
	if len(link.refused) != 1 {
		t.Errorf("one of two offers fits one member: %q", link.refused)
	}
}

// offerKey is the comparable form of an offer id.
func offerKey(raw []byte) []byte {
	key, ok := wire.OfferKey(raw, nil)
	if !ok {
		panic("bad offer id")
	}
	return key
}

// The link changes: memberships move, and only the link in use can end them.
func TestAttachReplacesSilently(t *testing.T) {
	trk := newTracker(t, nil)
	a := open(trk, Client{})
	a.join(t, hash, pid("a"))
	first, second := new(fakeNode), new(fakeNode)
	n := trk.OpenNode(NodeKey{1}, NodeInfo{})
	n.Attach(first, "")
	n.Join(joinMsg(hash, 3))
	if trk.OpenNode(NodeKey{1}, NodeInfo{}) != n {
		t.Error("a second session for one key")
	}
	n.Attach(second, "")
	n.Detach(first)
	a.announce(hash, pid("a"), "o")
	if len(first.offers) != 0 || len(second.offers) != 1 {
		t.Errorf("offers: %q and %q", first.offers, second.offers)
	}
	n.Detach(second)
	if st, _ := trk.State([]byte(hash)); st.Nodes != 0 {
		t.Errorf("after the last link: %+v", st)
	}
	if n.Join(joinMsg(hash, 3)) {
		t.Error("joined without a link")
	}
}

// What went out over a link that was lost may be answered over the next one,
// until the session is forgotten.
func TestLedgerSurvivesTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trk := newTracker(t, nil)
		done := make(chan struct{})
		ctx := t.Context()
		go func() { trk.Run(ctx); close(done) }()
		a := open(trk, Client{})
		a.join(t, hash, pid("a"))
		link := new(fakeNode)
		n := trk.OpenNode(NodeKey{1}, NodeInfo{})
		n.Attach(link, "")
		n.Join(joinMsg(hash, 3))
		a.announce(hash, pid("a"), "o")
		a.take()
		n.Detach(link)
		time.Sleep(100 * time.Second)
		a.join(t, hash, pid("a"))
		again := trk.OpenNode(NodeKey{1}, NodeInfo{})
		if again != n {
			t.Error("the session was forgotten while its offers could be answered")
		}
		again.Attach(new(fakeNode), "")
		again.Answer(swarm.Answer{
			InfoHash: []byte(hash), ToPeerID: []byte(pid("a")), PeerID: []byte(pid("far")), OfferID: []byte(`"o"`),
			OfferKey: offerKey([]byte(`"o"`)), Payload: []byte(`{"sdp":""}`),
		})
		if m := a.one(t); m["answer"] == nil {
			t.Errorf("%v", m)
		}
		time.Sleep(200 * time.Second) // linked: not forgotten
		if trk.OpenNode(NodeKey{1}, NodeInfo{}) != n {
			t.Error("a linked session was forgotten")
		}
		n.Detach(n.link.Load().sink)
		time.Sleep(nodeLinger + time.Second)
		if trk.OpenNode(NodeKey{1}, NodeInfo{}) == n {
			t.Error("the session was never forgotten")
		}
	})
}

// What a node did in the swarms of one shard is known in those of others, and
// for a while after its link is gone.
func TestDeedsOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trk := newTracker(t, func(c *Config) { c.Shards = 16 })
		done := make(chan struct{})
		ctx := t.Context()
		go func() { trk.Run(ctx); close(done) }()
		n := trk.OpenNode(NodeKey{1}, NodeInfo{})
		link := new(fakeNode)
		n.Attach(link, "")
		for i := range 8 {
			a := open(trk, Client{})
			h, far := hash[:19]+string(rune('a'+i)), pid("far")
			a.join(t, h, pid("a"))
			n.Join(joinMsg(h, 3))
			if want := (swarm.Trust{Met: i > 0, Proven: i > 0}); n.Trust().Met != want.Met || n.Trust().Proven != want.Proven {
				t.Fatalf("after %d swarms: %+v", i, n.Trust())
			}
			n.Offers([]byte(h), []byte(far), []swarm.Offer{offer("n")})
			a.answer(h, pid("a"), far, "n")
		}
		before := n.Trust()
		n.Detach(link)
		time.Sleep(provenLinger - time.Minute)
		if got := trk.OpenNode(NodeKey{1}, NodeInfo{}); got != n || got.Trust().Receivers < before.Receivers/2 {
			t.Errorf("a good name was forgotten: %+v, was %+v", got.Trust(), before)
		}
		time.Sleep(2 * time.Minute)
		if trk.OpenNode(NodeKey{1}, NodeInfo{}).Trust().Proven {
			t.Error("it is remembered for ever")
		}
	})
}

// A node's index forgets swarms that are gone, however many come and go.
func TestNodeIndexIsBounded(t *testing.T) {
	trk := newTracker(t, nil)
	n := trk.OpenNode(NodeKey{1}, NodeInfo{})
	n.Attach(new(fakeNode), "")
	for i := range 1000 {
		a := open(trk, Client{})
		h := hash[:16] + string([]byte{byte('a' + i%26), byte('a' + i/26%26), byte('a' + i/676), 'x'})
		a.join(t, h, pid("a"))
		if !n.Join(joinMsg(h, 1)) {
			t.Fatal("could not join")
		}
		a.Close()
	}
	if len(n.joined) > 200 {
		t.Errorf("%d entries for no swarm at all", len(n.joined))
	}
}

// Members expire, claims are settled and the watcher hears of it (Run).
func TestRunSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watch)
		trk := newTracker(t, func(c *Config) { c.Watcher = w })
		done := make(chan struct{})
		ctx := t.Context()
		go func() { trk.Run(ctx); close(done) }()
		a, b := open(trk, Client{}), open(trk, Client{})
		a.join(t, hash, pid("a"))
		b.join(t, hash2, pid("b"))
		touched := w.count(hash)
		for range 6 {
			time.Sleep(time.Minute)
			b.Ping()
		}
		synctest.Wait()
		if n := trk.Stats().Swarm; n.Members != 1 {
			t.Errorf("%d members, want only the one that pings", n.Members)
		}
		if w.count(hash) == touched {
			t.Error("the watcher was not told")
		}
		// A claim to b's peer id: b is asked, does not answer, and loses it.
		c := open(trk, Client{})
		b.Seen()
		c.announce(hash2, pid("b"))
		c.one(t)
		if b.pings != 1 {
			t.Errorf("%d pings to the owner", b.pings)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b.Close()
		if st, _ := trk.State([]byte(hash2)); st.LocalIncomplete != 1 {
			t.Errorf("after the former owner's close: %+v", st)
		}
		c.Close()
		if st, ok := trk.State([]byte(hash2)); ok {
			t.Errorf("after the claimant's close: %+v", st)
		}
	})
}
