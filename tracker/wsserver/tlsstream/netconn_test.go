package tlsstream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// linked returns a peer and the NetConn that serves it, over a pipe.
func linked(t *testing.T, rest func(p *peer) []byte) (*peer, net.Conn, net.Conn) {
	t.Helper()
	o, p := newPeer(t, suites[0])
	a, raw := net.Pipe()
	return p, a, NetConn(raw, o, rest(p))
}

func nothing(*peer) []byte { return nil }

// TestNetConnConcurrent reads and writes a lot at the same time, in both
// directions, with key updates of both sides in between.
func TestNetConnConcurrent(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		s := newServer(cfg, serverConfig())
		s.records.rekeyAfter = 10
		c, conn, _ := pair(t, s, clientConfig(), 0)
		text := bytes.Repeat([]byte("0123456789"), 200_000)
		var wg sync.WaitGroup
		for _, end := range []net.Conn{c, conn} {
			wg.Go(func() {
				for left := text; len(left) > 0; {
					n := min(len(left), 77_777)
					if _, err := end.Write(left[:n]); err != nil {
						t.Error(err)
						return
					}
					left = left[n:]
				}
			})
			wg.Go(func() {
				got := make([]byte, len(text))
				if _, err := io.ReadFull(end, got); err != nil || !bytes.Equal(got, text) {
					t.Errorf("read: %v", err)
				}
			})
		}
		wg.Wait()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Read([]byte{0}); err != io.EOF {
			t.Errorf("the client reads %v after Close, want the end", err)
		}
	})
}

// TestNetConnRest: what was read before it was a net.Conn comes first, cut
// within a record too.
func TestNetConnRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var second []byte
		_, a, conn := linked(t, func(p *peer) []byte {
			first := p.say(typeApplication, 0, []byte("first ")...)
			second = p.say(typeApplication, 0, []byte("second")...)
			return append(first, second[:9]...)
		})
		go func() { a.Write(second[9:]); a.Close() }()
		got, err := io.ReadAll(conn)
		if string(got) != "first second" || err != io.ErrUnexpectedEOF {
			t.Errorf("%q, %v: want an end that is not one, without close_notify", got, err)
		}
		conn.Close()
	})
}

// TestNetConnDeadlines: a read that comes too early can be made again, a write
// that was cut off cannot.
func TestNetConnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, conn := linked(t, nothing)
		conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := conn.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		conn.SetReadDeadline(time.Time{})
		go a.Write(p.say(typeApplication, 0, 'x'))
		if n, err := conn.Read(make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("read again: %d, %v", n, err)
		}
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		go a.Read(make([]byte, 9)) // a part of the record
		if _, err := conn.Write([]byte("text")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v", err)
		}
		conn.SetWriteDeadline(time.Time{})
		if _, err := conn.Write([]byte("text")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write again: %v", err)
		}
		conn.Close()
	})
}

// TestNetConnStuck: a peer that reads nothing holds up neither readers, whose
// answers to key updates have to wait, nor Close.
func TestNetConnStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, conn := linked(t, nothing)
		failed := make(chan error)
		go func() {
			_, err := conn.Write([]byte("text"))
			failed <- err
		}()
		synctest.Wait()
		go a.Write(append(p.update(1), p.say(typeApplication, 0, 'x')...))
		buf := make([]byte, 9)
		if n, err := conn.Read(buf); n != 1 || err != nil {
			t.Errorf("read: %d, %v", n, err)
		}
		conn.Close()
		if err := <-failed; err == nil {
			t.Error("the write went on")
		}
		if _, err := conn.Read(buf); err == nil {
			t.Error("a closed connection can be read")
		}
	})
}

// TestNetConnUpdate: a reader answers a request for new keys, and the alert of
// a fault goes out.
func TestNetConnUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, conn := linked(t, nothing)
		go conn.Read(make([]byte, 9))
		go a.Write(p.update(1))
		buf := make([]byte, 999)
		n, err := a.Read(buf)
		if said := p.hear(t, buf[:n]); err != nil || len(said) != 1 || !isKeyUpdate(said[0]) {
			t.Fatalf("%q, %v", said, err)
		}
		go conn.Write([]byte("text"))
		n, _ = a.Read(buf)
		if said := p.hear(t, buf[:n]); string(said[0]) != "text\x17" {
			t.Fatalf("%q", said)
		}
		go a.Write(p.say(99, 0, 1))
		n, _ = a.Read(buf)
		if said := p.hear(t, buf[:n]); !bytes.Equal(said[0], []byte{2, 10, 21}) {
			t.Fatalf("%q", said)
		}
		if _, err := conn.Write([]byte("more")); err != errClosedWrite {
			t.Errorf("write after a fault: %v", err)
		}
		conn.Close()
	})
}

// TestNetConnHalfClose: after CloseWrite only the other direction goes on.
func TestNetConnHalfClose(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		c, conn, _ := pair(t, newServer(cfg, serverConfig()), clientConfig(), 0)
		if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read([]byte{0}); err != io.EOF {
			t.Errorf("the client reads %v", err)
		}
		if _, err := conn.Write([]byte("more")); err != errClosedWrite {
			t.Errorf("write: %v", err)
		}
		if _, err := c.Write([]byte("text")); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 9)
		if n, err := conn.Read(buf); string(buf[:n]) != "text" || err != nil {
			t.Errorf("read: %q, %v", buf[:n], err)
		}
		if conn.(interface{ NetConn() net.Conn }).NetConn() == conn {
			t.Error("the connection below it is not")
		}
	})
}

// TestNetConnEnded: an end that came before it was a net.Conn is one.
func TestNetConnEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, p := newPeer(t, suites[0])
		if _, err := o.Open(nil, p.say(typeAlert, 0, 1, 0)); err != io.EOF {
			t.Fatal(err)
		}
		_, raw := net.Pipe()
		if _, err := NetConn(raw, o, nil).Read(make([]byte, 9)); err != io.EOF {
			t.Errorf("read: %v", err)
		}
	})
}
