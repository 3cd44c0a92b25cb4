package swarm

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// steady is a swarm at work: its members announce in turn, with offers, and
// every offer is answered. Nothing joins or leaves.
type steady struct {
	tb       *Table
	now      time.Duration
	peers    [][]byte // of the owner one above
	announce Announce
	answer   Answer
	serial   [10][8]byte // offer ids
	out, re  []Effect
	next     int
}

func (st *steady) LastSeen(Owner) time.Duration { return st.now }
func (st *steady) LastPing(Owner) time.Duration { return st.now }
func (st *steady) Source(Owner) uint64          { return 0 }

func newSteady(peers int) *steady {
	st := &steady{now: time.Hour}
	st.tb = New(Config{}, st, [32]byte{9})
	st.announce = Announce{InfoHash: []byte("\u00a1b\u00c3d\u00e5f\u00e7h\u00e9j\u00ebl\u00edn\u00efp\u00f1r\u00f3t"), NumWant: 10, Offers: make([]Offer, 10)}
	payload := []byte(`{"type":"offer","sdp":"` + string(make([]byte, 1000)) + `"}`)
	for i := range st.announce.Offers {
		st.announce.Offers[i] = Offer{ID: st.serial[i][:], Key: st.serial[i][:], Payload: payload}
	}
	for i := range peers {
		st.peers = append(st.peers, fmt.Appendf(nil, "-WW0208-%012d", i))
		a := st.announce
		a.PeerID, a.Offers = st.peers[i], nil
		st.tb.Announce(st.now, Owner(i+1), &a, nil)
	}
	return st
}

// step is an announce of the next member with 10 offers.
func (st *steady) step() {
	i := st.next % len(st.peers)
	st.next++
	st.now += 10 * time.Millisecond
	st.announce.PeerID = st.peers[i]
	for k := range st.serial {
		st.serial[k] = [8]byte{byte(st.next), byte(st.next >> 8), byte(st.next >> 16), byte(st.next >> 24), byte(k)}
	}
	st.out, _ = st.tb.Announce(st.now, Owner(i+1), &st.announce, st.out[:0])
}

// reply answers the offers of the step before, and says how many.
func (st *steady) reply() (n int) {
	for k := range st.out {
		e := &st.out[k]
		if e.Kind != EffectOffer {
			continue
		}
		st.answer = Answer{InfoHash: e.InfoHash, PeerID: st.peers[e.To-1], ToPeerID: e.PeerID,
			OfferID: e.Offer.ID, OfferKey: e.Offer.Key, Payload: e.Offer.Payload}
		st.re, _ = st.tb.Answer(st.now, e.To, &st.answer, st.re[:0])
		n += len(st.re)
	}
	return n
}

func TestHotPathAllocatesNothing(t *testing.T) {
	for _, peers := range []int{12, 50, 1000} {
		st := newSteady(peers)
		for range 3000 {
			st.step()
			st.reply()
		}
		answers := 0
		if n := testing.AllocsPerRun(1000, func() {
			st.step()
			answers = st.reply()
		}); n != 0 {
			t.Errorf("%d peers: an announce and its answers allocate %v times", peers, n)
		}
		if answers != 10 {
			t.Errorf("%d peers: %d answers", peers, answers)
		}
	}
}

// With nodes in the swarm it is the same, strangers or proven ones of several ages:
// relaying costs no memory either.
func TestRelayingAllocatesNothing(t *testing.T) {
	relayingAllocatesNothing(t, nil)
	relayingAllocatesNothing(t, vouched{})
}

func relayingAllocatesNothing(t *testing.T, r Reputation) {
	t.Helper()
	st := newSteady(50)
	for i := range 3 {
		st.tb.NodeJoin(st.now, Owner(1000+i), &NodeJoin{InfoHash: st.announce.InfoHash, Incomplete: 20, Reputation: r,
			Tagged: true, IncompleteTags: make([]uint64, 20), Group: fmt.Sprint(i), FirstSeen: st.now - time.Duration(100*i)*time.Hour}, nil)
	}
	relayed := 0
	step := func() {
		st.step()
		for k := range st.out {
			if e := &st.out[k]; e.Kind == EffectNodeOffer {
				relayed++
				st.answer = Answer{InfoHash: e.InfoHash, PeerID: st.peers[0][:5], ToPeerID: e.PeerID, OfferKey: e.Offer.Key}
				st.re, _ = st.tb.NodeAnswer(st.now, e.To, &st.answer, st.re[:0])
			}
		}
		st.reply()
	}
	for range 3000 {
		step()
	}
	relayed = 0
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("an announce with relayed offers allocates %v times", n)
	}
	if relayed < 1000 {
		t.Errorf("only %d offers were relayed", relayed)
	}
}

// A ledger that was large once does not stay so.
func TestLedgerGivesMemoryBack(t *testing.T) {
	var l ledger
	l.init(150*time.Second, 1<<20)
	fill := func(now time.Duration, n int) {
		for i := range n {
			l.put(now, sending(i), sent{}, uint64(i))
		}
	}
	fill(0, 20_000)
	busy := reflect.ValueOf(l.gen[0]).Pointer()
	for i := range time.Duration(4) {
		l.turn((i + 1) * 75 * time.Second)
		fill((i+1)*75*time.Second, 100)
	}
	for i := range l.gen {
		if reflect.ValueOf(l.gen[i]).Pointer() == busy {
			t.Error("the large map is still in use")
		}
	}
	if n := l.len(); n != 300 {
		t.Error(n)
	}
}

func BenchmarkAnnounce(b *testing.B) {
	for _, peers := range []int{50, 5000} {
		b.Run(fmt.Sprint(peers), func(b *testing.B) {
			st := newSteady(peers)
			b.ReportAllocs()
			for b.Loop() {
				st.step()
			}
		})
	}
}

// BenchmarkAnnounceRelayed is an announce in a swarm that 16 proven nodes share.
func BenchmarkAnnounceRelayed(b *testing.B) {
	st := newSteady(50)
	for i := range 16 {
		st.tb.NodeJoin(st.now, Owner(1000+i), &NodeJoin{InfoHash: st.announce.InfoHash, Incomplete: 20,
			Reputation: vouched{}, Group: fmt.Sprint(i), FirstSeen: st.now - time.Duration(20*i)*time.Hour}, nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		st.step()
	}
}

// BenchmarkAnnounceAnswered is the whole talk: one announce, ten answers.
func BenchmarkAnnounceAnswered(b *testing.B) {
	for _, peers := range []int{50, 5000} {
		b.Run(fmt.Sprint(peers), func(b *testing.B) {
			st := newSteady(peers)
			b.ReportAllocs()
			for b.Loop() {
				st.step()
				st.reply()
			}
		})
	}
}

func BenchmarkAnswer(b *testing.B) {
	for _, peers := range []int{50, 5000} {
		b.Run(fmt.Sprint(peers), func(b *testing.B) {
			st := newSteady(peers)
			var todo []Effect // offers not yet answered
			b.ReportAllocs()
			for b.Loop() {
				if len(todo) == 0 {
					b.StopTimer()
					for range 500 {
						st.step()
						for _, e := range st.out[1:] {
							e.PeerID, e.Offer.Key = bytes.Clone(e.PeerID), bytes.Clone(e.Offer.Key)
							todo = append(todo, e)
						}
					}
					b.StartTimer()
				}
				e := &todo[len(todo)-1]
				todo = todo[:len(todo)-1]
				st.answer = Answer{InfoHash: e.InfoHash, PeerID: st.peers[e.To-1], ToPeerID: e.PeerID,
					OfferID: e.Offer.ID, OfferKey: e.Offer.Key, Payload: e.Offer.Payload}
				if st.re, _ = st.tb.Answer(st.now, e.To, &st.answer, st.re[:0]); len(st.re) != 1 {
					b.Fatal("an answer was dropped")
				}
			}
		})
	}
}

func BenchmarkJoinLeave(b *testing.B) {
	for _, peers := range []int{50, 5000} {
		b.Run(fmt.Sprint(peers), func(b *testing.B) {
			st := newSteady(peers)
			c := Owner(1 << 20)
			a := Announce{InfoHash: st.announce.InfoHash, PeerID: []byte("-WW0208-somebody1234")}
			b.ReportAllocs()
			for b.Loop() {
				st.out, _ = st.tb.Announce(st.now, c, &a, st.out[:0])
				st.out, _ = st.tb.Leave(st.now, c, a.InfoHash, a.PeerID, st.out[:0])
			}
		})
	}
}
