//go:build linux

package nettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Env is the variable that asks for these tests: they need root, and time.
const Env = "PEERSERVERS_NETTEST"

// Enabled reports whether tests in network namespaces are asked for.
func Enabled() bool { return os.Getenv(Env) == "1" }

// Check reports what keeps this machine from having hosts.
var Check = sync.OnceValue(func() error {
	for _, tool := range []string{"ip", "ss", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w (Debian has it in iproute2 or nftables)", err)
		}
	}
	ns := &namespace{calls: make(chan func())}
	if err := ns.open(nil); err != nil {
		return err
	}
	defer ns.close()
	tun, err := ns.tun("net0")
	if err != nil {
		return err
	}
	return tun.Close()
})

// namespace is a network namespace, and a mount namespace with other names in
// it. It has no name and no mount point: it is there as long as its thread,
// its files and its processes are, so that nothing is left of a test that was
// killed.
type namespace struct {
	calls chan func()
	fd    int
}

// open starts the namespace's thread.
func (ns *namespace) open(n *names) error {
	done := make(chan error)
	go func() {
		// Never unlocked: a thread in a namespace must not serve other
		// goroutines, so it ends with this one. The processes that it has
		// started end with it, see Pdeathsig.
		runtime.LockOSThread()
		err := ns.enter(n)
		done <- err
		if err != nil {
			return
		}
		for f := range ns.calls {
			f()
		}
	}()
	return <-done
}

func (ns *namespace) enter(n *names) error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if n != nil {
		for target, source := range map[string]string{"/etc/hosts": n.hosts, "/etc/resolv.conf": n.none} {
			// A machine without such a file needs no other in its place.
			if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("mount %s: %w", target, err)
			}
		}
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("own namespace: %w", err)
	}
	ns.fd = fd
	return nil
}

func (ns *namespace) close() {
	close(ns.calls)
	unix.Close(ns.fd)
}

// on runs f on the namespace's thread.
func (ns *namespace) on(f func()) {
	done := make(chan struct{})
	ns.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

// tun makes an interface whose packets the file reads and writes.
func (ns *namespace) tun(name string) (f *os.File, err error) {
	ns.on(func() {
		var fd int
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			err = fmt.Errorf("/dev/net/tun: %w", err)
			return
		}
		ifr, e := unix.NewIfreq(name)
		if e == nil {
			ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			e = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
		}
		if e != nil {
			unix.Close(fd)
			err = fmt.Errorf("tun %s: %w", name, e)
			return
		}
		f = os.NewFile(uintptr(fd), name)
	})
	return f, err
}

// Host is a machine on a Net: a network namespace of its own, with loopback,
// one interface, and a default route into the Net.
type Host struct {
	Name string
	// Addr is the (first) address.
	Addr netip.Addr

	tb    testing.TB
	net   *Net
	ns    *namespace
	port  *port
	addrs []netip.Addr
}

// Host adds a machine with these addresses, IPv4 or IPv6. An address that
// nodes shall take for public is best from 11.0.0.0/8, one /16 for each
// operator, and 2a11::/16.
func (n *Net) Host(name string, addrs ...string) *Host {
	n.tb.Helper()
	h := n.bare(name)
	h.port = h.attach(n, "net0", addrs)
	h.addrs = parseAddrs(n.tb, addrs)
	h.Addr = h.addrs[0]
	return h
}

// bare is a host without an interface.
func (n *Net) bare(name string) *Host {
	n.tb.Helper()
	h := &Host{Name: name, tb: n.tb, net: n, ns: &namespace{calls: make(chan func())}}
	if err := h.ns.open(n.names); err != nil {
		n.tb.Fatalf("host %s: %v", name, err)
	}
	n.tb.Cleanup(h.ns.close)
	h.Run("ip", "link", "set", "lo", "up")
	return h
}

// attach plugs a new interface of h into n.
func (h *Host) attach(n *Net, dev string, addrs []string) *port {
	h.tb.Helper()
	tun, err := h.ns.tun(dev)
	if err != nil {
		h.tb.Fatalf("host %s: %v", h.Name, err)
	}
	h.Run("ip", "link", "set", dev, "up")
	list := parseAddrs(h.tb, addrs)
	h.configure(dev, list)
	return n.plug(h, tun, list)
}

// configure gives an interface addresses, of which the first of each family
// is that of the default route.
func (h *Host) configure(dev string, addrs []netip.Addr) {
	h.tb.Helper()
	routed := make(map[string]bool)
	for _, a := range addrs {
		family := "-4"
		if a.Is6() {
			family = "-6"
		}
		h.Run("ip", "addr", "add", netip.PrefixFrom(a, a.BitLen()).String(), "dev", dev, "nodad")
		if !routed[family] {
			routed[family] = true
			h.Run("ip", family, "route", "replace", "default", "dev", dev, "src", a.String())
		}
		// What comes for an IPv6 address is dropped until a kernel thread has
		// had its turn.
		Eventually(h.tb, "the address "+a.String(), func() bool {
			return strings.Contains(h.Run("ip", family, "route", "show", "table", "local"), "local "+a.String()+" ")
		})
	}
}

func parseAddrs(tb testing.TB, addrs []string) (list []netip.Addr) {
	tb.Helper()
	for _, s := range addrs {
		a, err := netip.ParseAddr(s)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		tb.Fatal("a host without an address")
	}
	return list
}

// Move gives the host other addresses instead of those it has, as a provider
// does overnight. Its connections are not told.
func (h *Host) Move(addrs ...string) {
	h.tb.Helper()
	list := parseAddrs(h.tb, addrs)
	for _, a := range h.addrs {
		h.Run("ip", "addr", "del", netip.PrefixFrom(a, a.BitLen()).String(), "dev", "net0")
	}
	h.configure("net0", list)
	if err := h.net.move(h.port, list); err != nil {
		h.tb.Fatalf("host %s: %v", h.Name, err)
	}
	h.addrs, h.Addr = list, list[0]
}

// Run runs a command on the host to its end, and returns what it printed. It
// fails the test if the command fails.
func (h *Host) Run(command ...string) string {
	h.tb.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var err error
	h.ns.on(func() { err = cmd.Run() })
	if err != nil {
		h.tb.Fatalf("host %s: %s: %v\n%s", h.Name, strings.Join(command, " "), err, &out)
	}
	return out.String()
}

// Do runs f on a thread that is in the host's network namespace: sockets that
// f makes are the host's, for good. Goroutines that f starts are elsewhere.
func (h *Host) Do(f func()) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good, see namespace.open
		if err := unix.Setns(h.ns.fd, unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		h.tb.Errorf("host %s: setns: %v", h.Name, err)
	}
}

// DialContext connects from the host. The address is an IP address and port:
// a name would be looked up outside of it.
func (h *Host) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, err
	}
	h.Do(func() { conn, err = new(net.Dialer).DialContext(ctx, network, address) })
	return conn, err
}

// Listen listens on the host.
func (h *Host) Listen(network, address string) (l net.Listener, err error) {
	h.Do(func() { l, err = net.Listen(network, address) })
	return l, err
}

// ListenPacket listens for datagrams on the host.
func (h *Host) ListenPacket(network, address string) (c net.PacketConn, err error) {
	h.Do(func() { c, err = net.ListenPacket(network, address) })
	return c, err
}

// Connection is an established TCP connection, as the kernel has it.
type Connection struct{ Local, Remote netip.AddrPort }

// Connections are the host's with some other hosts, in no order.
func (h *Host) Connections(others ...*Host) (list []Connection) {
	h.tb.Helper()
	h.established(others, func(c Connection, _ int) { list = append(list, c) })
	return list
}

// Unacked is how many bytes the host has for others of which its kernel does not
// know that they have arrived.
func (h *Host) Unacked(others ...*Host) (bytes int) {
	h.tb.Helper()
	h.established(others, func(_ Connection, unacked int) { bytes += unacked })
	return bytes
}

// established calls f with each connection with some other hosts.
func (h *Host) established(others []*Host, f func(c Connection, unacked int)) {
	h.tb.Helper()
	for line := range strings.Lines(h.Run("ss", "-Htn", "state", "established")) {
		word := strings.Fields(line) // the receive and send queues first
		if len(word) < 4 {
			h.tb.Fatalf("host %s: ss says %q", h.Name, line)
		}
		unacked, err := strconv.Atoi(word[1])
		if err != nil {
			h.tb.Fatalf("host %s: ss says %q", h.Name, line)
		}
		c := Connection{h.addrPort(word[2]), h.addrPort(word[3])}
		if slices.ContainsFunc(others, func(o *Host) bool { return slices.Contains(o.addrs, c.Remote.Addr()) }) {
			f(c, unacked)
		}
	}
}

func (h *Host) addrPort(s string) netip.AddrPort {
	h.tb.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		h.tb.Fatalf("host %s: %v", h.Name, err)
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// HTTP is a client on the host.
func (h *Host) HTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{DialContext: h.DialContext, DisableKeepAlives: true, TLSClientConfig: h.net.TLS()},
		Timeout:   30 * time.Second,
	}
}
