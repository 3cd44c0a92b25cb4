package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// patience is how long a test waits for something before it fails. Nothing
// that works comes near it.
const patience = 2 * time.Minute

// output collects what a command writes, for whoever waits for a line.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// process is a command that runs in this process.
type process struct {
	tb       testing.TB
	out, err output
	cancel   context.CancelFunc
	status   chan int
}

// start runs a command line; it is stopped at the end of the test if not
// before.
func start(tb testing.TB, args ...string) *process {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{tb: tb, cancel: cancel, status: make(chan int, 1)}
	go func() { p.status <- run(ctx, args, &p.out, &p.err) }()
	tb.Cleanup(func() { p.stop() })
	return p
}

// stop is SIGTERM, and returns the exit status.
func (p *process) stop() int {
	p.cancel()
	return p.wait()
}

func (p *process) wait() int {
	p.tb.Helper()
	select {
	case s := <-p.status:
		p.status <- s // for whoever asks again
		return s
	case <-time.After(patience):
		p.tb.Fatalf("still running; it said\n%s\n%s", &p.out, &p.err)
		return -1
	}
}

// line waits for a match in the output and returns its first group, or all.
func (p *process) line(pattern string) string {
	p.tb.Helper()
	re := regexp.MustCompile(pattern)
	var got string
	eventually(p.tb, "output like "+pattern, func() bool {
		m := re.FindStringSubmatch(p.out.String())
		if m == nil {
			return false
		}
		got = m[len(m)-1]
		return true
	}, p)
	return got
}

func eventually(tb testing.TB, what string, check func() bool, about ...*process) {
	tb.Helper()
	for end := time.Now().Add(patience); !check(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			for _, p := range about {
				tb.Logf("%s\n%s", &p.out, &p.err)
			}
			tb.Fatalf("no %s", what)
		}
	}
}

// command runs a command line to its end.
func command(tb testing.TB, args ...string) (status int, out, err string) {
	tb.Helper()
	p := start(tb, args...)
	status = p.wait()
	return status, p.out.String(), p.err.String()
}

// freeAddr is an address on loopback whose port was free a moment ago, for TCP
// and UDP.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		addr := l.Addr().String()
		u, err := net.ListenPacket("udp4", addr)
		l.Close()
		if err == nil {
			u.Close()
			return addr
		}
	}
	tb.Fatal("no free port")
	return ""
}

// startAt starts a node at an address that it must know before it listens
// there, and waits until it does. If somebody else was first to listen there,
// it is given another one.
func startAt(tb testing.TB, args func(addr string) []string) (p *process, addr string) {
	tb.Helper()
	for range 100 {
		addr = freeAddr(tb)
		p = start(tb, args(addr)...)
		taken := false
		eventually(tb, "node at "+addr, func() bool {
			taken = strings.Contains(p.err.String(), "address already in use")
			return taken || strings.Contains(p.out.String(), "announce to ")
		}, p)
		if !taken {
			return p, addr
		}
		p.wait()
	}
	tb.Fatal("no free port")
	return nil, ""
}

// node is a node of a private network, as the command lines have it.
type node struct {
	*process
	addr, dir, admin string
}

func startDHT(tb testing.TB) string {
	tb.Helper()
	return start(tb, "dht", "--listen", "127.0.0.1:0").line(`--dht-bootstrap (\S+)`)
}

func startNode(tb testing.TB, dht string, extra ...string) *node {
	tb.Helper()
	n := &node{dir: filepath.Join(tb.TempDir(), "data")}
	n.process, n.addr = startAt(tb, func(addr string) []string {
		return append([]string{
			"--listen", addr, "--node-url", "ws://" + addr, "--data-dir", n.dir,
			"--dht-listen", addr, "--dht-bootstrap", dht, "--allow-private", "--no-rendezvous",
			"--admin", "127.0.0.1:0",
		}, extra...)
	})
	n.admin = adminOf(tb, n.process)
	return n
}

// adminOf is where a process serves its --admin.
func adminOf(tb testing.TB, p *process) (addr string) {
	tb.Helper()
	eventually(tb, "admin address", func() bool {
		m := regexp.MustCompile(`metrics=http://([^/]+)/`).FindStringSubmatch(p.err.String())
		if m != nil {
			addr = m[1]
		}
		return m != nil
	}, p)
	return addr
}

// get fetches a page.
func get(tb testing.TB, url string) (status int, body string) {
	tb.Helper()
	r, err := http.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// client is a WebTorrent client, as far as a tracker can tell.
type client struct {
	tb   testing.TB
	conn net.Conn
}

func dial(tb testing.TB, addr string) *client {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, _, err := ws.Dial(ctx, "ws://"+addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return &client{tb, conn}
}

// announce sends an announce with some offers.
func (c *client) announce(infoHash, peer string, offers int) {
	c.tb.Helper()
	var list []string
	for i := range offers {
		list = append(list, fmt.Sprintf(`{"offer_id":"%s%02d","offer":{"type":"offer","sdp":"v=0"}}`, peer[:18], i))
	}
	frame := fmt.Sprintf(`{"action":"announce","info_hash":%q,"peer_id":%q,"event":"started","left":1,"numwant":5,"offers":[%s]}`,
		infoHash, peer, strings.Join(list, ","))
	if err := wsutil.WriteClientText(c.conn, []byte(frame)); err != nil {
		c.tb.Fatal(err)
	}
}

// message is what a tracker sends.
type message struct {
	Action   string `json:"action"`
	InfoHash string `json:"info_hash"`
	PeerID   string `json:"peer_id"`
	Offer    *struct{ SDP string }
	Failure  string `json:"failure reason"`
	Interval int    `json:"interval"`
}

// next is the next message.
func (c *client) next() message {
	c.tb.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	b, err := wsutil.ReadServerText(c.conn)
	if err != nil {
		c.tb.Fatal(err)
	}
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		c.tb.Fatalf("%s: %v", b, err)
	}
	return m
}

// offer is the next offer; replies are passed over.
func (c *client) offer() message {
	c.tb.Helper()
	for {
		if m := c.next(); m.Offer != nil {
			return m
		}
	}
}

// peerID is an id of 20 characters.
func peerID(name string) string { return (name + strings.Repeat("-", 20))[:20] }
