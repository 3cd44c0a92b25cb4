package load

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/gobwas/ws"
)

// script is what the clients say: the text of their frames, as webtorrent's
// client in a browser writes them. Ids differ from one run to the next.
type script struct {
	cfg    *Config
	hashes []string // of swarms, decoded
	forms  [][]byte // of hashes, as JSON.stringify writes them
	peers  string   // what peer ids begin with
	offers string   // what offer ids begin with, decoded
	quoted string   // the same in JSON, with its first quote
	mask   *rand.Rand
}

func newScript(cfg *Config, rng *rand.Rand) *script {
	s := &script{cfg: cfg, mask: rng}
	for range cfg.Swarms {
		hash := make([]rune, 20) // a byte is a code point up to U+00FF
		for i := range hash {
			hash[i] = rune(rng.IntN(256))
		}
		s.hashes = append(s.hashes, string(hash))
		s.forms = append(s.forms, stringify(string(hash)))
	}
	s.peers = "-WW0208-" + string(appendCode(nil, rng.Uint64())[:6])
	begin := make([]rune, 9)
	for i := range begin {
		begin[i] = rune(0xa1 + rng.IntN(0x100-0xa1))
	}
	s.offers = string(begin)
	s.quoted = `"` + s.offers
	return s
}

// stringify is JSON as browsers write it, which escape less than Go.
func stringify(s string) []byte {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string always has a form
	}
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}

// digits are those of codes: 64 that JSON leaves as they are.
const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

const codeLen = 11

// appendCode appends a number in as many digits as every number has.
func appendCode(dst []byte, v uint64) []byte {
	var c [codeLen]byte
	for i := codeLen - 1; i >= 0; i-- {
		c[i] = digits[v&63]
		v >>= 6
	}
	return append(dst, c[:]...)
}

// digit is the value of a digit, 64 for what is none.
func digit(c byte) byte {
	switch {
	case c >= 'a':
		if c <= 'z' {
			return c - 'a' + 26
		}
	case c >= 'A':
		if c <= 'Z' {
			return c - 'A'
		}
	case c >= '0':
		if c <= '9' {
			return c - '0' + 52
		}
	case c == '+':
		return 62
	case c == '/':
		return 63
	}
	return 64
}

func code(b []byte) (v uint64, ok bool) {
	if len(b) != codeLen {
		return 0, false
	}
	for i, c := range b {
		d := digit(c)
		if d == 64 || i == 0 && d > 15 { // 11 digits hold two bits too many
			return 0, false
		}
		v = v<<6 | uint64(d)
	}
	return v, true
}

// An offer's number is that of its announce and its place in it.
const placeBits = 7

func offerNumber(seq uint64, place int) uint64 { return seq<<placeBits | uint64(place) }

func splitOffer(n uint64) (seq uint64, place int) {
	return n >> placeBits, int(n & (1<<placeBits - 1))
}

const peerDigits = 6

// appendPeer appends the peer id of a client: 20 characters that are the same
// in JSON.
func (s *script) appendPeer(dst []byte, conn int) []byte {
	dst = append(dst, s.peers...)
	for shift := 6 * (peerDigits - 1); shift >= 0; shift -= 6 {
		dst = append(dst, digits[conn>>shift&63])
	}
	return dst
}

// isPeer reports whether raw, a string in JSON, is the peer id of a client.
func (s *script) isPeer(raw []byte, conn int) bool {
	var id [20]byte
	want := s.appendPeer(id[:0], conn)
	return len(raw) == len(want)+2 && string(raw[1:len(raw)-1]) == string(want)
}

func (s *script) appendOfferID(dst []byte, n uint64) []byte {
	dst = append(dst, s.quoted...)
	return append(appendCode(dst, n), '"')
}

// offerNumber is the number in an offer id of this run.
func (s *script) offerNumber(raw []byte) (uint64, bool) {
	if len(raw) > len(s.quoted) && string(raw[:len(s.quoted)]) == s.quoted {
		return code(raw[len(s.quoted) : len(raw)-1])
	}
	var id string // in another form
	if json.Unmarshal(raw, &id) != nil {
		return 0, false
	}
	rest, ok := strings.CutPrefix(id, s.offers)
	if !ok {
		return 0, false
	}
	return code([]byte(rest))
}

// Session descriptions of a data channel. Each has a number in its password,
// and an answer's also says who answers.
const (
	sdpHead = `v=0\r\no=- 7282936157432980115 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n` +
		`a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n` +
		`m=application 51821 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 198.51.100.23\r\n` +
		`a=candidate:2961348571 1 udp 2113937151 e0c1b1f4-5a44-4f0e-8d4a-4c3a92d0a6f1.local 51821 typ host generation 0 network-cost 999\r\n` +
		`a=candidate:3217839122 1 udp 2113939711 8f0b6f2e-90a7-4d0c-b6d1-2a4b3b5f7c10.local 60418 typ host generation 0 network-cost 999\r\n` +
		`a=candidate:1714290163 1 tcp 1518214911 e0c1b1f4-5a44-4f0e-8d4a-4c3a92d0a6f1.local 9 typ host tcptype active generation 0 network-cost 999\r\n` +
		`a=candidate:842163049 1 udp 1677729535 198.51.100.23 51821 typ srflx raddr 0.0.0.0 rport 0 generation 0 network-cost 999\r\n` +
		`a=ice-ufrag:b3Kx\r\na=ice-pwd:m7`
	sdpTail = `\r\na=fingerprint:sha-256 3D:90:0A:5B:E4:17:2C:C8:9F:61:72:D3:08:AE:4D:B6:55:F0:1E:93:7A:C4:28:6B:E9:10:8C:FD:33:A7:5E:42\r\n`

	offerHead = `{"type":"offer","sdp":"` + sdpHead
	offerTail = sdpTail + `a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"}`

	answerHead = `{"type":"answer","sdp":"` + sdpHead
	answerTail = sdpTail + `a=setup:active\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"}`
)

func appendOffer(dst []byte, n uint64) []byte {
	dst = append(dst, offerHead...)
	dst = appendCode(dst, n)
	dst = append(dst, digits[:codeLen]...)
	return append(dst, offerTail...)
}

func appendAnswer(dst []byte, n uint64, conn int) []byte {
	dst = append(dst, answerHead...)
	dst = appendCode(dst, n)
	dst = appendCode(dst, uint64(conn))
	return append(dst, answerTail...)
}

// appendAnnounce appends a client's announce. The first one of a connection
// has no offers: there may be nobody yet to take them.
func (s *script) appendAnnounce(dst []byte, conn int, seq uint64, first bool, offers int) []byte {
	left := `,"left":1048576`
	if s.cfg.seeder(conn) {
		left = `,"left":0`
	}
	if first {
		dst = append(dst, `{"numwant":50,"uploaded":0,"downloaded":0`...)
		dst = append(append(dst, left...), `,"event":"started"`...)
	} else {
		dst = append(dst, `{"numwant":`...)
		dst = strconv.AppendInt(dst, int64(offers), 10)
		dst = append(append(dst, `,"uploaded":0,"downloaded":0`...), left...)
	}
	dst = append(dst, `,"action":"announce","info_hash":`...)
	dst = append(dst, s.forms[s.cfg.swarm(conn)]...)
	dst = append(dst, `,"peer_id":"`...)
	dst = append(s.appendPeer(dst, conn), `","offers":[`...)
	for i := range offers {
		if i > 0 {
			dst = append(dst, ',')
		}
		n := offerNumber(seq, i)
		dst = appendOffer(append(dst, `{"offer":`...), n)
		dst = append(s.appendOfferID(append(dst, `,"offer_id":`...), n), '}')
	}
	return append(dst, `]}`...)
}

// appendAnswerTo appends a client's answer to an offer; to is the offerer's
// peer id as it came, a string in JSON.
func (s *script) appendAnswerTo(dst []byte, conn int, to []byte, n uint64) []byte {
	dst = append(dst, `{"action":"announce","info_hash":`...)
	dst = append(dst, s.forms[s.cfg.swarm(conn)]...)
	dst = append(dst, `,"peer_id":"`...)
	dst = append(s.appendPeer(dst, conn), `","to_peer_id":`...)
	dst = append(append(dst, to...), `,"answer":`...)
	dst = append(appendAnswer(dst, n, conn), `,"offer_id":`...)
	return append(s.appendOfferID(dst, n), '}')
}

// Frames of a client, which are masked.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa

	shortHeader = 2 + 2 + 4 // with a length of 16 bits
	longHeader  = 2 + 8 + 4
)

// begin makes room for the header of a frame whose payload is appended next;
// seal, given where it began, completes it.
func begin(dst []byte) []byte { return append(dst, make([]byte, shortHeader)...) }

func (s *script) seal(dst []byte, start int, op byte) []byte {
	n := len(dst) - start - shortHeader
	head := shortHeader
	switch {
	case n < 126:
		head = shortHeader - 2
		copy(dst[start+head:], dst[start+shortHeader:])
		dst = dst[:len(dst)-2]
		dst[start+1] = 0x80 | byte(n)
	case n < 1<<16:
		dst[start+1] = 0x80 | 126
		binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
	default:
		head = longHeader
		dst = append(dst, make([]byte, longHeader-shortHeader)...)
		copy(dst[start+longHeader:], dst[start+shortHeader:])
		dst[start+1] = 0x80 | 127
		binary.BigEndian.PutUint64(dst[start+2:], uint64(n))
	}
	dst[start] = 0x80 | op
	var mask [4]byte
	binary.LittleEndian.PutUint32(mask[:], s.mask.Uint32())
	copy(dst[start+head-4:], mask[:])
	ws.Cipher(dst[start+head:], mask, 0)
	return dst
}
