package wsserver

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
)

// patience is how long a test waits for what must come. It asserts nothing.
const patience = 20 * time.Second

// instance is a server on a loopback socket.
type instance struct {
	t    testing.TB
	srv  *Server
	trk  *tracker.Tracker
	addr string
	// stop ends it and returns what Serve did.
	stop func() error
}

// engine is what a test's server runs on: a value of Config.Engine.
type engine string

// onBoth runs a test on each engine that the system has: they are to be alike.
func onBoth(t *testing.T, test func(t *testing.T, e engine)) {
	t.Run(EnginePortable, func(t *testing.T) { test(t, EnginePortable) })
	if haveLoops {
		t.Run(EngineLoops, func(t *testing.T) { test(t, EngineLoops) })
	}
}

// start is engine.start with the engine that is the default.
func start(t testing.TB, change func(*Config, *tracker.Config)) *instance {
	t.Helper()
	return engine("").start(t, change)
}

// start runs a server until the test ends. change may adjust the configuration.
func (e engine) start(t testing.TB, change func(*Config, *tracker.Config)) *instance {
	t.Helper()
	tcfg := tracker.DefaultConfig()
	cfg := Config{AllowPrivate: true, Engine: string(e)}
	if change != nil {
		change(&cfg, &tcfg)
	}
	if !cfg.AllowPrivate {
		cfg.pretend = func(netip.AddrPort) netip.AddrPort { return addrOf(abroadConn{}.RemoteAddr()) }
	}
	trk, err := tracker.New(tcfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Tracker = trk
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served, ran := make(chan error, 1), make(chan struct{})
	go func() { served <- srv.Serve(ctx, from(cfg.AllowPrivate || haveLoops && e != EnginePortable, l)) }()
	go func() { trk.Run(ctx); close(ran) }()
	in := &instance{t: t, srv: srv, trk: trk, addr: l.Addr().String()}
	done := false
	in.stop = func() error {
		if done {
			return nil
		}
		done = true
		cancel()
		<-ran
		return <-served
	}
	t.Cleanup(func() {
		if err := in.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := trk.Check(); err != nil {
			t.Errorf("tracker: %v", err)
		}
		if n := srv.backlog.Load(); n != 0 {
			t.Errorf("%d bytes of backlog are left over", n)
		}
		if n := srv.held.Load(); n != 0 || srv.incoming.list.oldest != nil {
			t.Errorf("%d bytes are held still of what arrived in part", n)
		}
		if conns, sockets := srv.limits.counts(); conns != 0 || len(srv.limits.byIP) != 0 {
			t.Errorf("%d connections, %d sockets, %d addresses are still counted", conns, sockets, len(srv.limits.byIP))
		}
	})
	return in
}

// client is a WebSocket client that does what it is told, right or wrong.
type client struct {
	t    testing.TB
	nc   net.Conn
	br   *bufio.Reader
	resp *http.Response
}

// dial connects and upgrades on path. Each header is a whole line.
func (in *instance) dial(path string, headers ...string) *client {
	in.t.Helper()
	nc, err := net.Dial("tcp", in.addr)
	if err != nil {
		in.t.Fatal(err)
	}
	return upgradeClient(in.t, nc, path, headers...)
}

func upgradeClient(t testing.TB, nc net.Conn, path string, headers ...string) *client {
	t.Helper()
	c := requestUpgrade(t, nc, path, headers...)
	if c.resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %s", c.resp.Status)
	}
	return c
}

// requestUpgrade sends the request and reads the response, whatever it is.
func requestUpgrade(t testing.TB, nc net.Conn, path string, headers ...string) *client {
	t.Helper()
	c := &client{t: t, nc: nc, br: bufio.NewReader(nc)}
	t.Cleanup(func() { nc.Close() })
	key := make([]byte, 16)
	rand.Read(key)
	lines := append([]string{
		"GET " + path + " HTTP/1.1", "Host: tracker.example", "Upgrade: websocket",
		"Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(key),
	}, headers...)
	c.write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"))
	nc.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(c.br, &http.Request{Method: "GET"})
	if err != nil {
		t.Fatalf("response: %v", err)
	}
	c.resp = resp
	return c
}

func (c *client) write(p []byte) {
	c.t.Helper()
	c.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.nc.Write(p); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// frame is one masked frame. first is FIN, RSV and opcode.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	default:
		b = append(b, 0x80|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, mask[:]...)
	for i, x := range payload {
		b = append(b, x^mask[i%4])
	}
	return b
}

const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
	fin      = 0x80
)

func (c *client) send(text string) {
	c.t.Helper()
	c.write(frame(fin|opText, []byte(text)))
}

// readFrame reads one frame of a server, which never masks nor fragments.
func (c *client) readFrame() (op byte, payload []byte, err error) {
	c.nc.SetReadDeadline(time.Now().Add(patience))
	var h [2]byte
	if _, err := io.ReadFull(c.br, h[:]); err != nil {
		return 0, nil, err
	}
	if h[0]&0xf0 != fin || h[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("header %x: fragmented, masked or reserved bits", h)
	}
	n := uint64(h[1])
	switch n {
	case 126:
		var l [2]byte
		if _, err := io.ReadFull(c.br, l[:]); err != nil {
			return 0, nil, err
		}
		if n = uint64(binary.BigEndian.Uint16(l[:])); n < 126 {
			return 0, nil, errors.New("length not in its shortest form")
		}
	case 127:
		var l [8]byte
		if _, err := io.ReadFull(c.br, l[:]); err != nil {
			return 0, nil, err
		}
		if n = binary.BigEndian.Uint64(l[:]); n <= 0xffff || n > 16<<20 {
			return 0, nil, fmt.Errorf("length %d", n)
		}
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.br, payload)
	return h[0] & 0xf, payload, err
}

// recv is the next text frame. Pings are answered and pongs passed over.
func (c *client) recv() []byte {
	c.t.Helper()
	for {
		op, p, err := c.readFrame()
		if err != nil {
			c.t.Fatalf("read: %v", err)
		}
		switch op {
		case opText:
			return p
		case opPing:
			c.write(frame(fin|opPong, p))
		case opPong:
		default:
			c.t.Fatalf("opcode %x, payload %q", op, p)
		}
	}
}

// message is a frame's JSON.
type message struct {
	Action     string          `json:"action"`
	InfoHash   *string         `json:"info_hash"`
	Interval   int             `json:"interval"`
	Complete   *int            `json:"complete"`
	Incomplete *int            `json:"incomplete"`
	PeerID     string          `json:"peer_id"`
	OfferID    json.RawMessage `json:"offer_id"`
	Offer      json.RawMessage `json:"offer"`
	Answer     json.RawMessage `json:"answer"`
	Failure    string          `json:"failure reason"`
	Files      map[string]struct {
		Complete, Incomplete, Downloaded int
	} `json:"files"`
}

func (c *client) recvJSON() message {
	c.t.Helper()
	p := c.recv()
	var m message
	if err := json.Unmarshal(p, &m); err != nil {
		c.t.Fatalf("%v in %q", err, p)
	}
	return m
}

// expectClose reads until the close frame and checks its code, then that the
// server closes the socket.
func (c *client) expectClose(code int) {
	c.t.Helper()
	for {
		op, p, err := c.readFrame()
		if err != nil {
			c.t.Fatalf("waiting for close %d: %v", code, err)
		}
		if op != opClose {
			continue
		}
		got := 1005
		if len(p) >= 2 {
			got = int(binary.BigEndian.Uint16(p))
		}
		if got != code {
			c.t.Fatalf("closed with %d %q, want %d", got, p[min(2, len(p)):], code)
		}
		break
	}
	c.expectEOF()
}

func (c *client) expectEOF() {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, c.br); n != 0 || isTimeout(err) {
		c.t.Fatalf("after the close: %d bytes, %v", n, err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// sync makes sure that everything sent before has been handled.
func (c *client) sync() {
	c.t.Helper()
	c.write(frame(fin|opPing, []byte("sync")))
	for {
		op, p, err := c.readFrame()
		if err != nil {
			c.t.Fatalf("sync: %v", err)
		}
		switch op {
		case opPong:
			if string(p) == "sync" {
				return
			}
		case opPing:
			c.write(frame(fin|opPong, p))
		default:
			c.t.Fatalf("sync: opcode %x, payload %q", op, p)
		}
	}
}

const (
	hash  = "aaaaaaaaaaaaaaaaaaaa"
	hash2 = "bbbbbbbbbbbbbbbbbbbb"
)

// pid is a peer id that ends in name.
func pid(name string) string { return "-WW0208-" + strings.Repeat("0", 12-len(name)) + name }

// announce is an announce of peer with the given offers, each an sdp.
func announce(infoHash, peer string, sdps ...string) string {
	type offer struct {
		Offer   map[string]string `json:"offer"`
		OfferID string            `json:"offer_id"`
	}
	list := []offer{}
	for i, sdp := range sdps {
		list = append(list, offer{map[string]string{"type": "offer", "sdp": sdp}, fmt.Sprintf("offer-%s-%02d", peer[15:], i)})
	}
	b, err := json.Marshal(map[string]any{
		"action": "announce", "info_hash": infoHash, "peer_id": peer, "numwant": 50,
		"uploaded": 0, "downloaded": 0, "event": "started", "offers": list,
	})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// join announces and reads the reply.
func (c *client) join(infoHash, peer string) message {
	c.t.Helper()
	c.send(announce(infoHash, peer))
	m := c.recvJSON()
	if m.Action != "announce" || m.Complete == nil || m.Interval <= 0 {
		c.t.Fatalf("no announce reply: %+v", m)
	}
	return m
}

func (in *instance) members(infoHash string) int {
	st, _ := in.trk.State([]byte(infoHash))
	return st.LocalComplete + st.LocalIncomplete
}

// until polls for a state that must come.
func (in *instance) until(what string, ok func() bool) {
	in.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			in.t.Fatalf("still not: %s", what)
		}
	}
}

// get requests a page.
func (in *instance) get(method, path string, headers ...string) (*http.Response, string) {
	in.t.Helper()
	nc, err := net.Dial("tcp", in.addr)
	if err != nil {
		in.t.Fatal(err)
	}
	defer nc.Close()
	return request(in.t, nc, method, path, headers...)
}

func request(t testing.TB, nc net.Conn, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	nc.SetDeadline(time.Now().Add(patience))
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: tracker.example", "Connection: close"}, headers...)
	if _, err := io.WriteString(nc, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func (in *instance) dialTLS(conf *tls.Config) *tls.Conn {
	in.t.Helper()
	d := tls.Dialer{Config: conf}
	nc, err := d.Dial("tcp", in.addr)
	if err != nil {
		in.t.Fatal(err)
	}
	return nc.(*tls.Conn)
}

// pipeReader reads frames from a pipe on virtual time.
func pipeReader(nc net.Conn) *client {
	return &client{nc: noDeadline{nc}, br: bufio.NewReader(nc)}
}

// noDeadline waits for as long as it takes: virtual time may pass by the hour.
type noDeadline struct{ net.Conn }

func (noDeadline) SetReadDeadline(time.Time) error { return nil }
