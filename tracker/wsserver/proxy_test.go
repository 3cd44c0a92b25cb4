package wsserver

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/draeder/peerservers/tracker"
)

// Behind proxies: the client is the nearest address that is not trusted.
func TestForwarded(t *testing.T) { onBoth(t, testForwarded) }

func testForwarded(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) {
		c.TrustedProxies = prefixes("127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32")
	})
	for _, c := range []struct {
		remote, want string
		headers      []string
	}{
		{"192.0.2.1:5", "192.0.2.1:5", []string{"198.51.100.1"}}, // no proxy of ours
		{"127.0.0.1:5", "127.0.0.1:5", nil},
		{"127.0.0.1:5", "198.51.100.1:0", []string{"198.51.100.1"}},
		{"127.0.0.1:5", "198.51.100.2:0", []string{"198.51.100.1, 198.51.100.2"}},
		{"127.0.0.1:5", "198.51.100.1:0", []string{"203.0.113.9", "198.51.100.1, 10.1.1.1"}},
		{"127.0.0.1:5", "198.51.100.1:44", []string{"198.51.100.1:44"}},
		{"127.0.0.1:5", "[2001:db9::1]:0", []string{"2001:db9::1, 2001:db8::2"}},
		{"127.0.0.1:5", "[2001:db9::1]:7", []string{"[2001:db9::1]:7"}},
		{"127.0.0.1:5", "10.1.1.1:0", []string{"198.51.100.1, nonsense, 10.1.1.1"}},
		{"[::ffff:127.0.0.1]:5", "198.51.100.1:0", []string{"198.51.100.1"}},
		{"@", "invalid AddrPort", []string{"198.51.100.1"}},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.headers}}
		if got := in.srv.clientAddr(r).String(); got != c.want {
			t.Errorf("%s with %q: %s, want %s", c.remote, c.headers, got, c.want)
		}
	}
}

// The PROXY protocol counts from trusted addresses only.
func TestProxyProtocol(t *testing.T) { onBoth(t, testProxyProtocol) }

func testProxyProtocol(t *testing.T, e engine) {
	for _, trusted := range []string{"127.0.0.0/8", "192.0.2.0/24"} {
		in := e.start(t, func(c *Config, _ *tracker.Config) {
			c.TrustedProxies, c.ProxyProtocol = prefixes(trusted), true
		})
		nc, err := net.Dial("tcp", in.addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(nc, "PROXY TCP4 203.0.113.7 198.51.100.1 40000 443\r\n")
		c := requestUpgrade(t, nc, "/")
		if trusted != "127.0.0.0/8" {
			if c.resp.StatusCode != 400 {
				t.Errorf("from a stranger: %s", c.resp.Status)
			}
			continue
		}
		c.join(hash, pid("a"))
		for _, session := range in.srv.sessions() {
			if got := session.Client().Addr.String(); got != "203.0.113.7:40000" {
				t.Errorf("client %s", got)
			}
		}
		in.dial("/").join(hash, pid("b")) // without a header
	}
}
