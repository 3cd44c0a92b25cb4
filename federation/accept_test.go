package federation

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// fakeConn is a connection of which only the identity counts.
type fakeConn struct {
	net.Conn
	id int
}

// Who says nothing does not keep others out, whatever the number of its
// prefixes; who has said hello is left in peace for as long as its proof takes.
func TestSilentHandshakesMakeRoom(t *testing.T) {
	var a acceptances
	a.init()
	now := time.Unix(1_800_000_000, 0)
	id := 0
	enter := func(group string) (in, out *acceptance) {
		id++
		now = now.Add(time.Millisecond)
		return a.enter(fakeConn{id: id}, group, now, 16, 4)
	}
	// Four prefixes fill the table with silence.
	for i := range 16 {
		if in, out := enter(fmt.Sprint("hostile", i%4)); in == nil || out != nil {
			t.Fatalf("%d: no room", i)
		}
	}
	// One that has not come to its hello yet, of a prefix of its own, is not the
	// one that goes.
	slow, _ := enter("slow")
	for i := range 100 {
		if _, out := enter(fmt.Sprint("hostile", i%4)); out == slow || slow == nil {
			t.Fatal("a handshake that has just begun had to go for those of a larger prefix")
		}
	}
	honest, out := enter("honest")
	if honest == nil || out == nil || out == slow {
		t.Fatal("an honest handshake has no room")
	}
	a.spoke(honest)
	// More silence, from the same prefixes, does not touch it.
	for i := range 100 {
		if _, out := enter(fmt.Sprint("hostile", i%4)); out == honest {
			t.Fatal("the honest handshake had to go")
		}
	}
	if honest.gone || len(a.list) != 16 {
		t.Fatalf("%d handshakes, gone %v", len(a.list), honest.gone)
	}
	for _, in := range append([]*acceptance{honest}, a.list...) {
		a.leave(in)
		a.leave(in)
	}
	if len(a.list)+len(a.byGroup) != 0 {
		t.Fatalf("%d left, %v", len(a.list), a.byGroup)
	}
}

// One prefix, however many it opens, has its share only.
func TestHandshakesOfOnePrefixAreBounded(t *testing.T) {
	var a acceptances
	a.init()
	now := time.Unix(1_800_000_000, 0)
	for i := range 100 {
		if in, _ := a.enter(fakeConn{id: i}, "one", now, 16, 4); in == nil || len(a.list) > 4 {
			t.Fatalf("%d handshakes of one prefix", len(a.list))
		}
	}
}

// Who has said hello and proves nothing makes room too, a moment later.
func TestLateProofsMakeRoom(t *testing.T) {
	var a acceptances
	a.init()
	now := time.Unix(1_800_000_000, 0)
	for i := range 8 {
		in, _ := a.enter(fakeConn{id: i}, fmt.Sprint(i), now, 8, 4)
		a.spoke(in)
	}
	if in, _ := a.enter(fakeConn{id: 9}, "new", now.Add(time.Second), 8, 4); in != nil {
		t.Fatal("a handshake whose proof is on its way had to go")
	}
	if in, out := a.enter(fakeConn{id: 9}, "new", now.Add(spokenFor), 8, 4); in == nil || out == nil {
		t.Fatal("no room")
	}
}
