package swarm

import (
	"encoding/binary"
	"time"
)

// Where swarms and their members are kept.
//
// A swarm is a record in a slab, found by an index. The members of most are a
// row of the slab for as many members, which is searched by looking at each:
// they are next to each other, so that is as fast as anything. Those above
// maxRow have pages and an index of their own. The order of the members is
// that of dealing (deck.go). What few swarms need is in an extension
// (extension.go).
//
// Whatever is removed is replaced by the last of its kind, so slabs have no
// holes. A *swarm is therefore good until the next swarm begins or ends, a
// *member until the next joins or leaves.

const (
	maxRow   = 64
	rowAgain = 48 // pages are given up at this
	pageLen  = 32
	pageBits = 5
)

// swarm is the members of one info hash.
type swarm struct {
	hash       [idLen]byte
	row        uint32 // of the members, in the slab for as many; unless paged
	ext        uint32 // 1 + its extension; 0: none
	n          uint32 // members
	complete   uint32 // those that are seeders
	dealt      uint32 // so many members, the first ones, are dealt
	downloaded uint32
	odd        bool
	paged      bool
}

const swarmBytes = 48

// member is a peer of a swarm.
type member struct {
	id    [idLen]byte
	owner Owner
	mark  uint32 // when it last announced or answered, and flags
}

const memberBytes = 28

// Flags of a member, below the time that it was last seen.
const (
	seeder     uint32 = 1 << iota
	downloaded        // its completion was counted
	odd               // its id
	rare              // it has something in the swarm's extension: parked offers, or a claim to it
	seenUnit
	flags = seenUnit - 1
)

// tick is the unit of time of memberships. They are counted modulo 2^28,
// which is two years.
const tick = 250 * time.Millisecond

// maxTTL is well below half of that.
const maxTTL = 365 * 24 * time.Hour

// see says that a member was seen now: or a little later, never earlier, so
// that it is not ended before its time.
func (m *member) see(now time.Duration) {
	m.mark = m.mark&flags | uint32((now+tick-1)/tick)*seenUnit
}

// silent is for how long a member has not been seen.
func (m *member) silent(now time.Duration) time.Duration {
	ticks := int32(uint32(now/tick)*seenUnit-m.mark&^flags) / int32(seenUnit)
	return time.Duration(ticks)*tick + now%tick
}

func (m *member) has(flag uint32) bool { return m.mark&flag != 0 }

func (m *member) set(flag uint32, on bool) {
	m.mark &^= flag
	if on {
		m.mark |= flag
	}
}

func (m *member) is(k *id) bool { return same(&m.id, m.has(odd), k) }

func (s *swarm) len() int { return int(s.n) }

// lookup finds the swarm of an info hash, or nil.
func (t *Table) lookup(k *id) *swarm {
	for p := t.index.probe(t.hash.of(k)); p.next(); {
		if s := t.swarms.at(p.place); same(&s.hash, s.odd, k) {
			return s
		}
	}
	return nil
}

// swarm finds it by its name.
func (t *Table) swarm(infoHash []byte) *swarm {
	var k id
	t.pack(&k, infoHash)
	return t.lookup(&k)
}

func (t *Table) swarmHash(at uint32) uint32 {
	s := t.swarms.at(at)
	return t.hash.sum(&s.hash, s.odd)
}

func (t *Table) memberHash(m *member) uint32 { return t.hash.sum(&m.id, m.has(odd)) }

// deck is where the members of a swarm are, until one joins or leaves.
type deck struct {
	row   []member   // unless paged
	pages [][]member // if paged
}

func (t *Table) deck(s *swarm) deck {
	if s.paged {
		return deck{pages: t.ext(s).pages}
	}
	return deck{row: t.row(s)}
}

func (d *deck) at(slot int) *member {
	if d.pages != nil {
		return &d.pages[slot>>pageBits][slot&(pageLen-1)]
	}
	return &d.row[slot]
}

// row is the members of a swarm that is not paged.
func (t *Table) row(s *swarm) []member { return t.rows[rowClass[s.n]].row(s.row)[:s.n] }

// member is the one in a slot.
func (t *Table) member(s *swarm, slot int) *member {
	d := t.deck(s)
	return d.at(slot)
}

// find finds a member, or nil.
func (t *Table) find(s *swarm, k *id) *member {
	if s.paged {
		x := t.ext(s)
		for p := x.index.probe(t.hash.of(k)); p.next(); {
			if m := &x.pages[p.place>>pageBits][p.place&(pageLen-1)]; m.is(k) {
				return m
			}
		}
		return nil
	}
	row := t.row(s)
	if k.odd {
		for i := range row {
			if row[i].is(k) {
				return &row[i]
			}
		}
		return nil
	}
	// Peer ids begin alike and end at random.
	tail := binary.LittleEndian.Uint64(k.b[idLen-8:])
	for i := range row {
		if m := &row[i]; binary.LittleEndian.Uint64(m.id[idLen-8:]) == tail && m.id == k.b && !m.has(odd) {
			return m
		}
	}
	return nil
}

// slot is where a member is.
func (t *Table) slot(s *swarm, m *member) int {
	if s.paged {
		x := t.ext(s)
		for p := x.index.probe(t.memberHash(m)); p.next(); {
			if &x.pages[p.place>>pageBits][p.place&(pageLen-1)] == m {
				return int(p.place)
			}
		}
		return -1
	}
	row := t.row(s)
	for i := range row {
		if &row[i] == m {
			return i
		}
	}
	return -1
}

// peer finds a member by its name.
func (t *Table) peer(s *swarm, peerID []byte) *member {
	var k id
	t.pack(&k, peerID)
	return t.find(s, &k)
}

// ownedBy counts the owner's members.
func (t *Table) ownedBy(s *swarm, o Owner) (n int) {
	if s.paged {
		return int(t.ext(s).owned[o])
	}
	row := t.row(s)
	for i := range row {
		if row[i].owner == o {
			n++
		}
	}
	return n
}

// own and disown keep the count of an owner's members.
func (t *Table) own(s *swarm, o Owner) {
	if s.paged {
		t.ext(s).owned[o]++
	}
}

func (t *Table) disown(s *swarm, o Owner) {
	if !s.paged {
		return
	}
	x := t.ext(s)
	if x.owned[o]--; x.owned[o] == 0 {
		delete(x.owned, o)
	}
}

// swap exchanges the members in two slots.
func (t *Table) swap(s *swarm, d *deck, i, j int) {
	if i == j {
		return
	}
	a, b := d.at(i), d.at(j)
	if s.paged {
		t.ext(s).index.swap(t.memberHash(a), uint32(i), t.memberHash(b), uint32(j))
	}
	*a, *b = *b, *a
}

// place is where the record of a swarm is.
func (t *Table) place(s *swarm) uint32 {
	if s.paged {
		return t.ext(s).at
	}
	return *t.backs[rowClass[s.n]].at(s.row)
}

// begin makes a swarm, which has no member yet; add must follow.
func (t *Table) begin(k *id, infoHash []byte) *swarm {
	hash := t.keep(k, infoHash)
	at := t.swarms.push()
	s := t.swarms.at(at)
	*s = swarm{hash: hash, odd: k.odd}
	t.index.insert(t.hash.of(k), at, t.swarmHash)
	s.row = t.newRow(0, at)
	return s
}

// end removes a swarm of which the last member has been taken.
func (t *Table) end(s *swarm, at uint32) {
	if s.ext != 0 {
		t.retract(s)
	}
	t.index.remove(t.hash.sum(&s.hash, s.odd), at)
	t.discard(&s.hash, s.odd)
	last := t.swarms.rows - 1
	if at != last {
		*s = *t.swarms.at(last)
		t.index.move(t.hash.sum(&s.hash, s.odd), last, at)
		if s.ext != 0 {
			t.ext(s).at = at
		}
		if !s.paged {
			*t.backs[rowClass[s.n]].at(s.row) = at
		}
	}
	t.swarms.pop()
}

// add appends a member to a swarm.
func (t *Table) add(s *swarm, m member) *member {
	n := s.len()
	switch {
	case s.paged:
		if x := t.ext(s); n == pageLen*len(x.pages) {
			x.pages = append(x.pages, make([]member, pageLen))
		}
	case n == maxRow:
		t.page(s)
	case n > 0:
		t.moveRow(s, n, rowClass[n], rowClass[n+1])
	}
	s.n++
	added := t.member(s, n)
	*added = m
	if s.paged {
		t.enter(s, n)
	}
	return added
}

// page moves the members of a swarm from a full row to pages.
func (t *Table) page(s *swarm) {
	x, row := t.extend(s), t.row(s)
	for rest := row; len(rest) > 0; {
		page := make([]member, pageLen)
		rest = rest[copy(page, rest):]
		x.pages = append(x.pages, page)
	}
	x.pages = append(x.pages, make([]member, pageLen))
	x.owned = make(map[Owner]uint32, 2*maxRow)
	t.freeRow(rowClasses-1, s.row)
	s.paged = true
	for i := range s.len() {
		t.enter(s, i)
	}
}

// enter puts a member of a paged swarm into its index.
func (t *Table) enter(s *swarm, slot int) {
	x, d := t.ext(s), t.deck(s)
	m := d.at(slot)
	x.index.insert(t.memberHash(m), uint32(slot), func(at uint32) uint32 { return t.memberHash(d.at(int(at))) })
	x.owned[m.owner]++
}

// take removes a member; whether the others are dealt stays as it
// is. With the last one the swarm goes.
func (t *Table) take(s *swarm, m *member) {
	at, slot := t.place(s), t.slot(s, m)
	t.disown(s, m.owner)
	t.discard(&m.id, m.has(odd))
	d := t.deck(s)
	if slot < int(s.dealt) {
		s.dealt--
		t.swap(s, &d, slot, int(s.dealt))
		slot = int(s.dealt)
	}
	last := s.len() - 1
	x := t.ext(s)
	if s.paged {
		x.index.remove(t.memberHash(d.at(slot)), uint32(slot))
	}
	if slot != last {
		m := d.at(last)
		*d.at(slot) = *m
		if s.paged {
			x.index.move(t.memberHash(m), uint32(last), uint32(slot))
		}
	}
	switch {
	case last == 0:
		t.freeRow(0, s.row)
		t.end(s, at)
		return
	case !s.paged:
		t.moveRow(s, last, rowClass[last+1], rowClass[last])
	case last <= rowAgain:
		s.row = t.newRow(rowClass[last], at)
		row := t.rows[rowClass[last]].row(s.row)
		for i := range last {
			row[i] = *d.at(i)
		}
		s.paged, x.pages, x.owned, x.index = false, nil, nil, index{}
	default:
		if pages := (last+pageLen-1)/pageLen + 1; pages < len(x.pages) { // one to spare
			x.pages[pages] = nil
			x.pages = x.pages[:pages]
		}
	}
	s.n--
}
