package tlsstream

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"math"
	"net"
	"slices"
	"sync"
)

// contentType is a record's (RFC 8446, B.1).
type contentType byte

const (
	typeChange      contentType = 20
	typeAlert       contentType = 21
	typeHandshake   contentType = 22
	typeApplication contentType = 23
)

const (
	maxPlain = 1 << 14
	// maxInner has the content type and padding too, maxPayload also what the
	// AEAD adds (RFC 8446, 5.2 and 5.4).
	maxInner   = maxPlain + 1
	maxPayload = maxPlain + 256

	messageNewTicket = 4
	messageKeyUpdate = 24
	keyUpdateLen     = 5

	// rekeyAfter is how many records are sealed with one key. AES-GCM is good
	// for 2^24.5 of full size (RFC 8446, 5.5).
	rekeyAfter = 1 << 24

	// A record without application data costs a debt, which data pays byte
	// by byte: a client that only ever updates keys ends at maxDebt.
	debtPerRecord = 4 << 10
	maxDebt       = 32 * debtPerRecord

	smallPart = 2 << 10
)

// The alerts that are sent (RFC 8446, B.2).
const (
	alertCloseNotify       = tls.AlertError(0)
	alertUnexpectedMessage = tls.AlertError(10)
	alertBadRecordMAC      = tls.AlertError(20)
	alertRecordOverflow    = tls.AlertError(22)
	alertIllegalParameter  = tls.AlertError(47)
	alertDecodeError       = tls.AlertError(50)
	alertInternalError     = tls.AlertError(80)
	alertUserCanceled      = tls.AlertError(90)
)

// records is what own streams of a Server share.
type records struct {
	rekeyAfter uint64
	// Buffers of incomplete records, in two sizes.
	small, large sync.Pool
}

func newRecords() *records {
	return &records{
		rekeyAfter: rekeyAfter,
		small:      sync.Pool{New: func() any { return newPart(smallPart) }},
		large:      sync.Pool{New: func() any { return newPart(headerLen + maxPayload) }},
	}
}

func newPart(n int) *[]byte {
	p := make([]byte, 0, n)
	return &p
}

func (r *records) get(n int) *[]byte {
	if n <= smallPart {
		return r.small.Get().(*[]byte)
	}
	return r.large.Get().(*[]byte)
}

func (r *records) put(p *[]byte) {
	*p = (*p)[:0]
	if cap(*p) == smallPart {
		r.small.Put(p)
		return
	}
	r.large.Put(p)
}

// own is a Stream with TLS 1.3's record layer (RFC 8446, 5), as it is once the
// handshake is over.
type own struct {
	shared      *records
	read, write half
	err         error   // what Open returns for ever
	part        *[]byte // a record whose header is complete
	debt        int32
	// header is that of a record while it is incomplete, message that of a
	// handshake message.
	header, message         [headerLen]byte
	haveHeader, haveMessage uint8
	alert                   tls.AlertError // to be sent, if failed
	failed                  bool
	update                  bool // a KeyUpdate is to be sent
	closed                  bool // nothing may be sealed
}

func (o *own) Open(dst, in []byte) ([]byte, error) {
	for len(in) > 0 && o.err == nil {
		if o.part == nil && o.haveHeader == 0 && len(in) >= headerLen {
			// The usual case: nothing kept, and the record is here.
			n := o.length(in[:headerLen])
			if o.err != nil {
				break
			}
			if len(in) >= headerLen+n {
				dst = o.record(dst, in[:headerLen], in[headerLen:headerLen+n])
				in = in[headerLen+n:]
				continue
			}
		}
		dst, in = o.keep(dst, in)
	}
	return dst, o.err
}

// keep adds the front of in to the incomplete record, and opens it when it is
// complete.
func (o *own) keep(dst, in []byte) (_, rest []byte) {
	if o.part == nil {
		n := copy(o.header[o.haveHeader:], in)
		in = in[n:]
		if o.haveHeader += uint8(n); o.haveHeader < headerLen {
			return dst, in
		}
		o.haveHeader = 0
		n = o.length(o.header[:])
		if o.err != nil {
			return dst, in
		}
		o.part = o.shared.get(min(n, len(in))) // a header is only a promise
	}
	missing := int(binary.BigEndian.Uint16(o.header[3:])) - len(*o.part)
	n := min(missing, len(in))
	if len(*o.part)+n > cap(*o.part) {
		more := o.shared.get(len(*o.part) + n)
		*more = append(*more, *o.part...)
		o.shared.put(o.part)
		o.part = more
	}
	*o.part = append(*o.part, in[:n]...)
	if n == missing {
		dst = o.record(dst, o.header[:], *o.part)
		o.shared.put(o.part)
		o.part = nil
	}
	return dst, in[n:]
}

// length is that of the record with this header, which it judges.
func (o *own) length(header []byte) int {
	// Everything is protected now, and a change_cipher_spec of compatibility
	// mode had its time before the client's Finished (5). The version is to
	// be ignored (5.1); the AEAD covers it.
	if contentType(header[0]) != typeApplication {
		o.fail(alertUnexpectedMessage)
		return 0
	}
	n := int(binary.BigEndian.Uint16(header[3:]))
	if n > maxPayload {
		o.fail(alertRecordOverflow)
		return 0
	}
	return n
}

// record opens a complete record.
func (o *own) record(dst, header, payload []byte) []byte {
	if o.read.seq == math.MaxUint64 {
		o.fail(alertInternalError) // it must not wrap (5.3)
		return dst
	}
	at := len(dst)
	dst = slices.Grow(dst, len(payload))
	dst, ok := o.read.open(dst, header, payload)
	if !ok {
		o.fail(alertBadRecordMAC)
		return dst[:at]
	}
	inner := dst[at:]
	if len(inner) > maxInner {
		o.fail(alertRecordOverflow)
		return dst[:at]
	}
	n := len(inner)
	for n > 0 && inner[n-1] == 0 {
		n-- // padding (5.4)
	}
	if n == 0 {
		o.fail(alertUnexpectedMessage) // it has no type
		return dst[:at]
	}
	typ, content := contentType(inner[n-1]), inner[:n-1]
	if typ != typeHandshake && o.haveMessage > 0 {
		o.fail(alertUnexpectedMessage) // interleaved (5.1)
		return dst[:at]
	}
	if typ == typeApplication && len(content) > 0 {
		o.debt = max(0, o.debt-int32(len(content)))
		return dst[:at+len(content)]
	}
	if o.debt += debtPerRecord; o.debt > maxDebt {
		o.fail(alertUnexpectedMessage)
		return dst[:at]
	}
	switch typ {
	case typeApplication: // empty: against traffic analysis (5.1)
	case typeHandshake:
		o.handshake(content)
	case typeAlert:
		o.alerted(content)
	default:
		o.fail(alertUnexpectedMessage)
	}
	return dst[:at]
}

// handshake takes a record of handshake messages, of which a client may send
// one kind: it was not asked for a certificate (4.6.2), and tickets are the
// server's (4.6.1).
func (o *own) handshake(content []byte) {
	if len(content) == 0 {
		o.fail(alertUnexpectedMessage) // 5.1
		return
	}
	for len(content) > 0 && o.err == nil {
		n := copy(o.message[o.haveMessage:], content)
		content = content[n:]
		o.haveMessage += uint8(n)
		have := o.message[:o.haveMessage]
		switch {
		case have[0] != messageKeyUpdate:
			o.fail(alertUnexpectedMessage)
		case len(have) >= 4 && (have[1] != 0 || have[2] != 0 || have[3] != 1):
			o.fail(alertDecodeError)
		case len(have) < keyUpdateLen:
			return
		case have[4] > 1:
			o.fail(alertIllegalParameter)
		case len(content) > 0:
			// What follows was sealed with the former key (5.1).
			o.fail(alertUnexpectedMessage)
		default:
			// One answer is enough for several requests (4.6.3).
			o.update = o.update || have[4] == 1
			o.haveMessage = 0
			if !o.read.next() {
				o.fail(alertInternalError)
			}
		}
	}
}

// alerted takes a record of an alert (6).
func (o *own) alerted(content []byte) {
	switch {
	case len(content) == 0:
		o.fail(alertUnexpectedMessage) // 5.1
	case len(content) != 2:
		o.fail(alertDecodeError)
	case tls.AlertError(content[1]) == alertCloseNotify:
		o.finish(io.EOF)
	case tls.AlertError(content[1]) == alertUserCanceled:
		// A close_notify follows.
	default:
		// All others are fatal, whatever they say of their level, and end
		// both directions without an answer (6.2).
		o.closed = true
		o.finish(&net.OpError{Op: "remote error", Err: tls.AlertError(content[1])})
	}
}

// fail ends the connection with an alert.
func (o *own) fail(a tls.AlertError) {
	o.failed, o.alert = true, a
	o.finish(&net.OpError{Op: "local error", Err: a})
}

func (o *own) finish(err error) {
	o.err = err
	o.read = half{} // nothing will be opened: no need to hold its keys
}

func (o *own) Seal(dst, plain []byte) []byte {
	dst = o.Control(dst)
	if o.closed {
		return dst
	}
	per := headerLen + 1 + tagLen
	dst = slices.Grow(dst, len(plain)+(len(plain)/maxPlain+1)*per)
	for len(plain) > 0 {
		if o.write.seq >= o.shared.rekeyAfter {
			if dst = o.rekey(dst); o.closed {
				break
			}
		}
		n := min(len(plain), maxPlain)
		dst = o.write.seal(dst, typeApplication, plain[:n])
		plain = plain[n:]
	}
	return dst
}

func (o *own) Control(dst []byte) []byte {
	if o.closed {
		return dst
	}
	if o.update {
		dst = o.rekey(dst)
	}
	if o.failed && !o.closed {
		dst = o.say(dst, alertFatal, o.alert)
	}
	return dst
}

// rekey appends a KeyUpdate that asks for none (4.6.3), sealed with the key
// that it ends.
func (o *own) rekey(dst []byte) []byte {
	o.update = false
	dst = o.sealGrown(dst, typeHandshake, messageKeyUpdate, 0, 0, 1, 0)
	if !o.write.next() {
		// Nothing can be said any more.
		o.closed = true
		o.finish(&net.OpError{Op: "local error", Err: alertInternalError})
	}
	return dst
}

func (o *own) CloseNotify(dst []byte) []byte {
	dst = o.Control(dst)
	if o.closed {
		return dst
	}
	return o.say(dst, alertWarning, alertCloseNotify)
}

const (
	alertWarning = 1
	alertFatal   = 2
)

// say appends an alert, the last thing that is said.
func (o *own) say(dst []byte, level byte, a tls.AlertError) []byte {
	dst = o.sealGrown(dst, typeAlert, level, byte(a))
	o.closed = true
	o.write = half{}
	return dst
}

func (o *own) sealGrown(dst []byte, typ contentType, content ...byte) []byte {
	dst = slices.Grow(dst, headerLen+len(content)+1+tagLen)
	return o.write.seal(dst, typ, content)
}

func (o *own) Idle() { o.read.aead, o.write.aead = nil, nil }
