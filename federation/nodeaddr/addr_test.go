package nodeaddr

import (
	"net/netip"
	"testing"
)

func TestClassify(t *testing.T) {
	for s, want := range map[string]Class{
		"1.1.1.1": Public, "9.255.255.255": Public, "11.0.0.0": Public, "100.63.255.255": Public, "100.128.0.0": Public,
		"126.255.255.255": Public, "128.0.0.0": Public, "169.253.255.255": Public, "172.15.255.255": Public, "172.32.0.0": Public,
		"192.167.255.255": Public, "192.169.0.0": Public, "198.17.255.255": Public, "198.20.0.0": Public, "223.255.255.255": Public,
		"0.0.0.0": Unspecified, "0.0.0.1": ThisNetwork, "0.255.255.255": ThisNetwork,
		"127.0.0.1": Loopback, "127.255.255.255": Loopback,
		"10.0.0.0": Private, "10.255.255.255": Private, "172.16.0.0": Private, "172.31.255.255": Private, "192.168.0.0": Private, "192.168.255.255": Private,
		"169.254.169.254": LinkLocal, "100.64.0.0": SharedNAT, "100.127.255.255": SharedNAT,
		"198.18.0.0": Benchmark, "198.19.255.255": Benchmark,
		"192.0.2.1": Documentation, "198.51.100.255": Documentation, "203.0.113.0": Documentation,
		"192.0.0.8": Reserved, "192.88.99.1": SixToFour,
		"224.0.0.1": Multicast, "239.255.255.255": Multicast, "240.0.0.0": Reserved, "255.255.255.254": Reserved, "255.255.255.255": Broadcast,

		"2606:4700:4700::1111": Public, "2001:4860:4860::8888": Public, "2001:200::1": Public, "2003::1": Public, "3ffe::1": Public,
		"::": Unspecified, "::1": Loopback, "::2": Mapped, "::127.0.0.1": Mapped,
		"::ffff:127.0.0.1": Mapped, "::ffff:8.8.8.8": Mapped, "::ffff:0:8.8.8.8": Reserved,
		"64:ff9b::7f00:1": NAT64, "64:ff9b::808:808": NAT64, "64:ff9b:1::1": NAT64, "64:ff9b:1:ffff:ffff:ffff:ffff:ffff": NAT64, "64:ff9b:2::": Reserved,
		"100::1": Reserved, "2001::1": Teredo, "2001:0:ffff::": Teredo, "2001:2::1": Benchmark, "2001:10::1": Reserved, "2001:1ff:ffff::": Reserved,
		"2001:db8::1": Documentation, "3fff::1": Documentation, "3fff:fff:ffff::": Documentation, "3fff:1000::": Public,
		"2002:7f00:1::": SixToFour, "2002::": SixToFour,
		"fc00::1": UniqueLocal, "fdff::1": UniqueLocal, "fe80::1": LinkLocal, "fe80::1%eth0": LinkLocal, "febf::1": LinkLocal, "fec0::1": Reserved,
		"ff02::1": Multicast, "4000::1": Reserved, "1fff:ffff::": Reserved, "5f00::1": Reserved,
	} {
		if got := Classify(netip.MustParseAddr(s)); got != want {
			t.Errorf("%s is %v, want %v", s, got, want)
		}
	}
	if got := Classify(netip.Addr{}); got != Invalid {
		t.Errorf("no address is %v", got)
	}
}

// TestAllowed pins what AllowPrivate admits: what a LAN or one machine uses.
func TestAllowed(t *testing.T) {
	private := map[Class]bool{Loopback: true, Private: true, LinkLocal: true, SharedNAT: true, UniqueLocal: true, Benchmark: true}
	labels := map[string]bool{}
	for c := range Class(Classes) {
		if c.Allowed(false) != (c == Public) || c.Allowed(true) != (c == Public || private[c]) {
			t.Errorf("%v: %v, with private addresses %v", c, c.Allowed(false), c.Allowed(true))
		}
		labels[c.String()] = true
	}
	if len(labels) != Classes || Class(255).String() != "invalid" {
		t.Errorf("labels: %v", labels)
	}
}

func TestGroup(t *testing.T) {
	for s, want := range map[string]string{
		"1.2.3.4": "1.2.3.0/24", "::ffff:1.2.3.4": "1.2.3.0/24", "2606:4700:4700:1::1": "2606:4700:4700::/48", "fe80::1%eth0": "fe80::/48",
	} {
		if got := Group(netip.MustParseAddr(s)).String(); got != want {
			t.Errorf("%s is in %s, want %s", s, got, want)
		}
	}
	if Group(netip.Addr{}).IsValid() {
		t.Error("no address has a group")
	}
}
