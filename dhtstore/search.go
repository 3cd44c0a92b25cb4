package dhtstore

import (
	"context"
	"net/netip"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
	"github.com/draeder/peerservers/federation"
)

const (
	// maxSightings bounds what one lookup reports from one DHT.
	maxSightings = 1000
	// formingTime is how long after its start a node is given to find the
	// first that answers.
	formingTime = 2 * time.Second
)

// The halves of the directory's calls that belong to one DHT.

// search is [Node.Lookup]; it calls found from one goroutine.
func (s *stack) search(ctx context.Context, target nodeID, announce bool, found func(netip.AddrPort)) error {
	n := s.node
	// What others announced to us is part of the answer: in a network of two,
	// all of it.
	sightings := 0
	own := make(map[netip.AddrPort]bool)
	report := func(addr netip.AddrPort) {
		if sightings < maxSightings && s.named(addr) && !s.isSelf(addr) {
			sightings++
			found(addr)
		}
	}
	reportOwn := func() {
		n.mu.Lock()
		stored := s.peers.sample(time.Now(), n.rand, target, maxPeers)
		n.mu.Unlock()
		for _, addr := range stored {
			if !own[addr] {
				own[addr] = true
				report(addr)
			}
		}
	}
	reportOwn()
	defer reportOwn()

	if err := s.ready(ctx); err != nil {
		return err
	}
	l := s.newLookup(target)
	args := krpc.MsgArgs{InfoHash: krpc.ID(target), Want: s.want()}
	err := s.traverse(ctx, l, methodGetPeers, args, func(_ contact, reply *krpc.Msg) bool {
		us, _ := replyExternal(reply)
		for _, v := range reply.R.Values {
			// Who names us among the announced says in the same reply which
			// address is ours.
			if addr, ok := addrOf(v); ok && addr != us {
				report(addr)
			}
		}
		return true
	})
	if err != nil || !announce {
		return err
	}
	port := int(s.local.Port())
	written := s.writeAll(ctx, l, methodAnnounce, func(token string) krpc.MsgArgs {
		return krpc.MsgArgs{InfoHash: krpc.ID(target), Port: &port, ImpliedPort: true, Token: token}
	})
	n.counts.add(countAnnounces, written.ok)
	return written.failure()
}

// fetch is [Node.Fetch]; it calls enough when it has found what satisfies.
func (s *stack) fetch(ctx context.Context, r *newest, enough func()) error {
	n := s.node
	target := recordTarget(r.key, n.salt)
	var ours federation.Item
	n.mu.Lock()
	if it := s.stored(time.Now(), target); it != nil && it.key != nil {
		ours = cloneItem(federation.Item{Key: it.key, Seq: it.seq, Sig: [64]byte(it.sig), Value: it.value})
	}
	n.mu.Unlock()
	if ours.Key != nil {
		r.take(ours)
	}

	if err := s.ready(ctx); err != nil {
		return err
	}
	args := krpc.MsgArgs{Target: krpc.ID(target), Want: s.want()}
	return s.traverse(ctx, s.newLookup(target), methodGet, args, func(from contact, reply *krpc.Msg) bool {
		if x := reply.R; len(x.V) == 0 && x.Seq != nil && x.Token != nil {
			// It has the record and does not send that much to an address that
			// may not be ours; with the token it does.
			more := args
			more.Token = *x.Token
			if again, err := s.insist(ctx, from.addr, methodGet, more, false); err == nil {
				reply = again
			}
		}
		if len(reply.R.V) > 0 && r.take(itemOf(reply.R)) {
			enough()
			return false
		}
		return true
	})
}

// publish is [Node.Publish].
func (s *stack) publish(ctx context.Context, target nodeID, item federation.Item) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	l := s.newLookup(target)
	args := krpc.MsgArgs{Target: krpc.ID(target), Want: s.want()}
	if err := s.traverse(ctx, l, methodGet, args, nil); err != nil {
		return err
	}
	written := s.writeAll(ctx, l, methodPut, func(token string) krpc.MsgArgs {
		seq := item.Seq
		return krpc.MsgArgs{
			V: bencode.Bytes(item.Value), K: [32]byte(item.Key), Salt: s.node.salt,
			Seq: &seq, Sig: item.Sig, Token: token,
		}
	})
	s.node.counts.add(countPuts, written.ok)
	return written.failure()
}

func (s *stack) want() []krpc.Want { return []krpc.Want{krpc.Want(s.family.want())} }

// ready gives a node that has just started the time to find somebody to ask,
// and says that there is nobody if the other DHT is the only one that
// answers: a machine may have addresses of a family that leads nowhere, and
// searches shall neither wait for it nor spend packets on it.
func (s *stack) ready(ctx context.Context) error {
	t := time.NewTimer(time.Until(s.began.Add(formingTime)))
	defer t.Stop()
	select {
	case <-s.settled:
	case <-t.C:
	case <-ctx.Done():
	}
	now := time.Now()
	if o := s.other(); o != nil && s.alone(now) && !o.alone(now) {
		return errNoAnswer
	}
	return nil
}
