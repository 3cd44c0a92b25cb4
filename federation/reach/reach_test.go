package reach

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// Addresses of these tests: ours is a.b.c.d of one network, others speak from
// networks of their own.
func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func from(network int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(20 + network>>8), byte(network), 0, 9}), 6881)
}

func listen(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// machine drives a Reach.
type machine struct {
	t   *testing.T
	r   *Reach
	now time.Duration
}

func newMachine(t *testing.T, private bool, listens ...string) *machine {
	var l []netip.AddrPort
	for _, s := range listens {
		l = append(l, listen(s))
	}
	return &machine{t: t, r: New(Config{Listen: l, AllowPrivate: private}, 0)}
}

// after lets time pass, as the runner does: Advance every few seconds.
func (m *machine) after(d time.Duration) View {
	m.t.Helper()
	for end, step := m.now+d, max(time.Second, d/1000); ; m.now = min(m.now+step, end) {
		before := m.r.View()
		if changed := m.r.Advance(m.now); changed == before.equal(m.r.View()) {
			m.t.Fatal("Advance does not say whether View changed")
		}
		if m.now == end {
			return m.r.View()
		}
	}
}

func (m *machine) is(s State, addrs ...string) {
	m.t.Helper()
	v := m.after(0)
	var want []netip.AddrPort
	for _, a := range addrs {
		want = append(want, listen(a))
	}
	if v.State != s || !slices.Equal(v.Addrs, want) {
		m.t.Fatalf("at %v: %v at %v (%s), want %v at %v", m.now, v.State, v.Addrs, v.Why, s, want)
	}
}

func (m *machine) says(text string) {
	m.t.Helper()
	if why := m.r.View().Why; !strings.Contains(why, text) {
		m.t.Fatalf("it says %q, want something about %q", why, text)
	}
}

// A machine with a public address needs nobody to say so, and one dial from
// elsewhere proves it.
func TestPublicAddress(t *testing.T) {
	m := newMachine(t, false, "[::]:8000")
	m.r.Interfaces(0, []netip.Addr{ip("127.0.0.1"), ip("10.1.2.3"), ip("11.0.0.5"), ip("fe80::1%eth0"), ip("2a00:1::5")})
	m.is(Unverified, "11.0.0.5:8000")
	m.r.Proven(m.now, netip.MustParseAddrPort("11.0.0.77:5000"), ip("11.0.0.5"))
	m.is(Unverified, "11.0.0.5:8000") // a neighbour proves nothing
	m.r.Proven(m.now, from(1), ip("11.0.0.6"))
	m.is(Unverified, "11.0.0.5:8000") // nor does a dial to another address
	m.r.Proven(m.now, from(1), ip("11.0.0.5"))
	m.is(Full, "11.0.0.5:8000")
	// A proof is good for a day.
	m.after(23 * time.Hour)
	m.is(Full, "11.0.0.5:8000")
	m.after(2 * time.Hour)
	m.is(Unverified, "11.0.0.5:8000")
}

// Nobody there who could have tried is no failure.
func TestFirewall(t *testing.T) {
	m := newMachine(t, false, "[::]:8000")
	m.r.Interfaces(0, []netip.Addr{ip("11.0.0.5")})
	m.after(10 * time.Hour)
	m.is(Unverified, "11.0.0.5:8000")
	m.r.Linked(m.now, []netip.AddrPort{netip.MustParseAddrPort("11.0.0.9:1"), from(1)})
	m.after(tryFor - time.Second)
	m.is(Unverified, "11.0.0.5:8000")
	m.after(time.Second)
	m.is(Leaf)
	m.says("11.0.0.5:8000")
	m.says("firewall")
	if v := m.r.View(); len(v.Accept) != 1 {
		t.Fatal("a leaf with a guess turns those away who get through after all")
	}
	for _, pause := range retrySteps {
		m.after(pause - 5*time.Second)
		m.is(Leaf)
		m.after(10 * time.Second)
		m.is(Unverified, "11.0.0.5:8000")
		m.r.Linked(m.now, []netip.AddrPort{from(1)})
		m.after(tryFor + time.Second)
		m.is(Leaf)
	}
	m.r.Proven(m.now, from(2), ip("11.0.0.5"))
	m.is(Full, "11.0.0.5:8000")
}

// Behind NAT the address is what others say, and a forwarded port makes it
// work; with fewer than three networks it is never more than a guess.
func TestNAT(t *testing.T) {
	m := newMachine(t, false, "[::]:8000")
	m.r.Interfaces(0, []netip.Addr{ip("192.168.1.2")})
	m.is(Leaf)
	m.says("nobody has told")
	m.r.Heard(m.now, []Tally{{ip("12.0.0.1"), 1}})
	m.after(patience - time.Second)
	m.is(Leaf)
	m.after(time.Second)
	m.is(Unverified, "12.0.0.1:8000")
	m.after(aloneFor)
	m.is(Leaf)
	m.says("forward TCP port 8000")
	// Now somebody is there who may try.
	m.r.Linked(m.now, []netip.AddrPort{from(1)})
	m.is(Unverified, "12.0.0.1:8000")
	m.after(tryFor)
	m.is(Leaf)
	m.r.Linked(m.now, []netip.AddrPort{from(1)})
	m.after(time.Minute)
	m.is(Leaf)
	// The port is forwarded: two networks say so, three must.
	m.r.Proven(m.now, from(1), ip("12.0.0.1"))
	m.r.Proven(m.now, from(1), ip("12.0.0.1"))
	m.r.Proven(m.now, from(2), ip("12.0.0.1"))
	m.is(Unverified, "12.0.0.1:8000")
	m.after(time.Hour)
	m.is(Unverified, "12.0.0.1:8000") // somebody gets through: no failure
	m.r.Proven(m.now, from(1), ip("12.0.0.1"))
	m.r.Proven(m.now, from(3), ip("12.0.0.1"))
	m.is(Full, "12.0.0.1:8000")
}

// One liar, or several in one network, move nothing while others say the
// truth; and never more than an unverified guess when nobody else speaks.
func TestLiars(t *testing.T) {
	m := newMachine(t, false, "[::]:8000")
	m.r.Interfaces(0, []netip.Addr{ip("192.168.1.2")})
	victim, truth := ip("99.9.9.9"), ip("12.0.0.1")
	liar := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{66, 6, 6, byte(i)}), 6881)
	}
	for i := range 250 {
		m.r.Seen(m.now, liar(i), victim)
		m.r.Proven(m.now, liar(i), victim)
	}
	m.after(patience)
	m.is(Unverified, "99.9.9.9:8000")
	for i := range 250 {
		m.r.Proven(m.now, liar(i), victim)
	}
	m.is(Unverified, "99.9.9.9:8000")
	for i := range 2 {
		m.r.Seen(m.now, from(i), truth)
	}
	m.after(stay)
	m.is(Leaf)
	m.says("different addresses")
	m.r.Heard(m.now, []Tally{{truth, 3}})
	m.is(Unverified, "12.0.0.1:8000")
	// Three networks lie, as many as speak the truth.
	for i := range 3 {
		m.r.Seen(m.now, from(50+i), victim)
	}
	m.after(2 * stay)
	m.is(Unverified, "12.0.0.1:8000")
	for i := range 3 {
		m.r.Proven(m.now, from(50+i), truth)
	}
	m.is(Full, "12.0.0.1:8000")
	// An address of this machine goes before whatever all the world says.
	own := newMachine(t, false, "[::]:8000")
	own.r.Interfaces(0, []netip.Addr{ip("11.0.0.5")})
	own.r.Heard(0, []Tally{{victim, 32}})
	own.after(time.Hour)
	own.is(Unverified, "11.0.0.5:8000")
}

// Those who change their mind all the time cannot have us publish each time.
func TestStay(t *testing.T) {
	m := newMachine(t, false, "[::]:8000")
	changes := 0
	for i := range 600 {
		m.r.Heard(m.now, []Tally{{netip.AddrFrom4([4]byte{30, byte(i >> 8), byte(i), 1}), 3}})
		before := m.r.View()
		if after := m.after(time.Second); !slices.Equal(before.Addrs, after.Addrs) {
			changes++
		}
	}
	if changes < 5 || changes > 11 {
		t.Fatalf("%d addresses in 10 minutes", changes)
	}
}

// DHCP gives another address: all that was proven is void.
func TestNewAddress(t *testing.T) {
	m := newMachine(t, false, "[::]:8000")
	m.r.Interfaces(0, []netip.Addr{ip("11.0.0.5")})
	m.is(Unverified, "11.0.0.5:8000")
	m.r.Heard(m.now, []Tally{{ip("11.0.0.5"), 9}})
	m.r.Proven(m.now, from(1), ip("11.0.0.5"))
	m.is(Full, "11.0.0.5:8000")
	m.r.Interfaces(m.now, []netip.Addr{ip("11.7.0.5")})
	m.is(Unverified, "11.7.0.5:8000")
	m.r.Interfaces(m.now, nil)
	m.r.Heard(m.now, nil)
	m.is(Leaf)
	// Behind NAT: the router's address moves, and most have noticed.
	m = newMachine(t, false, "[::]:8000")
	m.r.Heard(0, []Tally{{ip("12.0.0.1"), 4}})
	m.after(stay)
	for i := range 3 {
		m.r.Proven(m.now, from(i), ip("12.0.0.1"))
	}
	m.is(Full, "12.0.0.1:8000")
	m.r.Heard(m.now, []Tally{{ip("12.0.0.1"), 2}, {ip("12.0.0.2"), 4}})
	m.is(Full, "12.0.0.1:8000")
	m.r.Heard(m.now, []Tally{{ip("12.0.0.2"), 6}})
	m.is(Unverified, "12.0.0.2:8000")
}

func TestIPv6(t *testing.T) {
	m := newMachine(t, false, "[::]:8000")
	m.r.Interfaces(0, []netip.Addr{ip("11.0.0.5"), ip("2a00:1::5"), ip("2a00:1::77")})
	m.is(Unverified, "11.0.0.5:8000")
	// Which IPv6 address others see is to be said by one of them.
	m.r.Seen(m.now, netip.MustParseAddrPort("[2a00:2::1]:5"), ip("2a00:1::5"))
	m.is(Unverified, "11.0.0.5:8000", "[2a00:1::5]:8000")
	m.r.Proven(m.now, from(1), ip("11.0.0.5"))
	m.r.Linked(m.now, []netip.AddrPort{netip.MustParseAddrPort("[2a00:2::1]:5"), from(1)})
	m.after(time.Hour)
	m.is(Full, "11.0.0.5:8000", "[2a00:1::5]:8000")
	// IPv6 works and IPv4 does not: the record has what works.
	m = newMachine(t, false, "[::]:8000")
	m.r.Interfaces(0, []netip.Addr{ip("192.168.1.2"), ip("2a00:1::5")})
	m.r.Heard(0, []Tally{{ip("12.0.0.1"), 5}, {ip("2a00:1::5"), 1}})
	m.is(Unverified, "12.0.0.1:8000", "[2a00:1::5]:8000")
	m.r.Proven(m.now, netip.MustParseAddrPort("[2a00:2::1]:5"), ip("2a00:1::5"))
	m.is(Full, "[2a00:1::5]:8000")
}

func TestPorts(t *testing.T) {
	for _, c := range []struct {
		listen []string
		want   string
		why    string
	}{
		{[]string{"[::]:443"}, "11.0.0.5:443", ""},
		{[]string{"0.0.0.0:8000"}, "11.0.0.5:8000", ""},
		{[]string{"[::]:80"}, "", "ports"},
		{[]string{"[::]:80", "[::]:8443"}, "11.0.0.5:8443", ""},
		{[]string{"127.0.0.1:8000"}, "", "this machine alone"},
		{[]string{"11.0.0.5:8000"}, "11.0.0.5:8000", ""},
		{[]string{"11.0.0.6:8000"}, "11.0.0.6:8000", ""},
		{[]string{"[2a00:1::5]:8000"}, "[2a00:1::5]:8000", ""},
		{nil, "", "ports"},
	} {
		m := newMachine(t, false, c.listen...)
		m.r.Interfaces(0, []netip.Addr{ip("127.0.0.1"), ip("11.0.0.5"), ip("11.0.0.6"), ip("2a00:1::5")})
		if c.want == "" {
			m.is(Leaf)
			m.says(c.why)
			continue
		}
		m.is(Unverified, c.want)
	}
	// Behind NAT, listening on one private address: the router may forward.
	m := newMachine(t, false, "192.168.1.2:8000")
	m.r.Interfaces(0, []netip.Addr{ip("192.168.1.2")})
	m.r.Heard(0, []Tally{{ip("12.0.0.1"), 3}})
	m.is(Unverified, "12.0.0.1:8000")
}

// On loopback, with private addresses allowed, everything works as elsewhere;
// what the node listens on needs nobody to say so.
func TestPrivate(t *testing.T) {
	m := newMachine(t, true, "127.0.0.1:8001")
	m.r.Interfaces(0, []netip.Addr{ip("127.0.0.1"), ip("10.0.0.1")})
	m.is(Unverified, "127.0.0.1:8001")
	m.r.Proven(m.now, netip.MustParseAddrPort("127.0.0.1:45678"), ip("127.0.0.1"))
	m.is(Full, "127.0.0.1:8001")
	m = newMachine(t, true, "127.0.0.2:8001")
	m.r.Interfaces(0, []netip.Addr{ip("127.0.0.1")})
	m.is(Unverified, "127.0.0.2:8001")
	m = newMachine(t, true, "[::]:8001")
	m.r.Interfaces(0, []netip.Addr{ip("127.0.0.1"), ip("10.0.0.1")})
	m.after(time.Minute)
	m.is(Leaf)
	m.r.Heard(m.now, []Tally{{ip("127.0.0.1"), 1}})
	m.is(Unverified, "127.0.0.1:8001")
}
