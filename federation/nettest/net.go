//go:build linux

package nettest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Link is what a packet meets on its way from one host to another: it arrives
// Delay later, or with probability Loss never. The way back is a Link too, so
// a round trip takes twice the Delay.
type Link struct {
	Delay time.Duration
	Loss  float64 // 0 to 1
}

// Traffic counts the packets of one direction between two hosts.
type Traffic struct {
	Carried  uint64 // delivered
	Lost     uint64 // by the Link's Loss
	Cut      uint64 // by Cut and CutOneWay
	Overflow uint64 // more than a path holds at a time
}

// Net is an internet: hosts with public addresses, and nothing between them
// but Links. Nothing else is reachable from it, and it from nowhere.
type Net struct {
	tb    testing.TB
	names *names
	ca    *authority

	mu      sync.Mutex
	ports   []*port
	byAddr  map[netip.Addr]*port
	gateway *port
	link    Link
	paths   map[pair]*path
	stray   uint64
	closed  bool
	wait    sync.WaitGroup
}

type pair struct{ from, to *port }

// port is where a host's interface is plugged in.
type port struct {
	net  *Net
	host *Host
	tun  *os.File
}

// path is the way from one port to another. It has a queue and a goroutine of
// its own, so that packets stay in order.
type path struct {
	link  Link
	own   bool // link is not the Net's
	cut   bool
	rnd   *rand.Rand
	queue chan packet
	count Traffic
}

type packet struct {
	due  time.Time
	data []byte
}

// pathQueue is how many packets a path holds at a time, as a router would.
const pathQueue = 2048

// New makes an internet for one test, and takes it down with all its hosts
// and processes at the test's end. It skips the test unless network
// namespaces are asked for (see Enabled).
func New(tb testing.TB) *Net {
	tb.Helper()
	if !Enabled() {
		tb.Skipf("network namespaces: set %s=1, as root", Env)
	}
	if err := Check(); err != nil {
		tb.Fatalf("network namespaces: %v", err)
	}
	n := newNet(tb)
	n.ca = newAuthority(tb)
	n.names = newNames(tb)
	return n
}

func newNet(tb testing.TB) *Net {
	n := &Net{tb: tb, byAddr: make(map[netip.Addr]*port), paths: make(map[pair]*path)}
	tb.Cleanup(n.close)
	return n
}

// close unplugs everything. The hosts, made later, are gone already.
func (n *Net) close() {
	n.mu.Lock()
	n.closed = true
	for _, p := range n.ports {
		p.tun.Close()
	}
	for _, p := range n.paths {
		close(p.queue)
	}
	n.mu.Unlock()
	n.wait.Wait()
}

// SetLink is what all directions between all hosts are like that SetPath has
// not set, from the next packet on. At first it is the zero Link.
func (n *Net) SetLink(l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link = l
}

// SetPath is what the direction from one host to another is like.
func (n *Net) SetPath(from, to *Host, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.path(from.port, to.port)
	p.link, p.own = l, true
}

// Cut drops what a and b send to each other from now on, silently, as a cut
// cable does. What is under way arrives.
func (n *Net) Cut(a, b *Host) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay drops what from sends to to, and lets the other direction live.
func (n *Net) CutOneWay(from, to *Host) { n.setCut(from, to, true) }

// Heal mends what Cut or CutOneWay have cut between a and b.
func (n *Net) Heal(a, b *Host) {
	n.setCut(a, b, false)
	n.setCut(b, a, false)
}

// Partition cuts some hosts off from all others; they still reach each other.
func (n *Net) Partition(side ...*Host) {
	n.eachAcross(side, n.Cut)
}

// HealPartition undoes Partition.
func (n *Net) HealPartition(side ...*Host) {
	n.eachAcross(side, n.Heal)
}

func (n *Net) eachAcross(side []*Host, do func(a, b *Host)) {
	in := make(map[*port]bool)
	for _, h := range side {
		in[h.port] = true
	}
	n.mu.Lock()
	all := append([]*port(nil), n.ports...)
	n.mu.Unlock()
	for _, a := range side {
		for _, b := range all {
			if !in[b] {
				do(a, b.host)
			}
		}
	}
}

func (n *Net) setCut(from, to *Host, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.path(from.port, to.port).cut = cut
}

// Traffic is what has gone from one host to another so far.
func (n *Net) Traffic(from, to *Host) Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.path(from.port, to.port).count
}

// Stray is how many packets went nowhere: to an address that no host has, or
// from one that its sender does not have.
func (n *Net) Stray() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stray
}

// path is called under mu.
func (n *Net) path(from, to *port) *path {
	key := pair{from, to}
	p := n.paths[key]
	if p == nil {
		seed := uint64(len(n.paths))
		p = &path{rnd: rand.New(rand.NewPCG(seed, 20)), queue: make(chan packet, pathQueue)}
		n.paths[key] = p
		if n.closed {
			close(p.queue)
			return p
		}
		n.wait.Go(func() {
			for k := range p.queue {
				time.Sleep(time.Until(k.due))
				_, _ = to.tun.Write(k.data) // its interface may be down, or the test over
			}
		})
	}
	return p
}

// plug connects a host's interface that has these addresses.
func (n *Net) plug(h *Host, tun *os.File, addrs []netip.Addr) *port {
	p := &port{net: n, host: h, tun: tun}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports = append(n.ports, p)
	for _, a := range addrs {
		n.byAddr[a] = p
	}
	n.wait.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			k, err := tun.Read(buf)
			if err != nil {
				return
			}
			n.carry(p, buf[:k])
		}
	})
	return p
}

// move gives p other addresses.
func (n *Net) move(p *port, addrs []netip.Addr) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addrs {
		if other := n.byAddr[a]; other != nil && other != p {
			return fmt.Errorf("%v is another host's", a)
		}
	}
	for a, other := range n.byAddr {
		if other == p {
			delete(n.byAddr, a)
		}
	}
	for _, a := range addrs {
		n.byAddr[a] = p
	}
	return nil
}

// carry takes a packet that a host sent.
func (n *Net) carry(from *port, data []byte) {
	src, dst, ok := addresses(data)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || dst.IsMulticast() {
		return
	}
	to := n.byAddr[dst]
	if to == nil {
		to = n.gateway
	}
	// A provider lets no address pass but its customer's; the gateway of a
	// home network passes on what comes from outside.
	if to == nil || to == from || from != n.gateway && n.byAddr[src] != from {
		n.stray++
		return
	}
	p := n.path(from, to)
	link := n.link
	if p.own {
		link = p.link
	}
	switch {
	case p.cut:
		p.count.Cut++
		return
	case p.rnd.Float64() < link.Loss:
		p.count.Lost++
		return
	}
	select {
	case p.queue <- packet{time.Now().Add(link.Delay), append([]byte(nil), data...)}:
		p.count.Carried++
	default:
		p.count.Overflow++
	}
}

// addresses are those of an IP packet.
func addresses(b []byte) (src, dst netip.Addr, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), true
	case len(b) >= 40 && b[0]>>4 == 6 && int(binary.BigEndian.Uint16(b[4:6]))+40 <= len(b):
		return netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), true
	}
	return src, dst, false
}

// names is the hosts file that all hosts see.
type names struct {
	tb          testing.TB
	mu          sync.Mutex
	addrs       map[string]netip.Addr
	hosts, none string // files
}

func newNames(tb testing.TB) *names {
	dir := tb.TempDir()
	n := &names{tb: tb, addrs: make(map[string]netip.Addr), hosts: filepath.Join(dir, "hosts"), none: filepath.Join(dir, "resolv.conf")}
	if err := os.WriteFile(n.none, []byte("options attempts:1 timeout:1\n"), 0o644); err != nil {
		tb.Fatal(err)
	}
	n.write()
	return n
}

// Name lets a DNS name lead to an address, for the processes on all hosts.
// They notice a change within some seconds, as with real names.
func (n *Net) Name(name, addr string) {
	n.tb.Helper()
	a, err := netip.ParseAddr(addr)
	if err != nil {
		n.tb.Fatal(err)
	}
	n.names.mu.Lock()
	defer n.names.mu.Unlock()
	n.names.addrs[name] = a
	n.names.write()
}

// write keeps the file's inode, to which the hosts' mounts are bound.
func (n *names) write() {
	text := "127.0.0.1 localhost\n"
	for name, a := range n.addrs {
		text += fmt.Sprintf("%v %s\n", a, name)
	}
	if err := os.WriteFile(n.hosts, []byte(text), 0o644); err != nil {
		n.tb.Fatal(err)
	}
}
