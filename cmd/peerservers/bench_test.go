package main

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/gobwas/ws/wsutil"
)

// BenchmarkIntroduction measures, over real sockets and a private DHT on
// loopback, how long it takes from the second of two announces, one at each
// of two nodes, until the first client's offer is at the second or the other
// way round.
//
//	strangers: two nodes that meet for the first time, by the list of the info hash
//	linked:    two nodes with a link, and a swarm that is new to both
//	shared:    two nodes that share the swarm
func BenchmarkIntroduction(b *testing.B) {
	b.Run("strangers", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			dht := startDHT(b)
			x, y := startNode(b, dht), startNode(b, dht)
			one, two := dial(b, x.addr), dial(b, y.addr)
			introduce(b, one, two, "strangers-----------")
			b.StopTimer()
			one.conn.Close()
			two.conn.Close()
			x.stop()
			y.stop()
			b.StartTimer()
		}
	})
	dht := startDHT(b)
	x, y := startNode(b, dht), startNode(b, dht)
	one, two := dial(b, x.addr), dial(b, y.addr)
	one.announce("the-first-swarm-----", peerID("one"), 5)
	two.announce("the-first-swarm-----", peerID("two"), 5)
	x.line("first link up")
	y.line("first link up")
	b.Run("linked", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			one, two := dial(b, x.addr), dial(b, y.addr)
			introduce(b, one, two, fmt.Sprintf("linked-%013d", time.Now().UnixNano()%1e13))
			b.StopTimer()
			one.conn.Close()
			two.conn.Close()
			b.StartTimer()
		}
	})
	b.Run("shared", func(b *testing.B) {
		i := 0
		for b.Loop() {
			b.StopTimer()
			i++
			two := dial(b, y.addr)
			b.StartTimer()
			two.announce("the-first-swarm-----", peerID(fmt.Sprint("new", i)), 5)
			for one.offer().PeerID != peerID(fmt.Sprint("new", i)) {
			}
			b.StopTimer()
			two.conn.Close()
			b.StartTimer()
		}
	})
}

// introduce lets two clients announce once each and waits for an offer.
func introduce(b *testing.B, one, two *client, infoHash string) {
	one.announce(infoHash, peerID("one"), 5)
	one.next()
	b.StartTimer()
	two.announce(infoHash, peerID("two"), 5)
	got := make(chan struct{}, 2)
	for _, c := range []*client{one, two} {
		go func() {
			for { // until the offer, or until the caller closes the connection
				frame, err := wsutil.ReadServerText(c.conn)
				if err != nil {
					return
				}
				if bytes.Contains(frame, []byte(`"offer"`)) {
					got <- struct{}{}
					return
				}
			}
		}()
	}
	select {
	case <-got:
	case <-time.After(patience):
		b.Fatal("not introduced")
	}
}
