package trackertest

import (
	"fmt"
	"sync"
	"time"
)

// World is one running tracker, or more than one joined, with nobody
// connected yet. A talk gets a new one.
type World interface {
	// Kind tells the runner what to expect of it.
	Kind() Kind
	// Open connects a client. A handshake that is answered with another
	// status than 101 is a *RefusedError.
	Open(o Open) (Conn, error)
	// Settle returns when everything that was done has had its effects, as
	// far as they need no time to pass.
	Settle() error
	// Advance lets time pass.
	Advance(d time.Duration) error
	// Swarms is how many swarms the tracker knows; of several trackers, the
	// largest.
	Swarms() int
	// Get fetches a page over HTTP.
	Get(path, accept string) (Page, error)
	// Drain stops accepting connections and keeps those that are open;
	// Shutdown ends what is left and returns when it has ended.
	Drain() error
	Shutdown() error
}

// Open is how a client connects.
type Open struct {
	Path, Origin, Extensions, Protocol string
	// From is the address that the client has, if the world can pretend.
	From string
	// Node is 1 or 2 in a world of two nodes.
	Node int
}

// Page is what an HTTP request got.
type Page struct {
	Status      int
	ContentType string
	Body        []byte
}

// RefusedError is a handshake that did not end in a WebSocket.
type RefusedError struct{ Status int }

func (e *RefusedError) Error() string { return fmt.Sprintf("refused with status %d", e.Status) }

// Frame is one message of a client.
type Frame struct {
	Data   []byte
	Binary bool
	// Pieces is in how many fragments it goes; 0 is like 1.
	Pieces int
}

// Conn is a client's end of a connection.
type Conn interface {
	Send(f Frame) error
	// Ping sends a ping and returns when its pong has come.
	Ping() error
	// Stall stops reading, and so answering pings, for good.
	Stall()
	// Probe looks whether a stalled connection still stands, and tells the
	// inbox if it does not.
	Probe()
	// Close ends the connection by the book; Drop just ends it.
	Close()
	Drop()
	Inbox() *Inbox
}

// Inbox collects what a connection receives. It is safe for concurrent use.
type Inbox struct {
	mu     sync.Mutex
	frames []received
	pings  int
	closed bool
	code   int
}

type received struct {
	data   []byte
	binary bool
}

// Put adds a message; the inbox keeps data.
func (b *Inbox) Put(data []byte, binary bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frames = append(b.frames, received{data, binary})
}

// Pinged counts a ping of the server.
func (b *Inbox) Pinged() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pings++
}

// CloseNoStatus is the code of a connection that ended without a close frame.
const CloseNoStatus = 1006

// Closed notes that the server ended the connection. The first code counts.
func (b *Inbox) Closed(code int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed, b.code = true, code
	}
}

// IsClosed says whether and with what code the server closed.
func (b *Inbox) IsClosed() (bool, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed, b.code
}

// first is the oldest frame not yet taken.
func (b *Inbox) first() (received, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.frames) == 0 {
		return received{}, false
	}
	return b.frames[0], true
}

func (b *Inbox) take() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frames = b.frames[1:]
}

// takePings is how many pings came since it was last asked.
func (b *Inbox) takePings() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.pings
	b.pings = 0
	return n
}
