package dhtstore

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
)

// await gives a node that has just started the time to find somebody to ask.
func (n *Node) await(ctx context.Context) {
	n.mu.Lock()
	hopeless := len(n.cfg.Bootstrap)+len(n.saved) == 0
	n.mu.Unlock()
	if hopeless {
		return
	}
	t := time.NewTimer(formingTime)
	defer t.Stop()
	select {
	case <-n.formed:
	case <-t.C:
	case <-ctx.Done():
	}
}

// newLookup starts a lookup from what the table knows, or from the bootstrap
// addresses while it knows nothing or nobody answers.
func (n *Node) newLookup(target nodeID) *lookup {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	l := newLookup(target, n.table.self, n.cfg.named)
	for _, c := range n.table.closest(now, target, 2*bucketSize, false) {
		l.add(c)
	}
	if len(l.cands) == 0 || now.Sub(n.lastAnswer) > deadAfter {
		for _, addr := range n.boot {
			l.seed(addr)
		}
	}
	return l
}

// traverse runs a lookup to its end: it asks, adds what is named, and calls
// on, from this goroutine, with each answer. It ends early when on returns
// false. It fails when nobody answered.
func (n *Node) traverse(ctx context.Context, l *lookup, m method, args krpc.MsgArgs, on func(from contact, reply *krpc.Msg) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		from  contact
		reply *krpc.Msg
		err   error
	}
	results := make(chan result, alpha)
	inFlight, answers := 0, 0
	stopped := false
	var last error
	for {
		for !stopped && inFlight < alpha {
			c, ok := l.next()
			if !ok {
				break
			}
			inFlight++
			go func() {
				reply, err := n.query(ctx, c.addr, m, args, false)
				results <- result{c, reply, err}
			}()
		}
		if inFlight == 0 {
			break
		}
		r := <-results
		inFlight--
		if r.err != nil {
			l.failed(r.from.addr)
			last = r.err
			stopped = stopped || ctx.Err() != nil
			continue
		}
		answers++
		ret := r.reply.R
		token := ""
		if ret.Token != nil {
			token = *ret.Token
		}
		from := contact{nodeID(ret.ID), r.from.addr}
		l.answered(from.addr, from.id, token)
		for _, info := range ret.Nodes {
			if ip, ok := netip.AddrFromSlice(info.Addr.IP); ok {
				l.add(contact{nodeID(info.ID), netip.AddrPortFrom(ip.Unmap(), uint16(info.Addr.Port))})
			}
		}
		if !stopped && on != nil && !on(from, r.reply) {
			stopped = true
			cancel()
		}
	}
	switch {
	case answers > 0:
		return nil
	case errors.Is(last, ErrBusy), errors.Is(last, context.Canceled), errors.Is(last, context.DeadlineExceeded):
		return last
	}
	return errNoAnswer
}

// outcome is how writing to the closest nodes went.
type outcome struct {
	ok  int
	err error // the last, when any failed
}

// writeAll sends a write to each of the closest nodes of a finished lookup,
// all at once, twice if need be.
func (n *Node) writeAll(ctx context.Context, l *lookup, m method, args func(token string) krpc.MsgArgs) outcome {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		out = outcome{err: errNoAnswer}
	)
	for _, c := range l.writable() {
		wg.Go(func() {
			_, err := n.insist(ctx, c.addr, m, args(c.token), true)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				out.ok++
				return
			}
			out.err = err
		})
	}
	wg.Wait()
	return out
}
