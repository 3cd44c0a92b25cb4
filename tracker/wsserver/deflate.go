package wsserver

import (
	"errors"
	"io"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"
)

// Compression of messages by RFC 7692, without context takeover either way: a
// message is compressed on its own, so that connections hold nothing between
// messages and all of them can share one compressor and one decompressor.

// deflation is what a connection has agreed on: the bits of the LZ77 window
// (7.1.2.1) for messages to the client, 0 without compression. For messages
// from clients no window is asked for: the largest costs nothing.
type deflation uint8

// largestWindow is that of DEFLATE itself.
const largestWindow deflation = 15

// takes reports whether a message of n bytes may be compressed for the client.
// One no longer than a window fits any compressor's; longer ones are sent as
// they are to clients who asked for a smaller window.
func (d deflation) takes(n int) bool {
	return d == largestWindow || d != 0 && n <= 1<<d
}

// checkHeader is ws.CheckHeader, but lets pass RSV1 where RFC 7692, 6 has it:
// on the first frame of a message.
func checkHeader(h ws.Header, s ws.State, d deflation) error {
	if d != 0 && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary) {
		h.Rsv &^= ws.Rsv(true, false, false)
	}
	return ws.CheckHeader(h, s)
}

// deflater compresses messages, one at a time. On offers of 1.2 KB the fastest
// of the library's levels takes 12 µs and saves 42 %; its stateless function
// takes 15 µs and saves 43 %, the sixth level 19 µs and 45 %. It keeps 0.8 MB,
// so there should be one for each loop, not for each connection.
type deflater struct {
	w       *flate.Writer
	out     appender
	scratch []byte
}

// appender is an io.Writer to memory.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

func newDeflater() *deflater {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // there is such a level
	}
	return &deflater{w: w}
}

// flushed is how DEFLATE data that was flushed ends, which is left out of
// messages (7.2.1).
const flushed = "\x00\x00\xff\xff"

// compress appends payload compressed.
func (d *deflater) compress(dst, payload []byte) []byte {
	d.out.b = dst
	d.w.Reset(&d.out)
	// Neither can fail: an appender does not.
	d.w.Write(payload)
	d.w.Flush()
	dst = d.out.b[:len(d.out.b)-len(flushed)]
	d.out.b = nil
	return dst
}

// shrink compresses the message in the frame which begins at b[at:] and ends
// with b, if that makes it smaller. The frame is one of a server, unmasked.
func (d *deflater) shrink(b []byte, at int) []byte {
	payload := b[at+frameHeader(b[at:]):]
	d.scratch = d.compress(d.scratch[:0], payload)
	if len(d.scratch) < len(payload) {
		b = appendMessage(b[:at], ws.OpCode(b[at]&0xf), d.scratch)
		b[at] |= 0x40 // RSV1
	}
	if cap(d.scratch) > largestBuffer {
		d.scratch = nil
	}
	return b
}

var (
	// errTooBig: a message inflates beyond what it may.
	errTooBig = errors.New("inflates to more than a message may have")
	// errDeflate: what was sent as compressed is not.
	errDeflate = errors.New("invalid compressed data")
)

const (
	// inflateFloor and inflateRatio bound what a message may become in terms
	// of what was sent, below the limit of messages. DEFLATE has ratios of
	// 1,000, with which a client could have the tracker work through megabytes
	// for a packet or two. Fifty offers that differ in nothing but their ids
	// have about 25. What costs the most for a byte received then is blocks that
	// bring codes of their own and next to nothing in them: 0.17 µs, 43 ms for
	// 256 KiB of them.
	inflateFloor = 4 << 10
	inflateRatio = 32
	// inflateMost bounds what is taken of one message for that reason, to 11 ms
	// of work. An announce of that size after compression has hundreds of offers.
	inflateMost = 64 << 10
	// inflateUsual bounds what is allocated before it is seen to be too little.
	inflateUsual = 64 << 10
	// maxFinals is how many blocks of a message may say that they are the
	// last. One is what RFC 7692, 7.2.3.4 shows; to go on after one costs a
	// copy of the window.
	maxFinals = 16
)

// inflater decompresses messages, one at a time. It keeps 45 KB.
type inflater struct {
	src deflated
	r   io.ReadCloser // and a flate.Resetter
}

func newInflater() *inflater {
	f := new(inflater)
	f.r = flate.NewReader(&f.src)
	return f
}

// deflated reads a message's payload, then what the sender left out of it, and
// then an empty last block, which tells a message that is complete from one
// that is not.
type deflated struct {
	payload []byte
	at      int // in the payload and the tail together
}

const tail = flushed + "\x01\x00\x00\xff\xff"

// ReadByte implements io.ByteReader.
func (s *deflated) ReadByte() (byte, error) {
	at := s.at
	if at < len(s.payload) {
		s.at++
		return s.payload[at], nil
	}
	if at -= len(s.payload); at < len(tail) {
		s.at++
		return tail[at], nil
	}
	return 0, io.EOF
}

// Read implements io.Reader.
func (s *deflated) Read(p []byte) (n int, err error) {
	if s.at < len(s.payload) {
		n = copy(p, s.payload[s.at:])
	} else if n = copy(p, tail[s.at-len(s.payload):]); n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	s.at += n
	return n, nil
}

// rest reports whether the sender has more after a last block of its own. What
// it should have left to be completed by the tail may be missing: compressors
// that were told to finish leave nothing there.
func (s *deflated) rest() bool {
	return s.at != len(s.payload) && s.at < len(s.payload)+len(tail)
}

// inflate appends the message in payload, of at most limit bytes. It allocates
// no more than that and a little, and that only if so much has been sent: see
// inflateRatio.
func (f *inflater) inflate(dst, payload []byte, limit int) ([]byte, error) {
	begin := len(dst)
	if len(payload) > max(inflateMost, limit/4) {
		return dst, errTooBig
	}
	end := begin + min(limit, inflateFloor+inflateRatio*len(payload))
	f.src = deflated{payload: payload}
	defer func() { f.src.payload = nil }()
	f.reset(nil)
	for finals := 0; ; {
		if len(dst) == cap(dst) {
			dst = widen(dst, begin+min(8*len(payload)+512, inflateUsual), end+1)
		}
		// One byte more than there may be is room enough to see it.
		n, err := f.r.Read(dst[len(dst):min(cap(dst), end+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > end:
			return dst[:begin], errTooBig
		case err == nil:
		case err != io.EOF:
			return dst[:begin], errDeflate
		case !f.src.rest():
			return dst, nil
		default:
			if finals++; finals == maxFinals {
				return dst[:begin], errDeflate
			}
			f.reset(dst[begin:])
		}
	}
}

func (f *inflater) reset(window []byte) {
	// It cannot fail.
	f.r.(flate.Resetter).Reset(&f.src, window)
}

// widen makes room in dst: up to usual, or else for all that there may be.
// Doubling would allocate more in sum.
func widen(dst []byte, usual, all int) []byte {
	if usual <= len(dst) || 2*usual > all {
		usual = all
	}
	b := make([]byte, len(dst), usual)
	copy(b, dst)
	return b
}
