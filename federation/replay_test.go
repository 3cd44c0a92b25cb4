package federation_test

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/nodeaddr"
)

// reader plays the part of one side from a recording.
type reader struct {
	*stage
	r    recording
	as   int
	conn net.Conn
	side ws.State

	mu    sync.Mutex
	heard [frame.Kinds]int // of each kind
	hands [][]byte         // the first frames heard
	news  chan struct{}    // capacity 1
}

// listen takes what the node under test says.
func (p *reader) listen() {
	for {
		b, op, err := wsutil.ReadData(p.conn, p.side)
		if err != nil {
			return
		}
		if op != ws.OpBinary {
			continue
		}
		var f frame.Frame
		if err := f.Decode(b, frame.DefaultLimits()); err != nil {
			p.t.Errorf("a frame that does not decode: %v", err)
		}
		p.mu.Lock()
		p.heard[f.Kind]++
		if len(p.hands) < 2 {
			p.hands = append(p.hands, slices.Clone(b))
		}
		p.mu.Unlock()
		select {
		case p.news <- struct{}{}:
		default:
		}
	}
}

// speak says what was said, each at its time, and nothing before what it may
// be a reply to.
func (p *reader) speak() {
	var before [frame.Kinds]int
	replyTo := []frame.Kind{frame.KindHello, frame.KindHelloReply, frame.KindProof, frame.KindFilter, frame.KindNames, frame.KindJoin, frame.KindOffers}
	out := &puppet{conn: p.conn, side: p.side}
	for _, s := range p.r.said {
		var f frame.Frame
		if err := f.Decode(s.data, frame.DefaultLimits()); err != nil {
			p.t.Error(err)
			return
		}
		if s.by != p.as {
			before[f.Kind]++
			continue
		}
		time.Sleep(s.at - time.Since(p.begin))
		for _, k := range replyTo {
			if !p.await(k, before[k]) {
				p.t.Errorf("%v: waited in vain for %d of %v before %v", s.at, before[k], k, f.Kind)
			}
		}
		out.write(s.data)
	}
}

// await waits until n frames of a kind were heard, for a while.
func (p *reader) await(k frame.Kind, n int) bool {
	timeout := time.NewTimer(8 * time.Second)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		got := p.heard[k]
		p.mu.Unlock()
		if got >= n {
			return true
		}
		select {
		case <-p.news:
		case <-timeout.C:
			return false
		}
	}
}

// recordings are all that there are.
func recordings(t *testing.T) map[string]recording {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(linksDir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	all := make(map[string]recording)
	for _, path := range files {
		all[filepath.Base(path)] = readRecording(t, path)
	}
	return all
}

// TestRecordedFrames reads each frame and writes it again. There are all kinds
// from either side; for a new kind, record another link.
func TestRecordedFrames(t *testing.T) {
	had := make(map[[2]int]bool) // by whom, kind
	for name, r := range recordings(t) {
		for i, s := range r.said {
			var f frame.Frame
			if err := f.Decode(s.data, frame.DefaultLimits()); err != nil {
				t.Fatalf("%s, frame %d: %v", name, i, err)
			}
			if again := frame.Append(nil, &f); !bytes.Equal(again, s.data) {
				t.Errorf("%s, frame %d: %v is written as\n%x, was\n%x", name, i, f.Kind, again, s.data)
			}
			had[[2]int{s.by, int(f.Kind)}] = true
		}
	}
	had[[2]int{acceptor, int(frame.KindHello)}] = true // which it never sends
	had[[2]int{dialler, int(frame.KindHelloReply)}] = true
	had[[2]int{acceptor, int(frame.KindProof)}] = true
	for k := range int(frame.Kinds) {
		for _, by := range []int{dialler, acceptor} {
			if k != int(frame.KindUnknown) && !had[[2]int{by, k}] {
				t.Errorf("no %v of side %d was recorded", frame.Kind(k), by)
			}
		}
	}
}

// TestReplayedLinks gives each play again with one side from the recording.
func TestReplayedLinks(t *testing.T) {
	for name, r := range recordings(t) {
		t.Run(name+"/acceptor", func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				s := newStage(t, w, acceptor)
				p := &reader{stage: s, r: r, as: dialler, side: ws.StateClientSide, news: make(chan struct{}, 1)}
				p.replay(func() {
					p.conn = w.dialRaw(s.nodes[acceptor])
					w.wait.Go(p.listen)
					w.wait.Go(p.speak)
				})
			})
		})
		t.Run(name+"/dialler", func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				s := newStage(t, w, dialler)
				p := &reader{stage: s, r: r, as: acceptor, side: ws.StateServerSide, news: make(chan struct{}, 1)}
				s.tap(func(c net.Conn) {
					p.conn = c
					w.wait.Go(p.listen)
					p.speak()
				})
				u, err := nodeaddr.Parse("ws://"+address(acceptor), true)
				if err != nil {
					t.Fatal(err)
				}
				p.replay(func() { s.nodes[dialler].fed.DialNow(u) })
			})
		})
	}
}

// replay gives the play and looks at what has become of the other side.
func (p *reader) replay(link func()) {
	p.give(p.r.more, link)
	under := dialler + acceptor - p.as
	p.faultless(p.nodes[under])
	want := slices.DeleteFunc(slices.Clone(p.r.seen), func(line string) bool { return !strings.HasPrefix(line, fmt.Sprint(under)) })
	if got := p.seen(under); !slices.Equal(got, want) {
		p.t.Errorf("clients saw\n%s\nwhen it was recorded\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// The handshake's bytes are signed, so they are the same for ever.
	var hands [][]byte
	for _, s := range p.r.said {
		if s.by == under && len(hands) < 1+under%2 {
			hands = append(hands, s.data)
		}
	}
	for i, want := range hands {
		if i >= len(p.hands) || !bytes.Equal(p.hands[i], want) {
			p.t.Errorf("handshake: frame %d was\n%x", i, want)
		}
	}
	if p.heard[frame.KindBye] != 1 {
		p.t.Errorf("%d goodbyes", p.heard[frame.KindBye])
	}
}
