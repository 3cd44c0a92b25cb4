package wsserver

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/gobwas/ws"
)

// decoder turns a byte stream, in whatever pieces it arrives, into messages.
// It has no state of its own between calls: what a connection has sent in part
// is in its partial, which it has only as long as there is one. So one decoder
// serves all connections of a loop. It reads nothing and waits for nothing.
type decoder struct {
	limit int // of a message
	pool  *buffers
	now   uint32 // what a new partial says in since
	held  holdings
	free  []*partial
}

// maxFreePartials is how many partials are kept for the next ones.
const maxFreePartials = 256

// frames hears of a connection's frames. What it is given is valid during the
// call.
type frames interface {
	controls
	// message is a whole message; deflated says that it is compressed. An
	// error ends the decoding.
	message(msg []byte, op ws.OpCode, deflated bool) error
}

// partial is the part of a message, or of a frame, that has arrived.
type partial struct {
	since   uint32 // when its first byte arrived
	holding holding

	head [ws.MaxHeaderSize]byte // the beginning of a header
	have int                    // bytes in head

	framed bool      // h is the frame under way, and done bytes of its payload are here
	h      ws.Header // valid while framed
	done   int

	op       ws.OpCode // of the fragmented message; 0: there is none
	deflated bool
	msg      *buffer // the payload of data frames so far
	control  [ws.MaxControlFramePayloadSize]byte
}

// partialBytes is what a partial takes itself.
const partialBytes = int(unsafe.Sizeof(partial{}))

// clean: nothing is under way.
func (p *partial) clean() bool { return !p.framed && p.have == 0 && p.op == 0 }

// feed takes the next bytes of a connection, whose partial is at. It unmasks
// in place; whole messages in one frame are handed on without a copy.
// agreed is what was agreed on for compression.
func (d *decoder) feed(at **partial, in []byte, s frames, agreed deflation) error {
	for len(in) > 0 {
		p := *at
		if p != nil && p.framed {
			n, err := d.more(at, in, s)
			if err != nil {
				return err
			}
			in = in[n:]
			continue
		}
		var h ws.Header
		var form byte
		if p != nil && p.have > 0 {
			m := copy(p.head[p.have:], in)
			n, err := parseHeader(p.head[:p.have+m], &h)
			if err != nil {
				return err
			}
			if n == 0 {
				p.have += m
				return nil
			}
			form = p.head[1] & 0x7f
			in = in[n-p.have:]
			p.have = 0
		} else {
			n, err := parseHeader(in, &h)
			if err != nil {
				return err
			}
			if n == 0 {
				p = d.partial(at, s)
				p.have = copy(p.head[:], in)
				return nil
			}
			form = in[1] & 0x7f
			in = in[n:]
		}
		fragmented := p != nil && p.op != 0
		state := ws.StateServerSide
		if fragmented {
			state |= ws.StateFragmented
		}
		if err := checkFrame(h, form, state, agreed); err != nil {
			return err
		}
		if paced(h) && !s.spend() {
			return errPace
		}
		n := int(h.Length)
		if h.OpCode.IsControl() {
			if len(in) < n {
				d.begin(at, s, h)
				continue
			}
			payload := in[:n]
			in = in[n:]
			ws.Cipher(payload, h.Mask, 0)
			if err := control(h.OpCode, payload, s); err != nil {
				return err
			}
			d.settle(at)
			continue
		}
		have := 0
		if p != nil && p.msg != nil {
			have = len(p.msg.b)
		}
		if h.Length > int64(d.limit-have) {
			return tooBig(d.limit)
		}
		if fragmented || !h.Fin || len(in) < n {
			d.begin(at, s, h)
			if n == 0 {
				// more would not be called for what needs no more bytes.
				if _, err := d.more(at, nil, s); err != nil {
					return err
				}
			}
			continue
		}
		msg := in[:n]
		in = in[n:]
		ws.Cipher(msg, h.Mask, 0)
		if err := s.message(msg, h.OpCode, h.Rsv1()); err != nil {
			return err
		}
		d.settle(at)
	}
	return nil
}

// begin takes down a frame that goes into the connection's partial.
func (d *decoder) begin(at **partial, s frames, h ws.Header) {
	p := d.partial(at, s)
	p.framed, p.h, p.done = true, h, 0
	if h.OpCode == ws.OpText || h.OpCode == ws.OpBinary {
		p.op, p.deflated = h.OpCode, h.Rsv1()
	}
}

// more takes payload of the frame under way and says how much it took.
func (d *decoder) more(at **partial, in []byte, s frames) (int, error) {
	p := *at
	n := min(int(p.h.Length)-p.done, len(in))
	if p.h.OpCode.IsControl() {
		copy(p.control[p.done:], in[:n])
		ws.Cipher(p.control[p.done:p.done+n], p.h.Mask, p.done)
		if p.done += n; p.done < int(p.h.Length) {
			return n, nil
		}
		p.framed = false
		if err := control(p.h.OpCode, p.control[:p.done], s); err != nil {
			return n, err
		}
		d.settle(at)
		return n, nil
	}
	d.collect(p, in[:n], s)
	if p.done < int(p.h.Length) {
		return n, nil
	}
	p.framed = false
	if !p.h.Fin {
		return n, nil
	}
	var msg []byte
	if p.msg != nil {
		msg = p.msg.b
	}
	if err := s.message(msg, p.op, p.deflated); err != nil {
		return n, err
	}
	p.op = 0
	d.settle(at)
	return n, nil
}

// collect appends payload to the message. Memory grows with what has arrived,
// so that a promise of much costs the client as much.
func (d *decoder) collect(p *partial, in []byte, s frames) {
	if len(in) == 0 {
		return
	}
	if p.msg == nil {
		p.msg = d.pool.get(max(len(in), min(int(p.h.Length), firstChunk)))
	}
	for len(p.msg.b)+len(in) > cap(p.msg.b) {
		p.msg = d.pool.grow(p.msg)
	}
	d.held.hold(&p.holding, s, partialBytes+cap(p.msg.b))
	from := len(p.msg.b)
	p.msg.b = append(p.msg.b, in...)
	ws.Cipher(p.msg.b[from:], p.h.Mask, p.done)
	p.done += len(in)
}

// partial is the connection's, a new one if there is none.
func (d *decoder) partial(at **partial, s frames) *partial {
	if *at != nil {
		return *at
	}
	var p *partial
	if n := len(d.free); n > 0 {
		p, d.free = d.free[n-1], d.free[:n-1]
	} else {
		p = new(partial)
	}
	p.since = d.now
	d.held.hold(&p.holding, s, partialBytes)
	*at = p
	return p
}

// settle lets go of a partial in which nothing is left.
func (d *decoder) settle(at **partial) {
	if *at != nil && (*at).clean() {
		d.drop(at)
	}
}

// drop lets go of what the connection has sent in part.
func (d *decoder) drop(at **partial) {
	p := *at
	if p == nil {
		return
	}
	*at = nil
	d.held.free(&p.holding)
	d.pool.put(p.msg)
	if len(d.free) < maxFreePartials {
		*p = partial{}
		d.free = append(d.free, p)
	}
}

// parseHeader reads a frame's header from the front of p and says how long it
// is: 0 if it has not arrived as a whole.
func parseHeader(p []byte, h *ws.Header) (int, error) {
	if len(p) < 2 {
		return 0, nil
	}
	h.Fin = p[0]&0x80 != 0
	h.Rsv = p[0] & 0x70 >> 4
	h.OpCode = ws.OpCode(p[0] & 0x0f)
	h.Masked = p[1]&0x80 != 0
	n, length := 2, p[1]&0x7f
	switch length {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	mask := n
	if h.Masked {
		n += len(h.Mask)
	}
	if len(p) < n {
		return 0, nil
	}
	switch length {
	case 126:
		h.Length = int64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		if p[2]&0x80 != 0 {
			return 0, violation(ws.ErrHeaderLengthMSB)
		}
		h.Length = int64(binary.BigEndian.Uint64(p[2:]))
	default:
		h.Length = int64(length)
	}
	if h.Masked {
		copy(h.Mask[:], p[mask:])
	}
	return n, nil
}

// checkFrame holds a header against RFC 6455. form is its length's first byte
// without the mask bit.
func checkFrame(h ws.Header, form byte, state ws.State, agreed deflation) error {
	if err := checkHeader(h, state, agreed); err != nil {
		return violation(err)
	}
	// RFC 6455, 5.2: the minimal number of bytes MUST be used to encode the
	// length.
	if form == 126 && h.Length < 126 || form == 127 && h.Length <= 0xffff {
		return violation(errMinimal)
	}
	return nil
}

// errNotUTF8 is for a text message (RFC 6455, 8.1). Of a binary one the text is
// the tracker's to judge, like that of any other frame.
func errNotUTF8() error {
	return &closeError{ws.StatusInvalidFramePayloadData, "text that is not UTF-8", endUTF8}
}

func tooBig(limit int) error {
	return &closeError{ws.StatusMessageTooBig, fmt.Sprintf("message above %d bytes", limit), endTooBig}
}

// control hands on a control frame; a close is an error.
func control(op ws.OpCode, payload []byte, s frames) error {
	switch op {
	case ws.OpPing:
		s.ping(payload)
	case ws.OpPong:
		s.pong()
	case ws.OpClose:
		return closeFrame(payload)
	}
	return nil
}
