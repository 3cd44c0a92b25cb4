package load

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dialTimeout bounds connecting, TLS and the upgrade of one connection.
	dialTimeout = 20 * time.Second
	// dialing is how many connections are being made at a time.
	dialing = 64
	// perSource connections come from one address of ours: a system gives
	// out about 28,000 ports for one destination.
	perSource = 25000
)

// dialer makes connections in goroutines of its own and hands them over as raw
// descriptors.
type dialer struct {
	cfg     *Config
	targets []target
	done    chan dialled
	notify  func()
	next    atomic.Int64
	group   sync.WaitGroup
}

// target is a URL, taken apart.
type target struct {
	url  *url.URL
	addr string
	loop bool        // on this machine's loopback
	tls  *tls.Config // nil for ws://
}

// dialled is a connection, or why there is none.
type dialled struct {
	conn int
	fd   int
	tls  *tlsConn
	rest []byte // what came after the upgrade
	err  error
	took time.Duration
}

func newDialer(cfg *Config, notify func()) (*dialer, error) {
	d := &dialer{cfg: cfg, done: make(chan dialled, dialing), notify: notify}
	for _, s := range cfg.URLs {
		u, err := url.Parse(s)
		if err != nil {
			return nil, err
		}
		t := target{url: u}
		port := u.Port()
		if port == "" {
			port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
		}
		t.addr = net.JoinHostPort(u.Hostname(), port)
		// Resolved once: names are not what is measured.
		resolved, err := net.ResolveTCPAddr("tcp", t.addr)
		if err != nil {
			return nil, err
		}
		t.addr, t.loop = resolved.String(), resolved.IP.IsLoopback() && resolved.IP.To4() != nil
		if u.Scheme == "wss" {
			t.tls = &tls.Config{
				RootCAs: cfg.Roots, ServerName: u.Hostname(), NextProtos: []string{"http/1.1"},
				DynamicRecordSizingDisabled: true, // as browsers do
			}
		}
		d.targets = append(d.targets, t)
	}
	return d, nil
}

// start makes all connections of the configuration.
func (d *dialer) start(ctx context.Context) {
	for range min(dialing, d.cfg.Connections) {
		d.group.Go(func() {
			for ctx.Err() == nil {
				conn := int(d.next.Add(1)) - 1
				if conn >= d.cfg.Connections {
					return
				}
				began := time.Now()
				r := d.dial(ctx, conn)
				r.conn, r.took = conn, time.Since(began)
				select {
				case d.done <- r:
					d.notify()
				case <-ctx.Done():
					if r.err == nil {
						unix.Close(r.fd)
					}
				}
			}
		})
	}
}

func (d *dialer) dial(ctx context.Context, conn int) dialled {
	t := &d.targets[d.cfg.node(conn)]
	nd := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	if n := conn / perSource; n > 0 && t.loop {
		source := netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + n)})
		nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		nd.Control = func(_, _ string, c syscall.RawConn) (err error) {
			e := c.Control(func(fd uintptr) {
				// The port is chosen for the pair of addresses, not for ours alone.
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
			return errors.Join(e, err)
		}
	}
	raw, err := nd.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return dialled{err: err}
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return dialled{err: err}
	}
	r := dialled{}
	stream := raw
	if t.tls != nil {
		r.tls = newTLSConn(raw, t.tls)
		if err := r.tls.conn.HandshakeContext(ctx); err != nil {
			return dialled{err: fmt.Errorf("TLS: %w", err)}
		}
		stream = r.tls.conn
	}
	if r.rest, err = upgrade(stream, t.url); err != nil {
		return dialled{err: err}
	}
	if r.fd, err = duplicate(raw); err != nil {
		return dialled{err: err}
	}
	if r.tls != nil {
		r.tls.detach(r.fd)
	}
	return r
}

// duplicate is a descriptor of a connection that the runtime does not know.
func duplicate(raw net.Conn) (fd int, err error) {
	c, err := raw.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	e := c.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(e, err)
}

// upgrade asks for a WebSocket and returns what came after the answer.
func upgrade(c net.Conn, u *url.URL) (rest []byte, err error) {
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	path := u.RequestURI()
	request := "GET " + path + " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: peerservers-bench\r\n" +
		"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\n\r\n"
	if _, err := c.Write([]byte(request)); err != nil {
		return nil, err
	}
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	accept := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("upgrade: the server says %s", resp.Status)
	case !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket"),
		resp.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(accept[:]):
		return nil, errors.New("upgrade: the server answers something else")
	case resp.Header.Get("Sec-WebSocket-Extensions") != "" || resp.Header.Get("Sec-WebSocket-Protocol") != "":
		return nil, errors.New("upgrade: the server chose what was not offered")
	}
	rest, _ = br.Peek(br.Buffered())
	return append([]byte(nil), rest...), nil
}

// MaxConnections is how many connections the limit on open files has room for,
// raised as far as this process may.
func MaxConnections() int {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 1000
	}
	for _, hard := range []uint64{max(lim.Max, 1<<20), lim.Max} {
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: hard, Max: hard}) == nil {
			lim.Cur = hard
			break
		}
	}
	return int(min(lim.Cur, 1<<20+spareFiles)) - spareFiles
}

// spareFiles are those that are no connections.
const spareFiles = 128
