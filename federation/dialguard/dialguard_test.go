package dialguard

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// nameserver answers each question for an address from a script: the n-th
// question of a type gets the n-th set of addresses, later ones the last.
type nameserver struct {
	mu      sync.Mutex
	answers [][]netip.Addr
	asked   map[dnsmessage.Type]int
	conns   sync.WaitGroup
}

// resolver returns a resolver that asks s, over pipes, and whose conversations
// the test waits for.
func (s *nameserver) resolver(t *testing.T) *net.Resolver {
	s.asked = map[dnsmessage.Type]int{}
	t.Cleanup(s.conns.Wait)
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		s.conns.Go(func() {
			defer there.Close()
			if err := s.serve(there); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		})
		return here, nil
	}}
}

// serve speaks DNS over a stream.
func (s *nameserver) serve(c net.Conn) error {
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return err
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil {
			return err
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		for _, q := range m.Questions {
			for _, a := range s.next(q.Type) {
				r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}}
				switch {
				case q.Type == dnsmessage.TypeA && a.Is4():
					r.Body = &dnsmessage.AResource{A: a.As4()}
				case q.Type == dnsmessage.TypeAAAA && a.Is6():
					r.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
				default:
					continue
				}
				m.Answers = append(m.Answers, r)
			}
		}
		b, err := m.AppendPack(make([]byte, 2))
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint16(b, uint16(len(b)-2))
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

func (s *nameserver) next(typ dnsmessage.Type) []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.asked[typ]
	s.asked[typ]++
	return s.answers[min(n, len(s.answers)-1)]
}

// listen returns a listener on loopback that counts connections.
func listen(t *testing.T) (at netip.AddrPort, accepted func() int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n++
			c.Close()
		}
	}()
	stop := sync.OnceFunc(func() {
		l.Close()
		<-done
	})
	t.Cleanup(stop)
	return l.Addr().(*net.TCPAddr).AddrPort(), func() int {
		stop()
		return n
	}
}

func refusal(t *testing.T, err error) *RefusedError {
	t.Helper()
	var r *RefusedError
	if !errors.As(err, &r) {
		t.Fatalf("%v is no refusal", err)
	}
	return r
}

// TestRebinding: a name that led to a public address when the record was
// judged leads to this machine when it is dialled.
func TestRebinding(t *testing.T) {
	target, accepted := listen(t)
	s := &nameserver{answers: [][]netip.Addr{{netip.MustParseAddr("8.8.8.8")}, {target.Addr()}}}
	g := New(Config{Resolver: s.resolver(t)})
	addrs, err := g.dialer.Resolver.LookupNetIP(t.Context(), "ip4", "rebind.example.")
	if err != nil || len(addrs) != 1 || g.Check(netip.AddrPortFrom(addrs[0].Unmap(), target.Port())) != nil {
		t.Fatalf("the first lookup gave %v, %v", addrs, err)
	}
	at := netip.AddrPortFrom(target.Addr(), target.Port()).String()
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.DialContext(t.Context(), "tcp4", net.JoinHostPort("rebind.example.", port))
	if r := refusal(t, err); r.Class != nodeaddr.Loopback || r.Addr != target || r.Own {
		t.Errorf("refused as %+v", r)
	}
	if n := accepted(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	if st := g.Stats(); st.Refused[nodeaddr.Loopback] != 1 {
		t.Errorf("counted %v", st)
	}
}

// TestNamesOfForbiddenAddresses: a name with any mixture of them is refused,
// at each attempt.
func TestNamesOfForbiddenAddresses(t *testing.T) {
	target, accepted := listen(t)
	for _, answer := range []string{"10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fd00::1"} {
		s := &nameserver{answers: [][]netip.Addr{{netip.MustParseAddr(answer), target.Addr()}}}
		g := New(Config{Resolver: s.resolver(t)})
		_, err := g.DialContext(t.Context(), "tcp", net.JoinHostPort("victim.example.", portOf(target)))
		if err == nil {
			t.Fatalf("%s was dialled", answer)
		}
		if st := g.Stats(); st.Refused[nodeaddr.Loopback] == 0 {
			t.Errorf("%s and %v: counted %v", answer, target, st)
		}
	}
	if n := accepted(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

func portOf(a netip.AddrPort) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// TestEveryKind dials an address of each kind.
func TestEveryKind(t *testing.T) {
	target, accepted := listen(t)
	g, private := New(Config{}), New(Config{AllowPrivate: true, Own: []netip.AddrPort{target}})
	for host, want := range map[string]nodeaddr.Class{
		"0.0.0.0": nodeaddr.Unspecified, "0.1.2.3": nodeaddr.ThisNetwork, "127.0.0.1": nodeaddr.Loopback, "127.9.9.9": nodeaddr.Loopback,
		"10.1.2.3": nodeaddr.Private, "172.16.0.1": nodeaddr.Private, "192.168.1.1": nodeaddr.Private, "169.254.169.254": nodeaddr.LinkLocal,
		"100.64.0.1": nodeaddr.SharedNAT, "198.18.0.1": nodeaddr.Benchmark, "192.0.2.1": nodeaddr.Documentation,
		"198.51.100.1": nodeaddr.Documentation, "203.0.113.1": nodeaddr.Documentation, "192.0.0.1": nodeaddr.Reserved,
		"192.88.99.1": nodeaddr.SixToFour, "224.0.0.1": nodeaddr.Multicast, "240.0.0.1": nodeaddr.Reserved, "255.255.255.255": nodeaddr.Broadcast,
		"::": nodeaddr.Unspecified, "::1": nodeaddr.Loopback, "::127.0.0.1": nodeaddr.Mapped, "64:ff9b::7f00:1": nodeaddr.NAT64,
		"64:ff9b:1::1": nodeaddr.NAT64, "2002:7f00:1::1": nodeaddr.SixToFour, "2001::1": nodeaddr.Teredo, "2001:db8::1": nodeaddr.Documentation,
		"fd00::1": nodeaddr.UniqueLocal, "fe80::1": nodeaddr.LinkLocal, "ff02::1": nodeaddr.Multicast, "fec0::1": nodeaddr.Reserved,
	} {
		a := netip.AddrPortFrom(netip.MustParseAddr(host), target.Port())
		if r := refusal(t, g.Check(a)); r.Class != want {
			t.Errorf("%s is refused as %v, want %v", host, r.Class, want)
		}
		c, err := g.DialContext(t.Context(), "tcp", a.String())
		if err == nil {
			c.Close()
			t.Errorf("%s was dialled", host)
		}
		// A machine without IPv6 fails before the guard is asked; and Go
		// takes the unspecified address for the loopback one.
		if a.Addr().Is4() {
			refusal(t, err)
		}
		if allowed := private.Check(a) == nil; allowed != (want.Allowed(true) && a != target) {
			t.Errorf("%s with private addresses: %v", host, allowed)
		}
	}
	// Mapped addresses are those they stand for.
	_, err := g.DialContext(t.Context(), "tcp", net.JoinHostPort("::ffff:127.0.0.1", portOf(target)))
	refusal(t, err)
	refusal(t, g.Check(netip.MustParseAddrPort("[::ffff:8.8.8.8]:443")))
	if n := accepted(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	if err := g.Check(netip.MustParseAddrPort("8.8.8.8:443")); err != nil {
		t.Error(err)
	}
	if err := g.Check(netip.MustParseAddrPort("[2606:4700:4700::1111]:443")); err != nil {
		t.Error(err)
	}
}

func TestAllowPrivate(t *testing.T) {
	target, accepted := listen(t)
	g := New(Config{AllowPrivate: true})
	c, err := g.DialContext(t.Context(), "tcp", target.String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := accepted(); n > 1 {
		t.Errorf("%d connections", n)
	}
}

// TestOwn: this node's own addresses are refused in any case.
func TestOwn(t *testing.T) {
	target, accepted := listen(t)
	g := New(Config{AllowPrivate: true, Own: []netip.AddrPort{target}})
	_, err := g.DialContext(t.Context(), "tcp", target.String())
	if r := refusal(t, err); !r.Own {
		t.Errorf("%v", r)
	}
	_, err = g.DialContext(t.Context(), "tcp", net.JoinHostPort("::ffff:127.0.0.1", portOf(target)))
	refusal(t, err)
	if n := accepted(); n != 0 || g.Stats().Own != 2 {
		t.Errorf("%d connections, %+v", n, g.Stats())
	}
}

// TestOwnWildcard: a node that listens on every address is at each of them.
func TestOwnWildcard(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:8000", "[::]:8000"} {
		g := New(Config{AllowPrivate: true, Own: []netip.AddrPort{netip.MustParseAddrPort(listen)}})
		g.addrs = func() ([]net.Addr, error) {
			return []net.Addr{
				&net.IPNet{IP: net.ParseIP("192.168.1.5"), Mask: net.CIDRMask(24, 32)},
				&net.IPNet{IP: net.ParseIP("2606:4700::5"), Mask: net.CIDRMask(64, 128)},
			}, nil
		}
		for s, own := range map[string]bool{
			"127.0.0.1:8000": true, "127.3.2.1:8000": true, "[::1]:8000": true, "192.168.1.5:8000": true, "[2606:4700::5]:8000": true,
			"127.0.0.1:8001": false, "192.168.1.6:8000": false, "192.168.1.5:443": false, "8.8.8.8:8000": false, "[2606:4700::6]:8000": false,
		} {
			err := g.Check(netip.MustParseAddrPort(s))
			if own != (err != nil) || own && !refusal(t, err).Own {
				t.Errorf("listening on %s, %s: %v", listen, s, err)
			}
		}
	}
}

func TestUnknownInterfaces(t *testing.T) {
	g := New(Config{AllowPrivate: true, Own: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:8000")}})
	g.addrs = func() ([]net.Addr, error) { return nil, errors.New("no list") }
	if g.Check(netip.MustParseAddrPort("192.168.1.5:8000")) != nil || g.Check(netip.MustParseAddrPort("127.0.0.1:8000")) == nil {
		t.Error("without a list of addresses only loopback is own")
	}
}

func TestOtherNetworks(t *testing.T) {
	g := New(Config{AllowPrivate: true})
	for _, network := range []string{"udp", "unix", "ip4:icmp", ""} {
		if c, err := g.DialContext(t.Context(), network, "127.0.0.1:1"); err == nil {
			c.Close()
			t.Errorf("%q was dialled", network)
		}
	}
	if err := g.control(t.Context(), "tcp", "/run/x.sock", nil); err == nil {
		t.Error("a path was taken for an address")
	}
}

func TestErrorText(t *testing.T) {
	for _, e := range []*RefusedError{{Class: nodeaddr.Private}, {Own: true}} {
		if e.Error() == "" {
			t.Error("no text")
		}
	}
}
