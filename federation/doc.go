// Package federation joins trackers that need not know each other, so that a
// swarm spread over many of them behaves as one.
//
// # The path of an introduction
//
// A client announces to its tracker, which tells its watcher, the [Watcher],
// that the swarm was touched. The Watcher notes the info hash and returns;
// nothing that serves clients ever waits for this package. The [Federation]'s
// loop asks the tracker how the swarm stands and tells package mesh, which
// decides whom to look for. What mesh decides, this package does: it searches
// the [Directory] for others that announced the swarm, asks them for their
// signed records, dials them, and lets package handshake prove on both sides
// who is there. Then there is a link.
//
// A link carries the frames of package frame: join and leave tell each other
// who has how many peers in a swarm that both have. The tracker treats the
// node as a weighted member of the swarm from then on: offers that fall to it
// come out of its [tracker.NodeSession], go over the link as one frame, and on
// the other side into that tracker's session for us. Answers return the same
// way, and so do offers that could not be placed. What comes from a node is
// checked here (form, sizes, quotas) and judged there (membership, ledger).
//
// # Swarms of linked nodes
//
// What two linked nodes have in common they find out without the Directory:
// mesh decides when (census, filter, names), this package computes the keyed
// hashes, for the keys belong to a link. A filter is made part by part, on a
// goroutine of its own, and compared part by part, on the link's reader; both
// hold Federation.mu only to copy some info hashes.
//
// # Peers and links
//
// A peer is a node by its key; it may have several links for a moment, since
// both sides dial. They agree on one by a rule that needs no messages; the
// other one drains: its side says bye, and reads on until the other side has
// said all and closes. The peer's memberships belong to the peer, not to the
// link, and so do not notice.
//
// # Goroutines and locks
//
// Run has one goroutine for mesh's timers; each link has a reader and a
// writer; searches, resolves and dials have one each while they last, and
// mesh bounds how many that are. Federation.mu guards mesh and is held while
// its actions are started, so that actions happen in order. peer.mu guards a
// peer's memberships and links; it may be taken under Federation.mu, never
// the other way round. An outbox has a lock of its own, innermost of all.
package federation
