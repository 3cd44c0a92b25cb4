package federation

import (
	"context"
	"crypto/ed25519"
	"net/netip"
)

// Target is a 20-byte key of the directory, derived so that it names a swarm
// or a network to those who know it and nothing to others.
type Target [20]byte

// Item is a value signed under a key of its author, as BEP 44 has it: Sig
// covers the bencoded salt, seq and v.
type Item struct {
	Key ed25519.PublicKey
	Seq int64
	Sig [64]byte
	// Value is the bencoded value, at most 950 bytes.
	Value []byte
}

// Directory suggests whom to dial. Nothing that it returns is trusted. It is
// safe for concurrent use, spends a bounded number of packets, and every call
// ends soon after its context does.
type Directory interface {
	// Lookup searches the nodes announced under target and calls found for
	// each sighting as it arrives (the same address again each time another
	// responder names it), from one goroutine, never after it returned. With
	// announce, this node is announced there as well.
	Lookup(ctx context.Context, target Target, announce bool, found func(netip.AddrPort)) error
	// Resolve asks the node at addr for its signed record. The signature has
	// been checked; the contents have not.
	Resolve(ctx context.Context, addr netip.AddrPort) (Item, error)
	// Fetch looks the newest record of key up.
	Fetch(ctx context.Context, key ed25519.PublicKey) (Item, error)
	// Publish stores our own record and answers Resolve of others with it
	// from now on.
	Publish(ctx context.Context, item Item) error
}
