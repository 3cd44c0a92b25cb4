package wsserver

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
)

// What does not fit the socket is kept and sent when it does, encrypted once:
// a client that reads late gets all of it in its order.
func TestLateReaders(t *testing.T) {
	cert, key := writeCert(t, t.TempDir(), "one")
	for name, c := range map[string]struct{ tls, own bool }{"plain": {}, "TLS": {true, false}, "own records": {true, true}} {
		t.Run(name, func(t *testing.T) {
			in := engine(EngineLoops).start(t, func(cfg *Config, _ *tracker.Config) {
				cfg.Echo, cfg.TLSRecords = true, c.own
				cfg.SoftBacklog, cfg.HardBacklog = 64<<20, 64<<20
				cfg.CertFile, cfg.KeyFile = cert, key
			})
			var cl *client
			if c.tls {
				cl = upgradeClient(t, in.dialTLS(&tls.Config{InsecureSkipVerify: true}), "/")
			} else {
				cl = in.dial("/")
			}
			const n = 120
			size := func(i int) int { return []int{100_000, 3, 200_000, 70_000}[i%4] + i }
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for i := range n {
					cl.nc.Write(frame(fin|opBinary, bytes.Repeat([]byte{byte(i)}, size(i))))
				}
			}()
			in.until("there is a backlog", func() bool { return in.srv.Stats().Backlog > 0 || len(sent) > 0 })
			for i := range n {
				op, p, err := cl.readFrame()
				if err != nil || op != opBinary || len(p) != size(i) || bytes.Count(p, []byte{byte(i)}) != len(p) {
					t.Fatalf("message %d: opcode %x, %d bytes, %v", i, op, len(p), err)
				}
			}
			<-sent
			cl.write(frame(fin|opClose, closeBody(1000, "")))
			cl.expectClose(1000)
			cl.nc.Close()
			in.until("it is gone", func() bool { return in.srv.Stats().Conns == 0 })
		})
	}
}

// PROXY headers of both versions, in pieces, before plain requests and TLS,
// for clients and for pages.
func TestProxyHeadersOnLoops(t *testing.T) {
	in := engine(EngineLoops).start(t, func(c *Config, _ *tracker.Config) {
		c.TrustedProxies, c.ProxyProtocol = prefixes("127.0.0.0/8"), true
		c.CertFile, c.KeyFile = writeCert(t, t.TempDir(), "one")
	})
	v1 := "PROXY TCP4 203.0.113.7 198.51.100.1 40000 443\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc6\x33\x64\x01\x9c\x40\x01\xbb"
	for _, header := range []string{v1, v2} {
		for _, secure := range []bool{false, true} {
			for _, split := range []bool{false, true} {
				nc, err := net.Dial("tcp", in.addr)
				if err != nil {
					t.Fatal(err)
				}
				if split {
					for i := range header {
						io.WriteString(nc, header[i:i+1])
					}
				} else {
					io.WriteString(nc, header)
				}
				if secure {
					nc = tlsClient(t, nc)
				}
				c := upgradeClient(t, nc, "/")
				c.join(hash, pid("a"))
				n := 0
				for _, session := range in.srv.loopSessions() {
					n++
					if got := session.Client().Addr.String(); got != "203.0.113.7:40000" {
						t.Errorf("client %s", got)
					}
				}
				if n != 1 {
					t.Errorf("%d on the loops", n)
				}
				c.nc.Close()
				in.until("it is gone", func() bool { return in.srv.Stats().Conns == 0 })
			}
		}
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(nc, header)
		if resp, _ := request(t, nc, "GET", "/health"); resp.StatusCode != 200 {
			t.Errorf("a page: %s", resp.Status)
		}
		nc.Close()
	}
	nc, err := net.Dial("tcp", in.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "PROXY TCP4 nonsense\r\n")
	nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := nc.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("nonsense: %v", err)
	}
}

// FuzzLoopBytes: whatever a socket brings, before the upgrade or after it, the
// loop neither panics nor harms another connection.
func FuzzLoopBytes(f *testing.F) {
	const upgrade = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	for _, seed := range []string{
		"", "\x16\x03\x01\x00\x05hello", "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n" + upgrade, "GET / HTTP/1.1\n\n",
		"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", strings.Replace(upgrade, "Host", "Host : y\r\nHost", 1),
		upgrade + string(frame(fin|opText, []byte(announce(hash, pid("f"), "sdp")))),
		upgrade + string(frame(fin|opClose, closeBody(1000, ""))) + "more",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc6\x33\x64\x01\x9c\x40\x01\xbb" + upgrade,
	} {
		f.Add([]byte(seed), uint16(20))
	}
	in := engine(EngineLoops).start(f, func(c *Config, _ *tracker.Config) {
		c.TrustedProxies, c.ProxyProtocol = prefixes("127.0.0.0/8"), true
		c.CertFile, c.KeyFile = writeCert(f, f.TempDir(), "one")
	})
	witness := in.dial("/")
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		witness.t = t
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		n := min(int(cut), len(b))
		nc.Write(b[:n])
		nc.Write(b[n:])
		nc.(*net.TCPConn).CloseWrite()
		nc.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
			t.Error("it is kept")
		}
		witness.join(hash2, pid("w"))
	})
}
