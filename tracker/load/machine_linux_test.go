package load

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// Beyond the ports that one address has, connections come from another.
func TestSourceAddresses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := &Config{URLs: []string{"ws://" + l.Addr().String()}, Shape: Shape{Swarms: 1}}
	d, err := newDialer(cfg, func() {})
	if err != nil {
		t.Fatal(err)
	}
	for conn, want := range map[int]string{0: "127.0.0.1", perSource - 1: "127.0.0.1", perSource: "127.0.0.2", 3 * perSource: "127.0.0.4"} {
		done := make(chan error, 1)
		go func() { done <- d.dial(context.Background(), conn).err }()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host != want {
			t.Errorf("connection %d comes from %s, want %s", conn, host, want)
		}
		io.WriteString(c, "HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n")
		if err := <-done; err == nil || !strings.Contains(err.Error(), "503 Full") {
			t.Errorf("refused with 503: %v", err)
		}
		c.Close()
	}
}

// A server that does not do the WebSocket handshake right is none.
func TestUpgradeIsChecked(t *testing.T) {
	for name, answer := range map[string]func(http.Header){
		"wrong key": func(h http.Header) { h.Set("Sec-WebSocket-Accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=") },
		"no key":    func(http.Header) {},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			answer(w.Header())
			w.WriteHeader(http.StatusSwitchingProtocols)
		}))
		cfg := Config{URLs: []string{"ws" + strings.TrimPrefix(srv.URL, "http")}, Shape: Shape{Connections: 1, Swarms: 1, For: time.Second}}
		if _, err := Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "answers something else") {
			t.Errorf("%s: %v", name, err)
		}
		srv.Close()
	}
}

func TestProcessUsage(t *testing.T) {
	before, err := processUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if before.anon < 1<<20 || before.cpu <= 0 {
		t.Errorf("%+v", before)
	}
	held := make([]byte, 64<<20)
	x := byte(1)
	for i := 0; i < len(held); i += 512 {
		x = x*7 + held[i]
		held[i] = x
	}
	after, err := processUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after.anon-before.anon < 60<<20 || after.cpu <= before.cpu || after.user < before.user {
		t.Errorf("before %+v, after %+v", before, after)
	}
	held[0]++
	if _, err := processUsage(1 << 30); err == nil {
		t.Error("a process that is not there")
	}
}
