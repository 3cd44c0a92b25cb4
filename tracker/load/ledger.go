package load

// ledger is what must still come back: a ring of the latest announces, with
// what became of their offers. What falls out of it is lost.
type ledger struct {
	entries   []entry
	receivers []int32 // per entry one for each offer; see below
	offers    int     // at most, in an announce
	next      uint64
	missing   func(*entry, []int32)
}

// entry is one announce. A receiver is the connection that got the offer, none
// if nobody did, and the complement of it once its answer has come back.
type entry struct {
	seq     uint64
	conn    int32
	offers  int32
	sent    int64
	measure bool
	replied bool
	open    bool
}

const none = 1 << 30

func newLedger(size, offers int, missing func(*entry, []int32)) *ledger {
	n := 1
	for n < size {
		n *= 2
	}
	return &ledger{
		entries:   make([]entry, n),
		receivers: make([]int32, n*offers),
		offers:    offers,
		missing:   missing,
	}
}

func (l *ledger) slot(seq uint64) int { return int(seq & uint64(len(l.entries)-1)) }

// announce enters an announce and gives it its number.
func (l *ledger) announce(conn, offers int, now int64, measure bool) uint64 {
	seq := l.next
	l.next++
	i := l.slot(seq)
	l.retire(i)
	l.entries[i] = entry{seq: seq, conn: int32(conn), offers: int32(offers), sent: now, measure: measure, open: true}
	r := l.of(i)
	for k := range r {
		r[k] = none
	}
	return seq
}

func (l *ledger) of(i int) []int32 {
	return l.receivers[i*l.offers:][:l.entries[i].offers]
}

// find is the announce of a number, and the receivers of its offers; nil if
// there is none, or none any more.
func (l *ledger) find(seq uint64) (*entry, []int32) {
	if len(l.entries) == 0 {
		return nil, nil
	}
	i := l.slot(seq)
	e := &l.entries[i]
	if !e.open || e.seq != seq {
		return nil, nil
	}
	return e, l.of(i)
}

func (l *ledger) retire(i int) {
	e := &l.entries[i]
	if !e.open {
		return
	}
	e.open = false
	l.missing(e, l.of(i))
}

// close retires everything.
func (l *ledger) close() {
	for i := range l.entries {
		l.retire(i)
	}
}
