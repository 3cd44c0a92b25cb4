package dhtstore

import (
	"bytes"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"time"
)

// ocean is a large DHT of nodes without a life of their own: each answers as
// one would whose routing table is that of Kademlia. A quarter are dead, a
// quarter have ids that do not fit their address, and answers take 20 to 220
// ms. It stands for the mainline DHT in tests of what lookups cost.
type ocean struct {
	net   *fakeNet
	seed  maphash.Seed
	nodes [families][]contact // by id
	dead  map[netip.AddrPort]bool
	ids   map[netip.AddrPort]nodeID
}

func newOcean(net *fakeNet, count4, count6 int) *ocean {
	o := &ocean{
		net: net, seed: maphash.MakeSeed(),
		dead: make(map[netip.AddrPort]bool), ids: make(map[netip.AddrPort]nodeID),
	}
	r := rand.New(rand.NewPCG(5, 6))
	for f, count := range [families]int{count4, count6} {
		for i := range count {
			addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, byte(i >> 8), byte(i), 1}), 7000)
			if family(f) == ipv6 {
				addr = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x2a, 0, 0, byte(i >> 16), byte(i >> 8), byte(i), 15: 1}), 7000)
			}
			id := randomID(r, 0)
			if r.IntN(4) > 0 {
				id.fit(addr.Addr())
			}
			o.nodes[f] = append(o.nodes[f], contact{id, addr})
			o.ids[addr] = id
			o.dead[addr] = r.IntN(4) == 0
		}
		slices.SortFunc(o.nodes[f], func(a, b contact) int { return bytes.Compare(a.id[:], b.id[:]) })
	}
	net.ocean = o
	return o
}

// living returns the address of some node that answers.
func (o *ocean) living(f family) netip.AddrPort {
	for _, c := range o.nodes[f] {
		if !o.dead[c.addr] {
			return c.addr
		}
	}
	panic("an ocean without life")
}

// receive answers a query to a node that the network does not have otherwise.
func (o *ocean) receive(from *fakeConn, to netip.AddrPort, b []byte) {
	id, ok := o.ids[to]
	var m message
	if !ok || o.dead[to] || m.parse(b) != faultNone || m.kind != 'q' {
		return
	}
	f, _ := familyOf(to.Addr())
	r := body{id: id}
	switch m.method {
	case methodFindNode, methodGet:
		r.nodes[f] = o.near(f, id, m.target)
	case methodGetPeers:
		r.nodes[f] = o.near(f, id, m.infoHash)
	}
	if m.method == methodGet || m.method == methodGetPeers {
		r.token = []byte("tok")
	}
	reply := appendReply(nil, m.tid, from.addr, &r)
	delay := 20*time.Millisecond + time.Duration(o.hash(id, uint64(m.tid[0]))%200)*time.Millisecond
	time.AfterFunc(delay, func() {
		select {
		case from.in <- fakePacket{reply, to}:
		case <-from.closed:
		}
	})
}

func (o *ocean) hash(id nodeID, n uint64) uint64 {
	return maphash.Comparable(o.seed, struct {
		id nodeID
		n  uint64
	}{id, n})
}

// near returns 8 nodes that the node id knows near target: some of those that
// share one bit more with the target than it does, or its neighbours.
func (o *ocean) near(f family, id, target nodeID) []contact {
	all := o.nodes[f]
	bits := sharedBits(&id, &target) + 1
	low := sort.Search(len(all), func(i int) bool {
		return bytes.Compare(all[i].id[:], target[:]) >= 0 || sharedBits(&all[i].id, &target) >= bits
	})
	high := low + sort.Search(len(all)-low, func(i int) bool {
		x := &all[low+i].id
		return bytes.Compare(x[:], target[:]) > 0 && sharedBits(x, &target) < bits
	})
	var out []contact
	if high-low > 2*bucketSize {
		for i := range uint64(bucketSize) {
			if c := all[low+int(o.hash(id, i)%uint64(high-low))]; !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	} else {
		out = slices.Clone(all[max(0, low-bucketSize):min(len(all), high+bucketSize)])
	}
	slices.SortFunc(out, func(a, b contact) int { return compareDistance(&target, &a.id, &b.id) })
	return out[:min(bucketSize, len(out))]
}
