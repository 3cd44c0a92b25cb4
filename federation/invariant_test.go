package federation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws/wsutil"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/tracker"
)

// shapes are the kinds of frames that clients got, each with its members.
func shapes(list ...*client) (s []string) {
	for _, c := range list {
		c.mu.Lock()
		for _, b := range c.wire {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(b, &m); err != nil {
				s = append(s, "not JSON")
				continue
			}
			var names []string
			for name := range m {
				names = append(names, name)
			}
			sort.Strings(names)
			s = append(s, fmt.Sprint(string(m["action"]), names))
		}
		c.mu.Unlock()
	}
	slices.Sort(s)
	return slices.Compact(s)
}

func TestInvariant1NothingTellsAClientOfFederation(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		exchange := func(one, two *node, ih string) []string {
			x, y := one.client("alice"), two.client("bob")
			x.announce(ih, 2)
			y.announce(ih, 2)
			introduced(t, x, y, 5*time.Second)
			x.announce(ih, 0, "event", "stopped")
			return shapes(x, y)
		}
		alone, federated := exchange(a, a, hash(1)), exchange(a, b, hash(2))
		if !slices.Equal(alone, federated) {
			t.Fatalf("one tracker sends\n%v\ntwo federated ones\n%v", alone, federated)
		}
	})
}

func TestInvariant2CountsAndOffersSpanNodes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		nodes := []*node{w.start(1), w.start(2), w.start(3)}
		var all []*client
		for i := range 12 {
			c := nodes[i%3].client(fmt.Sprint("c", i))
			c.announce(hash(1), 5)
			all = append(all, c)
			time.Sleep(time.Second)
		}
		for range 6 {
			time.Sleep(20 * time.Second)
			for _, c := range all {
				c.announce(hash(1), 5)
			}
		}
		synctest.Wait()
		far := 0
		for i, c := range all {
			if last := c.replies[len(c.replies)-1]; last.Complete+last.Incomplete != 12 {
				t.Errorf("%s is told of %d peers", c.id, last.Complete+last.Incomplete)
			}
			offers, _ := c.got()
			for _, o := range offers {
				var from int
				fmt.Sscanf(o.from, "c%d", &from)
				if from%3 != i%3 {
					far++
				}
			}
		}
		// 8 of 11 others are elsewhere; "local first" would send none.
		total := 0
		for _, c := range all {
			offers, _ := c.got()
			total += len(offers)
		}
		if share := float64(far) / float64(total); share < 0.5 || share > 0.9 {
			t.Fatalf("%d of %d offers crossed a link", far, total)
		}
	})
}

func TestInvariant3OffersCrossOneLink(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		b := w.start(2)
		cb := b.client("bob")
		cb.announce(hash(1), 0)
		from, bystander := w.puppet(50, b), w.puppet(51, b)
		from.join(hash(1), 0, 10)
		bystander.join(hash(1), 0, 10)
		from.offer(hash(1), id20("mallory"), "o1", "o2", "o3", "o4")
		if offers, _ := cb.got(); len(offers) != 1 {
			t.Fatalf("the one peer got %d offers", len(offers))
		}
		if got := bystander.sent(frame.KindOffers); len(got) != 0 {
			t.Fatal("an offer crossed a second link")
		}
		if got := from.sent(frame.KindRefused); len(got) != 3 {
			t.Fatalf("%d of 3 offers came back", len(got))
		}
	})
}

func TestInvariant3OneAnswerPerOffer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		p, q := w.puppet(50, a), w.puppet(51, a)
		ca := a.client("alice")
		ca.announce(hash(1), 1)
		p.join(hash(1), 0, 1)
		offers := p.sent(frame.KindOffers)
		if len(offers) != 1 || len(offers[0].Offers.Offers) != 1 {
			t.Fatalf("the parked offer was not relayed: %v", offers)
		}
		id := offers[0].Offers.Offers[0].ID
		q.join(hash(1), 0, 1)
		q.answer(hash(1), ca.id, id20("eve"), id) // it went to another node
		p.answer(hash(1), ca.id, id20("paul"), []byte(`"never offered"`))
		if _, answers := ca.got(); len(answers) != 0 {
			t.Fatalf("answers without an offer arrived: %v", answers)
		}
		p.answer(hash(1), ca.id, id20("paul"), id)
		p.answer(hash(1), ca.id, id20("paul"), id)
		if _, answers := ca.got(); len(answers) != 1 {
			t.Fatalf("%d answers to one offer", len(answers))
		}
	})
}

func TestInvariant4NodesDoNotSpeakForLocalPeers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		p := w.puppet(50, a)
		ca, cb := a.client("alice"), a.client("bob")
		cb.mute = true
		cb.announce(hash(1), 0)
		ca.announce(hash(1), 0)
		p.join(hash(1), 0, 5)
		p.offer(hash(1), ca.id, "forged")
		if offers, _ := cb.got(); len(offers) != 0 {
			t.Fatalf("bob got an offer in alice's name: %v", offers)
		}
		refused := p.sent(frame.KindRefused)
		if len(refused) != 1 || refused[0].Refused.Reason != frame.ReasonLocalPeer {
			t.Fatalf("refused: %v", refused)
		}
		// Answers in the name of a local member, to an offer that it did get.
		for range 20 {
			time.Sleep(time.Minute)
			cb.announce(hash(1), 0)
			ca.announce(hash(1), 5)
			for _, f := range p.sent(frame.KindOffers) {
				for _, o := range f.Offers.Offers {
					p.answer(hash(1), ca.id, cb.id, o.ID)
				}
			}
		}
		if len(p.sent(frame.KindOffers)) == 0 {
			t.Fatal("the node never got an offer")
		}
		if _, answers := ca.got(); len(answers) != 0 {
			t.Fatalf("alice got answers in bob's name: %v", answers)
		}
		// Nor can it make a member leave.
		p.send(frame.Frame{Kind: frame.KindLeave, Leave: frame.Leave{InfoHash: []byte(hash(1))}})
		synctest.Wait()
		if st, ok := a.tr.State([]byte(hash(1))); !ok || st.LocalComplete+st.LocalIncomplete != 2 {
			t.Fatalf("members are %+v", st)
		}
	})
}

func TestInvariant5AnUnprovenNodeGetsLittle(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		var all []*client
		for i := range 20 {
			c := a.client(fmt.Sprint("c", i))
			c.announce(hash(1), 0)
			all = append(all, c)
		}
		p, q := w.puppet(50, a), w.puppet(51, a)
		p.join(hash(1), 1<<60, 1<<60) // claims anything, answers nothing
		q.join(hash(1), 1<<60, 1<<60)
		const rounds = 10
		for range rounds {
			time.Sleep(time.Minute)
			for _, c := range all {
				c.announce(hash(1), 5)
			}
		}
		n := 0
		for _, f := range append(p.sent(frame.KindOffers), q.sent(frame.KindOffers)...) {
			n += len(f.Offers.Offers)
		}
		// A tenth, and some burst.
		if total := rounds * len(all) * 5; n > total/8 {
			t.Fatalf("two new keys drew %d of %d offers", n, total)
		}
	})
}

func TestInvariant6PlainInfoHashOnlyToNamedNodes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a, b := w.start(1), w.start(2)
		listener := w.listen(60, "127.0.0.1:9960") // a seed: linked, named by no list
		a2 := w.start(3, seeds("ws://127.0.0.1:9960"))
		bystander := w.puppet(50, a) // linked, and named by no list
		ca, cb, cc := a.client("alice"), b.client("bob"), a2.client("carol")
		for _, c := range []*client{ca, cb, cc} {
			c.announce(hash(1), 5)
		}
		introduced(t, ca, cb, 5*time.Second)
		introduced(t, cc, cb, 5*time.Second)
		time.Sleep(10 * time.Minute)
		for _, c := range []*client{ca, cb, cc} {
			c.announce(hash(1), 5)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, p := range []*puppet{bystander, listener} {
			p.mu.Lock()
			if len(p.raw) == 0 {
				t.Error("no link, so nothing was tested")
			}
			for _, b := range p.raw {
				if bytes.Contains(b, []byte(hash(1))) {
					t.Errorf("the info hash was told to a node that no list named: %q", b)
				}
			}
			p.mu.Unlock()
		}
		// Having asked for it, the node is told.
		bystander.join(hash(1), 0, 1)
		if len(bystander.sent(frame.KindJoin)) != 1 {
			t.Error("a node that sent a join got none")
		}
	})
}

func TestInvariant6NothingButAHandshakeBeforeTheProof(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		// The list names an address whose record leads to a host that never
		// proves its key.
		liar := w.make(70)
		w.mu.Lock()
		delete(w.nodes, liar.hp)
		seen := make(chan []byte, 100)
		w.taps[liar.hp] = tapMessages(w, seen)
		w.mu.Unlock()
		plantNode(t, w, liar, hash(1))
		ca := a.client("alice")
		ca.announce(hash(1), 5)
		time.Sleep(time.Minute)
		synctest.Wait()
		liar.end()
		if len(seen) == 0 {
			t.Fatal("the host was not dialled")
		}
		for len(seen) > 0 {
			var f frame.Frame
			if err := f.Decode(<-seen, frame.DefaultLimits()); err != nil || f.Kind != frame.KindHello {
				t.Fatalf("a host that proved nothing was sent %v", f.Kind)
			}
		}
		// The other way round: whoever dials and does not prove gets a reply
		// to its hello and no more.
		c := w.dialRaw(a)
		_, hello, err := handshake.Dial(w.local(71), handshake.Entropy{Scalar: [32]byte{1}}, "ws://"+a.hp+"/federation", 1, handshake.Key{})
		if err != nil {
			t.Fatal(err)
		}
		if err := wsutil.WriteClientBinary(c, hello); err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			b, err := wsutil.ReadServerBinary(c)
			if err != nil {
				break
			}
			var f frame.Frame
			if err := f.Decode(b, frame.DefaultLimits()); err != nil || f.Kind != frame.KindHelloReply {
				t.Fatalf("got %v", f.Kind)
			}
			n++
		}
		if n != 1 {
			t.Fatalf("%d frames before the proof", n)
		}
	})
}

func TestInvariant7LocalClientsNeverWait(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		stuck := func(c *federation.Config, _ *tracker.Config) { c.Directory = blockedDirectory{} }
		a := w.start(1, stuck)
		// Nodes that share the swarm and read nothing, so that every write to
		// them is stuck, and one that floods.
		for i := range 3 {
			p := w.puppet(50+i, a)
			p.join(hash(1), 0, 100)
		}
		first := a.client("first")
		first.announce(hash(1), 0)
		for i := range 3 {
			w.deafPuppet(60+i, a).join(hash(1), 0, 1000)
		}
		flood := w.puppet(70, a)
		go func() {
			for i := range 5000 {
				if flood.send(frame.Frame{Kind: frame.KindJoin, Join: frame.Join{InfoHash: []byte(hash(i)), Incomplete: 1}}) != nil {
					return
				}
			}
		}()
		before := time.Now()
		for i := range 50 {
			x, y := a.client(fmt.Sprint("x", i)), a.client(fmt.Sprint("y", i))
			x.announce(hash(1000+i), 5)
			y.announce(hash(1000+i), 5)
			x.announce(hash(1), 20)
			introduced(t, x, y, 0)
		}
		if took := time.Since(before); took != 0 {
			t.Fatalf("clients waited %v", took)
		}
		if err := a.tr.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestInvariant8WhatAStuckLinkHoldsIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		c := a.client("alice")
		c.announce(hash(1), 0)
		d := w.deafPuppet(60, a)
		d.join(hash(1), 0, 100000)
		big := make([]byte, 60<<10)
		for i := range big {
			big[i] = 'x'
		}
		for i := range 400 {
			c.send(map[string]any{"action": "announce", "info_hash": hash(1), "peer_id": c.id, "numwant": 1, "left": 1, "offers": []any{
				map[string]any{"offer_id": fmt.Sprint(i), "offer": map[string]string{"type": "offer", "sdp": string(big)}},
			}})
		}
		st := a.fed.Stats()
		if st.OffersDropped == 0 {
			t.Fatal("nothing was dropped")
		}
		if max := uint64(2<<20)/(60<<10) + 2; st.OffersOut > max {
			t.Fatalf("%d offers of 60 KiB wait for one link, at most %d fit", st.OffersOut, max)
		}
		// The link that takes nothing is cut off in the end.
		eventually(t, 3*time.Minute, "the link ends", func() bool { return len(a.fed.Status().Links) == 0 })
		if err := a.fed.Check(); err != nil {
			t.Fatal(err)
		}
	})
}
