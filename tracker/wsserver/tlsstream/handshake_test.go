package tlsstream

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"testing"
)

// kinds are what a server can be.
var kinds = map[string]Config{"crypto/tls": {}, "own": {OwnRecords: true}}

func eachKind(t *testing.T, f func(t *testing.T, cfg Config)) {
	for name, cfg := range kinds {
		t.Run(name, func(t *testing.T) { f(t, cfg) })
	}
}

// versions of TLS that are spoken.
var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// TestEcho has crypto/tls's client talk to each kind of stream, in each version
// and with streams cut in pieces.
func TestEcho(t *testing.T) {
	eachKind(t, func(t *testing.T, cfg Config) {
		for _, version := range versions {
			for _, cut := range []int{0, 1, 700} {
				t.Run(fmt.Sprintf("%s/%d", tls.VersionName(version), cut), func(t *testing.T) {
					client := clientConfig()
					client.MinVersion, client.MaxVersion = version, version
					s := newServer(cfg, serverConfig())
					c, conn, info := pair(t, s, client, cut)
					if info.Version != version || info.Protocol != "http/1.1" || info.Resumed {
						t.Errorf("agreed on %+v", info)
					}
					if own := cfg.OwnRecords && version == tls.VersionTLS13; info.OwnRecords != own {
						t.Errorf("own records: %t, want %t", info.OwnRecords, own)
					}
					ended := make(chan error, 1)
					go func() { ended <- echo(conn) }()
					for _, size := range []int{1, 100, 16384, 16385, 200_000} {
						text := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
						go c.Write(text)
						got := make([]byte, size)
						if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, text) {
							t.Fatalf("%d bytes: %v", size, err)
						}
					}
					if err := c.CloseWrite(); err != nil {
						t.Fatal(err)
					}
					if err := <-ended; err != nil {
						t.Errorf("after close_notify: %v", err)
					}
					if _, err := conn.Write([]byte("last")); err != nil {
						t.Errorf("write after the client's half is closed: %v", err)
					}
					conn.Close()
					if got, err := io.ReadAll(c); string(got) != "last" || err != nil {
						t.Errorf("the client reads %q, %v", got, err)
					}
				})
			}
		}
	})
}
