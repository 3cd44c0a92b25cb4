package frame_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/draeder/peerservers/federation/frame"
)

// message wraps a body as the message of that kind.
func message(k frame.Kind, body ...[]byte) []byte {
	b := protowire.AppendTag(nil, protowire.Number(k), protowire.BytesType)
	return protowire.AppendBytes(b, bytes.Join(body, nil))
}

func field(num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), v)
}

func number(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func TestLimits(t *testing.T) {
	of := func(n int) []byte { return make([]byte, n) }
	repeat := func(n int, b []byte) []byte { return bytes.Repeat(b, n) }
	l := frame.DefaultLimits()
	tag := protowire.AppendFixed64(protowire.AppendTag(nil, 5, protowire.Fixed64Type), 7)
	cases := []struct {
		name string
		at   []byte // at the limit
		over []byte
		want frame.Fault
	}{
		{"versions, packed", message(1, field(1, repeat(16, []byte{1}))), message(1, field(1, repeat(17, []byte{1}))), frame.FaultHandshake},
		{"versions, each", message(2, repeat(16, number(1, 1))), message(2, repeat(17, number(1, 1))), frame.FaultHandshake},
		{"nonce", message(1, field(3, of(64))), message(1, field(3, of(65))), frame.FaultHandshake},
		{"url", message(1, field(6, of(255))), message(1, field(6, of(256))), frame.FaultHandshake},
		{"url text", message(1, field(6, []byte("é"))), message(1, field(6, []byte{0xff})), frame.FaultText},
		{"reply signature", message(2, field(7, of(64))), message(2, field(7, of(65))), frame.FaultHandshake},
		{"proof", message(3, field(1, of(64))), message(3, field(1, of(65))), frame.FaultHandshake},
		{"join id", message(4, field(1, of(256))), message(4, field(1, of(257))), frame.FaultID},
		{"tags, packed", message(4, field(5, of(512))), message(4, field(5, of(520))), frame.FaultTags},
		{"tags, each", message(4, repeat(64, tag)), message(4, repeat(65, tag)), frame.FaultTags},
		{"tags in all", message(4, field(5, of(256)), field(6, of(256))), message(4, field(5, of(256)), field(6, of(264))), frame.FaultTags},
		{"tags cut", message(4, field(6, of(8))), message(4, field(6, of(9))), frame.FaultMalformed},
		{"leave id", message(5, field(1, of(256))), message(5, field(1, of(257))), frame.FaultID},
		{"offers", message(6, repeat(20, field(3, nil))), message(6, repeat(21, field(3, nil))), frame.FaultOffers},
		{"offer id", message(6, field(3, field(1, of(256)))), message(6, field(3, field(1, of(257)))), frame.FaultID},
		{"offer", message(6, field(3, field(2, of(65536)))), message(6, field(3, field(2, of(65537)))), frame.FaultPayload},
		{"offerer", message(6, field(2, of(256))), message(6, field(2, of(257))), frame.FaultID},
		{"answer", message(7, field(5, of(65536))), message(7, field(5, of(65537))), frame.FaultPayload},
		{"answered offer", message(7, field(4, of(256))), message(7, field(4, of(257))), frame.FaultID},
		{"refused offer", message(8, field(3, field(2, of(65536)))), message(8, field(3, field(2, of(65537)))), frame.FaultPayload},
		{"records", message(9, repeat(32, field(1, nil))), message(9, repeat(33, field(1, nil))), frame.FaultRecords},
		{"record", message(9, field(1, field(4, of(1000)))), message(9, field(1, field(4, of(1001)))), frame.FaultRecords},
		{"record key", message(9, field(1, field(1, of(64)))), message(9, field(1, field(1, of(65)))), frame.FaultRecords},
		{"filter part", message(12, field(4, of(21_636))), message(12, field(4, of(21_637))), frame.FaultFilter},
		{"names", message(13, field(1, of(4096))), message(13, field(1, of(4104))), frame.FaultNames},
		{"seen", message(14, field(1, of(16))), message(14, field(1, of(17))), frame.FaultAddress},
		{"registered", message(15, field(1, of(2048)), field(2, of(2048))), message(15, field(1, of(2048)), field(2, of(2056))), frame.FaultNames},
		{"registered, the other way", message(15, field(2, of(4096))), message(15, field(2, of(4096)), field(1, of(8))), frame.FaultNames},
		{"records told", message(16, repeat(32, field(1, nil))), message(16, repeat(33, field(1, nil))), frame.FaultRecords},
		{"record told", message(16, field(1, field(4, of(1000)))), message(16, field(1, field(4, of(1001)))), frame.FaultRecords},
		{"names told", message(16, repeat(512, field(2, nil))), message(16, repeat(513, field(2, nil))), frame.FaultNames},
		{"nodes told", message(16, field(2, field(2, of(8)))), message(16, field(2, field(2, of(9)))), frame.FaultNames},
		{"names cut", message(13, field(1, of(8))), message(13, field(1, of(9))), frame.FaultMalformed},
		{"frame", field(99, of(l.MaxFrame-5)), field(99, of(l.MaxFrame)), frame.FaultFrame},
		{"messages", message(10), append(message(10), message(5)...), frame.FaultTwoMessages},
		{"messages of a kind", message(10), append(message(10), message(10)...), frame.FaultTwoMessages},
	}
	for _, c := range cases {
		var f frame.Frame
		if err := f.Decode(c.at, l); err != nil {
			t.Errorf("%s: at the limit: %v", c.name, err)
		}
		if err := f.Decode(c.over, l); err != c.want {
			t.Errorf("%s: over the limit: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestBoundBeforeMemory announces much and delivers little.
func TestBoundBeforeMemory(t *testing.T) {
	huge := protowire.AppendVarint(protowire.AppendTag(nil, 6, protowire.BytesType), 1<<40)
	inside := message(6, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.BytesType), 1<<40))
	var f frame.Frame
	for _, b := range [][]byte{huge, inside} {
		if n := testing.AllocsPerRun(10, func() {
			if f.Decode(b, frame.DefaultLimits()) != frame.FaultMalformed {
				t.Error("a length beyond the frame was accepted")
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func TestLaterFieldsAreSkipped(t *testing.T) {
	later := bytes.Join([][]byte{
		field(77, []byte("later")), number(78, 5),
		protowire.AppendFixed32(protowire.AppendTag(nil, 79, protowire.Fixed32Type), 1),
		protowire.AppendFixed64(protowire.AppendTag(nil, 80, protowire.Fixed64Type), 1),
		protowire.AppendTag(protowire.AppendTag(nil, 81, protowire.StartGroupType), 81, protowire.EndGroupType),
	}, nil)
	rnd := rand.New(rand.NewPCG(5, 6))
	var got frame.Frame
	for range 500 {
		want := randomFrame(rnd)
		plain := frame.Append(nil, want)
		_, _, n := protowire.ConsumeTag(plain)
		body, _ := protowire.ConsumeBytes(plain[n:])
		b := bytes.Join([][]byte{later, message(want.Kind, later, body, later), later}, nil)
		if err := got.Decode(b, frame.DefaultLimits()); err != nil {
			t.Fatalf("%v: %v", want.Kind, err)
		}
		if !same(&got, want) {
			t.Fatalf("%v: later fields change what is read", want.Kind)
		}
	}
}

func TestLaterMessagesAreIgnored(t *testing.T) {
	for _, b := range [][]byte{nil, message(17, []byte("later")), field(4000, nil), number(4, 1)} {
		f := frame.Frame{Kind: frame.KindBye}
		if err := f.Decode(b, frame.DefaultLimits()); err != nil || f.Kind != frame.KindUnknown {
			t.Errorf("%x: %v, %v", b, f.Kind, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	var f frame.Frame
	for range 200 {
		b := frame.Append(nil, randomFrame(rnd))
		for i := 1; i < len(b); i += 1 + rnd.IntN(20) {
			if err := f.Decode(b[:i], frame.DefaultLimits()); err != frame.FaultMalformed {
				t.Fatalf("%d of %d bytes: %v", i, len(b), err)
			}
		}
	}
}

// TestReuse decodes different frames into one Frame: nothing of the former
// may show in the next.
func TestReuse(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	var reused frame.Frame
	for range 2000 {
		b := frame.Append(nil, randomFrame(rnd))
		var fresh frame.Frame
		if err := errors.Join(reused.Decode(b, frame.DefaultLimits()), fresh.Decode(b, frame.DefaultLimits())); err != nil {
			t.Fatal(err)
		}
		if !same(&reused, &fresh) {
			t.Fatalf("%v: leftovers of an earlier frame", fresh.Kind)
		}
	}
}

func TestAppendUnknown(t *testing.T) {
	if b := frame.Append([]byte("x"), &frame.Frame{}); string(b) != "x" {
		t.Errorf("an empty Frame appended %q", b)
	}
}

func TestLabels(t *testing.T) {
	seen := map[string]bool{}
	for i := range 256 {
		seen["k"+frame.Kind(i).String()] = true
		seen["f"+frame.Fault(i).Error()] = true
		seen["c"+frame.Code(i).String()] = true
	}
	if want := frame.Kinds + frame.Faults + 6; len(seen) != want {
		t.Errorf("%d labels, want %d", len(seen), want)
	}
}

// golden are frames as this version writes them. Their encodings were
// recorded once, and every later version must read and write the same.
func golden() map[string]*frame.Frame {
	of := func(n int, first byte) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = first + byte(i)
		}
		return b
	}
	hash := []byte("\u00c1\u00a6aaaaaaaaaaaaaaaaaa")
	peer := []byte("-WW0208-AbCdEfGhIjKl")
	other := []byte("-WW0208-mNoPqRsTuVwX")
	offer := func(i int) frame.Offer {
		return frame.Offer{
			ID:      fmt.Appendf(nil, `"%020d"`, i),
			Payload: fmt.Appendf(nil, `{"type":"offer","sdp":"v=0\r\ns=%d\r\n"}`, i),
		}
	}
	return map[string]*frame.Frame{
		"hello": {Kind: frame.KindHello, Hello: frame.Hello{
			Versions: []uint32{1}, Network: of(32, 0), Nonce: of(32, 32), Key: of(32, 64), Ephemeral: of(32, 96),
			URL: []byte("wss://b.example:443/federation"), Sequence: 300,
		}},
		"hello_reply": {Kind: frame.KindHelloReply, HelloReply: frame.HelloReply{
			Versions: []uint32{1, 2, 300}, Network: of(32, 0), Nonce: of(32, 32), Key: of(32, 64), Ephemeral: of(32, 96),
			Version: 1, Signature: of(64, 128),
		}},
		"proof": {Kind: frame.KindProof, Proof: frame.Proof{Signature: of(64, 0)}},
		"join": {Kind: frame.KindJoin, Join: frame.Join{
			InfoHash: hash, Complete: 1, Incomplete: 2, Tagged: true,
			CompleteTags: []uint64{0x0123456789abcdef}, IncompleteTags: []uint64{1, 1<<64 - 1},
		}},
		"join_large": {Kind: frame.KindJoin, Join: frame.Join{InfoHash: hash, Complete: 1000, Incomplete: 70000}},
		"join_empty": {Kind: frame.KindJoin, Join: frame.Join{InfoHash: hash, Tagged: true}},
		"leave":      {Kind: frame.KindLeave, Leave: frame.Leave{InfoHash: hash}},
		"leave_full": {Kind: frame.KindLeave, Leave: frame.Leave{InfoHash: hash, Full: true}},
		"offers":     {Kind: frame.KindOffers, Offers: frame.Offers{InfoHash: hash, PeerID: peer, Offers: []frame.Offer{offer(1), offer(2)}}},
		"answer": {Kind: frame.KindAnswer, Answer: frame.Answer{
			InfoHash: hash, ToPeerID: peer, PeerID: other, OfferID: offer(1).ID, Payload: []byte(`{"type":"answer","sdp":"v=0\r\n"}`),
		}},
		"refused": {Kind: frame.KindRefused, Refused: frame.Refused{InfoHash: hash, PeerID: peer, Offer: offer(2), Reason: frame.ReasonLocalPeer}},
		"records": {Kind: frame.KindRecords, Records: frame.Records{Records: []frame.Record{
			{Key: of(32, 0), Seq: 1795305600, Signature: of(64, 32), Value: []byte("d1:ei1795316400ee")},
			{Key: of(32, 1), Seq: -1, Signature: of(64, 33), Value: []byte("de")},
		}}},
		"bye":    {Kind: frame.KindBye, Bye: frame.Bye{Code: frame.CodeDuplicate}},
		"census": {Kind: frame.KindCensus, Census: frame.Census{Swarms: 1_000_000}},
		// Three swarms: package filter's TestEncoding has this set.
		"filter":   {Kind: frame.KindFilter, Filter: frame.Filter{Generation: 1, From: 1000, To: 1024, Data: []byte{1, 3, 0x00, 0x51, 0xfc, 0x40}}},
		"names":    {Kind: frame.KindNames, Names: frame.Names{Names: []uint64{0x0123456789abcdef, 1<<64 - 1}}},
		"seen":     {Kind: frame.KindSeen, Seen: frame.Seen{Address: []byte{203, 0, 113, 7}}},
		"register": {Kind: frame.KindRegister, Register: frame.Register{Names: []uint64{0x0123456789abcdef, 5}, Asked: []uint64{1<<64 - 1}}},
		"told": {Kind: frame.KindTold, Told: frame.Told{
			Records: []frame.Record{
				{Key: of(32, 0), Seq: 1795305600, Signature: of(64, 32), Value: []byte("d1:ei1795316400ee")},
				{Key: of(32, 1), Seq: 1, Signature: of(64, 33), Value: []byte("de")},
			},
			Found: []frame.Found{{Name: 0x0123456789abcdef, Nodes: []byte{0, 1}}, {Name: 5, Nodes: []byte{1}}},
		}},
	}
}

const goldenDir = "../../testdata/frames"

func TestGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	frames := golden()
	if len(files) != len(frames) {
		t.Errorf("%d files for %d frames", len(files), len(frames))
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".hex")
		want, ok := frames[name]
		if !ok {
			t.Errorf("%s is not among the frames", name)
			continue
		}
		b := readHex(t, path)
		if got := frame.Append(nil, want); !bytes.Equal(got, b) {
			t.Errorf("%s is written as\n%x, was\n%x", name, got, b)
		}
		var f frame.Frame
		if err := f.Decode(b, frame.DefaultLimits()); err != nil || !same(&f, want) {
			t.Errorf("%s is read differently: %v", name, err)
		}
	}
}

// readHex reads a file of hexadecimal lines; "#" starts a comment.
func readHex(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.TrimSpace(line))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}
