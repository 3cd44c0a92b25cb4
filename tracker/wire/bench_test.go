package wire

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"strings"
	"testing"
)

// testSDP is a session description of the size that browsers make: a data
// channel with four candidates.
func testSDP() string {
	var b strings.Builder
	b.WriteString("v=0\r\no=- 4163158563735211519 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n" +
		"m=application 53147 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 203.0.113.17\r\n")
	for i := range 4 {
		fmt.Fprintf(&b, "a=candidate:%d 1 udp 2113937151 203.0.113.%d 5%d147 typ host generation 0 network-id %d network-cost 999\r\n", 842163049+i, i+17, i+1, i+1)
	}
	b.WriteString("a=ice-ufrag:Xq9H\r\na=ice-pwd:a7bFz2bPzTkQ8zJ3uYkX5mRl\r\na=ice-options:trickle\r\n" +
		"a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\n" +
		"a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n")
	return b.String()
}

// testInfoHash is as unforeseeable as one is.
func testInfoHash() []byte { return FromRaw(sha1.Sum([]byte("info"))) }

// testAnnounce is an announce as the reference client sends it.
func testAnnounce(offers int) []byte {
	sdp := AppendID(nil, []byte(testSDP()))
	var b bytes.Buffer
	b.WriteString(`{"numwant":10,"uploaded":0,"downloaded":0,"left":16384,"event":"started","action":"announce","info_hash":`)
	b.Write(AppendID(nil, testInfoHash()))
	b.WriteString(`,"peer_id":"-WW0208-aGVsbG8gd29y","offers":[`)
	for i := range offers {
		if i > 0 {
			b.WriteByte(',')
		}
		id := FromRaw(sha1.Sum([]byte{byte(i)}))
		fmt.Fprintf(&b, `{"offer":{"type":"offer","sdp":%s},"offer_id":%s}`, sdp, AppendID(nil, id))
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func testPayload() []byte {
	return fmt.Appendf(nil, `{"type":"offer","sdp":%s}`, AppendID(nil, []byte(testSDP())))
}

func testAnswer() []byte {
	return fmt.Appendf(nil, `{"action":"announce","info_hash":%s,"peer_id":"-WW0208-aGVsbG8gd29y","to_peer_id":"-WW0208-QUJDREVGR0hJ","answer":{"type":"answer","sdp":%s},"offer_id":%s}`,
		AppendID(nil, testInfoHash()), AppendID(nil, []byte(testSDP())), AppendID(nil, FromRaw(sha1.Sum([]byte{1}))))
}

func benchmarkParse(b *testing.B, frame []byte) {
	p := NewParser(DefaultLimits())
	var r Request
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if f := p.Parse(frame, &r); f != FaultNone {
			b.Fatal(f)
		}
	}
}

func BenchmarkParseAnnounce(b *testing.B) { benchmarkParse(b, testAnnounce(10)) }
func BenchmarkParseNoOffers(b *testing.B) { benchmarkParse(b, testAnnounce(0)) }
func BenchmarkParseAnswer(b *testing.B)   { benchmarkParse(b, testAnswer()) }

// BenchmarkParseHostile is the slowest frame known that the message limit
// lets through: nothing but two-byte characters.
func BenchmarkParseHostile(b *testing.B) {
	benchmarkParse(b, []byte(announce(`,"x":"`+strings.Repeat("é", 127<<10)+`"`)))
}

func BenchmarkValidPayload(b *testing.B) {
	raw := testPayload()
	l := DefaultLimits()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if !ValidPayload(raw, l) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	id := testInfoHash()
	for name, m := range map[string]*Message{
		"reply": {Kind: KindReply, InfoHash: id, Interval: 120, Complete: 5, Incomplete: 17},
		"offer": {Kind: KindOffer, InfoHash: id, PeerID: []byte("-WW0208-aGVsbG8gd29y"), OfferID: AppendID(nil, id), Payload: testPayload()},
	} {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				buf = Append(buf[:0], m)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}
