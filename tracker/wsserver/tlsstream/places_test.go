package tlsstream

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// hello returns the first record of a client.
func hello(t testing.TB) []byte {
	t.Helper()
	a, b := net.Pipe()
	c := tls.Client(a, clientConfig())
	ended := make(chan struct{})
	go func() { c.Handshake(); close(ended) }()
	buf := make([]byte, 16<<10)
	n, err := b.Read(buf)
	if err != nil || !recordAt(buf[:n]) {
		t.Fatalf("a hello of %d bytes: %v", n, err)
	}
	b.Close()
	<-ended
	return buf[:n]
}

// ends returns the error of a handshake that is over, or nil.
func ends(h *Handshake) error {
	_, _, _, _, err := h.Done()
	return err
}

// TestAbort ends a handshake at each of its stages. synctest and goleak say if
// a goroutine stays.
func TestAbort(t *testing.T) {
	first := hello(t)
	for _, cfg := range kinds {
		for _, fed := range []int{0, 1, len(first) - 1, len(first)} {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(cfg, serverConfig())
				h := s.Begin(netip.Prefix{}, func() {})
				h.Feed(first[:fed])
				synctest.Wait()
				if n := s.Stats().UnderWay; n > 0 != (fed == len(first)) {
					t.Errorf("%d bytes: %d under way", fed, n)
				}
				if len(h.Output(nil)) > 0 != (fed == len(first)) {
					t.Errorf("%d bytes: output", fed)
				}
				h.Abort()
				h.Abort()
				synctest.Wait()
				if err := ends(h); err != ErrAborted {
					t.Errorf("%d bytes: %v", fed, err)
				}
				if err := h.Feed(first); err != nil || s.Stats().UnderWay > 0 {
					t.Errorf("fed after it: %v, %d under way", err, s.Stats().UnderWay)
				}
			})
		}
	}
}

// TestNoTLS: what is no TLS ends the handshake, and has its alert where there
// is one.
func TestNoTLS(t *testing.T) {
	cases := map[string]struct{ in, says string }{
		"SSL 2":             {"\x80\x00\x00\x00\x00", "\x15\x03\x01\x00\x02\x02\x46"},
		"a long record":     {"\x16\x03\x01\xff\xff", "\x15\x03\x01\x00\x02\x02\x16"},
		"an empty record":   {"\x16\x03\x01\x00\x00", "\x15\x03\x01\x00\x02\x02\x0a"},
		"application data":  {"\x17\x03\x01\x00\x01x", ""},
		"a long message":    {"\x16\x03\x01\x00\x04\x01\xff\xff\xff", "\x15\x03\x01\x00\x02\x02\x50"},
		"an unknown type":   {"\x16\x03\x01\x00\x04\x09\x00\x00\x00", "\x15\x03\x01\x00\x02\x02\x0a"},
		"a hello of nobody": {"\x16\x03\x01\x00\x04\x01\x00\x00\x00", "\x15\x03\x01\x00\x02\x02\x32"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(Config{}, serverConfig())
				h := s.Begin(netip.Prefix{}, func() {})
				for _, b := range []byte(c.in) {
					if err := h.Feed([]byte{b}); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				if err := ends(h); err != nil && c.says != "" {
					t.Error("over before the alert is sent")
				}
				if out := string(h.Output(nil)); out != c.says {
					t.Errorf("says %q", out)
				}
				if err := ends(h); err == nil {
					t.Error("not over")
				}
				if c := s.Stats(); c.Failed != 1 || c.UnderWay != 0 {
					t.Errorf("counts %+v", c)
				}
				h.Abort()
			})
		})
	}
}

// TestFlood: a client that sends without waiting for answers is not kept.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(Config{MaxHandshakes: 1}, serverConfig())
		h := s.Begin(netip.Prefix{}, func() {})
		defer h.Abort()
		// A record that is complete and takes no end.
		junk := make([]byte, 4096)
		copy(junk, "\x16\x03\x01\x0f\xfb\x01\x00\xff\xff")
		for range 100 {
			if err := h.Feed(junk); err != nil {
				if !errors.Is(err, ErrFlood) {
					t.Error(err)
				}
				return
			}
			synctest.Wait()
		}
		if err := ends(h); err == nil {
			t.Error("400 KiB were taken for a handshake")
		}
	})
}

// TestPlaces: a group has its places and not more, the others come in turn, and
// a place that is given back is taken.
func TestPlaces(t *testing.T) {
	first := hello(t)
	synctest.Test(t, func(t *testing.T) {
		s := newServer(Config{MaxHandshakes: 5, MaxPerGroup: 2, Computing: 1}, serverConfig())
		group := func(a string) netip.Prefix { return netip.MustParsePrefix(a) }
		var all []*Handshake
		begin := func(g netip.Prefix, n int) (hs []*Handshake) {
			for range n {
				h := s.Begin(g, func() {})
				if err := h.Feed(first); err != nil {
					t.Fatal(err)
				}
				hs = append(hs, h)
			}
			synctest.Wait()
			all = append(all, hs...)
			return hs
		}
		answered := func(hs []*Handshake) (n int) {
			synctest.Wait()
			for _, h := range hs {
				if len(h.Output(nil)) > 0 {
					n++
				}
			}
			return n
		}
		check := func(what string, got, want int) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %d, want %d", what, got, want)
			}
		}
		many := begin(group("192.0.2.1/32"), 10)
		check("of one group", answered(many), 2)
		other := begin(group("192.0.2.2/32"), 2)
		check("of another", answered(other), 2)
		nobody := begin(netip.Prefix{}, 3)
		check("of no group, at the bound of all", answered(nobody), 1)
		check("under way", s.Stats().UnderWay, 5)
		check("waiting", s.Stats().Waiting, 10)
		other[0].Abort()
		check("of no group, after one place came free", answered(nobody), 1)
		check("of the first group", answered(many), 0)
		many[9].Abort() // waited
		many[0].Abort()
		check("of the first group, after one of it ended", answered(many)+answered(nobody), 1)
		for _, h := range all {
			h.Abort()
		}
		synctest.Wait()
		c := s.Stats()
		check("under way at the end", c.UnderWay+c.Waiting, 0)
		check("groups kept", len(s.queue.groups)+s.queue.turns.Len(), 0)
	})
}

// TestComputing: no more handshakes compute than configured, but those that
// wait in a callback, or for their client, do not count as computing.
func TestComputing(t *testing.T) {
	first := hello(t)
	for name, waits := range map[string]func(c *tls.Config, wait func()){
		"GetCertificate": func(c *tls.Config, wait func()) {
			cert := c.Certificates[0]
			c.Certificates = nil
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { wait(); return &cert, nil }
		},
		"GetConfigForClient": func(c *tls.Config, wait func()) {
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { wait(); return nil, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := serverConfig()
				var waiting atomic.Int64
				gate := make(chan struct{})
				waits(config, func() { waiting.Add(1); <-gate })
				s := newServer(Config{Computing: 1}, config)
				var hs []*Handshake
				for range 5 {
					h := s.Begin(netip.Prefix{}, func() {})
					defer h.Abort()
					h.Feed(first)
					hs = append(hs, h)
				}
				synctest.Wait()
				if n := waiting.Load(); n != 5 {
					t.Errorf("%d wait in the callback", n)
				}
				close(gate)
				synctest.Wait()
				for i, h := range hs {
					if len(h.Output(nil)) == 0 {
						t.Errorf("handshake %d has not answered", i)
					}
				}
				if n := len(s.compute); n != 0 {
					t.Errorf("%d compute", n)
				}
			})
		})
	}
}

// TestTurns: groups that wait have their turn one after another, however many
// of one there are.
func TestTurns(t *testing.T) {
	var q queue
	q.init(1, 1)
	names := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32"), {}}
	for _, name := range names {
		for range 3 {
			q.push(&Handshake{group: name})
		}
	}
	var got []netip.Prefix
	for h := q.pop(); h != nil; h = q.pop() {
		got = append(got, h.group)
		q.release(h.group)
	}
	if want := slices.Concat(names, names, names); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// TestQueue checks the places against what they promise, after each of random
// steps.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var q queue
		q.init(rapid.IntRange(1, 6).Draw(r, "max"), rapid.IntRange(1, 4).Draw(r, "perGroup"))
		names := []netip.Prefix{{}, netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/64")}
		var waiting, active []*Handshake
		take := func(from *[]*Handshake) *Handshake {
			i := rapid.IntRange(0, len(*from)-1).Draw(r, "which")
			h := (*from)[i]
			*from = append((*from)[:i:i], (*from)[i+1:]...)
			return h
		}
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			switch op := rapid.IntRange(0, 3).Draw(r, "op"); {
			case op == 0 && len(waiting) > 0:
				if !q.remove(take(&waiting)) {
					r.Fatal("did not wait")
				}
			case op == 1 && len(active) > 0:
				h := take(&active)
				if q.remove(h) {
					r.Fatal("waited")
				}
				q.release(h.group)
			default:
				h := &Handshake{group: rapid.SampledFrom(names).Draw(r, "group")}
				waiting = append(waiting, h)
				q.push(h)
			}
			for h := q.pop(); h != nil; h = q.pop() {
				active = append(active, h)
				for i := range waiting {
					if waiting[i] == h {
						waiting = append(waiting[:i:i], waiting[i+1:]...)
						break
					}
				}
			}
			count := make(map[netip.Prefix]int)
			for _, h := range active {
				count[h.group]++
			}
			if q.active != len(active) || q.waiting != len(waiting) || len(active) > q.max {
				r.Fatalf("%d of %d active, %d of %d waiting", q.active, len(active), q.waiting, len(waiting))
			}
			for name, n := range count {
				if name.IsValid() && n > q.maxPerGroup {
					r.Fatalf("%d of one group", n)
				}
			}
			for _, h := range waiting {
				if len(active) < q.max && (!h.group.IsValid() || count[h.group] < q.maxPerGroup) {
					r.Fatal("one waits that need not")
				}
			}
			if len(active)+len(waiting) == 0 && len(q.groups)+q.turns.Len() > 0 {
				r.Fatal("empty groups are kept")
			}
		}
	})
}

// FuzzHandshake: whatever a client begins with, the handshake ends or waits, and
// lets go of its place when it is aborted.
func FuzzHandshake(f *testing.F) {
	first := hello(f)
	f.Add(first, uint8(255))
	f.Add(append(first[:len(first):len(first)], first...), uint8(100))
	f.Add(append(first[:len(first):len(first)], 20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 0), uint8(200))
	f.Add([]byte("\x16\x03\x01\x00\x04\x01\xff\xff\xff"), uint8(0))
	f.Add([]byte("\x15\x03\x01\x00\x02\x01\x00"), uint8(3))
	certificate() // outside of the bubbles
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(Config{OwnRecords: cut%2 == 0}, serverConfig())
			h := s.Begin(netip.Prefix{}, func() {})
			for len(in) > 0 {
				n := min(len(in), int(cut)+1)
				if err := h.Feed(in[:n]); err != nil {
					break
				}
				in = in[n:]
			}
			synctest.Wait()
			if out := h.Output(nil); len(out) > 16<<10 {
				t.Errorf("%d bytes to say", len(out))
			}
			if done, stream, _, _, err := h.Done(); done && (err == nil || stream != nil) {
				t.Error("a handshake with nobody is done")
			}
			h.Abort()
			synctest.Wait()
			if done, _, _, _, _ := h.Done(); !done || s.queue.active+s.queue.waiting > 0 {
				t.Error("not over after Abort")
			}
		})
	})
}
