package dhtstore

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/exts/getput"
	"golang.org/x/time/rate"
)

// Five ways in which one datagram, or one failed read, ends a process that
// uses anacrolix/dht v2.23.0 as it is. Each is shown to do so, in a process of
// its own, and shown to do nothing to a Node.

const (
	bareEnv     = "PEERSERVERS_TEST_DHT" // "bare" or "guarded", then a deed
	deedListen  = "listen"
	deedFetch   = "fetch"
	deedReadErr = "readerror"
)

var faultCases = []struct{ name, datagram string }{
	{"ip shorter than a port", "d2:ip1:x1:t2:aa1:y1:re"},
	{"value shorter than a port", "d1:rd2:id20:abcdefghij01234567896:valuesl1:xee1:t2:aa1:y1:re"},
	{"announce_peer without arguments", "d1:q13:announce_peer1:t2:aa1:y1:qe"},
	{"put without arguments", "d1:q3:put1:t2:aa1:y1:qe"},
}

func TestLibraryDiesOfOneDatagram(t *testing.T) {
	for _, c := range faultCases {
		t.Run(c.name, func(t *testing.T) {
			bare := startChild(t, "bare", deedListen, "")
			bare.send(t, c.datagram)
			bare.mustDie(t)

			ours := startChild(t, "guarded", deedListen, "")
			ours.send(t, c.datagram)
			ours.mustAnswer(t)
			ours.mustEndWell(t)
		})
	}
}

func TestLibraryDiesOfAGetReplyWithoutSeq(t *testing.T) {
	for _, kind := range []string{"bare", "guarded"} {
		conn := listenRaw(t, "127.0.0.1")
		child := startChild(t, kind, deedFetch, conn.LocalAddr().String())
		key := testKey(9).Public().(ed25519.PublicKey)
		go func() {
			// A node that has the key and forgets the sequence number.
			var m message
			b := make([]byte, maxDatagram)
			for {
				size, from, err := conn.ReadFrom(b)
				if err != nil {
					return
				}
				if m.parse(b[:size]) != faultNone || m.kind != 'q' {
					continue
				}
				to, _ := addrPort(from)
				r := body{id: nodeID{1}, token: []byte("tok")}
				if m.method == methodGet {
					r.key, r.sig, r.value = key, make([]byte, 64), []byte("1:x")
				}
				if _, err := conn.WriteTo(appendReply(nil, m.tid, to, &r), from); err != nil {
					return
				}
			}
		}()
		if kind == "bare" {
			child.mustDie(t)
		} else {
			child.mustEndWell(t)
		}
	}
}

func TestLibraryDiesOfAReadError(t *testing.T) {
	startChild(t, "bare", deedReadErr, "").mustDie(t)

	ours := startChild(t, "guarded", deedReadErr, "")
	ours.mustAnswer(t)
	ours.mustEndWell(t)
}

// runBareLibrary is the child's side: it listens, says where, and ends when
// its standard input does.
func runBareLibrary() {
	kind, rest, ok := strings.Cut(os.Getenv(bareEnv), " ")
	if !ok {
		return
	}
	deed, peer, _ := strings.Cut(rest, " ")
	if err := childMain(kind, deed, peer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func childMain(kind, deed, peer string) error {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(conn.LocalAddr())
	if deed == deedReadErr {
		conn = &failingConn{PacketConn: conn, failures: 3}
	}
	key := testKey(9).Public().(ed25519.PublicKey)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var boot []string
	if peer != "" {
		boot = []string{peer}
	}
	if kind == "guarded" {
		n, err := New(Config{Conns: []net.PacketConn{conn}, AllowPrivate: true, Bootstrap: boot})
		if err != nil {
			return err
		}
		if deed == deedFetch {
			for n.GoodNodes() == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			if _, err := n.Fetch(ctx, key); !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("fetch: %w", err)
			}
		}
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it
		return n.Close()
	}
	cfg := dht.NewDefaultServerConfig()
	cfg.Conn = conn
	cfg.SendLimiter = rate.NewLimiter(rate.Inf, 1)
	cfg.StartingNodes = func() ([]dht.Addr, error) {
		if peer == "" {
			return nil, nil
		}
		return []dht.Addr{dht.NewAddr(net.UDPAddrFromAddrPort(netip.MustParseAddrPort(peer)))}, nil
	}
	s, err := dht.NewServer(cfg)
	if err != nil {
		return err
	}
	if deed == deedFetch {
		_, _, _ = getput.Get(ctx, recordTarget(key, []byte(recordSalt)), s, nil, []byte(recordSalt)) // dies in there
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// failingConn fails to read a few times, as a socket may.
type failingConn struct {
	net.PacketConn
	failures int
}

var errTemporary = errors.New("a read error that passes")

func (c *failingConn) ReadFrom(b []byte) (int, net.Addr, error) {
	if c.failures > 0 {
		c.failures--
		return 0, nil, errTemporary
	}
	return c.PacketConn.ReadFrom(b)
}

type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr *bytes.Buffer
	addr   netip.AddrPort
	ended  chan error
}

func startChild(t *testing.T, kind, deed, peer string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(exe), stderr: new(bytes.Buffer), ended: make(chan error, 1)}
	c.cmd.Env = append(os.Environ(), bareEnv+"="+strings.Join([]string{kind, deed, peer}, " "))
	c.cmd.Stderr = c.stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		c.addr, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	go func() { c.ended <- c.cmd.Wait() }()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // ours; it may have ended already
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *child) send(t *testing.T, datagram string) {
	t.Helper()
	conn := listenRaw(t, "127.0.0.1")
	if _, err := conn.WriteTo([]byte(datagram), net.UDPAddrFromAddrPort(c.addr)); err != nil {
		t.Fatal(err)
	}
}

func (c *child) mustDie(t *testing.T) {
	t.Helper()
	select {
	case err := <-c.ended:
		if err == nil || !strings.Contains(c.stderr.String(), "panic") {
			t.Errorf("the bare library ended with %v: %s", err, c.stderr)
		}
	case <-time.After(30 * time.Second):
		t.Error("the bare library survived; is this guard still needed?")
	}
}

func (c *child) mustAnswer(t *testing.T) {
	t.Helper()
	r := dialRaw(t, "127.0.0.1", c.addr)
	if m := r.ask("ping", ""); m.kind != 'r' {
		t.Errorf("no answer to a ping: %+v", m)
	}
}

func (c *child) mustEndWell(t *testing.T) {
	t.Helper()
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-c.ended; err != nil {
		t.Errorf("the guarded node ended with %v: %s", err, c.stderr)
	}
}
