package wsserver

import (
	"bytes"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
)

// A thousand at once, then a hundred a second, whatever came before.
func TestPace(t *testing.T) {
	var p pace
	now := time.Hour
	burst := func() (n int) {
		for p.spend(now) {
			n++
		}
		p.empty -= paceEvery // the refused one is not to count here
		return n
	}
	if n := burst(); n != paceBurst {
		t.Errorf("%d at once", n)
	}
	now += time.Second
	if n := burst(); n != 100 {
		t.Errorf("%d after a second", n)
	}
	now += time.Hour
	if n := burst(); n != paceBurst {
		t.Errorf("%d at once after an hour", n)
	}
	for range 100_000 {
		now += paceEvery
		if !p.spend(now) {
			t.Fatal("a steady hundred a second are too many")
		}
	}
	// Clocks that stand still are no debt.
	p, now = pace{}, 0
	if n := burst(); n != paceBurst {
		t.Errorf("%d at moment zero", n)
	}
}

// Frames that bring nothing, without end: one connection is closed with 1008
// after the first thousand, and another notices nothing.
func TestEmptyFloods(t *testing.T) { onBoth(t, testEmptyFloods) }

func testEmptyFloods(t *testing.T, e engine) {
	for name, c := range map[string]struct{ begin, unit []byte }{
		"12 million empty fragments":   {frame(opText, []byte("x")), frame(0, nil)},
		"messages that begin with one": {nil, append(frame(opText, nil), frame(fin, []byte(`{"action":"scrape","info_hash":[]}`))...)},
		"pings":                        {nil, frame(fin|opPing, []byte("12345678"))},
		"pongs":                        {nil, frame(fin|opPong, nil)},
		"pings within a message":       {frame(opText, []byte("x")), frame(fin|opPing, nil)},
		"taking turns":                 {frame(opText, nil), append(frame(0, nil), frame(fin|opPong, nil)...)},
	} {
		t.Run(name, func(t *testing.T) {
			in := e.start(t, nil)
			witness := in.dial("/")
			cl := in.dial("/")
			cl.t = t
			go func() {
				cl.nc.Write(c.begin)
				chunk := bytes.Repeat(c.unit, 1000)
				for range 12_000 {
					if _, err := cl.nc.Write(chunk); err != nil {
						return
					}
				}
			}()
			for {
				op, p, err := cl.readFrame()
				if err != nil {
					t.Fatal(err)
				}
				if op == opClose {
					if !bytes.HasPrefix(p, closeBody(1008, "")) {
						t.Errorf("closed with %q", p)
					}
					break
				}
			}
			cl.nc.Close()
			in.until("it is counted", func() bool { return in.srv.Stats().Ended["pace"] == 1 })
			witness.join(hash2, pid("w"))
		})
	}
}

// Nothing that a client does comes near.
func TestPaceLeavesClientsAlone(t *testing.T) {
	virtual(t, func(w *world) {
		r := w.connect(false)
		for range 3600 {
			r.cl.write(frame(fin|opPing, nil))
			r.cl.write(frame(fin|opPong, []byte("nobody asked")))
			time.Sleep(time.Second)
		}
		for range 10_000 {
			r.cl.send(announce(hash, pid("a")))
		}
		if f := r.take(); len(f) != 10_000 {
			t.Errorf("%d replies to 10,000 announces", len(f))
		}
		for range 20 {
			// Real fragments are not empty, but for the last: some clients end
			// a stream with an empty one.
			text, cut := []byte(announce(hash, pid("a"))), bytes.Repeat([]byte(" "), 1000)
			r.cl.write(frame(opText, text))
			for i := range cut {
				r.cl.write(frame(0, cut[i:i+1]))
			}
			r.cl.write(frame(fin, nil))
		}
		if f := r.take(); len(f) != 20 {
			t.Errorf("%d replies to 20 announces in fragments", len(f))
		}
		if r.gone() {
			t.Error("it was closed")
		}
	})
}

// Nor do many announces or fragments at once, over a socket.
func TestPaceLeavesBurstsAlone(t *testing.T) { onBoth(t, testPaceLeavesBurstsAlone) }

func testPaceLeavesBurstsAlone(t *testing.T, e engine) {
	in := e.start(t, func(c *Config, _ *tracker.Config) { c.HardBacklog = 16 << 20 })
	c := in.dial("/")
	text := []byte(announce(hash, pid("a")))
	go func() {
		c.nc.Write(bytes.Repeat(frame(fin|opText, text), 10_000))
		many := frame(opText, text)
		for range 1000 {
			many = append(many, frame(0, []byte(" "))...)
		}
		many = append(many, frame(fin, nil)...)
		c.nc.Write(bytes.Repeat(many, 20))
	}()
	for range 10_020 {
		c.recv()
	}
}
