// Package registry lets the nodes of a large network find those that have a
// swarm by asking three of them, without any directory.
//
// # Who is responsible
//
// Swarms fall into Buckets buckets, and each bucket has Replicas responsible
// nodes. Nobody appoints them: every node computes them from the nodes that it
// knows, by rendezvous hashing (highest random weight): each node has a weight
// for each bucket, a hash of both, and those with the largest are responsible.
// So nodes that know the same others agree; and when one of n nodes comes or goes,
// only those places move that it has, about Replicas·Buckets/n of them. Nodes that
// know different ones still have one of three in common for most buckets: for
// 997 of 1,000 with a tenth of the network unknown to each side, at random; 985
// with a fifth, 948 with three tenths (TestViewsThatDiffer). Ring keeps the sets.
//
// At most one of the three is in an address prefix, as far as prefixes are known.
//
// # What is said to them
//
// A node registers its swarms with those responsible, by name (Name): a hash of
// the info hash and the key of the node that is told. It asks the same nodes for
// the others that registered a name. Store is what a responsible node keeps; it
// answers with a few of them at random, from different prefixes first.
//
// The name is SHA-256 cut to 64 bits, not the SipHash of package filter: its
// key is known to a whole network, and in an open one to everybody, and SipHash
// under a known key can be computed backwards. Whoever gets a name learns
// which nodes have a swarm in common, and which swarm only if it knows the info
// hash already. Two responsible nodes cannot compare what they were told, since
// the names are others, and what one was told means nothing to the next. There is
// no day in the name: a node that is told the same name again knows the one who says it.
//
// # How many buckets
//
// More buckets spread the load over more nodes, and take more links. A node with
// many swarms has Replicas·Buckets places to reach, hence about n(1-(1-3/n)^Buckets)
// of n nodes, every 20 minutes. Who has such a place is reached by all others, and
// keeps 3·S·n names, divided by the number of those nodes, if each node has S swarms.
// With S = 1,000 (TestHowManyBuckets):
//
//	         nodes to reach       links taken, a second  names kept
//	buckets  n=300 1,000 10,000   300  1,000 10,000        300  1,000  10,000
//	   16       45    47     48  0.25   0.83   8.3      20,000 64,000 626,000
//	   64      142   175    190  0.25   0.83   8.3       6,300 17,000 158,000
//	  256      277   537    739  0.25   0.83   8.3       3,200  5,600  41,000
//
// 64 it is: with 300 nodes half of them are spared, with 1,000 five of six, and of
// links that are let go after a minute some 65 are up at a time, of 256. With 10,000 nodes
// those who have a place would have 500 such links at a time, of which the oldest
// give way to the next; networks of that size want more buckets, and another
// version of this.
//
// # What an attacker gains
//
// Keys cost nothing, and weights can be computed by everybody who knows the network, so whoever
// likes makes keys that are responsible for a bucket of its choice; for all three
// places it needs nodes in three prefixes that can be dialled. It then learns which nodes have swarms in
// common in that bucket, 1 in 64 of all; the names tell it nothing, unless it knows the
// info hash, and then the directory would tell it as much. It can keep silent, or name liars. Neither
// costs more than time: a node told of others dials a few, at a bounded rate,
// through the guards that all dials go through, tells them the swarm's name under
// their link's own key and never the info hash, and searches the directory a few seconds
// later in any case. Package mesh has those bounds.
package registry

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/draeder/peerservers/federation/filter"
)

const (
	// Buckets is how many buckets there are: the upper 6 of the 12 bits that a
	// swarm's bucket of package filter has.
	Buckets = 64
	// Replicas is how many nodes are responsible for a bucket.
	Replicas = 3
	// Lifetime of a registration that is not repeated, in seconds: a little
	// over two of the pauses between two repetitions.
	Lifetime = 45 * 60

	// PerBucket is how many buckets of package filter are in one of ours.
	PerBucket = filter.Buckets / Buckets
)

// Key is a node's ed25519 public key.
type Key = [32]byte

// Bucket is the bucket of a swarm, by that of package filter.
func Bucket(fine int) int { return fine / PerBucket }

// Name is the name of a swarm for the responsible node to; network is the
// network's bucket key.
func Name(network filter.Key, to Key, infoHash string) uint64 {
	var buf [512]byte
	b := append(buf[:0], "wtfed1:register\x00"...)
	b = append(b, network[:]...)
	b = append(b, to[:]...)
	b = append(b, infoHash...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}
