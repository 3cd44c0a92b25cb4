//go:build linux

package nettest_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nettest"
)

// echo answers each datagram at addr with the address that it came from.
func echo(t *testing.T, h *nettest.Host, addr string) {
	t.Helper()
	c, err := h.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(from.String()), from)
		}
	}()
}

// ask sends one datagram and returns the reply, "" if there is none in time.
func ask(t *testing.T, h *nettest.Host, local, addr string, wait time.Duration) string {
	t.Helper()
	c, err := h.ListenPacket("udp", local)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteTo([]byte("?"), to); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	b := make([]byte, 200)
	n, _, err := c.ReadFrom(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// TestDelayLossAndCuts looks at the Net itself.
func TestDelayLossAndCuts(t *testing.T) {
	n := nettest.New(t)
	a, b := n.Host("a", "11.1.0.1", "2a11:1::1"), n.Host("b", "11.2.0.1", "2a11:2::1")
	echo(t, b, ":9")
	for _, addr := range []string{"11.2.0.1:9", "[2a11:2::1]:9"} {
		if got := ask(t, a, ":7", addr, nettest.Patience); got != "11.1.0.1:7" && got != "[2a11:1::1]:7" {
			t.Fatalf("b at %s saw %q", addr, got)
		}
	}

	const delay = 100 * time.Millisecond
	n.SetLink(nettest.Link{Delay: delay})
	begin := time.Now()
	if ask(t, a, ":7", "11.2.0.1:9", nettest.Patience) == "" {
		t.Fatal("no reply")
	}
	if took := time.Since(begin); took < 2*delay {
		t.Errorf("there and back in %v, which is less than twice the delay", took)
	}

	n.SetLink(nettest.Link{})
	n.CutOneWay(b, a)
	before := n.Traffic(b, a)
	ask(t, a, ":7", "11.2.0.1:9", 300*time.Millisecond)
	if got := n.Traffic(b, a); got.Cut == before.Cut || got.Carried != before.Carried {
		t.Errorf("cut: %+v, before %+v", got, before)
	}
	n.Heal(a, b)
	if ask(t, a, ":7", "11.2.0.1:9", nettest.Patience) == "" {
		t.Error("not healed")
	}

	// TCP gets through losses, which are as many as asked for.
	n.SetLink(nettest.Link{Loss: 0.1})
	l, err := b.Listen("tcp", ":10")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write(make([]byte, 1<<20))
			c.Close()
		}
	}()
	c, err := a.DialContext(t.Context(), "tcp", "11.2.0.1:10")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if k, err := io.Copy(io.Discard, c); k != 1<<20 || err != nil {
		t.Errorf("%d bytes, %v", k, err)
	}
	got := n.Traffic(b, a)
	if share := float64(got.Lost) / float64(got.Lost+got.Carried); share < 0.03 || share > 0.25 {
		t.Errorf("%.2f of the packets were lost", share)
	}
}

// TestNAT looks at what a home router does.
func TestNAT(t *testing.T) {
	n := nettest.New(t)
	out := n.Host("out", "11.1.0.1")
	others := []string{"11.1.0.1:9"}
	echo(t, out, ":9")
	for i := range 4 {
		addr := fmt.Sprintf("11.2.0.%d", 1+i)
		echo(t, n.Host("other", addr), ":9")
		others = append(others, addr+":9")
	}
	for _, symmetric := range []bool{false, true} {
		t.Run(fmt.Sprint("symmetric ", symmetric), func(t *testing.T) {
			addr := map[bool]string{false: "11.3.0.1", true: "11.4.0.1"}[symmetric]
			r := n.NAT("router", addr, nettest.NATConfig{Symmetric: symmetric, Forward: map[uint16]string{11: "192.168.1.2"}})
			in := r.Host("in", "192.168.1.2")
			seen := make(map[string]bool)
			for _, other := range others {
				seen[ask(t, in, ":7", other, nettest.Patience)] = true
			}
			if symmetric == (len(seen) == 1) || !symmetric && !seen[addr+":7"] {
				t.Errorf("seen as %v", seen)
			}
			echo(t, in, ":11")
			echo(t, in, ":12")
			if got := ask(t, out, ":7", addr+":11", nettest.Patience); got != "11.1.0.1:7" {
				t.Errorf("through a forwarded port: %q", got)
			}
			if got := ask(t, out, ":7", addr+":12", 300*time.Millisecond); got != "" {
				t.Errorf("through a port that is not: %q", got)
			}
		})
	}
}

// TestNATBehindNAT: packets find their way through two routers.
func TestNATBehindNAT(t *testing.T) {
	n := nettest.New(t)
	out := n.Host("out", "11.1.0.1")
	echo(t, out, ":9")
	provider := n.NAT("provider", "11.3.0.1", nettest.NATConfig{})
	home := provider.NAT("home", "100.64.0.2", nettest.NATConfig{})
	in := home.Host("in", "192.168.1.2")
	if got := ask(t, in, ":7", "11.1.0.1:9", nettest.Patience); got != "11.3.0.1:7" {
		t.Errorf("seen as %q", got)
	}
	if n.Stray() != 0 {
		t.Errorf("%d packets went nowhere", n.Stray())
	}
}
