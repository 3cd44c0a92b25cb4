package federation_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/handshake"
)

// Whole links are kept in testdata/frames/links as they were when they were
// recorded, and are played for ever: once to a node that accepts, with what
// the dialler said then, and once to a node that dials, with what the acceptor
// said. The node under test does not have to say the same again. It has to
// take what it is told for what it meant then: its clients see what they saw
// then, and nothing counts as a fault.
//
// A recording is never changed. When the protocol has grown, record another:
//
//	go test ./federation -run TestRecordLink -record NAME

var recordAs = flag.String("record", "", "record a link into testdata/frames/links/`NAME`-*.txt")

const linksDir = "../testdata/frames/links"

// The two sides of a recorded link.
const (
	dialler  = 1
	acceptor = 2
)

// said is one line of a recording.
type said struct {
	at   time.Duration // since the link was dialled
	by   int
	data []byte
}

// act is what a client does in the play that was recorded.
type act struct {
	at     time.Duration
	by     int
	client string
	swarm  int
	offers int
	stop   bool // instead
}

// play is what happens on a link between two nodes, each of which has some
// clients. more is the side that has more swarms when they meet, and so is
// sent a filter; it is also the one that says goodbye.
func play(more int) (acts []act, end time.Duration) {
	fewer := dialler + acceptor - more
	add := func(at time.Duration, by int, client string, swarm, offers int) {
		acts = append(acts, act{at: at, by: by, client: client, swarm: swarm, offers: offers})
	}
	// Before the link: two swarms in common, three and four in all.
	for _, s := range []int{1, 2, 3} {
		add(-time.Second, fewer, "one", s, 0)
	}
	for _, s := range []int{2, 3, 4, 5} {
		add(-time.Second, more, "two", s, 0)
	}
	// One that begins on either side, and is then on both.
	add(10*time.Second, fewer, "one", 6, 0)
	add(20*time.Second, more, "two", 7, 0)
	add(30*time.Second, more, "two", 6, 0)
	add(40*time.Second, fewer, "one", 7, 0)
	// Offers and answers.
	add(50*time.Second, fewer, "one", 2, 1)
	add(60*time.Second, more, "two", 2, 1)
	// Offers to peers that have just gone are refused.
	for i, by := range []int{fewer, more} {
		t, s := time.Duration(70+40*i)*time.Second, 8+i
		add(t, by, "asks", s, 0)
		for _, c := range []string{"a", "b", "c"} {
			add(t+10*time.Second, fewer+more-by, c, s, 0)
		}
		acts = append(acts,
			act{at: t + 20*time.Second, by: fewer + more - by, client: "c", swarm: s, stop: true},
			act{at: t + 20*time.Second + 20*time.Millisecond, by: fewer + more - by, client: "b", swarm: s, stop: true})
		add(t+20*time.Second+40*time.Millisecond, by, "asks", s, 2)
	}
	// Swarms end.
	acts = append(acts,
		act{at: 150 * time.Second, by: fewer, client: "one", swarm: 2, stop: true},
		act{at: 160 * time.Second, by: more, client: "two", swarm: 3, stop: true})
	return acts, 170 * time.Second
}

// stage is where a play is given: a node for each side that is not played
// from a recording, and its clients.
type stage struct {
	t       *testing.T
	w       *world
	begin   time.Time // when the link is dialled
	nodes   [3]*node
	clients map[string]*client // by side and name
}

// address is where a side listens.
func address(side int) string { return fmt.Sprintf("127.0.0.1:%d", 9000+side) }

func newStage(t *testing.T, w *world, sides ...int) *stage {
	toNoon()
	s := &stage{t: t, w: w, begin: time.Now().Add(2 * time.Second), clients: make(map[string]*client)}
	for _, side := range sides {
		s.nodes[side] = w.make(side, deadDHT)
		federation.Replay(s.nodes[side].fed, entropyOf(side))
	}
	return s
}

func entropyOf(side int) handshake.Entropy {
	return handshake.Entropy{Nonce: [32]byte{byte(side)}, Scalar: [32]byte{byte(side), 1}}
}

// overhear puts itself between the two nodes.
func (s *stage) overhear(note func(by int, b []byte)) {
	w := s.w
	pass := func(from, to net.Conn, as ws.State, by int) {
		defer from.Close()
		defer to.Close()
		for {
			b, op, err := wsutil.ReadData(from, as)
			if err != nil {
				return
			}
			if op == ws.OpBinary {
				note(by, b)
				(&puppet{conn: to, side: as ^ ws.StateClientSide ^ ws.StateServerSide}).write(b)
			}
		}
	}
	s.tap(func(c net.Conn) {
		near, far := w.pipe()
		w.wait.Go(func() { s.nodes[acceptor].serve(far) })
		d := ws.Dialer{Protocols: []string{federation.Subprotocol}, NetDial: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
		if _, _, _, err := d.Dial(w.ctx, "ws://"+address(acceptor)); err != nil {
			s.t.Error(err)
			return
		}
		w.wait.Go(func() { pass(near, c, ws.StateClientSide, acceptor) })
		pass(c, near, ws.StateServerSide, dialler)
	})
}

// tap takes the first link that is dialled, and no other: the dialler will try
// again when it has lost it.
func (s *stage) tap(take func(net.Conn)) {
	s.w.taps[address(acceptor)] = func(c net.Conn) {
		s.w.mu.Lock()
		s.w.taps[address(acceptor)] = func(c net.Conn) { c.Close() }
		s.w.mu.Unlock()
		if upgrade(c) {
			take(c)
		}
	}
}

// give runs the play. link dials at its time.
func (s *stage) give(more int, link func()) {
	acts, end := play(more)
	until := func(at time.Duration) {
		time.Sleep(at - time.Since(s.begin))
		synctest.Wait()
	}
	for _, n := range s.nodes {
		if n != nil {
			n.run()
		}
	}
	linked := false
	for _, a := range acts {
		if a.at > 0 && !linked {
			until(0)
			link()
			linked = true
		}
		until(a.at)
		n := s.nodes[a.by]
		if n == nil {
			continue
		}
		id := fmt.Sprint(a.by, a.client)
		c := s.clients[id]
		if c == nil {
			c = n.client(a.client)
			s.clients[id] = c
		}
		if a.stop {
			c.announce(hash(a.swarm), 0, "event", "stopped")
		} else {
			c.announce(hash(a.swarm), a.offers)
		}
	}
	until(end)
	if n := s.nodes[more]; n != nil {
		n.stop()
	}
	until(end + 20*time.Second)
}

// seen are the lines of what clients got, without what chance decides: to
// whom of several peers an offer went.
func (s *stage) seen(side int) (list []string) {
	for id, c := range s.clients {
		if !strings.HasPrefix(id, fmt.Sprint(side)) {
			continue
		}
		offers, answers := c.got()
		for _, o := range offers {
			list = append(list, fmt.Sprintf("%d %s gets an offer of %s", side, id[1:], strings.TrimSpace(o.from)))
		}
		for _, a := range answers {
			list = append(list, fmt.Sprintf("%d %s gets an answer of %s", side, id[1:], strings.TrimSpace(a.from)))
		}
	}
	slices.Sort(list)
	return list
}

// faultless fails if a node has counted a fault of the other side.
func (s *stage) faultless(n *node) {
	s.t.Helper()
	st := n.fed.Stats()
	for what, count := range st.Strikes {
		if count > 0 {
			s.t.Errorf("%s: %d strikes: %s", n.name, count, what)
		}
	}
	if st.LinkErrors+st.HandshakeIO+st.Barred > 0 || st.Links != 1 {
		s.t.Errorf("%s: %+v", n.name, st)
	}
}

// recording is a file of testdata/frames/links.
type recording struct {
	more int
	said []said
	seen []string
}

func (r recording) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# A whole link of protocol version 1, recorded on %s: see federation/recording_test.go.\n", time.Now().Format("2 January 2006"))
	fmt.Fprintf(&b, "# Milliseconds, who says it (1 dialled, 2 accepted), the frame. Then what clients got.\n")
	fmt.Fprintf(&b, "more %d\n", r.more)
	for _, s := range r.said {
		fmt.Fprintf(&b, "say %d %d %x\n", s.at.Milliseconds(), s.by, s.data)
	}
	for _, s := range r.seen {
		fmt.Fprintf(&b, "see %s\n", s)
	}
	return b.Bytes()
}

func readRecording(t testing.TB, path string) (r recording) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "#":
		case "more":
			r.more, err = strconv.Atoi(rest)
		case "say":
			var s said
			var ms int
			var data string
			if _, err = fmt.Sscan(rest, &ms, &s.by, &data); err == nil {
				s.at = time.Duration(ms) * time.Millisecond
				s.data, err = hex.DecodeString(data)
			}
			r.said = append(r.said, s)
		case "see":
			r.seen = append(r.seen, rest)
		default:
			t.Fatalf("%s: %s", path, lines.Text())
		}
		if err != nil {
			t.Fatalf("%s: %s: %v", path, lines.Text(), err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRecordLink records, when it is asked to.
func TestRecordLink(t *testing.T) {
	if *recordAs == "" {
		t.Skip("no -record")
	}
	for _, more := range []int{dialler, acceptor} {
		var r recording
		inBubble(t, func(t *testing.T, w *world) {
			s := newStage(t, w, dialler, acceptor)
			r = recording{more: more}
			var mu sync.Mutex
			s.overhear(func(by int, b []byte) {
				mu.Lock()
				defer mu.Unlock()
				r.said = append(r.said, said{time.Since(s.begin), by, slices.Clone(b)})
			})
			s.give(more, func() {
				s.nodes[dialler].fed.DialNow(s.nodes[acceptor].cfg.URLs[0])
				time.Sleep(time.Second)
				s.askForAbsent() // now: other dials come after that of the link
			})
			for _, side := range []int{dialler, acceptor} {
				s.faultless(s.nodes[side])
				r.seen = append(r.seen, s.seen(side)...)
			}
		})
		path := filepath.Join(linksDir, fmt.Sprintf("%s-%d.txt", *recordAs, more))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(r.text()); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
