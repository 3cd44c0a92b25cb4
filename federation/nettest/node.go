//go:build linux

package nettest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

const (
	clientPort = 8000 // of every node: clients, links, DHT
	adminPort  = 8001 // on the host's loopback
	dhtPort    = 7000 // of hosts that are DHT nodes alone
)

// StartDHT starts a DHT node alone on the host and returns its address, for
// --dht-bootstrap.
func (h *Host) StartDHT() string {
	h.tb.Helper()
	at := netip.AddrPortFrom(h.Addr, dhtPort).String()
	h.Start(nil, h.net.Binary(), "dht", "--listen", at).Line(`DHT node listening`)
	return at
}

// Node is a peerservers node on a Host.
type Node struct {
	*Process
	Host *Host
	// URL is where clients announce: ws://.
	URL string
	// Dir is the data directory. A node that starts with another's, once that
	// is gone, has its key.
	Dir string
}

// NodeConfig says how to start a Node. Zero values mean what the comments say.
type NodeConfig struct {
	Binary string   // Net.Binary
	DHT    []string // bootstrap addresses; without any, one that nobody has
	// URL is the --node-url: "" for wss:// at the host's address, with a
	// certificate of the Net's authority; Leaf for none.
	URL string
	Dir string // a new one
	// Args are more flags.
	Args []string
}

// Leaf as a NodeConfig's URL means that the node has none.
const Leaf = "leaf"

// StartNode starts a node and waits until it serves clients.
func (h *Host) StartNode(c NodeConfig) *Node {
	h.tb.Helper()
	if c.Binary == "" {
		c.Binary = h.net.Binary()
	}
	if c.Dir == "" {
		c.Dir = h.tb.TempDir()
	}
	if c.URL == "" {
		c.URL = "wss://" + netip.AddrPortFrom(h.Addr, clientPort).String()
	}
	args := []string{"--listen", ":" + strconv.Itoa(clientPort), "--admin", "127.0.0.1:" + strconv.Itoa(adminPort), "--data-dir", c.Dir}
	if c.URL != Leaf {
		args = append(args, "--node-url", c.URL)
		if rest, tls := strings.CutPrefix(c.URL, "wss://"); tls {
			host, _, err := net.SplitHostPort(rest)
			if err != nil {
				h.tb.Fatal(err)
			}
			cert, key := h.net.Certificate(host)
			args = append(args, "--tls-cert", cert, "--tls-key", key)
		}
	}
	if len(c.DHT) == 0 {
		c.DHT = []string{"11.255.255.255:7000"}
	}
	for _, a := range c.DHT {
		args = append(args, "--dht-bootstrap", a)
	}
	n := &Node{Host: h, URL: "ws://" + netip.AddrPortFrom(h.Addr, clientPort).String(), Dir: c.Dir}
	n.Process = h.Start([]string{"SSL_CERT_FILE=" + h.net.CAFile(), "SSL_CERT_DIR=" + c.Dir}, c.Binary, append(args, c.Args...)...)
	n.Line(`federation: .*`)
	return n
}

// Status is what a node says of its federation.
type Status struct {
	Key                   string
	Leaf                  bool
	Why                   string
	Links                 []LinkStatus
	Known, Swarms, Hungry int
}

// LinkStatus is what a node says of one link.
type LinkStatus struct {
	Key     string
	URLs    []string
	Dialled bool
	Shared  int
}

// Status asks the node's admin listener for /federation.json.
func (n *Node) Status() (s Status) {
	n.tb.Helper()
	if err := json.Unmarshal(n.admin("/federation.json"), &s); err != nil {
		n.tb.Fatalf("%s: /federation.json: %v", n.name, err)
	}
	return s
}

// Report is all that the node says of its federation, and what it has counted,
// for tests that failed.
func (n *Node) Report() string {
	n.tb.Helper()
	var b strings.Builder
	b.Write(n.admin("/federation.json"))
	for line := range strings.Lines(string(n.admin("/metrics"))) {
		if strings.HasPrefix(line, "peerservers_") && !strings.HasSuffix(line, " 0\n") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Metric is the sum of a metric's samples whose labels contain with, which is
// like `kind="offers"`, or empty for all.
func (n *Node) Metric(name, with string) (sum float64) {
	n.tb.Helper()
	for line := range strings.Lines(string(n.admin("/metrics"))) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		base, labels, _ := strings.Cut(series, "{")
		if !ok || base != name || !strings.Contains(labels, with) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			n.tb.Fatalf("%s: %s: %v", n.name, line, err)
		}
		sum += v
	}
	return sum
}

func (n *Node) admin(path string) []byte {
	n.tb.Helper()
	r, err := n.Host.HTTP().Get(fmt.Sprintf("http://127.0.0.1:%d%s", adminPort, path))
	if err != nil {
		n.tb.Fatalf("%s: %v", n.name, err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		n.tb.Fatalf("%s: %v", n.name, err)
	}
	return b
}

// Linked waits until nodes have links with each other, all with all.
func Linked(tb testing.TB, nodes ...*Node) {
	tb.Helper()
	for _, n := range nodes {
		Eventually(tb, fmt.Sprintf("%s has %d links", n.name, len(nodes)-1), func() bool {
			return len(n.Status().Links) >= len(nodes)-1
		})
	}
}
