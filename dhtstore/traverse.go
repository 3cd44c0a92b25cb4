package dhtstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
)

// newLookup starts a lookup from what the table knows, or from the bootstrap
// addresses while it knows nothing or nobody answers.
func (s *stack) newLookup(target nodeID) *lookup {
	now := time.Now()
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	l := newLookup(target, s.table.self, s.named)
	l.size = s.estimates.size()
	for _, c := range s.table.closest(now, target, 2*bucketSize, false) {
		l.add(c)
	}
	if len(l.cands) == 0 || now.Sub(s.lastAnswer) > deadAfter {
		for _, addr := range s.boot {
			l.seed(addr)
		}
	}
	return l
}

// traverse runs a lookup to its end: it asks, adds what is named, and calls
// on, from this goroutine, with each answer. It ends early when on returns
// false. It fails when nobody answered.
func (s *stack) traverse(ctx context.Context, l *lookup, m method, args krpc.MsgArgs, on func(from contact, reply *krpc.Msg) bool) error {
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
				reply, err := s.query(ctx, c.addr, m, args, false)
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
		ret.ForAllNodes(func(info krpc.NodeInfo) {
			if addr, ok := addrOf(info.Addr); ok {
				l.add(contact{nodeID(info.ID), addr})
			}
		})
		if !stopped && on != nil && !on(from, r.reply) {
			stopped = true
			cancel()
		}
	}
	switch {
	case answers > 0:
		if !stopped {
			s.node.mu.Lock()
			s.estimates.note(l.estimate())
			s.node.mu.Unlock()
		}
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

// failure is nil if the write is at one node at least.
func (o outcome) failure() error {
	if o.ok > 0 {
		return nil
	}
	return o.err
}

// writeAll sends a write to each of the closest nodes of a finished lookup,
// all at once, twice if need be.
func (s *stack) writeAll(ctx context.Context, l *lookup, m method, args func(token string) krpc.MsgArgs) outcome {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		out = outcome{err: errNoAnswer}
	)
	for _, c := range l.writable() {
		wg.Go(func() {
			_, err := s.insist(ctx, c.addr, m, args(c.token), true)
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
