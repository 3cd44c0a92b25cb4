package dialguard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// taken counts how many dials of one address are let through, each second one
// under a name of its own.
func taken(k *Knocks, from, to time.Duration, a netip.AddrPort) (n int) {
	for now := from; now < to; now += time.Second {
		if k.Take(now, a, fmt.Sprintf("n%d.evil.example", now/time.Second)) {
			n++
		}
	}
	return n
}

func TestKnocks(t *testing.T) {
	victim := addr("203.0.113.7:443")
	t.Run("many names", func(t *testing.T) {
		k := NewKnocks()
		if n := taken(k, 0, 10*time.Second, victim); n != knockBurst {
			t.Errorf("%d dials in ten seconds", n)
		}
		if n := taken(k, 10*time.Second, time.Minute, victim); n < 1 || n > 3 {
			t.Errorf("%d more in the first minute", n)
		}
		if n := taken(k, time.Minute, time.Hour, victim); n < 10 || n > 22 {
			t.Errorf("%d more in the first hour", n)
		}
		if n := taken(k, time.Hour, 2*time.Hour, victim); n < 5 || n > 7 {
			t.Errorf("%d in the second hour", n)
		}
		if n := taken(k, 3*time.Hour, 3*time.Hour+10*time.Second, victim); n != knockBurst {
			t.Errorf("%d after an hour of rest", n)
		}
	})
	t.Run("one name", func(t *testing.T) {
		k := NewKnocks()
		for now := time.Duration(0); now < time.Hour; now += time.Second {
			if !k.Take(now, victim, "down.example") {
				t.Fatalf("not dialled at %v", now)
			}
		}
	})
	t.Run("nodes are there", func(t *testing.T) {
		k := NewKnocks()
		for _, name := range []string{"a.example", "b.example"} {
			if !k.Take(0, victim, name) {
				t.Fatalf("%s is not dialled", name)
			}
			k.Proven(0, victim, name)
		}
		if n := taken(k, 0, 10*time.Minute, victim); n < 38 || n > 46 {
			t.Errorf("others were dialled %d times in ten minutes", n)
		}
		for range 100 {
			if !k.Take(10*time.Minute, victim, "a.example") {
				t.Fatal("a node that proved its key there is not dialled")
			}
		}
	})
	t.Run("what is one address", func(t *testing.T) {
		for _, c := range []struct {
			a, b string
			same bool
		}{
			{"203.0.113.7:443", "203.0.113.7:8443", true},
			{"203.0.113.7:443", "203.0.113.8:443", false},
			{"[2001:db8::1]:443", "[2001:db8::ffff:2]:443", true},
			{"[2001:db8::1]:443", "[2001:db8:0:1::1]:443", false},
			{"[::ffff:203.0.113.7]:443", "203.0.113.7:443", true},
			{"10.0.0.1:443", "10.0.0.1:8443", false},
			{"127.0.0.1:8001", "127.0.0.1:8002", false},
		} {
			k := NewKnocks()
			taken(k, 0, 10*time.Second, addr(c.a))
			if got := !k.Take(10*time.Second, addr(c.b), "other.example"); got != c.same {
				t.Errorf("%s and %s are one: %v", c.a, c.b, got)
			}
		}
	})
	t.Run("bounded", func(t *testing.T) {
		k := NewKnocks()
		k.Take(0, victim, "a.example")
		k.Proven(0, victim, "a.example")
		for i := range 3 * maxKnocks {
			a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}), 443)
			if !k.Take(0, a, "x.example") {
				t.Fatalf("%v is not dialled", a)
			}
		}
		if len(k.addrs) > maxKnocks {
			t.Errorf("%d addresses are remembered", len(k.addrs))
		}
		if e := k.addrs[addr("203.0.113.7:0")]; e == nil || len(e.good) != 1 {
			t.Error("the one where a node is was forgotten for others")
		}
		for i := range 10 * maxGood {
			name := fmt.Sprintf("%d.example", i)
			k.Take(time.Duration(i)*time.Minute, victim, name)
			k.Proven(time.Duration(i)*time.Minute, victim, name)
		}
		if e := k.addrs[addr("203.0.113.7:0")]; len(e.good) != maxGood {
			t.Errorf("%d names are remembered", len(e.good))
		}
	})
}

// A guard asks at each attempt, whatever the name was.
func TestManyNamesOfOneAddress(t *testing.T) {
	at, accepted := listen(t)
	g := New(Config{AllowPrivate: true, Resolver: (&nameserver{answers: [][]netip.Addr{{at.Addr()}}}).resolver(t)})
	k := NewKnocks()
	crowded := 0
	for i := range 50 {
		name := fmt.Sprintf("n%d.evil.example", i)
		ctx := WithAttempt(t.Context(), func(a netip.AddrPort) error {
			if !k.Take(0, a, name) {
				return ErrCrowded
			}
			return nil
		})
		c, err := g.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", name, at.Port()))
		switch {
		case err == nil:
			c.Close()
		case errors.Is(err, ErrCrowded):
			crowded++
		default:
			t.Fatal(err)
		}
	}
	c, err := g.DialContext(context.Background(), "tcp", at.String())
	if err != nil {
		t.Fatalf("without the bound: %v", err)
	}
	c.Close()
	if n := accepted(); n != knockBurst+1 || crowded != 50-knockBurst {
		t.Errorf("%d connections, %d refusals", n, crowded)
	}
}
