package swarm

// queue is a doubly linked list: what waits equally long waits in order, and
// leaves from the middle when it is no longer needed.
type queue[T any] struct {
	head, tail *item[T]
	len        int
}

type item[T any] struct {
	prev, next *item[T]
	value      T
}

func (q *queue[T]) push(v T) *item[T] {
	it := &item[T]{value: v, prev: q.tail}
	if q.tail == nil {
		q.head = it
	} else {
		q.tail.next = it
	}
	q.tail = it
	q.len++
	return it
}

func (q *queue[T]) remove(it *item[T]) {
	if it.prev == nil {
		q.head = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		q.tail = it.prev
	} else {
		it.next.prev = it.prev
	}
	it.prev, it.next = nil, nil
	q.len--
}
