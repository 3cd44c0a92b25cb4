package federation

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/tracker/swarm"
)

const (
	// pingEvery is how often a link is pinged, less up to pingSpread.
	pingEvery  = 30 * time.Second
	pingSpread = 5 * time.Second
	// deadAfter is two pings without a sign of life, or up to rearmEvery less:
	// the deadline is not set anew with each frame, which would cost a busy
	// link more than the frame.
	deadAfter  = 2*pingEvery + 5*time.Second
	rearmEvery = 5 * time.Second
	// gather is the time between two writes: what comes sooner after one waits for
	// the rest of it and shares the next. A frame with none before it goes at
	// once. It is as long as event loops let the messages of clients gather. To
	// wake either side's goroutine costs as much as what is done with a few frames.
	gather = 2 * time.Millisecond
	// drainFor is how long a link that said bye waits for the other side to
	// have said all.
	drainFor = 5 * time.Second
)

// link is one open connection with a node whose key is proven.
type link struct {
	f       *Federation
	peer    *peer
	conn    net.Conn
	car     *carrier
	out     *outbox
	session handshake.Session
	from    netip.AddrPort // where the other side is, as far as we can see
	group   string
	opened  time.Duration // since the federation's epoch

	// Owned by peer.mu.
	byeSent, byeGot bool

	// Owned by the reader.
	now   time.Duration // when it read the message at hand
	in    frame.Frame
	quota meter
	keys  [][]byte // memory for the keys of offers
	batch []swarm.Offer

	generation atomic.Uint32 // of the last filter that was sent

	scratch   scratch
	cut       atomic.Pointer[time.Time] // no reading beyond
	bad       atomic.Bool               // the other side broke the rules
	witness   atomic.Bool               // it said where it sees us
	dead      chan struct{}             // closed when the reader has ended
	writeDone chan struct{}
}

// serve runs the link until it ends: the reader on this goroutine, the writer
// on another.
func (l *link) serve() {
	go l.write()
	err := l.read()
	close(l.dead)
	l.out.end(nil)
	if !errors.Is(err, io.EOF) && !errors.Is(err, errBye) {
		l.f.stats.linkErrors.Add(1)
	}
	if !errors.Is(err, errBye) && !l.bad.Load() {
		// Nobody is there to take what the writer still has.
		l.conn.Close()
	}
	<-l.writeDone
	l.conn.Close()
	l.peer.removeLink(l, err)
}

// write is the writer's goroutine. It ends once the outbox has and all is
// written, or at an error.
func (l *link) write() {
	defer close(l.writeDone)
	defer l.out.discard()
	ping := time.NewTimer(l.pingPause())
	defer ping.Stop()
	for {
		select {
		case <-l.out.wake:
		case <-ping.C:
			l.out.relax()
			l.out.put(ws.OpPing, nil, false)
			ping.Reset(l.pingPause())
		}
		done, err := l.out.write(l.conn)
		if err != nil {
			l.f.stats.writeErrors.Add(1)
			l.conn.Close()
			return
		}
		if done {
			return
		}
		time.Sleep(gather)
	}
}

func (l *link) pingPause() time.Duration {
	return pingEvery - time.Duration(l.f.random(int64(pingSpread)))
}

// errBye: the other side said bye, and we have nothing to add.
var errBye = errors.New("bye")

// read is the reader's loop.
func (l *link) read() error {
	limits := frame.DefaultLimits()
	l.now = l.f.now()
	armed := l.now - rearmEvery
	for {
		if l.now-armed >= rearmEvery {
			armed = l.now
			l.car.rest()
			l.conn.SetReadDeadline(time.Now().Add(deadAfter))
			if cut := l.cut.Load(); cut != nil {
				// Looked at after the deadline was set: whichever of us and
				// sayBye comes last, sets this one.
				l.conn.SetReadDeadline(*cut)
			}
		}
		op, msg, err := l.car.read(limits.MaxFrame)
		if err != nil {
			return err
		}
		l.now = l.f.now()
		count := l.car.frames // one of them is counted with the message
		l.car.frames = 0
		if !op.IsControl() {
			count--
		}
		if count > 0 && !l.quota.frames.allow(l.now, float64(count)) && l.strike(strikeQuota) {
			return errProtocol
		}
		switch op {
		case ws.OpPing:
			l.out.put(ws.OpPong, msg, true)
		case ws.OpPong:
		case ws.OpClose:
			return io.EOF
		default:
			done, err := l.take(msg, &limits)
			if err != nil || done {
				return err
			}
		}
	}
}

// take performs one message. done means that the link is over.
func (l *link) take(msg []byte, limits *frame.Limits) (done bool, err error) {
	if !l.quota.frames.allow(l.now, 1) || !l.quota.bytes.allow(l.now, float64(len(msg))) {
		if l.strike(strikeQuota) {
			return true, errProtocol
		}
		return false, nil
	}
	if err := l.in.Decode(msg, *limits); err != nil {
		if l.strike(strikeFrame) {
			return true, errProtocol
		}
		return false, nil
	}
	l.f.stats.frames[l.in.Kind].Add(1)
	l.peer.traffic.bytes.received.Add(uint64(len(msg)))
	ok := true
	switch l.in.Kind {
	case frame.KindUnknown:
		// A later version's; it costs quota like any other.
	case frame.KindJoin:
		ok = l.onJoin(&l.in.Join)
	case frame.KindLeave:
		ok = l.onLeave(&l.in.Leave)
	case frame.KindOffers:
		ok = l.onOffers(&l.in.Offers)
	case frame.KindAnswer:
		ok = l.onAnswer(&l.in.Answer)
	case frame.KindRefused:
		ok = l.onRefused(&l.in.Refused)
	case frame.KindRecords:
		ok = l.onRecords(&l.in.Records)
	case frame.KindCensus:
		ok = l.onCensus(&l.in.Census)
	case frame.KindFilter:
		ok = l.onFilter(&l.in.Filter)
	case frame.KindNames:
		ok = l.onNames(&l.in.Names)
	case frame.KindSeen:
		ok = l.onSeen(&l.in.Seen)
	case frame.KindRegister:
		ok = l.onRegister(&l.in.Register)
	case frame.KindTold:
		ok = l.onTold(&l.in.Told)
	case frame.KindBye:
		l.f.log.Debug("link: bye", "key", l.peer.name, "code", l.in.Bye.Code.String())
		if l.in.Bye.Code == frame.CodeDuplicate {
			l.peer.awaitOther(l)
		}
		l.peer.byeReceived(l)
		return true, errBye
	default:
		ok = l.strike(strikeFrame) // a handshake's frame
		return ok, errIf(ok, errProtocol)
	}
	if !ok {
		return true, errProtocol
	}
	return false, nil
}

func errIf(c bool, err error) error {
	if c {
		return err
	}
	return nil
}

// sayBye ends our side: code is the last frame. The reader goes on for a
// while, so that what the other side has sent already is not lost.
func (l *link) sayBye(code frame.Code) {
	cut := time.Now().Add(drainFor)
	l.cut.Store(&cut)
	l.out.end(frame.AppendBye(nil, code))
	l.conn.SetReadDeadline(cut)
}

// strike counts a fault of the other side; true means that it was one too
// many: the link is to be closed and its node left alone for a while.
func (l *link) strike(why strike) bool {
	l.f.stats.strikes[why].Add(1)
	l.peer.traffic.strikes[why].Add(1)
	if !l.quota.strike(l.now) {
		return false
	}
	l.bad.Store(true)
	l.f.log.Info("link: too many faults", "key", l.peer.name, "last", why.String())
	l.f.step(func(m *mesh.Mesh, now time.Duration) { m.Misbehaved(now, l.peer.key, l.group) })
	code := frame.CodeProtocol
	if why == strikeQuota || why == strikeOffers || why == strikeJoins || why == strikeNames {
		code = frame.CodeLimit
	}
	l.out.end(frame.AppendBye(nil, code))
	return true
}
