package load

import "bytes"

// mirror is the referee of echoes: what each connection sent must come back to
// it, as it was, in its turn.
type mirror struct {
	cfg     *Config
	script  *script
	pending [][]echo // by connection
	waiting int
	next    uint64
	scratch []byte
	frames  int

	announce, answer histogram
	lost, altered    int64
	late             int64
	measuring        bool
}

// echo is a message that is on its way. Its number is an offer's for an answer
// to connection to.
type echo struct {
	n       uint64
	to      int32
	size    int32
	measure bool
	sent    int64
}

// Places that no offer has stand for announces.
const (
	placeFirst    = 1<<placeBits - 1
	placeAnnounce = 1<<placeBits - 2
)

func newMirror(cfg *Config, s *script) *mirror {
	return &mirror{cfg: cfg, script: s, pending: make([][]echo, cfg.Connections)}
}

// appendAnnounce appends an announce that is about to leave.
func (m *mirror) appendAnnounce(dst []byte, conn int, first bool, now int64) []byte {
	place := placeAnnounce
	if first {
		place = placeFirst
	}
	n := offerNumber(m.next, place)
	m.next++
	return m.append(dst, conn, echo{n: n, sent: now, measure: m.measuring})
}

// appendAnswer appends an answer that is about to leave.
func (m *mirror) appendAnswer(dst []byte, conn, to int, n uint64, now int64) []byte {
	return m.append(dst, conn, echo{n: n, to: int32(to), sent: now, measure: m.measuring})
}

func (m *mirror) append(dst []byte, conn int, e echo) []byte {
	start := len(dst)
	dst = m.text(dst, conn, e)
	e.size = int32(len(dst) - start)
	m.pending[conn] = append(m.pending[conn], e)
	m.waiting++
	return dst
}

func (m *mirror) text(dst []byte, conn int, e echo) []byte {
	seq, place := splitOffer(e.n)
	switch place {
	case placeFirst:
		return m.script.appendAnnounce(dst, conn, seq, true, 0)
	case placeAnnounce:
		return m.script.appendAnnounce(dst, conn, seq, false, m.cfg.Offers)
	}
	var id [22]byte
	quoted := append(m.script.appendPeer(append(id[:0], '"'), int(e.to)), '"')
	return m.script.appendAnswerTo(dst, conn, quoted, e.n)
}

// receive judges a frame. If it is an announce, which others would now
// answer, seq is its number.
func (m *mirror) receive(conn int, frame []byte, now int64) (seq uint64, answer bool) {
	p := m.pending[conn]
	if len(p) == 0 {
		m.altered++
		return 0, false
	}
	e := p[0]
	m.pending[conn] = append(p[:0], p[1:]...)
	m.waiting--
	if now-e.sent > int64(m.cfg.Late) {
		m.late++
	}
	seq, place := splitOffer(e.n)
	if e.measure {
		if place >= placeAnnounce {
			m.announce.add(now - e.sent)
		} else {
			m.answer.add(now - e.sent)
		}
	}
	if m.frames--; m.frames < 0 {
		m.frames = m.cfg.Sample - 1
		m.scratch = m.text(m.scratch[:0], conn, e)
		if !bytes.Equal(frame, m.scratch) {
			m.altered++
		}
	} else if len(frame) != int(e.size) {
		m.altered++
	}
	return seq, place == placeAnnounce
}

// close counts what has not come back.
func (m *mirror) close() {
	m.lost += int64(m.waiting)
}
