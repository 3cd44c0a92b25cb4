package trackertest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// patience bounds every wait for something that is sure to come. It is never
// part of what a talk asserts.
const patience = 20 * time.Second

// webSocket is a client that does what it is told, frame by frame.
type webSocket struct {
	nc    net.Conn
	br    *bufio.Reader
	inbox Inbox
	done  chan struct{} // closed when the reader has ended
	// ponging counts the answers to pings that are on their way.
	ponging atomic.Int32

	writing sync.Mutex
	closing bool // a close frame was sent; guarded by writing

	mu      sync.Mutex
	stalled bool
	ended   bool // by the client
	pongs   map[string]chan struct{}
	marks   map[string]chan struct{}
	serial  int
}

const (
	clientKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	clientAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // RFC 6455, 1.3
)

// dialWebSocket does the handshake over nc and holds the server to having
// negotiated nothing.
func dialWebSocket(nc net.Conn, o Open) (*webSocket, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: tracker.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", o.Path)
	fmt.Fprintf(&b, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", clientKey)
	for _, h := range [][2]string{
		{"Origin", o.Origin}, {"Sec-WebSocket-Extensions", o.Extensions}, {"Sec-WebSocket-Protocol", o.Protocol},
	} {
		if h[1] != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
		}
	}
	b.WriteString("\r\n")
	nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, b.String()); err != nil {
		return nil, fmt.Errorf("sending the upgrade: %w", err)
	}
	br := bufio.NewReader(nc)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the upgrade's response: %w", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		res.Body.Close()
		return nil, &RefusedError{res.StatusCode}
	}
	if got := res.Header.Get("Sec-WebSocket-Accept"); got != clientAccept {
		return nil, fmt.Errorf("Sec-WebSocket-Accept is %q", got)
	}
	for _, h := range []string{"Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"} {
		if got := res.Header.Values(h); len(got) > 0 {
			return nil, fmt.Errorf("negotiated %s: %q", h, got)
		}
	}
	nc.SetDeadline(time.Time{})
	c := &webSocket{
		nc: nc, br: br, done: make(chan struct{}),
		pongs: make(map[string]chan struct{}), marks: make(map[string]chan struct{}),
	}
	go c.read()
	return c, nil
}

func (c *webSocket) Inbox() *Inbox { return &c.inbox }

// read takes in frames until the connection ends or stalls.
func (c *webSocket) read() {
	defer close(c.done)
	code := CloseNoStatus
	for {
		h, err := ws.ReadHeader(c.br)
		if err != nil {
			break
		}
		if h.Masked || h.Rsv != 0 || !h.Fin || h.Length > 1<<24 {
			c.inbox.Closed(1002)
			c.nc.Close()
			return
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(c.br, payload); err != nil {
			break
		}
		if h.OpCode == ws.OpClose {
			if len(payload) >= 2 {
				code = int(binary.BigEndian.Uint16(payload))
			} else {
				code = 1005
			}
			c.write(ws.OpClose, payload, 1)
			break
		}
		c.frame(h.OpCode, payload)
	}
	if c.isStalled() {
		return
	}
	c.inbox.Closed(code)
	c.nc.Close()
}

func (c *webSocket) frame(op ws.OpCode, payload []byte) {
	switch op {
	case ws.OpPing:
		c.inbox.Pinged()
		c.ponging.Add(1)
		go func() {
			c.pong(payload)
			c.ponging.Add(-1)
		}()
	case ws.OpPong:
		c.fire(c.pongs, string(payload))
	case ws.OpText:
		if !c.fire(c.marks, markName.FindString(string(payload))) {
			c.inbox.Put(payload, false)
		}
	default:
		c.inbox.Put(payload, true)
	}
}

// pongDelay is a network's. On virtual time there must be some: who proves
// that he is there does so later than he was asked.
const pongDelay = time.Millisecond

func (c *webSocket) pong(payload []byte) {
	t := time.NewTimer(pongDelay)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
		c.write(ws.OpPong, payload, 1)
	}
}

// answered returns when the pings that have arrived are answered.
func (c *webSocket) answered() {
	for c.ponging.Load() != 0 {
		time.Sleep(pongDelay / 10)
	}
}

// fire wakes whoever waits for key.
func (c *webSocket) fire(waiting map[string]chan struct{}, key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch, ok := waiting[key]
	if ok {
		close(ch)
		delete(waiting, key)
	}
	return ok
}

// write sends a message in pieces. Errors show in what comes back, or does
// not: a server may well have closed.
func (c *webSocket) write(op ws.OpCode, payload []byte, pieces int) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.closing {
		return
	}
	c.closing = op == ws.OpClose
	size := (len(payload) + pieces - 1) / max(pieces, 1)
	for first := true; first || len(payload) > 0; first = false {
		n := min(size, len(payload))
		f := ws.NewFrame(ws.OpContinuation, n == len(payload), payload[:n:n])
		if first {
			f.Header.OpCode = op
		}
		payload = payload[n:]
		c.nc.SetWriteDeadline(time.Now().Add(patience))
		// In one piece: a pipe would hand on an empty write.
		raw, err := ws.CompileFrame(ws.MaskFrame(f))
		if err != nil {
			return
		}
		if _, err := c.nc.Write(raw); err != nil {
			return
		}
	}
}

func (c *webSocket) Send(f Frame) error {
	op := ws.OpText
	if f.Binary {
		op = ws.OpBinary
	}
	c.write(op, f.Data, max(f.Pieces, 1))
	return nil
}

func (c *webSocket) Ping() error {
	c.mu.Lock()
	c.serial++
	payload := fmt.Sprintf("ping %d", c.serial)
	ch := make(chan struct{})
	c.pongs[payload] = ch
	c.mu.Unlock()
	c.write(ws.OpPing, []byte(payload), 1)
	return c.wait(ch, "a pong")
}

// wait returns when ch is closed, or the connection ended.
func (c *webSocket) wait(ch chan struct{}, what string) error {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-ch:
		return nil
	case <-c.done:
		return fmt.Errorf("closed while waiting for %s", what)
	case <-t.C:
		return fmt.Errorf("no sign of %s", what)
	}
}

// markName is an info hash that no talk uses.
var markName = regexp.MustCompile(`~~mark~~[0-9]{12}`)

// mark sends a scrape whose reply is recognised, and returns what is closed
// when the reply has come: by then all that was sent before it has been
// handled, and all that was queued for this client has arrived.
func (c *webSocket) mark() chan struct{} {
	c.mu.Lock()
	c.serial++
	name := fmt.Sprintf("~~mark~~%012d", c.serial)
	ch := make(chan struct{})
	c.marks[name] = ch
	c.mu.Unlock()
	c.write(ws.OpText, fmt.Appendf(nil, `{"action":"scrape","info_hash":"%s"}`, name), 1)
	return ch
}

// waitMark returns when a mark came back, or never will.
func (c *webSocket) waitMark(ch chan struct{}) error {
	err := c.wait(ch, "a mark")
	if !c.isOpen() {
		return nil
	}
	return err
}

func (c *webSocket) Stall() {
	c.mu.Lock()
	c.stalled = true
	c.mu.Unlock()
	// The reader sees the deadline, and that it is to end without closing.
	c.nc.SetReadDeadline(time.Unix(1, 0))
	<-c.done
}

func (c *webSocket) isStalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stalled
}

// Probe reads on after a stall, as far as there is something, and notes the
// end of the connection if that is what comes then.
func (c *webSocket) Probe() {
	c.nc.SetReadDeadline(time.Now().Add(probeTime))
	_, err := io.Copy(io.Discard, c.br)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.inbox.Closed(CloseNoStatus)
	}
}

// probeTime is long enough for what has been sent already.
const probeTime = 100 * time.Millisecond

// isOpen says whether a mark would come back.
func (c *webSocket) isOpen() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *webSocket) Close() {
	c.write(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""), 1)
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
	}
	c.Drop()
}

func (c *webSocket) Drop() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.nc.Close()
	<-c.done
}

// gone says whether this end has let go of the connection.
func (c *webSocket) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}
