package wsserver

import (
	"net"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker/wire"
)

// A process that was stopped for a minute finds everybody silent. Who answers
// the ping then stays, and who does not is given up: time that jumps over the
// moment of the next ping must not leave a connection without one.
func TestLoopsSurviveAJumpOfTime(t *testing.T) {
	in, k := timed(t, nil)
	c := in.dial("/")
	c.sync()
	k.passed.Add(int64(70 * time.Second))
	in.srv.eachLoop(func(*loop) {})
	k.pass(20 * time.Second)
	if st := in.srv.Stats(); st.Conns != 1 {
		t.Fatalf("gone at once: %v", st.Ended)
	}
	k.pass(70 * time.Second)
	if st := in.srv.Stats(); st.Ended["silent"] != 1 {
		t.Errorf("%d connections, ended: %v", st.Conns, st.Ended)
	}
}

func bareLoop(t *testing.T) *loop {
	t.Helper()
	s, err := New(Config{Echo: true})
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(s, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.end)
	return l
}

// Servers of one tracker have loops of the same numbers. Each gets what is for
// its own connections.
func TestLoopsOfSeveralServers(t *testing.T) {
	from, a, b := bareLoop(t), bareLoop(t), bareLoop(t)
	for _, l := range []*loop{a, b} {
		from.Deliver(&loopConn{loop: l}, &wire.Message{Kind: wire.KindReply})
	}
	from.handOn()
	for _, l := range []*loop{a, b} {
		if got := l.mail.take().letters; len(got) != 1 || got[0].to.loop != l {
			t.Errorf("%d letters, or for another's", len(got))
		}
	}
}

// A listener that another process has too, to take over, keeps no loop busy
// that has let go of it.
func TestStoppedListenersAreQuiet(t *testing.T) {
	l := bareLoop(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	heir, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer heir.Close()
	if err := l.listen(ln.(*net.TCPListener)); err != nil {
		t.Fatal(err)
	}
	l.stopListening()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if events, _, err := l.poller.Wait(nil, 0); len(events) != 0 || err != nil {
		t.Errorf("%d events, %v", len(events), err)
	}
}
