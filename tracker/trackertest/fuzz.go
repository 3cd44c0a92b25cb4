package trackertest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// seeds are the frames that fuzz breaks.
var seeds = [...]string{
	`{"action":"announce","info_hash":"hhhhhhhhhhhhhhhhhhhh","peer_id":"pppppppppppppppppppp","numwant":5,"uploaded":0,"downloaded":0,"left":7,"event":"started","offers":[{"offer":{"type":"offer","sdp":"v=0"},"offer_id":"oooooooooooooooooooo"}]}`,
	`{"action":"announce","info_hash":"hhhhhhhhhhhhhhhhhhhh","peer_id":"pppppppppppppppppppp","to_peer_id":"qqqqqqqqqqqqqqqqqqqq","answer":{"type":"answer","sdp":"v=0"},"offer_id":"oooooooooooooooooooo"}`,
	`{"action":"scrape","info_hash":["hhhhhhhhhhhhhhhhhhhh","\u00e9\ud83d\ude00"]}`,
	`{"action":"announce","info_hash":"hhhhhhhhhhhhhhhhhhhh","peer_id":"pppppppppppppppppppp","event":"stopped","left":0}`,
}

// crumbs are put in at random places.
var crumbs = [...]string{`null`, `{}`, `[]`, `-1`, `1e999`, `"`, `\`, `\ud800`, `,`, `:`, `}`, `[[[[[[[[`, "\x00", "\xff", `"info_hash":5,`, `true`}

// broken damages one of the seeds.
func broken(rng *rand.Rand) []byte {
	b := []byte(seeds[rng.IntN(len(seeds))])
	for range 1 + rng.IntN(4) {
		i := rng.IntN(len(b) + 1)
		switch rng.IntN(4) {
		case 0:
			b = b[:i]
		case 1:
			if i < len(b) {
				b[i] = byte(rng.UintN(256))
			}
		case 2:
			b = []byte(string(b[:i]) + crumbs[rng.IntN(len(crumbs))] + string(b[i:]))
		case 3:
			j := i + rng.IntN(len(b)-i+1)
			b = []byte(string(b[:i]) + string(b[j:]))
		}
	}
	return b
}

// fuzz sends broken frames. Whatever comes back must be a frame that the
// reference client survives, and the server may close the connection, which
// then is opened anew.
func (r *run) fuzz(s *step, c *client) error {
	seed, err := strconv.ParseUint(s.name, 10, 64)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	for n := range s.n {
		frame := broken(rng)
		if err := r.fuzzOne(c, frame); err != nil {
			return fmt.Errorf("frame %d, %q: %w", n, frame, err)
		}
	}
	return nil
}

func (r *run) fuzzOne(c *client, frame []byte) error {
	sendErr := c.conn.Send(Frame{Data: frame})
	r.busy = true
	if err := r.settle(); err != nil {
		return err
	}
	for {
		got, ok := c.conn.Inbox().first()
		if !ok {
			break
		}
		c.conn.Inbox().take()
		if err := survivable(got); err != nil {
			return err
		}
	}
	closed, code := c.conn.Inbox().IsClosed()
	if !closed {
		return sendErr
	}
	if code != 1007 && code != 1008 {
		return fmt.Errorf("closed with %d", code)
	}
	conn, err := r.world.Open(Open{Path: "/", Node: 1})
	if err != nil {
		return err
	}
	c.conn = conn
	return nil
}

// survivable says why a frame would harm the reference client, which destroys
// its socket on an unknown action and throws on a missing info_hash.
func survivable(f received) error {
	if f.binary {
		return fmt.Errorf("a binary frame")
	}
	keys, values, err := members(f.data)
	if err != nil {
		return err
	}
	got := map[string]string{}
	for i, k := range keys {
		got[k] = string(values[i])
	}
	_, notString := unquote(got["info_hash"])
	switch {
	case got["action"] == `"scrape"` && strings.HasPrefix(got["files"], "{"):
		return nil
	case got["action"] != `"announce"` && got["action"] != `"scrape"`:
		return fmt.Errorf("action %s", got["action"])
	case notString != nil:
		return fmt.Errorf("info_hash: %w", notString)
	}
	return nil
}
