package tracker

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

const (
	hash  = "aaaaaaaaaaaaaaaaaaaa"
	hash2 = "bbbbbbbbbbbbbbbbbbbb"
)

func pid(name string) string { return "-WW0208-" + strings.Repeat("0", 12-len(name)) + name }

// fakeSink keeps the frames it is given.
type fakeSink struct {
	mu     sync.Mutex
	frames []string
	pings  int
	code   int
}

func (s *fakeSink) Deliver(m *wire.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, string(wire.Append(nil, m)))
}

func (s *fakeSink) Ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pings++
}

func (s *fakeSink) Close(code int, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
}

// take returns the frames since the last call.
func (s *fakeSink) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.frames
	s.frames = nil
	return f
}

// one is the only frame there is.
func (s *fakeSink) one(t *testing.T) map[string]any {
	t.Helper()
	frames := s.take()
	if len(frames) != 1 {
		t.Fatalf("%d frames, want one: %q", len(frames), frames)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(frames[0]), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func (s *fakeSink) none(t *testing.T) {
	t.Helper()
	if frames := s.take(); len(frames) != 0 {
		t.Fatalf("want no frame: %q", frames)
	}
}

// peer is a session with its sink.
type peer struct {
	*Session
	*fakeSink
}

func (p peer) Ping()  { p.Session.Ping() }
func (p peer) Close() { p.Session.Close() }

func open(t *Tracker, who Client) peer {
	s := new(fakeSink)
	return peer{t.Open(s, who), s}
}

func (p peer) send(format string, args ...any) { p.Handle(fmt.Appendf(nil, format, args...)) }

// join announces peer id without offers and swallows the reply.
func (p peer) join(t *testing.T, infoHash, id string) {
	t.Helper()
	p.announce(infoHash, id)
	if m := p.one(t); m["interval"] == nil {
		t.Fatalf("no reply: %v", m)
	}
}

func (p peer) announce(infoHash, id string, offerIDs ...string) {
	var offers []string
	for _, o := range offerIDs {
		offers = append(offers, fmt.Sprintf(`{"offer_id":%q,"offer":{"type":"offer","sdp":"s-%s"}}`, o, o))
	}
	p.send(`{"action":"announce","info_hash":%q,"peer_id":%q,"numwant":50,"offers":[%s]}`, infoHash, id, strings.Join(offers, ","))
}

func (p peer) answer(infoHash, id, to, offerID string) {
	p.send(`{"action":"announce","info_hash":%q,"peer_id":%q,"to_peer_id":%q,"offer_id":%q,"answer":{"type":"answer","sdp":"a"}}`,
		infoHash, id, to, offerID)
}

// fakeNode is a NodeSink that keeps what it is given.
type fakeNode struct {
	mu      sync.Mutex
	offers  []string // info hash, peer id and offer ids, one entry a call
	answers []string
	refused []string
}

func (n *fakeNode) Offers(infoHash, peerID []byte, offers []swarm.Offer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := string(infoHash) + " " + string(peerID)
	for _, o := range offers {
		s += " " + string(o.ID)
	}
	n.offers = append(n.offers, s)
}

func (n *fakeNode) Answer(infoHash, toPeerID, peerID, offerID, payload []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers = append(n.answers, fmt.Sprintf("%s to %s by %s for %s", infoHash, toPeerID, peerID, offerID))
}

func (n *fakeNode) Refused(infoHash, peerID []byte, offer swarm.Offer, reason swarm.RefuseReason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused = append(n.refused, fmt.Sprintf("%s %s %s %d", infoHash, peerID, offer.ID, reason))
}

type watch struct {
	mu      sync.Mutex
	touched map[string]int
}

func (w *watch) Touch(infoHash []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.touched == nil {
		w.touched = map[string]int{}
	}
	w.touched[string(infoHash)]++
}

func (w *watch) count(infoHash string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.touched[infoHash]
}

func newTracker(t testing.TB, change func(*Config)) *Tracker {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Seed = new([32]byte)
	if change != nil {
		change(&cfg)
	}
	trk, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := trk.Check(); err != nil {
			t.Errorf("invariant: %v", err)
		}
	})
	return trk
}
