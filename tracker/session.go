package tracker

import (
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/draeder/peerservers/tracker/access"
	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

const (
	// A connection that sends this many frames which are no JSON objects
	// within the window is no client, and is closed with 1008.
	maxStrikes   = 16
	strikeWindow = time.Minute

	closePolicy = 1008 // RFC 6455, 7.4.1

	reasonMemberships = "too many torrents on one connection, or of one network"
	reasonSessions    = "too many connections"
	reasonScrapeAll   = "name the info hashes to scrape"
)

// Session is one client's connection, as the tracker sees it. Handle is called
// by one goroutine at a time; everything else may be called from any.
type Session struct {
	t    *Tracker
	sink Sink
	who  client
	// closed: nothing is entered any more.
	closed atomic.Bool
	owner  swarm.Owner   // what tables know it as
	ping   atomic.Uint32 // when one of its own came: 1 + ticks of pingTick; 0: never
	turns  atomic.Uint32 // intervals told
	seen   atomic.Int64  // time.Duration since the tracker's epoch

	mu   sync.Mutex
	few  string // memberships, see index.go
	more *more  // nil for most
}

// pingTick is the unit of time of a client's pings, which only keep it from
// being taken for silent.
const pingTick = 250 * time.Millisecond

// Open begins the session of a client, whose frames go back through s.
func (t *Tracker) Open(s Sink, who Client) *Session {
	ses := &Session{t: t, sink: s, who: newClient(who)}
	now := t.now()
	ses.seen.Store(int64(now))
	t.owners.enter(ses, now)
	t.stats.Sessions.Add(1)
	return ses
}

// Seen says that something arrived from the client.
func (s *Session) Seen() { s.seen.Store(int64(s.t.now())) }

// Ping says that a ping of the client's own arrived, which keeps its
// memberships alive: some clients announce once and then only ping.
func (s *Session) Ping() {
	now := s.t.now()
	s.seen.Store(int64(now))
	s.ping.Store(1 + uint32((now+pingTick-1)/pingTick))
}

// Close ends the session: the client leaves all its swarms.
func (s *Session) Close() {
	if s.closed.Swap(true) {
		return
	}
	s.t.stats.Sessions.Add(-1)
	s.mu.Lock()
	var keys []string
	s.each(func(key string, _ member) { keys = append(keys, key) })
	if s.more != nil {
		s.hoards(-len(s.more.members))
	}
	s.few, s.more = "", nil
	s.mu.Unlock()
	for _, key := range keys {
		infoHash, peerID := splitKey(key)
		s.leave([]byte(infoHash), []byte(peerID))
	}
	s.t.owners.leave(s)
}

func (s *Session) leave(infoHash, peerID []byte) {
	w := s.t.getWork()
	sh := s.t.shard(infoHash)
	var out swarm.Outcome
	sh.mu.Lock()
	w.effects, out = sh.table.Leave(s.t.now(), s.owner, infoHash, peerID, w.effects)
	sh.mu.Unlock()
	s.t.perform(w)
	s.t.putWork(w)
	if out.Touched {
		s.t.touch(infoHash)
	}
}

// Handle takes one text frame, which may be any bytes and is the caller's
// again on return. Faults are answered with frames that clients survive; the
// connection is closed only after many frames that no client would send.
func (s *Session) Handle(frame []byte) { s.HandleVia(nil, frame, false) }

// HandleVia is Handle for a transport that has a faster way to some sinks than
// their own: what comes of the frame is sent through via. If the frame came as
// text, it has to be UTF-8 (RFC 6455, 8.1). For one that is not, HandleVia does
// nothing and reports false: the transport is to fail the connection.
func (s *Session) HandleVia(via Courier, frame []byte, text bool) (ok bool) {
	if s.closed.Load() {
		return true
	}
	t := s.t
	now := t.now()
	s.seen.Store(int64(now))
	w := t.getWork()
	w.courier = via
	fault := w.parser.Parse(frame, &w.request)
	switch {
	case fault != wire.FaultNone:
		// The parser has seen that all of it is UTF-8, unless it found it unparsable.
		if ok = !text || !fault.Unparsable() || utf8.Valid(frame); ok {
			s.fault(now, w, fault)
		}
		t.putWork(w)
		return ok
	case w.request.Action == wire.ActionScrape:
		s.scrape(w)
	case w.request.Answer != nil:
		s.answer(now, w)
	default:
		s.announce(now, w)
	}
	t.putWork(w)
	return true
}

func (s *Session) fault(now time.Duration, w *work, f wire.Fault) {
	s.t.stats.Faults[f].Add(1)
	if !f.Silent() {
		s.fail(w, f.Reason())
	}
	if !f.Unparsable() {
		return
	}
	s.mu.Lock()
	x := s.rare()
	if now-x.strikesFrom > strikeWindow {
		x.strikes, x.strikesFrom = 0, now
	}
	x.strikes++
	out := x.strikes == maxStrikes
	s.mu.Unlock()
	if out {
		s.t.stats.StruckOut.Add(1)
		s.sink.Close(closePolicy, "too many frames that are not JSON objects")
	}
}

// fail answers the request with a failure that leaves the connection open.
func (s *Session) fail(w *work, reason string) {
	w.message = wire.Message{
		Kind: wire.KindFailure, Action: w.request.Action, InfoHash: w.request.InfoHash, Reason: reason,
	}
	w.deliver(s)
}

func (s *Session) announce(now time.Duration, w *work) {
	t, r := s.t, &w.request
	t.stats.Announces.Add(1)
	who := s.who.about.Value()
	w.ask = access.Request{
		InfoHash: r.InfoHash, PeerID: r.PeerID, Token: r.Token,
		ConnToken: who.token, Origin: who.origin, Path: who.path,
	}
	if v, text := t.cfg.Access.Announce(&w.ask); v != access.Allowed {
		t.stats.Refused[v].Add(1)
		s.fail(w, text)
		if r.Event == wire.EventStopped {
			// It may have joined before the rules changed.
			s.leave(r.InfoHash, r.PeerID)
		}
		return
	}
	if s.owner == 0 {
		t.stats.MembershipLimit.Add(1)
		s.fail(w, reasonSessions)
		return
	}
	w.key = appendKey(w.key[:0], r.InfoHash, r.PeerID)
	if r.Event != wire.EventStopped && !s.room(now, w.key) {
		t.stats.MembershipLimit.Add(1)
		s.fail(w, reasonMemberships)
		return
	}
	w.announce = swarm.Announce{
		InfoHash: r.InfoHash, PeerID: r.PeerID, Event: r.Event, Left: r.Left,
		NumWant: r.NumWant, Offers: r.Offers,
	}
	sh := t.shard(r.InfoHash)
	var out swarm.Outcome
	sh.mu.Lock()
	w.effects, out = sh.table.Announce(now, s.owner, &w.announce, w.effects)
	sh.mu.Unlock()
	late := s.note(w, out.Standing)
	t.perform(w)
	if out.Touched {
		t.touch(r.InfoHash)
	}
	if late {
		s.leave(r.InfoHash, r.PeerID)
	}
}

func (s *Session) answer(now time.Duration, w *work) {
	t, r := s.t, &w.request
	t.stats.Answers.Add(1)
	w.answer = swarm.Answer{
		InfoHash: r.InfoHash, PeerID: r.PeerID, ToPeerID: r.ToPeerID,
		OfferID: r.OfferID, OfferKey: r.OfferKey, Payload: r.Answer,
	}
	sh := t.shard(r.InfoHash)
	var out swarm.Outcome
	sh.mu.Lock()
	w.effects, out = sh.table.Answer(now, s.owner, &w.answer, w.effects)
	sh.mu.Unlock()
	t.perform(w)
	if out.Touched {
		t.touch(r.InfoHash)
	}
}

func (s *Session) scrape(w *work) {
	t, r := s.t, &w.request
	t.stats.Scrapes.Add(1)
	switch {
	case !r.ScrapeAll:
		for _, h := range r.Scrape {
			w.files = t.appendFile(w.files, h)
		}
	case t.cfg.ScrapeAll:
		t.Swarms(func(infoHash []byte, _ swarm.State) bool {
			w.files = append(w.files, t.scrapeOne([]byte(string(infoHash))))
			return len(w.files) < MaxScrapeAll
		})
	default:
		t.stats.ScrapeAllRefused.Add(1)
		s.fail(w, reasonScrapeAll)
		return
	}
	w.message = wire.Message{Kind: wire.KindScrape, Files: w.files}
	w.deliver(s)
}

// appendFile adds an info hash that is not there yet: it is a key of the
// reply, and keys of an object are to be different. There are few.
func (t *Tracker) appendFile(files []wire.File, infoHash []byte) []wire.File {
	for i := range files {
		if string(files[i].InfoHash) == string(infoHash) {
			return files
		}
	}
	return append(files, t.scrapeOne(infoHash))
}

// scrapeOne shows zeros for a swarm that access denies, as for one unknown.
func (t *Tracker) scrapeOne(infoHash []byte) wire.File {
	f := wire.File{InfoHash: infoHash}
	if t.cfg.Access.Hash(infoHash) {
		sh := t.shard(infoHash)
		sh.mu.Lock()
		f.Complete, f.Incomplete, f.Downloaded = sh.table.Scrape(infoHash)
		sh.mu.Unlock()
	}
	return f
}

// weyl is the increment of a Weyl sequence: the golden ratio's fraction.
const weyl = 0x9e3779b97f4a7c15

// interval is the configured one give or take 10 %, in seconds. The sequence
// needs no lock, and spreading is all that is asked of it.
func (s *Session) interval() int {
	x := s.t.jitter + uint64(s.owner)<<32 + weyl*uint64(s.turns.Add(1))
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	base := int(s.t.cfg.Interval / time.Second)
	span := base / 10
	return max(base-span+int(x%uint64(2*span+1)), int(MinInterval/time.Second))
}
