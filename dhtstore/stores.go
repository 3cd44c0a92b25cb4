package dhtstore

import (
	"bytes"
	"container/list"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/anacrolix/dht/v2/bep44"
)

const (
	maxHashes   = 2000
	maxPeers    = 100 // of a hash
	maxHostHash = 8   // ports of one public address, or of one /64, under a hash
	maxItems    = 1000
	maxSample   = 50 // peers in one reply, if they fit
	peerExpiry  = 30 * time.Minute
	itemExpiry  = 2 * time.Hour
	tokenEpoch  = 5 * time.Minute
)

// peerStore keeps who announced what to us: bounded, expiring, by address and
// port. The hash announced longest ago gives way to a new one.
type peerStore struct {
	hashes map[nodeID]*list.Element
	recent *list.List // of *peerSet, latest announcement first
}

type peerSet struct {
	hash  nodeID
	peers []storedPeer // latest announcement last
}

type storedPeer struct {
	addr netip.AddrPort
	at   time.Time
}

func newPeerStore() *peerStore {
	return &peerStore{hashes: make(map[nodeID]*list.Element), recent: list.New()}
}

func (s *peerStore) announce(now time.Time, hash nodeID, addr netip.AddrPort) bool {
	el, ok := s.hashes[hash]
	if !ok {
		if s.recent.Len() >= maxHashes {
			s.drop(s.recent.Back())
		}
		el = s.recent.PushFront(&peerSet{hash: hash})
		s.hashes[hash] = el
	}
	s.recent.MoveToFront(el)
	set := el.Value.(*peerSet)
	set.expire(now)
	set.peers = slices.DeleteFunc(set.peers, func(p storedPeer) bool { return p.addr == addr })
	same := 0
	for _, p := range set.peers {
		if host(p.addr) == host(addr) {
			same++
		}
	}
	if same >= maxHostHash {
		return false
	}
	if len(set.peers) >= maxPeers {
		set.peers = slices.Delete(set.peers, 0, 1)
	}
	set.peers = append(set.peers, storedPeer{addr, now})
	return true
}

// sample returns up to n random peers of hash.
func (s *peerStore) sample(now time.Time, rnd *rand.Rand, hash nodeID, n int) []netip.AddrPort {
	el, ok := s.hashes[hash]
	if !ok {
		return nil
	}
	set := el.Value.(*peerSet)
	set.expire(now)
	if len(set.peers) == 0 {
		s.drop(el)
		return nil
	}
	out := make([]netip.AddrPort, 0, min(n, len(set.peers)))
	for _, i := range rnd.Perm(len(set.peers)) {
		if len(out) == n {
			break
		}
		out = append(out, set.peers[i].addr)
	}
	return out
}

// expire drops what nobody announced for long, from the least recent on.
func (s *peerStore) expire(now time.Time) {
	for el := s.recent.Back(); el != nil; el = s.recent.Back() {
		set := el.Value.(*peerSet)
		set.expire(now)
		if len(set.peers) > 0 {
			return
		}
		s.drop(el)
	}
}

func (s *peerStore) drop(el *list.Element) {
	delete(s.hashes, el.Value.(*peerSet).hash)
	s.recent.Remove(el)
}

func (s *peerStore) counts() (hashes, peers int) {
	for el := s.recent.Front(); el != nil; el = el.Next() {
		peers += len(el.Value.(*peerSet).peers)
	}
	return s.recent.Len(), peers
}

// expire removes the prefix that is too old: peers are kept in the order of
// their announcements.
func (set *peerSet) expire(now time.Time) {
	n := 0
	for n < len(set.peers) && now.Sub(set.peers[n].at) >= peerExpiry {
		n++
	}
	set.peers = slices.Delete(set.peers, 0, n)
}

// storedItem is a BEP 44 item, mutable when it has a key.
type storedItem struct {
	target    nodeID
	key, salt []byte
	sig       []byte
	seq       int64
	value     []byte
	at        time.Time
}

// itemStore keeps BEP 44 items of others: bounded, the least recently used
// gives way.
type itemStore struct {
	items  map[nodeID]*list.Element
	recent *list.List // of *storedItem, latest use first
}

func newItemStore() *itemStore {
	return &itemStore{items: make(map[nodeID]*list.Element), recent: list.New()}
}

func (s *itemStore) get(now time.Time, target nodeID) *storedItem {
	el, ok := s.items[target]
	if !ok {
		return nil
	}
	it := el.Value.(*storedItem)
	if now.Sub(it.at) >= itemExpiry {
		s.drop(el)
		return nil
	}
	s.recent.MoveToFront(el)
	return it
}

// put checks and stores the item of a put message, in the order of cost: the
// signature last. It returns the error code to answer with, or 0.
func (s *itemStore) put(now time.Time, m *message) int64 {
	if len(m.value) > maxValue {
		return codeTooBig
	}
	if len(m.salt) > maxSalt {
		return codeSalt
	}
	if !canonical(m.value) {
		return codeProtocol
	}
	if m.key == nil {
		target := nodeID(sha1.Sum(m.value))
		s.store(now, &storedItem{target: target, value: bytes.Clone(m.value)})
		return 0
	}
	if m.sig == nil || !m.hasSeq || m.seq < 0 {
		return codeProtocol
	}
	target := nodeID(sha1.Sum(slices.Concat(m.key, m.salt)))
	if old := s.get(now, target); old != nil {
		// BEP 44: cas names the sequence number that the writer read.
		if m.hasCAS && m.cas != old.seq {
			return codeCAS
		}
		if m.seq < old.seq || m.seq == old.seq && !bytes.Equal(m.value, old.value) {
			return codeSeq
		}
	}
	if !bep44.Verify(m.key, m.salt, m.seq, m.value, m.sig) {
		return codeBadSig
	}
	s.store(now, &storedItem{
		target: target, key: bytes.Clone(m.key), salt: bytes.Clone(m.salt),
		sig: bytes.Clone(m.sig), seq: m.seq, value: bytes.Clone(m.value),
	})
	return 0
}

func (s *itemStore) store(now time.Time, it *storedItem) {
	it.at = now
	if el, ok := s.items[it.target]; ok {
		el.Value = it
		s.recent.MoveToFront(el)
		return
	}
	if s.recent.Len() >= maxItems {
		s.drop(s.recent.Back())
	}
	s.items[it.target] = s.recent.PushFront(it)
}

func (s *itemStore) drop(el *list.Element) {
	delete(s.items, el.Value.(*storedItem).target)
	s.recent.Remove(el)
}

func (s *itemStore) expire(now time.Time) {
	for el := s.recent.Front(); el != nil; {
		next := el.Next()
		if now.Sub(el.Value.(*storedItem).at) >= itemExpiry {
			s.drop(el)
		}
		el = next
	}
}

// tokens proves that whoever writes has received at the address that it
// writes from. Nothing is kept: a token is a MAC of address and epoch.
type tokens struct {
	secret [32]byte
}

const (
	tokenSize = 6
	// tokenEpochs is how many epochs back a token is good: 10 to 15 minutes.
	tokenEpochs = 3
)

func (t *tokens) make(now time.Time, addr netip.Addr) []byte {
	return t.at(now.Unix()/int64(tokenEpoch/time.Second), addr)
}

func (t *tokens) valid(now time.Time, addr netip.Addr, token []byte) bool {
	if len(token) != tokenSize {
		return false
	}
	for _, good := range t.all(now, addr) {
		if subtle.ConstantTimeCompare(good, token) == 1 {
			return true
		}
	}
	return false
}

// all are the tokens that are good.
func (t *tokens) all(now time.Time, addr netip.Addr) (list [tokenEpochs][]byte) {
	epoch := now.Unix() / int64(tokenEpoch/time.Second)
	for i := range list {
		list[i] = t.at(epoch-int64(i), addr)
	}
	return list
}

func (t *tokens) at(epoch int64, addr netip.Addr) []byte {
	mac := hmac.New(sha256.New, t.secret[:])
	ip := addr.As16()
	mac.Write(binary.BigEndian.AppendUint64(ip[:], uint64(epoch)))
	return mac.Sum(nil)[:tokenSize]
}
