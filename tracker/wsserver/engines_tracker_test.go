package wsserver

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/draeder/peerservers/tracker"
)

// The same announces, answers and garbage to a tracker on each engine, which
// draws the same numbers: the same frames for the sender and for its peers.
func TestEnginesTrackAlike(t *testing.T) {
	for seed := range uint64(20) {
		var first []string
		for _, e := range testEngines() {
			got := trackerTalk(t, e, seed)
			if first == nil {
				first = got
			} else if !slices.Equal(got, first) {
				for i := range min(len(got), len(first)) {
					if got[i] != first[i] {
						t.Fatalf("seed %d, frame %d of %d and %d:\n%s\n%s", seed, i, len(first), len(got), first[i], got[i])
					}
				}
				t.Fatalf("seed %d: %d and %d frames", seed, len(first), len(got))
			}
		}
		if len(first) < 5 {
			t.Fatalf("seed %d: %q", seed, first)
		}
	}
}

// trackerTalk has one client of several talk at a time, and lists what each of
// them hears.
func trackerTalk(t *testing.T, e string, seed uint64) (heard []string) {
	in := engine(e).start(t, func(_ *Config, c *tracker.Config) { c.Seed = new([32]byte) })
	defer in.stop()
	rng := rand.New(rand.NewPCG(seed, 3))
	clients := make([]*client, 4)
	hear := func(i int) {
		clients[i].t = t
		clients[i].write(frame(fin|opPing, []byte("and then?")))
		for {
			op, p, err := clients[i].readFrame()
			if errors.Is(err, io.EOF) {
				heard = append(heard, fmt.Sprint(i, " end"))
				clients[i] = nil
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if op == opPong && string(p) == "and then?" {
				return
			}
			heard = append(heard, fmt.Sprintf("%d %x %s", i, op, p))
		}
	}
	for range 60 {
		i := rng.IntN(len(clients))
		if clients[i] == nil {
			clients[i] = in.dial("/")
		}
		who, swarm := pid(string(rune('a'+i))), []string{hash, hash2}[rng.IntN(2)]
		var b []byte
		for range rng.IntN(4) + 1 {
			switch rng.IntN(10) {
			case 0:
				b = append(b, frame(fin|opText, []byte("garbage"))...)
			case 1:
				b = append(b, frame(fin|opText, []byte(`{"action":"scrape","info_hash":"`+swarm+`"}`))...)
			case 2:
				b = append(b, frame(fin|opText, []byte(`{"action":"announce","event":"stopped","info_hash":"`+swarm+`","peer_id":"`+who+`"}`))...)
			case 3:
				to := pid(string(rune('a' + rng.IntN(len(clients)))))
				b = append(b, frame(fin|opText, []byte(`{"action":"announce","info_hash":"`+swarm+`","peer_id":"`+who+`","to_peer_id":"`+to+
					`","offer_id":"offer-`+to[15:]+`-00","answer":{"type":"answer","sdp":"v=0"}}`))...)
			default:
				sdps := make([]string, rng.IntN(4))
				for k := range sdps {
					sdps[k] = fmt.Sprint("sdp ", k)
				}
				text := []byte(announce(swarm, who, sdps...))
				at := rng.IntN(len(text))
				b = append(b, frame(opText, text[:at])...)
				b = append(b, frame(fin, text[at:])...)
			}
		}
		clients[i].t = t
		for from := 0; from < len(b); {
			n := min(rng.IntN(500)+1, len(b)-from)
			clients[i].write(b[from : from+n])
			from += n
		}
		// The sender first: when it has its replies, all else is on its way.
		hear(i)
		for k := range clients {
			if k != i && clients[k] != nil {
				hear(k)
			}
		}
		if rng.IntN(10) == 0 && clients[i] != nil {
			clients[i].nc.Close()
			clients[i] = nil
			open := 0
			for _, c := range clients {
				if c != nil {
					open++
				}
			}
			in.until("it has left", func() bool { return in.srv.Stats().Conns == open })
		}
	}
	return heard
}
