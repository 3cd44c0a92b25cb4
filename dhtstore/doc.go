// Package dhtstore keeps node lists and node records in the BitTorrent DHT,
// and implements [federation.Directory] on it.
//
// It is a full DHT node: it stores for others what it asks them to store for
// it, so that a network made only of our own nodes works from two nodes up.
//
// There are two DHTs, one of IPv4 addresses and one of IPv6 ones (BEP 32):
// the same keys, other nodes. A [Node] has a stack for each that its machine
// has sockets for, with a routing table, an id and stores of its own, and one
// packet budget for both. Each call goes to both at once, and neither waits
// for the other; one that nobody answers in is left alone while the other
// works.
//
// The story of a datagram that comes in:
//
//	socket -> guard -> parseMessage   anything malformed ends here, counted
//	            |- query -> responder -> stores, routing table -> our own reply
//	            '- reply -> rebuilt from what was parsed -> the library -> the caller that waits
//
// and of one that goes out:
//
//	Lookup, Resolve, Publish, Fetch -> lookup -> query -> budget -> the library -> guard -> socket
//
// Of github.com/anacrolix/dht/v2 only the transaction manager, the encoder of
// queries and the helpers for signed items are used. Version 2.23.0 can be
// crashed by one datagram in several ways and answers queries wrongly in
// several more, so that it never sees a query, and of a reply only what the
// guard encoded itself; faults_test.go has a test for each known fault. It
// keeps no routing table either: ours (table.go) lists only nodes that
// answered a query of ours.
//
// Nothing that comes from here is trusted by the federation. A lookup gives
// addresses, a record gives a signed suggestion whom to dial.
//
// [NewMemory] is the same directory without sockets, for tests.
package dhtstore
