package wsserver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/draeder/peerservers/tracker"
)

// unbounded is for readers that nothing but their own limit bounds.
func unbounded() *incoming {
	return &incoming{list: holdings{limit: 1 << 40}, total: new(atomic.Int64)}
}

type fakeHolder struct{ yielded int }

func (f *fakeHolder) yield() { f.yielded++ }

// Random operations, against a slice.
func TestHoldings(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var list holdings
	var model []*holding
	all := make([]holding, 20)
	for range 20_000 {
		h := &all[rng.IntN(len(all))]
		if rng.IntN(3) == 0 {
			list.free(h)
			model = slices.DeleteFunc(model, func(m *holding) bool { return m == h })
		} else {
			list.hold(h, new(fakeHolder), rng.IntN(1000))
			if !slices.Contains(model, h) {
				model = append(model, h)
			}
		}
		var sum int64
		at := list.oldest
		for i, m := range model {
			if at != m || i > 0 && at.before != model[i-1] {
				t.Fatalf("place %d is another's", i)
			}
			sum += int64(m.bytes)
			at = at.after
		}
		if at != nil || sum != list.bytes || len(model) > 0 && list.newest != model[len(model)-1] {
			t.Fatalf("%d bytes instead of %d, or more than %d in the list", list.bytes, sum, len(model))
		}
	}
}

// The oldest of those without a loop give way.
func TestIncomingIsBounded(t *testing.T) {
	in := &incoming{list: holdings{limit: 1000}, total: new(atomic.Int64)}
	var h [5]holding
	var by [5]fakeHolder
	for i := range h {
		in.hold(&h[i], &by[i], 300)
	}
	for i, want := range []int{1, 1, 0, 0, 0} {
		if by[i].yielded != want {
			t.Errorf("%d yielded %d times, want %d", i, by[i].yielded, want)
		}
	}
	if n := in.total.Load(); n != 900 {
		t.Errorf("%d bytes", n)
	}
	for i := range h {
		in.free(&h[i])
	}
	if n := in.total.Load(); n != 0 || in.list.oldest != nil || in.list.newest != nil {
		t.Errorf("%d bytes when nothing is left", n)
	}
}

// A crowd that begins messages and requests and ends none is bounded in all,
// and the oldest of it is sent away with 1013; who is served is none of it.
func TestIncompleteCrowd(t *testing.T) { onBoth(t, testIncompleteCrowd) }

func testIncompleteCrowd(t *testing.T, e engine) {
	const total = 4 << 20
	in := e.start(t, func(c *Config, _ *tracker.Config) { c.TotalIncomplete = total })
	witness := in.dial("/")
	witness.join(hash, pid("w"))
	half := frame(fin|opText, make([]byte, 200<<10))[:100<<10]
	crowd := make([]*client, 100)
	for i := range crowd {
		crowd[i] = in.dial("/")
		crowd[i].write(half)
		if held := in.srv.Stats().Held; held > total+256<<10 {
			t.Fatalf("%d bytes are held", held)
		}
		if i%10 == 0 {
			witness.join(hash, pid("w"))
		}
	}
	in.until("most were sent away", func() bool { return in.srv.Stats().Ended["incomplete_total"] >= 60 })
	crowd[0].expectClose(1013)
	for _, c := range crowd[95:] {
		c.write(half[:1]) // nobody has closed it
	}
	witness.join(hash, pid("w"))
	for _, c := range crowd {
		c.nc.Close()
	}
	in.until("nothing is held", func() bool { return in.srv.Stats().Held == 0 })
}

// Who holds all that the portable engine may does not make a loop send those
// away whose messages come in several packets, nor the other way round. Clients can
// choose: a request that is not beyond doubt is the portable engine's.
func TestIncompleteElsewhere(t *testing.T) {
	const total = 2 * (4<<20 + 8<<10) // room for 16 of the crowd on either side
	odd := []string{"X!a: 1"}
	for name, ask := range map[string]struct{ crowd, witness []string }{
		"portable": {odd, nil}, "loop": {nil, odd},
	} {
		t.Run(name, func(t *testing.T) {
			in := engine(EngineLoops).start(t, func(c *Config, _ *tracker.Config) { c.TotalIncomplete = total })
			witness := in.dial("/", ask.witness...)
			half := frame(fin|opText, make([]byte, 200<<10))[:100<<10]
			var crowd []*client
			for range 40 {
				c := in.dial("/", ask.crowd...)
				c.write(half)
				crowd = append(crowd, c)
			}
			for _, c := range crowd[:24] {
				c.expectClose(1013)
			}
			whole := frame(fin|opText, fmt.Appendf(nil, `{"action":"announce","info_hash":%q,"peer_id":%q,"x":%q}`,
				hash, pid("w"), strings.Repeat("x", 60<<10)))
			witness.write(whole) // more than one read takes
			if m := witness.recvJSON(); m.Action != "announce" || m.Complete == nil {
				t.Errorf("no reply: %+v", m)
			}
			for _, c := range append(crowd, witness) {
				c.nc.Close()
			}
		})
	}
}
