package federation

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/gobwas/ws"
)

// carrier is a WebSocket connection, read message by message.
type carrier struct {
	r      *bufio.Reader
	from   *source // what r reads from; nil until the connection is a link
	client bool    // we dialled: what we send is masked, what we get is not

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

// linkBuffer is what a busy link reads at a time: it brings dozens of frames at
// once, and a read costs more than all that is done with them. One that has less
// to say, as most of a thousand links, has a buffer of quietBuffer.
const (
	quietBuffer = 4 << 10
	linkBuffer  = 32 << 10
)

// source is a link's connection, with what was read ahead of it.
type source struct {
	ahead []byte
	conn  io.Reader
	full  bool // a read has filled the buffer: there was more
	taken int  // bytes read since the last rest
}

func (s *source) Read(p []byte) (n int, err error) {
	if len(s.ahead) == 0 {
		s.ahead = nil
		n, err = s.conn.Read(p)
	} else {
		n = copy(p, s.ahead)
		s.ahead = s.ahead[n:]
	}
	s.full = s.full || n == len(p)
	s.taken += n
	return n, err
}

// join makes the carrier that of a link, which adapts its buffer.
func (c *carrier) join(conn io.Reader) {
	c.from = &source{conn: conn}
	c.resize(quietBuffer)
}

// resize changes the buffer between two frames.
func (c *carrier) resize(n int) {
	ahead, _ := c.r.Peek(c.r.Buffered())
	c.from.ahead = append(bytes.Clone(ahead), c.from.ahead...)
	c.r = bufio.NewReaderSize(c.from, n)
}

// rest makes the buffer small again if little came since the last rest. The last
// message is not valid any more.
func (c *carrier) rest() {
	if c.from == nil || c.drop() != nil {
		return
	}
	if c.from.taken < linkBuffer && c.r.Size() > quietBuffer {
		c.resize(quietBuffer)
	}
	c.from.taken = 0
}

// drop lets go of the last message.
func (c *carrier) drop() error {
	_, err := c.r.Discard(c.given)
	c.given = 0
	return err
}

// read returns the next message or control frame, which stays valid until the
// next read.
func (c *carrier) read(max int) (ws.OpCode, []byte, error) {
	if err := c.drop(); err != nil {
		return 0, nil, err
	}
	if c.from != nil && c.from.full {
		if c.from.full = false; c.r.Size() < linkBuffer {
			c.resize(linkBuffer)
		}
	}
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
