//go:build linux

package nettest

import (
	"fmt"
	"net/netip"
	"os"
)

// NATConfig says what kind of router stands between a home and the Net.
type NATConfig struct {
	// Symmetric gives each destination another port of the router, at
	// random. Otherwise a port keeps its number if that is free, whatever the
	// destination. Both let in only what answers.
	Symmetric bool
	// Forward are TCP and UDP ports of the router that lead to a host behind
	// it, at the same port.
	Forward map[uint16]string
}

// NAT is a router with one address on the Net, and a home network behind it:
// Linux's own connection tracking and masquerading in a namespace of its own.
type NAT struct {
	// Router is the router itself, as a Host of the outer Net: for Cut,
	// SetPath and Traffic, and for Move, as a provider gives it another
	// address.
	Router *Host
	home   *Net
}

// NAT adds a router at addr, which is IPv4. Another NAT can be behind it, made
// with (*NAT).NAT.
func (n *Net) NAT(name, addr string, c NATConfig) *NAT {
	n.tb.Helper()
	h := n.Host(name, addr)
	home := newNet(n.tb)
	home.ca, home.names = n.ca, n.names
	home.gateway = h.attachHome(home)
	if err := h.sysctl("net/ipv4/ip_forward", "1"); err != nil {
		n.tb.Fatalf("host %s: %v", name, err)
	}
	masquerade := "masquerade"
	if c.Symmetric {
		masquerade = "masquerade fully-random"
	}
	rules := fmt.Sprintf(`
table ip home {
	chain out {
		type nat hook postrouting priority srcnat
		oifname "net0" %s
	}
	chain in {
		type nat hook prerouting priority dstnat
	}
	chain forward {
		type filter hook forward priority filter; policy drop
		iifname "home0" accept
		ct state established,related accept
		ct status dnat accept
	}
	chain input {
		type filter hook input priority filter; policy drop
		iifname != "net0" accept
		ct state established,related accept
	}
}
`, masquerade)
	for port, to := range c.Forward {
		for _, proto := range []string{"tcp", "udp"} {
			rules += fmt.Sprintf("add rule ip home in iifname net0 %s dport %d dnat to %s:%d\n", proto, port, to, port)
		}
	}
	h.nft(rules)
	return &NAT{Router: h, home: home}
}

// Host adds a machine behind the router, at a private address.
func (r *NAT) Host(name, addr string) *Host {
	r.Router.tb.Helper()
	h := r.home.Host(name, addr)
	a := h.Addr
	r.Router.Run("ip", "route", "replace", netip.PrefixFrom(a, a.BitLen()).String(), "dev", "home0")
	return h
}

// NAT adds a router behind the router, as providers do who have few addresses.
func (r *NAT) NAT(name, addr string, c NATConfig) *NAT {
	r.Router.tb.Helper()
	inner := r.home.NAT(name, addr, c)
	r.Router.Run("ip", "route", "replace", addr+"/32", "dev", "home0")
	return inner
}

// Home is the network behind the router, for Cut and the like among its hosts.
func (r *NAT) Home() *Net { return r.home }

// attachHome is the router's other interface. It has no address that anybody
// talks to; hosts send there whatever is not at home.
func (h *Host) attachHome(home *Net) *port {
	h.tb.Helper()
	tun, err := h.ns.tun("home0")
	if err != nil {
		h.tb.Fatalf("host %s: %v", h.Name, err)
	}
	h.Run("ip", "link", "set", "home0", "up")
	return home.plug(h, tun, nil)
}

// sysctl sets a value of the host's namespace.
func (h *Host) sysctl(name, value string) (err error) {
	h.ns.on(func() { err = os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
	return err
}

// nft adds rules to the host's packet filter.
func (h *Host) nft(rules string) {
	h.tb.Helper()
	file := h.tb.TempDir() + "/rules"
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		h.tb.Fatal(err)
	}
	h.Run("nft", "-f", file)
}

// Firewall lets nothing into the host but answers to what it sends, and what
// comes over loopback.
func (h *Host) Firewall() {
	h.tb.Helper()
	h.nft(`
table inet wall {
	chain input {
		type filter hook input priority filter; policy drop
		iifname "lo" accept
		ct state established,related accept
	}
}
`)
}
