package federation_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/dialguard"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/tracker"
)

// victimOf is a dialer for which all names lead to one address.
type victimOf struct {
	guard *dialguard.Guard
	at    netip.AddrPort
}

func (v victimOf) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	return v.guard.DialContext(ctx, network, v.at.String())
}

// Names cost nothing: many that lead to one host, which is no node, make it
// seem many. It is left alone all the same.
func TestManyNamesOfAVictim(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var knocks atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			knocks.Add(1)
			c.Close()
		}
	}()
	defer l.Close()
	w := newWorld(t)
	defer w.close()
	n := w.make(1, noRendezvous, func(c *federation.Config, _ *tracker.Config) {
		c.Dialer = victimOf{dialguard.New(dialguard.Config{AllowPrivate: true}), netip.MustParseAddrPort(l.Addr().String())}
	})
	n.run()
	f := n.fed
	for i := range 50 {
		u, err := nodeaddr.Parse(fmt.Sprintf("ws://n%d.evil.example:8000", i), true)
		if err != nil {
			t.Fatal(err)
		}
		f.DialFor(u, mesh.Key{1, byte(i)})
	}
	if got := f.Stats().DialsCrowded; got != 46 {
		t.Errorf("%d dials counted as not made", got)
	}
	l.Close()
	<-ended
	if got := knocks.Load(); got > 4 {
		t.Errorf("%d connections", got)
	}
}
