package federation_test

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/draeder/peerservers/federation/filter"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/registry"
)

// registryExamples are of the open network's nodes "a" to "e".
func registryExamples(t *testing.T) []docExample {
	network := filter.Key(docNetwork(t, "peerservers", "").BucketKey())
	weights, ring := registry.NewWeights(network), registry.NewRing(network)
	names, of := map[registry.Key]string{}, map[string]registry.Key{}
	for _, c := range "abcde" {
		k := registry.Key(docKey(string(c)).Public().(ed25519.PublicKey))
		names[k], of[string(c)] = string(c), k
		ring.Add(k, netip.AddrPort{})
	}
	responsible := func(bucket int) string {
		var list []string
		for _, k := range ring.Responsible(bucket).Keys() {
			list = append(list, names[k])
		}
		return strings.Join(list, " ")
	}
	ih := strings.Repeat("a", 20)
	a, b := of["a"], of["b"]
	bucket := registry.Bucket(network.Bucket(ih))
	nameA, nameB := registry.Name(network, a, ih), registry.Name(network, b, ih)
	record := frame.Record{Key: a[:], Seq: 1, Signature: make([]byte, 64), Value: []byte("de")}
	return []docExample{
		{"key of a", docHex(a[:])},
		{"key of b", docHex(b[:])},
		{"W(0)", docHex(weights[0][:])},
		{"weight of a in bucket 0", fmt.Sprintf("0x%016x", weights.Of(&a, 0))},
		{"responsible for bucket 0 of a, b, c, d and e", responsible(0)},
		{"responsible for bucket 63", responsible(63)},
		{"bucket of 20 times \"a\"", fmt.Sprint(bucket)},
		{"responsible for it", responsible(bucket)},
		{"its name for a", fmt.Sprintf("0x%016x", nameA)},
		{"its name for b", fmt.Sprintf("0x%016x", nameB)},
		{"a frame that registers it with b, and asks", docHex(frame.AppendRegister(nil, []uint64{nameB}, []uint64{nameB}))},
		{"a frame of b that tells of a", docHex(frame.AppendTold(nil, &frame.Told{Records: []frame.Record{record}, Found: []frame.Found{{Name: nameB, Nodes: []byte{0}}}}))},
	}
}
