package wsserver

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/tracker/wire"
)

// maxFrameHeader is the longest header of a frame that a server sends.
const maxFrameHeader = 10

// appendText appends a text frame. The payload's length, and with it the
// header's, is known only once it is there; the usual header leaves it in
// place.
func appendText(dst []byte, m *wire.Message) []byte {
	const usual = 4
	at := len(dst)
	dst = append(dst, 0x80|byte(ws.OpText), 126, 0, 0)
	dst = wire.Append(dst, m)
	n := len(dst) - at - usual
	switch {
	case n < 126:
		dst[at+1] = byte(n)
		copy(dst[at+2:], dst[at+usual:])
		return dst[:len(dst)-2]
	case n <= 0xffff:
		binary.BigEndian.PutUint16(dst[at+2:], uint16(n))
		return dst
	}
	dst = append(dst, make([]byte, maxFrameHeader-usual)...)
	copy(dst[at+maxFrameHeader:], dst[at+usual:at+usual+n])
	dst[at+1] = 127
	binary.BigEndian.PutUint64(dst[at+2:], uint64(n))
	return dst
}

// appendMessage appends a message in one frame.
func appendMessage(dst []byte, op ws.OpCode, payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(op), byte(n))
	case n <= 0xffff:
		dst = append(dst, 0x80|byte(op), 126, byte(n>>8), byte(n))
	default:
		dst = append(dst, 0x80|byte(op), 127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, payload...)
}

// frameHeader is the size of the header of a server's frame.
func frameHeader(frame []byte) int {
	switch frame[1] {
	case 126:
		return 4
	case 127:
		return maxFrameHeader
	}
	return 2
}

// appendControl appends a control frame; payload has at most 125 bytes.
func appendControl(dst []byte, op ws.OpCode, payload []byte) []byte {
	dst = append(dst, 0x80|byte(op), byte(len(payload)))
	return append(dst, payload...)
}

// appendClose appends a close frame; code 0 makes one without a code. A reason
// too long is cut between characters.
func appendClose(dst []byte, code ws.StatusCode, reason string) []byte {
	var body [ws.MaxControlFramePayloadSize]byte
	n := 0
	if code != 0 {
		binary.BigEndian.PutUint16(body[:], uint16(code))
		for len(reason) > len(body)-2 || !utf8.ValidString(reason) {
			reason = reason[:len(reason)-1]
		}
		n = 2 + copy(body[2:], reason)
	}
	return appendControl(dst, ws.OpClose, body[:n])
}
