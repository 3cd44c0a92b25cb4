package load

import "testing"

// relay lets an announce of conn 0 be relayed to conns 4, 8, ... and answered,
// as a tracker would that writes frames as they came.
type relay struct {
	s      *script
	r      *referee
	buf    []byte
	answer []byte
}

func (x *relay) announce(offers int, now int64) {
	s, r := x.s, x.r
	seq := r.announced(0, offers, now)
	x.buf = s.appendAnnounce(x.buf[:0], 0, seq, false, offers)
	for i := range offers {
		to, n := 4*(i+1), offerNumber(seq, i)
		x.buf = append(x.buf[:0], `{"action":"announce","info_hash":`...)
		x.buf = append(append(x.buf, s.forms[0]...), `,"offer":`...)
		x.buf = append(appendOffer(x.buf, n), `,"offer_id":`...)
		x.buf = append(s.appendOfferID(x.buf, n), `,"peer_id":"`...)
		x.buf = append(s.appendPeer(x.buf, 0), `"}`...)
		who, num := r.receive(to, x.buf, now+1)
		x.answer = s.appendAnswerTo(x.answer[:0], to, who, num)
		x.buf = append(x.buf[:0], `{"action":"announce","info_hash":`...)
		x.buf = append(append(x.buf, s.forms[0]...), `,"answer":`...)
		x.buf = append(appendAnswer(x.buf, num, to), `,"offer_id":`...)
		x.buf = append(s.appendOfferID(x.buf, num), `,"peer_id":"`...)
		x.buf = append(s.appendPeer(x.buf, to), `"}`...)
		r.receive(0, x.buf, now+2)
	}
	x.buf = append(x.buf[:0], `{"action":"announce","info_hash":`...)
	x.buf = append(append(x.buf, s.forms[0]...), `,"interval":120,"complete":2,"incomplete":8}`...)
	r.receive(0, x.buf, now+3)
}

func newRelay(cfg *Config) *relay {
	s := testScript(cfg)
	r := newReferee(cfg, s, 64)
	for i := range cfg.Connections {
		r.join(i)
	}
	r.joined, r.measuring = true, true
	return &relay{s: s, r: r}
}

// A run has no end, so that its cost must not grow: judging a frame allocates
// nothing, except where it is decoded as a whole.
func TestJudgingDoesNotAllocate(t *testing.T) {
	cfg := testConfig()
	cfg.Sample = 1 << 30
	x := newRelay(cfg)
	x.announce(9, 0) // sampled once; scratch has grown
	if n := testing.AllocsPerRun(100, func() { x.announce(9, 5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := x.r.faults.Total(); n != 0 {
		t.Errorf("%d faults: %+v", n, x.r.faults)
	}
	if x.r.answer.n != 9*x.r.reply.n || x.r.answer.max != 2 || x.r.reply.max != 3 {
		t.Errorf("%d answers, %d replies", x.r.answer.n, x.r.reply.n)
	}
	frame := make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(100, func() {
		frame = x.s.seal(x.s.appendAnnounce(begin(frame[:0]), 3, 9, false, 10), 0, opText)
	}); n != 0 {
		t.Errorf("%v allocations for a frame", n)
	}
}

// What falls out of the ledger is lost, once.
func TestLedgerForgets(t *testing.T) {
	x := newRelay(testConfig())
	for range 64 {
		x.r.announced(1, 2, 0)
	}
	if n := x.r.faults.Total(); n != 0 {
		t.Fatalf("%d faults before the ledger is full", n)
	}
	x.r.announced(1, 2, 0)
	if f := x.r.faults; f.RepliesLost != 1 || f.OffersLost != 2 || x.r.waiting != 64 {
		t.Errorf("%+v, %d waiting", f, x.r.waiting)
	}
	x.r.ledger.close()
	x.r.ledger.close()
	if f := x.r.faults; f.RepliesLost != 65 || f.OffersLost != 130 || f.Total() != 195 || x.r.waiting != 0 {
		t.Errorf("%+v, %d waiting", f, x.r.waiting)
	}
	if x.r.complete() != true {
		t.Error("something is still to come")
	}
}

// Offers for which a swarm has nobody are not lost.
func TestSmallSwarms(t *testing.T) {
	cfg := testConfig()
	x := newRelay(cfg)
	for i := 8; i < 40; i += 4 { // 0 and 4 stay
		x.r.leave(i)
	}
	x.r.announced(0, 10, 0)
	x.r.ledger.close()
	if f := x.r.faults; f.OffersLost != 1 {
		t.Errorf("%+v", f)
	}
}
