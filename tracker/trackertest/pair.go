package trackertest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

// Pair is a world of two cores that share their swarms by the shortest way
// there is: what one says to the other is called on it. It says what two nodes
// owe each other, with no link, no frame and no directory in between, and so
// shows which of the two is wrong when a talk fails over real links. It is to
// be made and closed within a synctest bubble.
type Pair struct {
	nodes  [2]*Core
	bridge *bridge
}

// NewPair starts two trackers alike and joins them.
func NewPair(cfg tracker.Config) (*Pair, error) {
	b := &bridge{wake: make(chan struct{}, 1), quit: make(chan struct{})}
	p := &Pair{bridge: b}
	for i := range p.nodes {
		cfg.Watcher = touchFunc(func(infoHash []byte) {
			h := string(infoHash)
			b.do(func() { b.share(h) })
		})
		cfg.Seed = &[32]byte{byte(i + 1)}
		node, err := NewCore(cfg)
		if err != nil {
			return nil, err
		}
		p.nodes[i] = node
		b.sides[i] = &side{tracker: node.Tracker, told: map[string]string{}}
	}
	for i, s := range b.sides {
		other := b.sides[1-i]
		// On tracker i, the session of the other node.
		s.other = s.tracker.OpenNode(tracker.NodeKey{byte(2 - i)}, tracker.NodeInfo{FirstSeen: time.Now()})
		s.other.Attach(&carrier{bridge: b, to: other}, "")
	}
	b.running.Go(b.run)
	return p, nil
}

// Close ends both trackers and what is connected to them.
func (p *Pair) Close() {
	for _, n := range p.nodes {
		n.Close()
	}
	close(p.bridge.quit)
	p.bridge.running.Wait()
}

func (p *Pair) Kind() Kind { return KindFederated }

func (p *Pair) Open(o Open) (Conn, error) {
	if o.Node < 1 || o.Node > len(p.nodes) {
		return nil, fmt.Errorf("no node %d", o.Node)
	}
	return p.nodes[o.Node-1].Open(o)
}

func (p *Pair) Settle() error {
	return errors.Join(p.nodes[0].Settle(), p.nodes[1].Settle())
}

func (p *Pair) Advance(d time.Duration) error {
	time.Sleep(d)
	return p.Settle()
}

func (p *Pair) Swarms() int { return max(p.nodes[0].Swarms(), p.nodes[1].Swarms()) }

func (p *Pair) Get(string, string) (Page, error) { return Page{}, errNoSockets }
func (p *Pair) Drain() error                     { return errNoSockets }
func (p *Pair) Shutdown() error                  { return errNoSockets }

type touchFunc func(infoHash []byte)

func (f touchFunc) Touch(infoHash []byte) { f(infoHash) }

// bridge carries between two trackers, in order, in a goroutine of its own:
// neither sinks nor watchers may call a tracker.
type bridge struct {
	sides   [2]*side
	wake    chan struct{}
	quit    chan struct{}
	running sync.WaitGroup

	mu    sync.Mutex
	queue []func()
}

// side is one tracker.
type side struct {
	tracker *tracker.Tracker
	other   *tracker.NodeSession // the other side, as this one's tracker knows it
	// told is what the other side was last told of each swarm. Owned by run.
	told map[string]string
}

func (b *bridge) do(f func()) {
	b.mu.Lock()
	b.queue = append(b.queue, f)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *bridge) run() {
	for {
		select {
		case <-b.quit:
			return
		case <-b.wake:
		}
		for {
			b.mu.Lock()
			queue := b.queue
			b.queue = nil
			b.mu.Unlock()
			if len(queue) == 0 {
				break
			}
			for _, f := range queue {
				f()
			}
		}
	}
}

// share tells both sides how the swarm stands on the other.
func (b *bridge) share(infoHash string) {
	for i, s := range b.sides {
		other := b.sides[1-i]
		join, ok := s.join(infoHash, byte(i+1))
		if !ok {
			// With the swarm went what the other side had said of it.
			delete(other.told, infoHash)
			if _, was := s.told[infoHash]; was {
				delete(s.told, infoHash)
				other.other.Leave([]byte(infoHash))
			}
			continue
		}
		text := fmt.Sprint(join)
		if s.told[infoHash] == text {
			continue
		}
		if other.other.Join(join) {
			s.told[infoHash] = text
		} else {
			// It has nobody there; when it has, it is touched.
			delete(s.told, infoHash)
		}
	}
}

// join is this side's part in a swarm.
func (s *side) join(infoHash string, key byte) (tracker.NodeJoin, bool) {
	state, ok := s.tracker.State([]byte(infoHash))
	if !ok {
		return tracker.NodeJoin{}, false
	}
	j := tracker.NodeJoin{
		InfoHash: []byte(infoHash), Complete: state.LocalComplete, Incomplete: state.LocalIncomplete,
		TagKey: [16]byte{key},
	}
	j.CompleteTags, j.IncompleteTags, j.Tagged = s.tracker.Tags(j.InfoHash, j.TagKey, nil, nil)
	slices.Sort(j.CompleteTags)
	slices.Sort(j.IncompleteTags)
	return j, true
}

// carrier is the way to the other side. It copies what it is given.
type carrier struct {
	bridge *bridge
	to     *side
}

func (c *carrier) Offers(infoHash, peerID []byte, offers []swarm.Offer) {
	infoHash, peerID = bytes.Clone(infoHash), bytes.Clone(peerID)
	copies := make([]swarm.Offer, len(offers))
	for i, o := range offers {
		copies[i] = cloneOffer(o)
	}
	c.bridge.do(func() { c.to.other.Offers(infoHash, peerID, copies) })
}

func (c *carrier) Answer(infoHash, toPeerID, peerID, offerID, payload []byte) {
	a := swarm.Answer{
		InfoHash: bytes.Clone(infoHash), ToPeerID: bytes.Clone(toPeerID), PeerID: bytes.Clone(peerID),
		OfferID: bytes.Clone(offerID), Payload: bytes.Clone(payload),
	}
	c.bridge.do(func() {
		a.OfferKey, _ = wire.OfferKey(a.OfferID, nil)
		c.to.other.Answer(a)
	})
}

func (c *carrier) Refused(infoHash, peerID []byte, offer swarm.Offer, reason swarm.RefuseReason) {
	infoHash, peerID, offer = bytes.Clone(infoHash), bytes.Clone(peerID), cloneOffer(offer)
	c.bridge.do(func() { c.to.other.Refused(infoHash, peerID, offer, reason) })
}

func cloneOffer(o swarm.Offer) swarm.Offer {
	return swarm.Offer{ID: bytes.Clone(o.ID), Key: bytes.Clone(o.Key), Payload: bytes.Clone(o.Payload)}
}
