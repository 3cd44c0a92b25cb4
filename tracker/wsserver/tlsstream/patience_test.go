package tlsstream

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestPatience: clients that begin and do not go on keep their places only as
// long as nobody else wants them, wherever they come from.
func TestPatience(t *testing.T) {
	first := hello(t)
	synctest.Test(t, func(t *testing.T) {
		const places = 4
		s := newServer(Config{MaxHandshakes: places}, serverConfig())
		begin := func(i byte, told *int) *Handshake {
			h := s.Begin(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, i}), 32), func() {
				if told != nil {
					*told++
				}
			})
			if err := h.Feed(first); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			h.Output(nil)
			return h
		}
		var told int
		var idle []*Handshake
		for i := range byte(places) {
			idle = append(idle, begin(i, &told))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * patience)
		synctest.Wait()
		if n := s.Stats().UnderWay; n != places {
			t.Fatalf("%d under way though nobody waits", n)
		}
		told = 0
		next := begin(100, nil)
		synctest.Wait()
		if err := ends(idle[0]); err != errLate {
			t.Errorf("the oldest: %v", err)
		}
		if told != 1 {
			t.Errorf("its caller was told %d times", told)
		}
		for i, h := range idle[1:] {
			if done, _, _, _, _ := h.Done(); done {
				t.Errorf("handshake %d ended for nobody", i+1)
			}
		}
		if c := s.Stats(); c.UnderWay != places || c.Waiting != 0 || c.Late != 1 {
			t.Errorf("%+v", c)
		}
		for i := range idle {
			idle[i].Abort()
		}
		next.Abort()

		// Who has only just begun is given time, and is told when it is over.
		synctest.Wait()
		idle = idle[:0]
		for i := range byte(places) {
			idle = append(idle, begin(i, nil))
		}
		time.Sleep(patience / 2)
		var wait []*Handshake
		for i := range byte(2) {
			wait = append(wait, begin(100+i, nil))
		}
		synctest.Wait()
		if c := s.Stats(); c.Waiting != 2 || c.Late != 1 {
			t.Errorf("before their time is over: %+v", c)
		}
		for _, h := range idle { // dripping gains nothing
			h.Feed([]byte{20})
		}
		time.Sleep(patience / 2)
		synctest.Wait()
		if c := s.Stats(); c.UnderWay != places || c.Waiting != 0 || c.Late != 3 {
			t.Errorf("after: %+v", c)
		}
		for _, h := range append(idle, wait...) {
			h.Abort()
		}
		synctest.Wait()
		if s.stalled.Len() != 0 {
			t.Errorf("%d are kept", s.stalled.Len())
		}
		time.Sleep(10 * patience) // no timer goes on
	})
}

// TestPatienceIsWithClients: what a handshake waits for while others compute is
// not its client's fault. If it counted, a server that is short of processors
// would end the very handshakes that it has computed most of.
func TestPatienceIsWithClients(t *testing.T) {
	first := hello(t)
	synctest.Test(t, func(t *testing.T) {
		s := newServer(Config{MaxHandshakes: 2, Computing: 1}, serverConfig())
		var all []*Handshake
		begin := func() *Handshake {
			h := s.Begin(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(len(all))}), 32), func() {})
			all = append(all, h)
			if err := h.Feed(first); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			h.Output(nil)
			return h
		}
		quick, slow := begin(), begin()
		time.Sleep(patience / 4)
		s.compute <- struct{}{} // somebody computes, for long
		if err := quick.Feed([]byte{22, 3, 3, 0, 1, 99}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin()
		begin()
		time.Sleep(2 * patience)
		<-s.compute
		synctest.Wait()
		quick.Output(nil)
		if err := ends(quick); err == nil || err == errLate {
			t.Errorf("who has answered, with what is no message: %v", err)
		}
		if err := ends(slow); err != errLate {
			t.Errorf("who has not: %v", err)
		}
		for _, h := range all {
			h.Abort()
		}
		synctest.Wait()
		if c := s.Stats(); s.stalled.Len() != 0 || s.late != 0 || c.Late != 1 {
			t.Errorf("%d stalled, %d late are kept: %+v", s.stalled.Len(), s.late, c)
		}
	})
}

// TestPatienceIsForAllWaits: what a client has been waited for before counts when
// it is waited for again.
func TestPatienceIsForAllWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(Config{MaxHandshakes: 2}, serverConfig())
		a, b := s.Begin(netip.Prefix{}, nil), s.Begin(netip.Prefix{}, nil)
		s.stall(a)
		time.Sleep(patience / 2)
		s.resume(a)
		s.stall(b)
		time.Sleep(patience / 4)
		s.stall(a)
		if h := s.stalled.Front().Value; h != a || time.Since(a.stalledAt) != patience/2 {
			t.Errorf("%v is the first, %v since", h == a, time.Since(a.stalledAt))
		}
	})
}
