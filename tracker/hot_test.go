package tracker

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/draeder/peerservers/tracker/wire"
)

// countSink encodes what it is given into one buffer, as an outbox does, and
// remembers the last offer.
type countSink struct {
	buf              []byte
	replies, answers int
	offer            int // index of the last offer, or -1
}

func (s *countSink) Deliver(m *wire.Message) {
	s.buf = wire.Append(s.buf[:0], m)
	switch m.Kind {
	case wire.KindReply:
		s.replies++
	case wire.KindOffer:
		s.offer = int(m.OfferID[len(m.OfferID)-2] - '0')
	case wire.KindAnswer:
		s.answers++
	}
}
func (*countSink) Ping()             {}
func (*countSink) Close(int, string) {}

// round is one announce with offers, each of which is answered.
type round struct {
	seeker   *Session
	sink     *countSink
	announce []byte
	peers    []*Session
	sinks    []*countSink
	answers  [][][]byte // by peer and offer
}

func newRound(t testing.TB, trk *Tracker, name string, offers int) *round {
	t.Helper()
	r := &round{sink: new(countSink)}
	infoHash := fmt.Sprintf("%-20s", name)
	id := pid("seeker")
	r.seeker = trk.Open(r.sink, Client{})
	var list []string
	for o := range offers {
		list = append(list, fmt.Sprintf(`{"offer_id":"offer-%d","offer":{"type":"offer","sdp":"%s"}}`, o, strings.Repeat("v=0 ", 280)))
	}
	r.announce = fmt.Appendf(nil, `{"numwant":%d,"uploaded":0,"downloaded":0,"left":1,"action":"announce","info_hash":%q,"peer_id":%q,"offers":[%s]}`,
		offers, infoHash, id, strings.Join(list, ","))
	for p := range offers {
		s := new(countSink)
		me := pid(fmt.Sprint("p", p))
		ses := trk.Open(s, Client{})
		ses.Handle(fmt.Appendf(nil, `{"action":"announce","info_hash":%q,"peer_id":%q}`, infoHash, me))
		var answers [][]byte
		for o := range offers {
			answers = append(answers, fmt.Appendf(nil,
				`{"action":"announce","info_hash":%q,"peer_id":%q,"to_peer_id":%q,"offer_id":"offer-%d","answer":{"type":"answer","sdp":"%s"}}`,
				infoHash, me, id, o, strings.Repeat("v=0 ", 250)))
		}
		r.peers, r.sinks, r.answers = append(r.peers, ses), append(r.sinks, s), append(r.answers, answers)
	}
	return r
}

func (r *round) run() {
	for _, s := range r.sinks {
		s.offer = -1
	}
	r.seeker.Handle(r.announce)
	for i, s := range r.sinks {
		if s.offer >= 0 {
			r.peers[i].Handle(r.answers[i][s.offer])
		}
	}
}

// The steady state allocates nothing: an announce with ten offers, relayed to
// ten peers, and their ten answers.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	trk := newTracker(t, nil)
	r := newRound(t, trk, "hot", 10)
	r.run()
	before := r.sink.answers
	const runs = 200
	if n := testing.AllocsPerRun(runs, r.run); n != 0 && !raceEnabled {
		t.Errorf("%v allocations a round", n)
	}
	if got := r.sink.answers - before; got != (runs+1)*10 {
		t.Errorf("%d answers came back, want %d: the round did not do its work", got, (runs+1)*10)
	}
}

// Many connections at once, in many swarms: for the race detector.
func TestConcurrentSessions(t *testing.T) {
	trk := newTracker(t, func(c *Config) { c.Shards = 4 })
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				a, b := open(trk, Client{}), open(trk, Client{})
				h := fmt.Sprintf("%020d", i%5)
				a.announce(h, pid(fmt.Sprint("a", g)), "o1")
				b.announce(h, pid(fmt.Sprint("b", g)), "o2", "o3")
				b.answer(h, pid(fmt.Sprint("b", g)), pid(fmt.Sprint("a", g)), "o1")
				a.send(`{"action":"scrape","info_hash":%q}`, h)
				a.Members(func(string, string, bool) bool { return true })
				if i%3 == 0 {
					trk.sweep()
					trk.Stats()
				}
				a.Close()
				b.Close()
			}
		})
	}
	wg.Wait()
	if n := trk.Stats(); n.Swarm.Members != 0 || n.Swarm.Swarms != 0 || n.Sessions != 0 {
		t.Errorf("left over: %+v", n)
	}
}

func BenchmarkAnnounceWithAnswers(b *testing.B) {
	for _, offers := range []int{1, 5, 10} {
		b.Run(fmt.Sprint("offers=", offers), func(b *testing.B) {
			trk := newTracker(b, nil)
			r := newRound(b, trk, "bench", offers)
			b.ReportAllocs()
			for b.Loop() {
				r.run()
			}
			msgs := float64(2 + 4*offers - 1) // announce and reply; offers and answers, in and out
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/msgs, "ns/msg")
		})
	}
}

func BenchmarkParallelSwarms(b *testing.B) {
	trk := newTracker(b, nil)
	var mu sync.Mutex
	next := 0
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		mu.Lock()
		next++
		r := newRound(b, trk, fmt.Sprint("par", next), 5)
		mu.Unlock()
		for pb.Next() {
			r.run()
		}
	})
}
