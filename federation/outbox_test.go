package federation

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

// writesConn keeps what is written to it, and how often.
type writesConn struct {
	net.Conn
	writes int
	data   bytes.Buffer
	during func() // called in each write
}

func (c *writesConn) Write(p []byte) (int, error) {
	c.writes++
	if c.during != nil {
		c.during()
	}
	return c.data.Write(p)
}

func (*writesConn) SetWriteDeadline(time.Time) error { return nil }
func (*writesConn) Close() error                     { return nil }

// A frame goes at once if there was none before it. Of many, those that come
// within gather of a write share the next, also those that come while it lasts.
func TestFramesGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Int64
		_, l := oneLink(t, Quota{}, &now, 0, nil)
		conn := &writesConn{}
		l.conn, l.writeDone = conn, make(chan struct{})
		go l.write()
		var want []byte
		put := func(b byte) {
			l.out.put(ws.OpBinary, []byte{b}, false)
			want = appendFrame(want, ws.OpBinary, []byte{b}, nil)
		}
		put(1)
		synctest.Wait()
		if conn.writes != 1 {
			t.Fatalf("%d writes for the first frame, which waits for none", conn.writes)
		}
		time.Sleep(time.Second)
		synctest.Wait()

		conn.writes = 0
		const frames, every = 200, 100 * time.Microsecond
		for i := range byte(frames) {
			put(i)
			time.Sleep(every)
		}
		time.Sleep(gather)
		synctest.Wait()
		if most := int(frames*every/gather) + 2; conn.writes < 2 || conn.writes > most {
			t.Errorf("%d writes for %d frames within %v, want %d at most", conn.writes, frames, frames*every, most)
		}

		time.Sleep(time.Second)
		synctest.Wait()
		conn.writes = 0
		conn.during = func() {
			conn.during = nil
			l.out.put(ws.OpBinary, []byte{7}, false)
			l.out.end([]byte("bye"))
		}
		put(6)
		<-l.writeDone
		want = appendFrame(want, ws.OpBinary, []byte{7}, nil)
		want = appendFrame(want, ws.OpBinary, []byte("bye"), nil)
		if conn.writes != 2 {
			t.Errorf("%d writes, want one, and one for what came meanwhile", conn.writes)
		}
		if !bytes.Equal(conn.data.Bytes(), want) {
			t.Errorf("wrote %x, want %x", conn.data.Bytes(), want)
		}
	})
}

// A few links that take nothing leave room for others that are busy.
func TestBacklogLeavesRoom(t *testing.T) {
	all := &backlog{limit: 8 * outboxLimit}
	box := func() *outbox {
		o := newOutbox(false)
		o.limit(Quota{Frames: 1e9, Bytes: 1e9, Offers: 1e9, BurstSeconds: 1}, func() time.Duration { return 0 }, all)
		return o
	}
	payload := make([]byte, 32<<10)
	var greedy []*outbox
	for range 16 {
		greedy = append(greedy, box())
	}
	for _, droppable := range []bool{true, false} {
		for range outboxLimit / len(payload) {
			for _, o := range greedy {
				o.put(ws.OpBinary, payload, droppable)
			}
		}
		busy := box()
		for i := range 16 {
			if got := busy.put(ws.OpBinary, payload, droppable); got != sentOK {
				t.Fatalf("frame %d of a busy link, droppable %t: %v", i, droppable, got)
			}
		}
		busy.discard()
	}
	for i, o := range greedy {
		if !o.over {
			t.Errorf("link %d goes on, with %d bytes waiting", i, len(o.buf))
		}
	}
}

// Links that take nothing have room for so many bytes together. Offers of those
// that have more than their share are refused first, then these links end. What a
// link with less has to say passes all the time, or a few that read nothing could
// keep all others from making offers. Where a link ends, its bytes are free again.
func TestBacklogOfAllLinksIsBounded(t *testing.T) {
	all := &backlog{limit: 4 << 20}
	box := func() *outbox {
		o := newOutbox(true)
		o.limit(Quota{Frames: 1e9, Bytes: 1e9, Offers: 1e9, BurstSeconds: 1}, func() time.Duration { return 0 }, all)
		return o
	}
	payload := make([]byte, 4<<10)
	offered := func(o *outbox) sent { return o.putOffers(ws.OpBinary, payload, true, 1) }
	var greedy []*outbox
	for range 40 {
		greedy = append(greedy, box())
	}
	for range 100 {
		for _, o := range greedy {
			offered(o)
		}
	}
	modest := box()
	if got := offered(greedy[0]); got != sentDropped {
		t.Errorf("an offer beyond the share: %v", got)
	}
	if got := offered(modest); got != sentOK {
		t.Errorf("an offer of a link that has nothing waiting: %v", got)
	}
	for range 100 {
		offered(modest)
	}
	if got, most := len(modest.buf), fairShare+len(payload)+100*ws.MaxHeaderSize; got > most {
		t.Errorf("%d bytes of offers wait, want %d at most", got, most)
	}
	if done, err := modest.write(&writesConn{}); done || err != nil {
		t.Fatal(done, err)
	}
	for range len(greedy) * 200 {
		for _, o := range greedy {
			o.put(ws.OpBinary, payload, false)
		}
	}
	if got, most := all.bytes.Load(), all.limit+int64(len(greedy))*fairShare; got > most {
		t.Errorf("%d bytes wait, want %d at most", got, most)
	}
	ended := 0
	for _, o := range greedy {
		if o.over {
			ended++
		}
	}
	if ended == 0 {
		t.Error("no link ended that had more than its share")
	}
	for _, droppable := range []bool{true, false} {
		if got := modest.put(ws.OpBinary, payload, droppable); got != sentOK {
			t.Errorf("a frame of a link that has nothing waiting, droppable %t: %v", droppable, got)
		}
	}

	// What is written and what is discarded does not count any more.
	if done, err := modest.write(&writesConn{}); done || err != nil {
		t.Fatal(done, err)
	}
	for _, o := range greedy {
		o.discard()
		if got := o.put(ws.OpBinary, payload, false); got != sentEnded {
			t.Fatalf("after the end: %v", got)
		}
	}
	if got := all.bytes.Load(); got != 0 {
		t.Errorf("%d bytes wait in no outbox", got)
	}
}
