package load_test

import (
	"encoding/json"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// fake is a tracker that does what a test wants, right or wrong. Several
// listeners of one are like the nodes of a federation.
type fake struct {
	t  *testing.T
	mu sync.Mutex
	// swarms has the peers by swarm and id.
	swarms map[string]map[string]*fakePeer
	seeds  map[string]map[string]bool
	// spoil, unless nil, gets each frame that would be sent, and sends what
	// it likes instead.
	spoil func(f *fake, kind string, to *fakePeer, frame map[string]any)
	sent  map[string]int // by kind
}

type fakePeer struct {
	id    string
	swarm string
	conn  net.Conn
	mu    sync.Mutex
}

func newFake(t *testing.T) *fake {
	return &fake{t: t, swarms: map[string]map[string]*fakePeer{}, seeds: map[string]map[string]bool{}, sent: map[string]int{}}
}

// listen serves on a new address until the test ends.
func (f *fake) listen() (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	accept(f.t, l, f.serve)
	return "ws://" + l.Addr().String()
}

// accept serves connections until the test ends.
func accept(t *testing.T, l net.Listener, serve func(net.Conn)) {
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		group.Wait()
	})
}

// echoing answers the n-th message of a connection as it is told.
func echoing(t *testing.T, answer func(n int, text []byte) [][]byte) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accept(t, l, func(c net.Conn) {
		defer c.Close()
		if _, err := ws.Upgrade(c); err != nil {
			return
		}
		for n := 0; ; n++ {
			text, err := wsutil.ReadClientText(c)
			if err != nil {
				return
			}
			for _, out := range answer(n, text) {
				c.SetWriteDeadline(time.Now().Add(10 * time.Second))
				if wsutil.WriteServerText(c, out) != nil {
					return
				}
			}
		}
	})
	return "ws://" + l.Addr().String()
}

func (f *fake) serve(c net.Conn) {
	defer c.Close()
	if _, err := ws.Upgrade(c); err != nil {
		return
	}
	for {
		text, err := wsutil.ReadClientText(c)
		if err != nil {
			return
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			f.t.Errorf("a frame that is no JSON: %v", err)
			return
		}
		f.handle(c, m)
	}
}

func (f *fake) handle(c net.Conn, m map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hash, id := m["info_hash"].(string), m["peer_id"].(string)
	s := f.swarms[hash]
	if s == nil {
		s = map[string]*fakePeer{}
		f.swarms[hash], f.seeds[hash] = s, map[string]bool{}
	}
	if answer, ok := m["answer"]; ok {
		if to := s[m["to_peer_id"].(string)]; to != nil {
			f.deliver("answer", to, map[string]any{"answer": answer, "offer_id": m["offer_id"], "peer_id": id})
		}
		return
	}
	p := s[id]
	if p == nil {
		p = &fakePeer{id: id, swarm: hash, conn: c}
		s[id] = p
		f.seeds[hash][id] = m["left"].(float64) == 0
	}
	complete := 0
	for _, seed := range f.seeds[hash] {
		if seed {
			complete++
		}
	}
	f.deliver("reply", p, map[string]any{"interval": 120, "complete": complete, "incomplete": len(s) - complete})
	offers, _ := m["offers"].([]any)
	for _, to := range s { // in any order
		if to == p {
			continue
		}
		if len(offers) == 0 {
			break
		}
		o := offers[0].(map[string]any)
		offers = offers[1:]
		f.deliver("offer", to, map[string]any{"offer": o["offer"], "offer_id": o["offer_id"], "peer_id": id})
	}
}

func (f *fake) deliver(kind string, to *fakePeer, frame map[string]any) {
	frame["action"], frame["info_hash"] = "announce", to.swarm
	f.sent[kind]++
	if f.spoil == nil {
		f.send(to, frame)
		return
	}
	f.spoil(f, kind, to, frame)
}

// send sends a frame in the form that encoding/json gives it, which is not
// that of browsers.
func (f *fake) send(to *fakePeer, frame map[string]any) {
	text, err := json.Marshal(frame)
	if err != nil {
		f.t.Error(err)
		return
	}
	f.raw(to, text)
}

func (f *fake) raw(to *fakePeer, text []byte) {
	to.mu.Lock()
	defer to.mu.Unlock()
	to.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_ = wsutil.WriteServerText(to.conn, text) // it may be gone
}

// other is a peer of the same swarm, or of another, that is not p.
func (f *fake) other(p *fakePeer, same bool) *fakePeer {
	for hash, s := range f.swarms {
		if (hash == p.swarm) != same {
			continue
		}
		for _, q := range s {
			if q != p {
				return q
			}
		}
	}
	return nil
}
