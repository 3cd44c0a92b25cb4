package trackertest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/tracker"
)

// Sockets is a world of WebSockets to a server that serves Tracker.
type Sockets struct {
	Tracker *tracker.Tracker
	// Dial opens a byte stream to the server, if it can from address from.
	Dial func(from string) (net.Conn, error)
	// Virtual: the server and this world are in one synctest bubble.
	Virtual bool
	// Pass, unless nil, makes so much time pass for the server, in which
	// things happen over real sockets nevertheless.
	Pass func(d time.Duration) error
	// DrainServer and ShutdownServer are the server's.
	DrainServer, ShutdownServer func() error

	conns []*webSocket
}

func (w *Sockets) Kind() Kind {
	if w.Virtual || w.Pass != nil {
		return KindServer
	}
	return KindSockets
}

func (w *Sockets) Open(o Open) (Conn, error) {
	nc, err := w.Dial(o.From)
	if err != nil {
		return nil, err
	}
	c, err := dialWebSocket(nc, o)
	if err != nil {
		nc.Close()
		return nil, err
	}
	w.conns = append(w.conns, c)
	return c, nil
}

// Close ends what is connected.
func (w *Sockets) Close() {
	for _, c := range w.conns {
		c.Drop()
	}
}

// Settle waits, on virtual time, until everything waits. In real time it
// sends a mark on each connection, after which everything said has been
// heard, and another, after which everything that came of it has arrived.
func (w *Sockets) Settle() error {
	if w.Virtual {
		synctest.Wait()
		return w.Tracker.Check()
	}
	for range 2 {
		if err := w.marks(); err != nil {
			return err
		}
	}
	return w.Tracker.Check()
}

func (w *Sockets) marks() error {
	// The server hears of an end only after the end: wait for the count.
	for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		open, stalled := w.open()
		n := w.Tracker.Stats().Sessions
		if n >= open && n <= open+stalled {
			break
		}
		if time.Now().After(limit) {
			return fmt.Errorf("the tracker has %d sessions, of %d connections and %d stalled", n, open, stalled)
		}
	}
	marks := make([]chan struct{}, len(w.conns))
	for i, c := range w.conns {
		if !c.isStalled() && c.isOpen() {
			marks[i] = c.mark()
		}
	}
	for i, ch := range marks {
		if ch != nil {
			if err := w.conns[i].waitMark(ch); err != nil {
				return err
			}
		}
	}
	return nil
}

// open is how many sessions there should be, and how many of connections that
// would not notice if the server had ended them.
func (w *Sockets) open() (open, stalled int64) {
	for _, c := range w.conns {
		switch {
		case c.gone():
		case c.isStalled():
			stalled++
		case c.isOpen():
			open++
		}
	}
	return open, stalled
}

func (w *Sockets) Advance(d time.Duration) error {
	switch {
	case w.Virtual:
		time.Sleep(d)
	case w.Pass == nil:
		return fmt.Errorf("real time does not advance by order")
	default:
		// Second by second, so that what takes many seconds to become due,
		// like a ping, is answered within a few.
		for ; d > 0; d -= time.Second {
			if err := w.Pass(min(d, time.Second)); err != nil {
				return err
			}
			for _, c := range w.conns {
				c.answered()
			}
		}
	}
	return w.Settle()
}

func (w *Sockets) Swarms() int { return countSwarms(w.Tracker) }

func (w *Sockets) Drain() error    { return w.DrainServer() }
func (w *Sockets) Shutdown() error { return w.ShutdownServer() }

func (w *Sockets) Get(path, accept string) (Page, error) {
	nc, err := w.Dial("")
	if err != nil {
		return Page{}, err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	req := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: tracker.test\r\nConnection: close\r\n", path)
	if accept != "" {
		req += "Accept: " + accept + "\r\n"
	}
	if _, err := io.WriteString(nc, req+"\r\n"); err != nil {
		return Page{}, err
	}
	res, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return Page{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return Page{Status: res.StatusCode, ContentType: res.Header.Get("Content-Type"), Body: body}, err
}
