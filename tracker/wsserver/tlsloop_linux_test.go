package wsserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
)

// eachTLS runs a test with TLS on the loops: with crypto/tls's records and our
// own, and clients of both versions.
func eachTLS(t *testing.T, change func(*Config), test func(t *testing.T, in *instance, client *tls.Config)) {
	for _, own := range []bool{false, true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprintf("own=%t/%s", own, tls.VersionName(version)), func(t *testing.T) {
				in := engine(EngineLoops).start(t, func(c *Config, _ *tracker.Config) {
					c.CertFile, c.KeyFile = writeCert(t, t.TempDir(), "one")
					c.TLSRecords = own
					if change != nil {
						change(c)
					}
				})
				test(t, in, &tls.Config{
					InsecureSkipVerify: true, MaxVersion: version, NextProtos: []string{"http/1.1"},
				})
				in.until("nobody is left", func() bool {
					s := in.srv.handshakes.Stats()
					return in.srv.Stats().Conns == 0 && s.UnderWay+s.Waiting == 0
				})
				if s := in.srv.handshakes.Stats(); own && version == tls.VersionTLS13 && s.Fallbacks > 0 {
					t.Errorf("%d of %d connections do not have our records", s.Fallbacks, s.Done)
				}
			})
		}
	}
}

// cutConn cuts what is written into pieces, and notes the end of what is read.
type cutConn struct {
	net.Conn
	mu   sync.Mutex
	tail []byte
}

func (c *cutConn) Write(p []byte) (int, error) {
	for at := 0; at < len(p); {
		n, err := c.Conn.Write(p[at:min(len(p), at+1+mrand.IntN(2000))])
		if at += n; err != nil {
			return at, err
		}
	}
	return len(p), nil
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tail = append(c.tail, p[:n]...)
	c.tail = bytes.Clone(c.tail[max(0, len(c.tail)-24):])
	return n, err
}

func (in *instance) dialCut(conf *tls.Config) (*tls.Conn, *cutConn) {
	in.t.Helper()
	raw, err := net.Dial("tcp", in.addr)
	if err != nil {
		in.t.Fatal(err)
	}
	raw.(*net.TCPConn).SetNoDelay(true)
	cut := &cutConn{Conn: raw}
	c := tls.Client(cut, conf)
	in.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if err := c.Handshake(); err != nil {
		in.t.Fatal(err)
	}
	return c, cut
}

// A client may send as soon as the handshake is over for it, and much, before
// the server is through with its part: here others compute for as long as it
// takes until all of that would have been read.
func TestTLSMuchAtOnce(t *testing.T) {
	eachTLS(t, func(c *Config) { c.Echo = true }, func(t *testing.T, in *instance, conf *tls.Config) {
		const clients, messages, size = 8, 10, 50_000
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() {
				nc := in.dialTLS(conf)
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(patience))
				p := bytes.Repeat([]byte{byte(i)}, size)
				go func() {
					b := []byte(goodRequest)
					for range messages {
						b = append(b, frame(fin|opBinary, p)...)
					}
					nc.Write(b)
				}()
				c := &client{t: t, nc: nc, br: bufio.NewReader(nc)}
				if res, err := http.ReadResponse(c.br, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
					t.Errorf("%v, %v", res, err)
					return
				}
				for n := range messages {
					if _, got, err := c.readFrame(); err != nil || !bytes.Equal(got, p) {
						t.Errorf("message %d: %d bytes, %v", n, len(got), err)
						return
					}
				}
			})
		}
		all.Wait()
	})
}

// Streams that are cut anywhere, messages of all sizes, and a close that ends
// with close_notify.
func TestTLSInPieces(t *testing.T) {
	eachTLS(t, func(c *Config) { c.Echo = true }, func(t *testing.T, in *instance, conf *tls.Config) {
		nc, cut := in.dialCut(conf)
		c := upgradeClient(t, nc, "/")
		for i, size := range []int{0, 1, 125, 1200, 11_000, 16_384, 40_000, 200_000} {
			p := bytes.Repeat([]byte{byte(i)}, size)
			go c.nc.Write(frame(fin|opBinary, p))
			if op, got, err := c.readFrame(); err != nil || op != opBinary || !bytes.Equal(got, p) {
				t.Fatalf("%d bytes: opcode %x, %d bytes, %v", size, op, len(got), err)
			}
		}
		c.write(frame(fin|opClose, closeBody(1000, "")))
		c.expectClose(1000)
		nc.Close()
		if conf.MaxVersion == tls.VersionTLS13 && !bytes.HasPrefix(cut.tail, []byte{23, 3, 3, 0, 19}) {
			t.Errorf("the last record is %x, and no alert", cut.tail)
		}
	})
}

// Clients that come back resume, as do those of pages.
func TestTLSResumes(t *testing.T) {
	eachTLS(t, nil, func(t *testing.T, in *instance, conf *tls.Config) {
		conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for i := range 3 {
			nc, _ := in.dialCut(conf)
			if got := nc.ConnectionState().DidResume; got != (i > 0) {
				t.Errorf("connection %d: resumed %t", i, got)
			}
			if i == 1 {
				if resp, body := request(t, nc, "GET", "/"); resp.StatusCode != 200 || !strings.Contains(body, "wss://") {
					t.Errorf("a page: %s", resp.Status)
				}
			} else {
				upgradeClient(t, nc, "/").join(hash, pid("a"))
			}
			nc.Close()
		}
		if s := in.srv.handshakes.Stats(); s.Resumed != 2 || s.Failed != 0 {
			t.Errorf("counts %+v", s)
		}
	})
}

// Pages leave the loops with their TLS, large ones and several on a connection.
func TestTLSPages(t *testing.T) {
	big := strings.Repeat("0123456789", 100_000)
	eachTLS(t, func(c *Config) {
		c.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprint(w, len(body), big)
		})
	}, func(t *testing.T, in *instance, conf *tls.Config) {
		nc, _ := in.dialCut(conf)
		client := &http.Client{Transport: &http.Transport{
			DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return nc, nil },
		}}
		for _, size := range []int{0, 1, 300_000} {
			resp, err := client.Post("https://one/page", "text/plain", strings.NewReader(big[:size]))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprint(size, big); err != nil || string(got) != want {
				t.Errorf("%d bytes posted: %d bytes, %v", size, len(got), err)
			}
		}
		nc.Close()
	})
}

// What is no record of TLS ends a connection with an alert, whatever it is in
// the middle of, and handshakes that do not go on end with their sockets.
func TestTLSBroken(t *testing.T) {
	eachTLS(t, nil, func(t *testing.T, in *instance, conf *tls.Config) {
		nc, cut := in.dialCut(conf)
		c := upgradeClient(t, nc, "/")
		c.join(hash, pid("a"))
		cut.Write([]byte{23, 3, 3, 0, 30})
		cut.Write(make([]byte, 30))
		if _, _, err := c.readFrame(); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
			t.Errorf("the client is told %v", err)
		}
		nc.Close()
		for _, hello := range []string{"\x16\x03\x01", "\x16\x03\x01\x00\x04\x01\x00\x00\x00", "\x16\x03\x01\x00\x04\x01\x00\x01\x00"} {
			raw, err := net.Dial("tcp", in.addr)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(raw, hello)
			raw.(*net.TCPConn).CloseWrite()
			raw.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, raw); isTimeout(err) {
				t.Errorf("%q: %v", hello, err)
			}
			raw.Close()
		}
	})
}

// A connection that is for an ACME challenge is over with its handshake.
func TestTLSChallenge(t *testing.T) {
	cert, key := writeCert(t, t.TempDir(), "one")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	eachTLS(t, func(c *Config) {
		c.CertFile, c.KeyFile = "", ""
		c.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1", "acme-tls/1"}}
	}, func(t *testing.T, in *instance, conf *tls.Config) {
		conf.NextProtos = []string{"acme-tls/1"}
		nc, _ := in.dialCut(conf)
		if p := nc.ConnectionState().NegotiatedProtocol; p != "acme-tls/1" {
			t.Errorf("ALPN chose %q", p)
		}
		if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("then: %v", err)
		}
	})
}

// helloOf is the first record of a client.
func helloOf(t *testing.T) []byte {
	t.Helper()
	a, b := net.Pipe()
	ended := make(chan struct{})
	go func() { tls.Client(a, &tls.Config{InsecureSkipVerify: true}).Handshake(); close(ended) }()
	buf := make([]byte, 16<<10)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	<-ended
	return buf[:n]
}

// A client that begins handshakes and does not go on has so many places and no
// more, behind a proxy that says who it is as well; the others behind the same
// proxy have theirs.
func TestTLSPlacesBehindProxy(t *testing.T) {
	in := engine(EngineLoops).start(t, func(c *Config, _ *tracker.Config) {
		c.TrustedProxies, c.ProxyProtocol = prefixes("127.0.0.0/8"), true
		c.CertFile, c.KeyFile = writeCert(t, t.TempDir(), "one")
	})
	const places = 1024 / 8 // see tlsstream.Config.MaxPerGroup
	hello := helloOf(t)
	var all []net.Conn
	begin := func(addr string, n int) {
		for range n {
			nc, err := net.Dial("tcp", in.addr)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(nc, "PROXY TCP4 %s 198.51.100.1 40000 443\r\n%s", addr, hello)
			all = append(all, nc)
		}
	}
	begin("203.0.113.7", places+5)
	begin("203.0.113.8", 2)
	in.until("all have begun", func() bool {
		s := in.srv.handshakes.Stats()
		return s.UnderWay+s.Waiting == places+7
	})
	if s := in.srv.handshakes.Stats(); s.UnderWay != places+2 || s.Waiting != 5 {
		t.Errorf("%d are under way and %d wait", s.UnderWay, s.Waiting)
	}
	for _, nc := range all {
		nc.Close()
	}
}

// What is held of handshakes is part of the bound on what has arrived in part.
func TestTLSIncompleteCrowd(t *testing.T) {
	const total = 1 << 20
	in := engine(EngineLoops).start(t, func(c *Config, _ *tracker.Config) {
		c.CertFile, c.KeyFile = writeCert(t, t.TempDir(), "one")
		c.TotalIncomplete = total
	})
	part := append([]byte("\x16\x03\x01\x40\x00\x01"), make([]byte, 16_000)...)
	var all []net.Conn
	for range 100 {
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.Write(part)
		all = append(all, nc)
		if held := in.srv.Stats().Held; held > total {
			t.Fatalf("%d bytes are held", held)
		}
	}
	in.until("some were sent away", func() bool { return in.srv.Stats().Refused["incomplete_total"] >= 50 })
	in.dialTLS(&tls.Config{InsecureSkipVerify: true}).Close()
	for _, nc := range all {
		nc.Close()
	}
	in.until("nothing is held", func() bool { return in.srv.Stats().Held == 0 })
}
