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
