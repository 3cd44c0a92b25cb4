package federation

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/gobwas/ws"
)

// carrier is a WebSocket connection, read message by message.
type carrier struct {
	r      *bufio.Reader
	client bool // we dialled: what we send is masked, what we get is not

	header  [ws.MaxHeaderSize]byte
	control [ws.MaxControlFramePayloadSize]byte
	partial []byte // of a message that is in pieces, or larger than the buffer
	given   int    // bytes at the front of the buffer that are the last message
	inside  bool
	frames  int // read since somebody counted them and set this to zero
}

var (
	errProtocol = errors.New("WebSocket protocol violated")
	errTooBig   = errors.New("message too big")
)

// maxPieces is how many frames may come before a message is whole. A frame may
// be empty, so that the size of the message is no bound.
const maxPieces = 4096

// keptBuffer is how large a read buffer is kept between messages.
const keptBuffer = 64 << 10

func newCarrier(conn net.Conn, br *bufio.Reader, client bool) *carrier {
	c := &carrier{client: client}
	if br == nil {
		br = bufio.NewReaderSize(conn, 4096)
	}
	c.r = br
	return c
}

// linkBuffer is what a link reads at a time: a busy one brings dozens of
// frames at once, and a read costs more than all that is done with them.
const linkBuffer = 32 << 10

// widen gives the carrier of a connection that has become a link its buffer.
func (c *carrier) widen(conn io.Reader) {
	ahead, _ := c.r.Peek(c.r.Buffered())
	c.r = bufio.NewReaderSize(&replay{ahead: ahead, rest: conn}, linkBuffer)
}

// replay reads what was read ahead, and then the rest.
type replay struct {
	ahead []byte
	rest  io.Reader
}

func (a *replay) Read(p []byte) (int, error) {
	if len(a.ahead) == 0 {
		a.ahead = nil
		return a.rest.Read(p)
	}
	n := copy(p, a.ahead)
	a.ahead = a.ahead[n:]
	return n, nil
}

// read returns the next message or control frame, which stays valid until the
// next read.
func (c *carrier) read(max int) (ws.OpCode, []byte, error) {
	if _, err := c.r.Discard(c.given); err != nil {
		return 0, nil, err
	}
	c.given = 0
	if !c.inside {
		if cap(c.partial) > keptBuffer {
			c.partial = nil
		}
		c.partial = c.partial[:0]
	}
	for {
		h, err := ws.ReadHeaderBuffer(c.r, c.header[:])
		if err != nil {
			return 0, nil, err
		}
		if h.Rsv != 0 || h.Masked == c.client || h.OpCode.IsReserved() {
			return 0, nil, errProtocol
		}
		if c.frames++; c.frames > maxPieces {
			return 0, nil, errTooBig
		}
		if h.OpCode.IsControl() {
			if !h.Fin || h.Length > int64(len(c.control)) {
				return 0, nil, errProtocol
			}
			b := c.control[:h.Length]
			if _, err := io.ReadFull(c.r, b); err != nil {
				return 0, nil, err
			}
			if h.Masked {
				ws.Cipher(b, h.Mask, 0)
			}
			return h.OpCode, b, nil
		}
		if (h.OpCode == ws.OpContinuation) != c.inside || h.OpCode == ws.OpText {
			return 0, nil, errProtocol
		}
		if h.Length > int64(max-len(c.partial)) {
			return 0, nil, errTooBig
		}
		if h.Fin && !c.inside && h.Length <= int64(c.r.Size()) {
			b, err := c.whole(h)
			if err != nil {
				return 0, nil, err
			}
			return ws.OpBinary, b, nil
		}
		if err := c.body(h); err != nil {
			return 0, nil, err
		}
		c.inside = !h.Fin
		if h.Fin {
			return ws.OpBinary, c.partial, nil
		}
	}
}

// whole is a message where it arrived: what fits the buffer is not copied.
func (c *carrier) whole(h ws.Header) ([]byte, error) {
	b, err := c.r.Peek(int(h.Length))
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	c.given = len(b)
	if h.Masked {
		ws.Cipher(b, h.Mask, 0)
	}
	return b, nil
}

// body appends a frame's payload. Memory is taken as bytes arrive, not as the
// header announces them.
func (c *carrier) body(h ws.Header) error {
	start := len(c.partial)
	for left := int(h.Length); left > 0; {
		n := min(left, max(keptBuffer, len(c.partial)))
		at := len(c.partial)
		if cap(c.partial)-at < n {
			grown := make([]byte, at, at+n)
			copy(grown, c.partial)
			c.partial = grown
		}
		c.partial = c.partial[:at+n]
		if _, err := io.ReadFull(c.r, c.partial[at:]); err != nil {
			return err
		}
		left -= n
	}
	if h.Masked {
		ws.Cipher(c.partial[start:], h.Mask, 0)
	}
	return nil
}

// appendFrame appends one final frame that carries payload.
func appendFrame(dst []byte, op ws.OpCode, payload []byte, mask *[4]byte) []byte {
	bit := byte(0)
	if mask != nil {
		bit = 0x80
	}
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, bit|byte(n))
	case n < 1<<16:
		dst = append(dst, bit|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, bit|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	if mask == nil {
		return append(dst, payload...)
	}
	dst = append(dst, mask[:]...)
	at := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[at:], *mask, 0)
	return dst
}
