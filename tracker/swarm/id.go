package swarm

import (
	"encoding/binary"
	"math/bits"

	"github.com/dchest/siphash"
)

// An info hash or a peer id comes as UTF-8, and is kept in 20 bytes. Those of
// BitTorrent, 20 code points up to U+00FF, are these code points (a hash is
// some 30 bytes of UTF-8). Any other is odd: 16 bytes of SipHash under a key
// of the table's own, by which it is compared, and the handle of its text.

const (
	idLen  = 20
	oddLen = 16 // of an odd id: what follows is the handle of its text
)

// id is what is searched for.
type id struct {
	b   [idLen]byte // of an odd one, only the first oddLen
	odd bool
}

// pack reads an id.
func (t *Table) pack(k *id, text []byte) {
	k.odd = false
	if len(text) == idLen && ascii(text) {
		copy(k.b[:], text)
		return
	}
	if n := len(text); n > idLen && n <= 2*idLen {
		r := &t.recent[(text[n-1]^text[n-3])%recentIDs]
		if int(r.n) == n && string(r.text[:n]) == string(text) {
			k.b = r.b
			return
		}
		if latin1(&k.b, text) {
			r.n, r.b = uint8(n), k.b
			copy(r.text[:], text)
			return
		}
	}
	hi, lo := siphash.Hash128(t.nameKey[0], t.nameKey[1], text)
	*k = id{odd: true}
	binary.LittleEndian.PutUint64(k.b[0:], hi)
	binary.LittleEndian.PutUint64(k.b[8:], lo)
}

// ascii looks at 20 bytes.
func ascii(b []byte) bool {
	_ = b[idLen-1]
	x := binary.LittleEndian.Uint64(b) | binary.LittleEndian.Uint64(b[8:]) | uint64(binary.LittleEndian.Uint32(b[16:]))
	return x&0x8080808080808080 == 0
}

// recent is an id that was read: a busy swarm's hash comes again and again.
type recent struct {
	n    uint8 // bytes of text; 0: none
	b    [idLen]byte
	text [2 * idLen]byte
}

const recentIDs = 32

// latin1 reads 20 code points up to U+00FF, and nothing else, from up to 40
// bytes. It does not branch on the bytes of a hash, which no processor could
// foresee.
func latin1(b *[idLen]byte, text []byte) bool {
	var buf [64]byte
	at, bad := 0, byte(0)
	lead, high := byte(0), byte(0) // the byte before: begins two, and with what
	for _, c := range text {
		bad |= c>>7&^(c>>6)&1 ^ lead // whether this one goes on with them
		buf[at&63] = c | high
		lead = c >> 7 & (c >> 6) & 1
		bad |= (c&^1 ^ 0xc2) & -lead
		high = c << 6 & -lead & 0x40
		at += 1 - int(lead)
	}
	*b = [idLen]byte(buf[:idLen])
	return bad == 0 && lead == 0 && at == idLen
}

// text appends the UTF-8 of an id that is kept.
func (t *Table) text(dst []byte, b *[idLen]byte, odd bool) []byte {
	if odd {
		return append(dst, t.texts.get(handle(b))...)
	}
	for _, c := range b {
		if c < 0x80 {
			dst = append(dst, c)
		} else {
			dst = append(dst, 0xc0|c>>6, 0x80|c&0x3f)
		}
	}
	return dst
}

// keep is what to keep of an id; discard is its end.
func (t *Table) keep(k *id, text []byte) [idLen]byte {
	b := k.b
	if k.odd {
		binary.LittleEndian.PutUint32(b[oddLen:], t.texts.put(text))
	}
	return b
}

func (t *Table) discard(b *[idLen]byte, odd bool) {
	if odd {
		t.texts.remove(handle(b))
	}
}

func handle(b *[idLen]byte) uint32 { return binary.LittleEndian.Uint32(b[oddLen:]) }

// same compares an id that is kept with one that is searched for.
func same(b *[idLen]byte, odd bool, k *id) bool {
	if odd || k.odd {
		return odd == k.odd && [oddLen]byte(b[:oddLen]) == [oddLen]byte(k.b[:oddLen])
	}
	return *b == k.b
}

// key is what an info hash that is kept is searched by.
func (s *swarm) key() id {
	k := id{b: s.hash, odd: s.odd}
	if s.odd {
		clear(k.b[oddLen:])
	}
	return k
}

// hasher maps ids to 32 bits, by keys that nobody knows: any two ids are as
// likely to collide as by chance (pair-multiply-shift, which is strongly
// universal: Thorup, "High speed hashing for integers and strings"). That is
// a promise about who cannot see the hashes, and they are not shown. Whatever
// somebody might learn by timing, a segment of an index bounds what it costs.
type hasher struct {
	keys [6]uint64
	mask uint32 // all ones, but in tests that want collisions
}

func (h *hasher) sum(b *[idLen]byte, odd bool) uint32 {
	x, y, z := binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint64(b[8:]), uint64(binary.LittleEndian.Uint32(b[16:]))
	if odd {
		z = 0
	}
	s := (h.keys[0]+x>>32)*(h.keys[1]+x&0xffffffff) +
		(h.keys[2]+y>>32)*(h.keys[3]+y&0xffffffff) +
		(h.keys[4]+z)*h.keys[5]
	return uint32(s>>32) & h.mask
}

func (h *hasher) of(k *id) uint32 { return h.sum(&k.b, k.odd) }

// texts are the odd ids, by handle: a class of sizes and a place there.
// Places that become free are used again.
type texts struct {
	class  [textClasses]textClass
	huge   map[uint32]string // longer ones, which package wire does not let in unless it is told to
	serial uint32
}

const (
	textClasses = 4
	leastText   = 32 // bytes of a place of the first class; of the next twice as much
	hugeText    = 7
)

type textClass struct {
	slab slab[byte]
	free uint32 // 1 + a place, whose first bytes say which is next; 0: none
	live int
}

func (t *texts) put(text []byte) uint32 {
	c := bits.Len(uint(len(text)+1) / leastText)
	if c >= textClasses {
		return t.putHuge(text)
	}
	k := &t.class[c]
	if k.slab.width == 0 {
		k.slab = newSlab[byte](leastText<<c, 1)
	}
	k.live++
	var at uint32
	if k.free != 0 {
		at = k.free - 1
		k.free = binary.LittleEndian.Uint32(k.slab.row(at))
	} else {
		at = k.slab.push()
	}
	row := k.slab.row(at)
	row[0] = byte(len(text))
	copy(row[1:], text)
	return uint32(c)<<29 | at
}

func (t *texts) putHuge(text []byte) uint32 {
	if t.huge == nil {
		t.huge = make(map[uint32]string)
	}
	for {
		t.serial++
		n := hugeText<<29 | t.serial&(1<<29-1)
		if _, ok := t.huge[n]; !ok {
			t.huge[n] = string(text)
			return n
		}
	}
}

// get is a text, for the moment.
func (t *texts) get(n uint32) []byte {
	if n>>29 == hugeText {
		return []byte(t.huge[n])
	}
	row := t.class[n>>29].slab.row(n & (1<<29 - 1))
	return row[1 : 1+int(row[0])]
}

func (t *texts) remove(n uint32) {
	if n>>29 == hugeText {
		delete(t.huge, n)
		return
	}
	k := &t.class[n>>29]
	if k.live--; k.live == 0 {
		*k = textClass{}
		return
	}
	at := n & (1<<29 - 1)
	binary.LittleEndian.PutUint32(k.slab.row(at), k.free)
	k.free = at + 1
}

func (t *texts) len() int {
	n := len(t.huge)
	for i := range t.class {
		n += t.class[i].live
	}
	return n
}
