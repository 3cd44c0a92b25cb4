package sim

import "time"

// actor is whoever something happens to. Its argument says what, packed by
// the actor itself, so that an event needs no memory of its own.
type actor interface{ fire(w *World, arg uint64) }

// call is an actor for what happens once.
type call func()

func (c call) fire(*World, uint64) { c() }

// event is something that will happen.
type event struct {
	at  time.Duration
	seq uint64 // ties are broken by the order of scheduling
	who actor
	arg uint64
}

// queue holds what will happen, the soonest first. It is a heap of values
// with four children a node: nothing is allocated for an event, and a
// million of them stay within a few cache lines of the top.
type queue struct {
	heap []event
	seq  uint64
}

func before(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (q *queue) push(at time.Duration, who actor, arg uint64) {
	q.seq++
	q.heap = append(q.heap, event{at, q.seq, who, arg})
	i := len(q.heap) - 1
	e := q.heap[i]
	for i > 0 {
		up := (i - 1) / 4
		if !before(&e, &q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = e
}

func (q *queue) pop() event {
	top := q.heap[0]
	last := len(q.heap) - 1
	e := q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	if last == 0 {
		return top
	}
	i := 0
	for {
		first := 4*i + 1
		if first >= last {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, last); c++ {
			if before(&q.heap[c], &q.heap[least]) {
				least = c
			}
		}
		if !before(&q.heap[least], &e) {
			break
		}
		q.heap[i] = q.heap[least]
		i = least
	}
	q.heap[i] = e
	return top
}
