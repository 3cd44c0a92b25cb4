package wsserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	// idleBuffer is what a connection holds while nothing arrives: enough
	// for an answer (about 1.1 KB) to be read in one go and served from it.
	idleBuffer = 1536
	// firstChunk bounds what is allocated on the word of a frame's header.
	firstChunk = smallestBuffer
)

// statusTryAgainLater is registered for RFC 6455, 7.4: the server has too much to
// do, and somewhere else or later it may be otherwise.
const statusTryAgainLater ws.StatusCode = 1013

// closeError is a reason to close the connection with a code.
type closeError struct {
	code   ws.StatusCode
	reason string
	why    endReason
}

func (e *closeError) Error() string { return fmt.Sprintf("%d %s", e.code, e.reason) }

// peerClosed is the client's own close. Code is what to answer.
type peerClosed struct {
	code ws.StatusCode // 0: it gave none
}

func (e *peerClosed) Error() string { return fmt.Sprintf("closed by the client with %d", e.code) }

func violation(err error) error {
	return &closeError{ws.StatusProtocolError, err.Error(), endProtocol}
}

var (
	errMinimal   = errors.New("length not in its shortest form")
	errCloseBody = errors.New("close frame with half a status code")
	errCloseCode = errors.New("invalid status code")
	errPressed   = &closeError{statusTryAgainLater, "too much arrives in part", endPressed}
	errPace      = &closeError{ws.StatusPolicyViolation, "too many empty or control frames", endPace}
)

// controls hears of control frames, between the frames of a fragmented message
// too. The payload is valid during the call.
type controls interface {
	ping(payload []byte)
	pong()
	// spend is asked before each frame that brings nothing: see pace.
	spend() bool
	holder
}

// reader turns a byte stream into messages. It is not safe for concurrent use.
type reader struct {
	src   io.Reader
	pool  *buffers
	held  *incoming
	limit int // of a message
	ctl   controls
	// deflate is what was agreed on before the first frame.
	deflate deflation

	buf   []byte // what has been read ahead is buf[r:w]
	r, w  int
	state ws.State
	op    ws.OpCode // of the message begun
	// compressed is whether that message is.
	compressed bool
	msg        *buffer // what came of it so far, unless it fits buf
	holding    holding // of msg
	inflated   *buffer // the whole message, if it was compressed
	// since is when the first byte of the message begun arrived, zero
	// between messages.
	since time.Time
	head  [ws.MaxHeaderSize]byte
}

// init begins with bytes that came with the upgrade request.
func (r *reader) init(src io.Reader, ctl controls, pool *buffers, held *incoming, limit int, ahead []byte) {
	r.src, r.ctl, r.pool, r.held, r.limit = src, ctl, pool, held, limit
	r.buf = make([]byte, max(idleBuffer, len(ahead)))
	r.w = copy(r.buf, ahead)
	r.state = ws.StateServerSide
}

// Read implements io.Reader for ws.ReadHeaderBuffer: buffered bytes first.
func (r *reader) Read(p []byte) (int, error) {
	if r.r == r.w {
		if err := r.fill(1); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.r:r.w])
	r.r += n
	return n, nil
}

// fill makes at least n bytes available in buf, reading ahead as far as one
// read gets. n is at most idleBuffer.
func (r *reader) fill(n int) error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if len(r.buf)-r.r < n {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	for r.w-r.r < n {
		m, err := r.read(r.buf[r.w:])
		if err != nil {
			return err
		}
		r.w += m
	}
	return nil
}

func (r *reader) read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	if n > 0 {
		return n, nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// next returns the next message and whether it came as text. It is valid until
// the next call.
func (r *reader) next() (msg []byte, text bool, err error) {
	r.release()
	for {
		if !r.state.Fragmented() {
			r.since = time.Time{}
		}
		h, err := r.header()
		if err != nil {
			return nil, false, err
		}
		if paced(h) && !r.ctl.spend() {
			return nil, false, errPace
		}
		if h.OpCode.IsControl() {
			if err := r.control(h); err != nil {
				return nil, false, err
			}
			continue
		}
		if h.OpCode != ws.OpContinuation {
			r.op, r.compressed = h.OpCode, h.Rsv1()
		}
		have := 0
		if r.msg != nil {
			have = len(r.msg.b)
		}
		if h.Length > int64(r.limit-have) {
			return nil, false, tooBig(r.limit)
		}
		if h.Fin && !r.state.Fragmented() && h.Length <= idleBuffer {
			if msg, err = r.small(h); err == nil {
				msg, err = r.plain(msg)
			}
			return msg, r.op == ws.OpText, err
		}
		if err := r.collect(h); err != nil {
			return nil, false, err
		}
		if h.Fin {
			r.state = r.state.Clear(ws.StateFragmented)
			msg, err = r.plain(r.msg.b)
			return msg, r.op == ws.OpText, err
		}
		r.state = r.state.Set(ws.StateFragmented)
	}
}

// release gives the last message's buffers back.
func (r *reader) release() {
	if !r.state.Fragmented() && (r.msg != nil || r.inflated != nil) {
		r.letGo()
	}
}

func (r *reader) letGo() {
	r.held.free(&r.holding)
	r.pool.put(r.msg)
	r.pool.put(r.inflated)
	r.msg, r.inflated = nil, nil
}

// plain is the message that was sent as payload.
func (r *reader) plain(payload []byte) ([]byte, error) {
	if !r.compressed {
		return payload, nil
	}
	var err error
	r.inflated, err = inflate(r.pool, payload, r.limit)
	if err != nil {
		return nil, err
	}
	return r.inflated.b, nil
}

// inflate is what was compressed to payload.
func inflate(pool *buffers, payload []byte, limit int) (*buffer, error) {
	b := pool.get(min(8*len(payload), inflateUsual, limit))
	f := pool.inflater()
	defer pool.inflaters.Put(f)
	var err error
	b.b, err = f.inflate(b.b, payload, limit)
	switch err {
	case nil:
		return b, nil
	case errTooBig:
		err = &closeError{ws.StatusMessageTooBig, err.Error(), endTooBig}
	default:
		err = &closeError{ws.StatusInvalidFramePayloadData, err.Error(), endDeflate}
	}
	pool.put(b)
	return nil, err
}

// drop gives back what there is, once nothing will be read any more.
func (r *reader) drop() {
	r.letGo()
	r.buf = nil
	r.r, r.w = 0, 0
}

func (r *reader) header() (ws.Header, error) {
	if err := r.fill(2); err != nil {
		return ws.Header{}, err
	}
	form := r.buf[r.r+1] & 0x7f
	h, err := ws.ReadHeaderBuffer(r, r.head[:])
	switch {
	case errors.Is(err, ws.ErrHeaderLengthMSB), errors.Is(err, ws.ErrHeaderLengthUnexpected):
		return h, violation(err)
	case err != nil:
		return h, err
	}
	return h, checkFrame(h, form, r.state, r.deflate)
}

// paced reports whether a frame brings nothing: see pace.
func paced(h ws.Header) bool {
	switch h.OpCode {
	case ws.OpPing, ws.OpPong:
		return true
	case ws.OpClose:
		return false // the last one
	}
	return !h.Fin && h.Length == 0
}

// small reads a payload of at most idleBuffer bytes in place.
func (r *reader) small(h ws.Header) ([]byte, error) {
	n := int(h.Length)
	if err := r.fill(n); err != nil {
		return nil, err
	}
	p := r.buf[r.r : r.r+n]
	r.r += n
	ws.Cipher(p, h.Mask, 0)
	return p, nil
}

// collect appends a frame's payload to the message. Memory grows with what has
// arrived, so that a promise of much costs the client as much.
func (r *reader) collect(h ws.Header) error {
	left := int(h.Length)
	if r.msg == nil {
		r.msg = r.pool.get(min(left, firstChunk))
		r.held.hold(&r.holding, r.ctl, cap(r.msg.b))
	}
	done := 0
	for left > 0 {
		if len(r.msg.b) == cap(r.msg.b) {
			r.msg = r.pool.grow(r.msg)
			r.held.hold(&r.holding, r.ctl, cap(r.msg.b))
		}
		at := len(r.msg.b)
		part := r.msg.b[at:min(cap(r.msg.b), at+left)]
		var n int
		if r.r < r.w {
			n = copy(part, r.buf[r.r:r.w])
			r.r += n
		} else {
			var err error
			if n, err = r.read(part); err != nil {
				return err
			}
		}
		ws.Cipher(part[:n], h.Mask, done)
		r.msg.b = r.msg.b[:at+n]
		done += n
		left -= n
	}
	return nil
}

func (r *reader) control(h ws.Header) error {
	p, err := r.small(h)
	if err != nil {
		return err
	}
	switch h.OpCode {
	case ws.OpPing:
		r.ctl.ping(p)
	case ws.OpPong:
		r.ctl.pong()
	case ws.OpClose:
		return closeFrame(p)
	}
	return nil
}

// closeFrame is what a client's close frame means: always an error, its own
// close or a violation.
func closeFrame(p []byte) error {
	switch {
	case len(p) == 0:
		return new(peerClosed)
	case len(p) == 1:
		return violation(errCloseBody)
	}
	code := ws.StatusCode(binary.BigEndian.Uint16(p))
	switch {
	case !utf8.Valid(p[2:]):
		return &closeError{ws.StatusInvalidFramePayloadData, "close reason is not UTF-8", endUTF8}
	case code >= 5000:
		return violation(errCloseCode)
	case code >= 1012 && code <= 1014:
		// Registered after the RFC; ws does not know them.
	default:
		if err := ws.CheckCloseFrameData(code, ""); err != nil {
			return violation(err)
		}
	}
	return &peerClosed{code}
}
