package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
)

// A node of a closed network answers strangers on its listen port, byte for
// byte, as a tracker without federation does, also where open networks have
// their links; members find its link endpoint.
func TestClosedNodeOnItsListenPort(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, at := startAt(t, func(addr string) []string {
		return []string{"--listen", addr, "--data-dir", filepath.Join(t.TempDir(), "data"), "--dht-listen", addr,
			"--dht-bootstrap", "127.0.0.1:1", "--allow-private", "--node-url", "ws://" + addr + "/below", "--network-secret-file", secret}
	})
	plain := start(t, "--listen", "127.0.0.1:0", "--allow-private", "--no-federation")
	addrs := [2]string{at, plain.line(`announce to ws://(\S+)`)}

	for _, path := range []string{"/", "/federation", "/below/federation", "/health", "/federation.json"} {
		for name, header := range map[string]string{
			"page": "Connection: close\r\n", "subprotocol alone": "Sec-WebSocket-Protocol: peerservers.v1\r\nConnection: close\r\n",
			"client": upgradeHeader, "link": upgradeHeader + "Sec-WebSocket-Protocol: peerservers.v1\r\n",
		} {
			var got [2]string
			for i, addr := range addrs {
				got[i] = exchange(t, addr, "GET "+path+" HTTP/1.1\r\nHost: tracker\r\n"+header+"\r\n")
			}
			if got[0] != got[1] || got[0] == "" {
				t.Errorf("%s of %s:\n%s\nfrom a tracker alone\n%s", name, path, got[0], got[1])
			}
		}
	}

	network, err := derive.New(derive.DefaultName, []byte("a secret of ours"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{network.LinkPath(), "/below" + network.LinkPath()} {
		d := ws.Dialer{Protocols: []string{federation.Subprotocol}}
		conn, _, hs, err := d.Dial(context.Background(), "ws://"+addrs[0]+path)
		if err != nil || hs.Protocol != federation.Subprotocol {
			t.Fatalf("a member gets %+v, %v", hs, err)
		}
		conn.Close()
	}
}

const upgradeHeader = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// exchange returns the response to a request without its date; of an upgraded
// connection, its head.
func exchange(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	var all, line string
	for br := bufio.NewReader(conn); err == nil; {
		line, err = br.ReadString('\n')
		if !strings.HasPrefix(line, "Date: ") {
			all += line
		}
		if line == "\r\n" && strings.HasPrefix(all, "HTTP/1.1 101 "+http.StatusText(http.StatusSwitchingProtocols)) {
			return all
		}
	}
	return all
}
