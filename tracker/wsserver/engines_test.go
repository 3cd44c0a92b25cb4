package wsserver

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/draeder/peerservers/tracker"
)

// What the engines make of the same bytes must be the same, and what RFC 6455
// says: both are held against a model here, which is the portable engine's
// reader on a stream that is there as a whole.

// outcome of a conversation, as its client sees it.
type conversation struct {
	data  []string // messages
	pongs []string
	end   string // a close code, or how the stream ended without one
}

func (c conversation) String() string {
	return fmt.Sprintf("%d messages %.200q, %d pongs %.100q, end %s", len(c.data), c.data, len(c.pongs), c.pongs, c.end)
}

// sameAs compares what is defined: messages, the end, and which pings are
// answered, of which a server may leave out all but the last (5.5.3).
func (c conversation) sameAs(want conversation) bool {
	if !slices.Equal(c.data, want.data) || c.end != want.end {
		return false
	}
	rest := want.pongs
	for _, p := range c.pongs {
		i := slices.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+1:]
	}
	return len(rest) == 0
}

// echoModel is what an echo makes of a stream.
type echoModel struct {
	conversation
	paced int
}

func (m *echoModel) ping(p []byte) { m.pongs = append(m.pongs, string(p)) }
func (m *echoModel) pong()         {}
func (m *echoModel) spend() bool   { m.paced++; return true }
func (m *echoModel) yield()        {}

// engineMessage bounds messages in these tests.
const engineMessage = 64 << 10

func newEchoModel(stream []byte, d deflation) *echoModel {
	m := new(echoModel)
	var r reader
	r.init(bytes.NewReader(stream), m, new(buffers), unbounded(), engineMessage, nil)
	r.deflate = d
	defer r.drop()
	for {
		msg, text, err := r.next()
		if err == nil && text && !utf8.Valid(msg) {
			m.end = "1007"
			return m
		}
		var fault *closeError
		var peer *peerClosed
		switch {
		case err == nil:
			m.data = append(m.data, fmt.Sprintf("%t %s", text, msg))
			continue
		case errors.As(err, &fault):
			m.end = fmt.Sprint(int(fault.code))
		case errors.As(err, &peer):
			m.end = "1005"
			if peer.code != 0 {
				m.end = fmt.Sprint(int(peer.code))
			}
		default:
			m.end = "unfinished"
		}
		return m
	}
}

// converse sends a stream in pieces and reads what comes back, to the end or
// to as many messages and pongs as there must be if there will be no end.
func converse(t testing.TB, in echoServer, stream []byte, cuts []int, unfinished *echoModel, headers ...string) (c conversation) {
	t.Helper()
	cl := in.connect(headers...)
	defer cl.nc.Close()
	cl.nc.SetDeadline(time.Now().Add(patience))
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		from := 0
		for _, to := range append(cuts, len(stream)) {
			// Errors are for the reader to see: the server may have had enough.
			cl.nc.Write(stream[from:to])
			for range to % 50 {
				runtime.Gosched()
			}
			from = to
		}
	}()
	defer func() { <-wrote }()
	defer cl.nc.Close()
	for {
		if u := unfinished; u != nil && len(c.data) >= len(u.data) && len(c.pongs) > 0 == (len(u.pongs) > 0) &&
			(len(u.pongs) == 0 || c.pongs[len(c.pongs)-1] == u.pongs[len(u.pongs)-1]) {
			// It waits for more. The end of the stream is its end.
			<-wrote
			unfinished = nil
			cl.nc.(interface{ CloseWrite() error }).CloseWrite()
		}
		op, packed, p, err := readServerFrame(cl.br)
		if err != nil {
			if isTimeout(err) {
				c.end = "timeout"
			} else if c.end == "" {
				c.end = "unfinished"
			}
			return c
		}
		if c.end != "" {
			c.end += ", and then more"
			return c
		}
		if packed {
			p = []byte(inflateBy(t, p))
		}
		switch op {
		case opText, opBinary:
			c.data = append(c.data, fmt.Sprintf("%t %s", op == opText, p))
		case opPong:
			c.pongs = append(c.pongs, string(p))
		case opClose:
			c.end = "1005"
			if len(p) >= 2 {
				c.end = fmt.Sprint(binary.BigEndian.Uint16(p))
			}
		default:
			c.end = fmt.Sprintf("opcode %x", op)
			return c
		}
	}
}

// stream is a random one: proper for the most part.
func randomStream(t testing.TB, rng *rand.Rand, compress bool) []byte {
	var b []byte
	text := func() string {
		n := []int{0, 1, 20, 125, 126, 1200, 1535, 1536, 1537, 5000, 20_000}[rng.IntN(11)]
		if rng.IntN(3) == 0 {
			return strings.Repeat("é¿", n/4)
		}
		return strings.Repeat("Some text. ", n/11+1)[:n]
	}
	noise := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		return p
	}
	control := func() {
		b = append(b, frame([]byte{fin | opPing, fin | opPong}[rng.IntN(2)], noise(rng.IntN(126)))...)
	}
	for range rng.IntN(8) {
		op, msg := byte(opText), []byte(text())
		if rng.IntN(3) == 0 {
			op, msg = opBinary, noise(rng.IntN(3000))
		}
		if compress && rng.IntN(2) == 0 {
			op, msg = op|rsv1, deflateBy(t, 1+rng.IntN(9), string(msg))
		}
		for rng.IntN(3) == 0 {
			n := rng.IntN(len(msg) + 1)
			b = append(b, frame(op, msg[:n])...)
			op, msg = 0, msg[n:]
			if rng.IntN(2) == 0 {
				control()
			}
		}
		b = append(b, frame(fin|op, msg)...)
		if rng.IntN(3) == 0 {
			control()
		}
	}
	switch rng.IntN(16) {
	case 0: // a header that may be anything
		b = append(b, noise(14)...)
	case 1:
		b = append(b, noise(rng.IntN(200))...)
	case 2:
		b = append(b, frame(byte(rng.Uint32()), noise(rng.IntN(130)))...)
	case 3: // not masked
		b = append(b, fin|opText, 2, 'h', 'i')
	case 4:
		b = append(b, frame(fin|opText, []byte("no UTF-8: \xff"))...)
	case 5:
		b = append(b, frame(fin|opText, make([]byte, engineMessage+1))...)
	case 6: // a promise
		b = append(b, fin|opText, 0x80|127, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4)
	case 7:
		if len(b) > 0 {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
	case 8:
		b = b[:rng.IntN(len(b)+1)]
		return b
	}
	switch rng.IntN(4) {
	case 0:
		b = append(b, frame(fin|opClose, nil)...)
	case 1:
		b = append(b, frame(fin|opClose, noise(rng.IntN(126)))...)
	case 2:
		b = append(b, frame(fin|opClose, closeBody([]int{1000, 1001, 4999, rng.IntN(5100)}[rng.IntN(4)], "bye"))...)
	case 3: // nothing
	}
	if rng.IntN(4) == 0 {
		b = append(b, noise(rng.IntN(500))...)
	}
	return b
}

func randomCuts(rng *rand.Rand, n int) []int {
	cuts := make([]int, rng.IntN(12))
	for i := range cuts {
		cuts[i] = rng.IntN(n + 1)
		if rng.IntN(2) == 0 { // where headers are
			cuts[i] = min(rng.IntN(20), n)
		}
	}
	slices.Sort(cuts)
	return cuts
}

// echoServer is an echo to compare with others.
type echoServer struct {
	*instance
	secure bool
}

func (s echoServer) connect(headers ...string) *client {
	if s.secure {
		return upgradeClient(s.t, s.dialTLS(&tls.Config{InsecureSkipVerify: true}), "/", headers...)
	}
	return s.dial("/", headers...)
}

// engineEchoes are echoes to compare with each other: those on event loops with
// TLS of both kinds as well.
func engineEchoes(t testing.TB) map[string]echoServer {
	list := map[string]echoServer{}
	add := func(name string, e engine, secure, records bool) {
		in := e.start(t, func(c *Config, _ *tracker.Config) {
			c.Echo, c.Compress, c.MaxMessage = true, 100, engineMessage
			c.HardBacklog = 16 << 20
			if secure {
				c.CertFile, c.KeyFile = writeCert(t, t.TempDir(), "localhost")
				c.TLSRecords = records
			}
		})
		list[name] = echoServer{in, secure}
	}
	add("portable", EnginePortable, false, false)
	if haveLoops {
		add("loops", EngineLoops, false, false)
		add("loops with TLS", EngineLoops, true, false)
		add("loops with TLS records", EngineLoops, true, true)
	}
	return list
}

// Random streams, cut anywhere, to an echo on each engine.
func TestEnginesAgree(t *testing.T) {
	echoes := engineEchoes(t)
	rounds := 1000
	if raceEnabled || testing.Short() {
		rounds = 250
	}
	ends := map[string]int{}
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		compress := rng.IntN(3) == 0
		stream := randomStream(t, rng, compress)
		cuts := randomCuts(rng, len(stream))
		checkEngines(t, echoes, stream, cuts, compress, ends)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, end := range []string{"1000", "1002", "1005", "1007", "1009", "unfinished"} {
		if ends[end] == 0 {
			t.Errorf("no stream ended with %s: %v", end, ends)
		}
	}
}

func checkEngines(t testing.TB, echoes map[string]echoServer, stream []byte, cuts []int, compress bool, ends map[string]int) {
	t.Helper()
	var d deflation
	var headers []string
	if compress {
		d, headers = largestWindow, []string{offersThis}
	}
	model := newEchoModel(stream, d)
	if model.paced > paceBurst*9/10 {
		return // too many is a matter of time as well
	}
	var unfinished *echoModel
	if model.end == "unfinished" {
		unfinished = model
	}
	if ends != nil {
		ends[model.end]++
	}
	for name, in := range echoes {
		if got := converse(t, in, stream, cuts, unfinished, headers...); !got.sameAs(model.conversation) {
			t.Errorf("%s: %v\nwant %v\nof %d bytes cut at %v: %.300x", name, got, model.conversation, len(stream), cuts, stream)
		}
	}
}

// FuzzEngines: whatever follows the upgrade, and however it is cut, the engines
// agree with the model.
func FuzzEngines(f *testing.F) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		compress := seed%2 == 1
		f.Add(randomStream(f, rng, compress), uint16(rng.Uint32()), compress)
	}
	echoes := engineEchoes(f)
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16, compress bool) {
		if len(stream) > 1<<20 {
			return
		}
		var cuts []int
		if len(stream) > 0 {
			cuts = []int{int(cut) % len(stream)}
		}
		for _, in := range echoes {
			in.t = t
		}
		checkEngines(t, echoes, stream, cuts, compress, nil)
	})
}
