package wsserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/access"
)

// Case 49: a drain closes with 1001 and says nothing else; nobody new gets in;
// Serve ends by itself.
func TestDrain(t *testing.T) { onBoth(t, testDrain) }

func testDrain(t *testing.T, e engine) {
	in := e.start(t, nil)
	var cs []*client
	for i := range 10 {
		c := in.dial("/")
		c.join(hash, pid(fmt.Sprint(i)))
		cs = append(cs, c)
	}
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ended <- in.srv.Shutdown(ctx)
	}()
	for _, c := range cs {
		op, p, err := c.readFrame()
		if err != nil || op != opClose || len(p) < 2 || int(p[0])<<8|int(p[1]) != 1001 {
			t.Fatalf("opcode %x, payload %q, %v: want only a close with 1001", op, p, err)
		}
		c.write(frame(fin|opClose, p))
		c.expectEOF()
		c.nc.Close()
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := net.Dial("tcp", in.addr); err == nil {
		t.Error("a socket was accepted after the drain")
	}
	w := httptest.NewRecorder()
	in.srv.ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("/health: %d", w.Code)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Upgrade", "websocket")
	w = httptest.NewRecorder()
	in.srv.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("upgrade: %d", w.Code)
	}
	if n := in.members(hash); n != 0 {
		t.Errorf("%d members", n)
	}
}

// Clients that do not answer the close are dropped when the time is over.
func TestDrainIsBounded(t *testing.T) { onBoth(t, testDrainIsBounded) }

func testDrainIsBounded(t *testing.T, e engine) {
	in := e.start(t, nil)
	c := in.dial("/")
	c.join(hash, pid("a"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := in.srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if n := in.srv.Stats().Conns; n != 0 {
		t.Errorf("%d connections", n)
	}
}

// The handler alone, in another program's server.
func TestEmbedded(t *testing.T) {
	trk, err := tracker.New(tracker.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(Config{Tracker: trk})
	if err != nil {
		t.Fatal(err)
	}
	host := httptest.NewTLSServer(srv)
	defer host.Close()
	nc, err := net.Dial("tcp", host.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := upgradeClient(t, tlsClient(t, nc), "/announce")
	c.join(hash, pid("a"))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go srv.Shutdown(ctx)
	c.expectCloseOnly(1001)
}

// Limits: 503 above the bound on connections, 429 above that of one address,
// and places are given back.
// abroad makes accepted connections come from a public address, as bounds by
// address leave loopback out.
type abroad struct{ net.Listener }

type abroadConn struct{ net.Conn }

func (abroadConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 40000}
}

func (l abroad) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return abroadConn{nc}, nil
}

func from(loopback bool, l net.Listener) net.Listener {
	if loopback {
		return l
	}
	return abroad{l}
}

func TestConnectionLimits(t *testing.T) { onBoth(t, testConnectionLimits) }

func testConnectionLimits(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) { c.MaxConns, c.AllowPrivate = 2, true })
	a, b := in.dial("/"), in.dial("/")
	a.join(hash, pid("a"))
	status := func(in *instance) int {
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		c := requestUpgrade(t, nc, "/")
		return c.resp.StatusCode
	}
	if got := status(in); got != http.StatusServiceUnavailable {
		t.Errorf("third connection: %d", got)
	}
	if resp, _ := in.get("GET", "/health"); resp.StatusCode != 200 {
		t.Errorf("a full server's /health: %d", resp.StatusCode)
	}
	b.nc.Close()
	in.until("the place is free", func() bool { return in.srv.Stats().Conns == 1 })
	if got := status(in); got != http.StatusSwitchingProtocols {
		t.Errorf("after one left: %d", got)
	}

	one := e.start(t, func(c *Config, _ *tracker.Config) { c.MaxConnsPerIP, c.AllowPrivate = 1, false })
	one.dial("/").join(hash, pid("a"))
	if got := status(one); got != http.StatusTooManyRequests {
		t.Errorf("second connection of one address: %d", got)
	}
	// Far above the bound, sockets are closed without a word.
	var ncs []net.Conn
	for range 40 {
		// One that is reset before Dial returns was refused as well.
		if nc, err := net.Dial("tcp", one.addr); err == nil {
			ncs = append(ncs, nc)
		}
	}
	one.until("sockets are refused", func() bool { return one.srv.Stats().Refused["ip_sockets"] > 0 })
	for _, nc := range ncs {
		nc.Close()
	}
}

// Cases 31 and the rows on origins and paths.
func TestTurnedAway(t *testing.T) { onBoth(t, testTurnedAway) }

func testTurnedAway(t *testing.T, e engine) {
	deny := filepath.Join(t.TempDir(), "deny")
	os.WriteFile(deny, []byte(strings.Repeat("61", 20)), 0o600)
	rules, err := access.New(access.Config{DenyHashes: deny, DenyOrigins: []string{"https://evil.example"}})
	if err != nil {
		t.Fatal(err)
	}
	in := e.start(t, func(c *Config, tc *tracker.Config) {
		c.Access, tc.Access = rules, rules
		c.Paths = []string{"/announce", "/private/{token}"}
	})
	for _, c := range []struct {
		path, origin string
		want         int
	}{
		{"/announce", "", 101},
		{"/announce/", "https://good.example", 101},
		{"/announce", "https://evil.example", 403},
		{"/private/abc", "", 101},
		{"/private/", "", 404},
		{"/private/a/b", "", 404},
		{"/", "", 404},
	} {
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			t.Fatal(err)
		}
		var headers []string
		if c.origin != "" {
			headers = []string{"Origin: " + c.origin}
		}
		if got := requestUpgrade(t, nc, c.path, headers...).resp.StatusCode; got != c.want {
			t.Errorf("%s from %q: %d, want %d", c.path, c.origin, got, c.want)
		}
		nc.Close()
	}
	c := in.dial("/announce")
	c.send(announce(hash, pid("a")))
	if m := c.recvJSON(); m.Failure == "" || *m.InfoHash != hash || m.Action != "announce" {
		t.Errorf("denied hash: %+v", m)
	}
	c.join(hash2, pid("a"))
}

// A token in the URL reaches the rules.
func TestTokenInURL(t *testing.T) { onBoth(t, testTokenInURL) }

func testTokenInURL(t *testing.T, e engine) {
	file := filepath.Join(t.TempDir(), "tokens")
	os.WriteFile(file, []byte("sesame\n"), 0o600)
	rules, err := access.New(access.Config{Tokens: file})
	if err != nil {
		t.Fatal(err)
	}
	in := e.start(t, func(c *Config, tc *tracker.Config) {
		tc.Access = rules
		c.Paths = []string{"/", "/t/{token}"}
	})
	in.dial("/?token=sesame").join(hash, pid("a"))
	in.dial("/t/sesame").join(hash, pid("b"))
	c := in.dial("/t/wrong")
	c.send(announce(hash, pid("c")))
	if m := c.recvJSON(); m.Failure == "" {
		t.Errorf("wrong token: %+v", m)
	}
}

// Another protocol shares the port: its path and subprotocol together.
func TestOtherProtocol(t *testing.T) { onBoth(t, testOtherProtocol) }

func testOtherProtocol(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) {
		c.Protocols = []Protocol{{Path: "/federation", Name: "peerservers.v1",
			Handler: func(conn net.Conn, br *bufio.Reader, r *http.Request) {
				defer conn.Close()
				b, _ := br.ReadByte()
				fmt.Fprintf(conn, "%c%c %s", b, b, r.RemoteAddr)
			}}}
		c.TrustedProxies = prefixes("127.0.0.0/8")
	})
	c := in.dial("/federation", "Sec-WebSocket-Protocol: other, peerservers.v1", "X-Forwarded-For: 192.0.2.7")
	if got := c.resp.Header.Get("Sec-Websocket-Protocol"); got != "peerservers.v1" {
		t.Errorf("selected %q", got)
	}
	c.write([]byte("x"))
	if b, err := io.ReadAll(c.br); err != nil || string(b) != "xx 192.0.2.7:0" {
		t.Errorf("%q %v", b, err)
	}
	for _, c := range []*client{in.dial("/federation"), in.dial("/elsewhere", "Sec-WebSocket-Protocol: peerservers.v1")} {
		if got, ok := c.resp.Header["Sec-Websocket-Protocol"]; ok {
			t.Errorf("selected %q for a client", got)
		}
		c.join(hash, pid("a"))
	}
	in.until("its place is free", func() bool { return in.srv.Stats().Conns == 2 })
}

// A handler that never ends does not keep Serve from ending.
func TestOtherProtocolIsAborted(t *testing.T) { onBoth(t, testOtherProtocolIsAborted) }

func testOtherProtocolIsAborted(t *testing.T, e engine) {
	begun, ended := make(chan struct{}), make(chan struct{})
	in := e.start(t, func(c *Config, _ *tracker.Config) {
		c.Protocols = []Protocol{{Path: "/f", Name: "x", Handler: func(conn net.Conn, br *bufio.Reader, _ *http.Request) {
			close(begun)
			io.Copy(io.Discard, br)
			conn.Close()
			close(ended)
		}}}
	})
	in.dial("/f", "Sec-WebSocket-Protocol: x")
	<-begun // the client has its 101 a moment earlier
	if err := in.stop(); err != nil {
		t.Error(err)
	}
	<-ended
}

// Slowloris: headers that never end are given up, and meanwhile others are
// served, on the same port and whether or not they are TLS.
func TestSlowloris(t *testing.T) { onBoth(t, testSlowloris) }

func testSlowloris(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) {
		c.HeaderTimeout = 300 * time.Millisecond
		c.CertFile, c.KeyFile = writeCert(t, t.TempDir(), "one")
	})
	var slow []net.Conn
	for _, begin := range []string{"", "G", "GET / HTTP/1.1\r\nHost: x\r\nX-A: ", "\x16", "\x16\x03\x01\x02\x00\x01"} {
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		io.WriteString(nc, begin)
		slow = append(slow, nc)
	}
	in.dial("/").join(hash, pid("a"))
	for i, nc := range slow {
		nc.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
			t.Errorf("connection %d was kept", i)
		}
	}
	nc, err := net.Dial("tcp", in.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	resp, _ := request(t, nc, "GET", "/", "X-Large: "+strings.Repeat("x", 64<<10))
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB of headers: %d", resp.StatusCode)
	}
}

func TestBadHandshakes(t *testing.T) { onBoth(t, testBadHandshakes) }

func testBadHandshakes(t *testing.T, e engine) {
	in := e.start(t, nil)
	const good = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	for _, c := range []struct {
		old, new string
		want     int
	}{
		{"", "", 101},
		{"GET", "POST", 405},
		{"Version: 13", "Version: 8", 426},
		{"AAAAAAAAAAAAAAAAAAAAAA==", "AAAA", 400},
		{"AAAAAAAAAAAAAAAAAAAAAA==", "!!!!!!!!!!!!!!!!!!!!!!==", 400},
		{"Connection: Upgrade", "Connection: close", 400},
	} {
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(patience))
		io.WriteString(nc, strings.Replace(good, c.old, c.new, 1))
		resp, err := http.ReadResponse(bufio.NewReader(nc), &http.Request{Method: "GET"})
		if err != nil {
			t.Fatalf("%s: %v", c.new, err)
		}
		if resp.StatusCode != c.want {
			t.Errorf("%q for %q: %d, want %d", c.new, c.old, resp.StatusCode, c.want)
		}
		if c.want == 426 && resp.Header.Get("Sec-Websocket-Version") != "13" {
			t.Error("426 without the version to use")
		}
		nc.Close()
	}
}
