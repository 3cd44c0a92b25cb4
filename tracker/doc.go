// Package tracker introduces clients to each other: it takes the frames of
// many connections, keeps the swarms that they speak of, and hands offers and
// answers from one connection to another. It does not listen: whoever has a
// connection opens a [Session] with a [Sink] for what goes back, which is how
// the server, the tests and embedding programs all come in.
//
// # The path of an announce
//
// A transport reads one text frame and calls [Session.Handle], from the
// goroutine that read it. package wire reads the frame into a request that
// aliases it. package access judges it with one atomic load. The info hash
// picks a shard; under that shard's lock, and only there, package swarm
// changes its table and appends effects ("give this offer to that owner").
// The lock is released, and each effect is performed: a local client's sink
// encodes it into its own bounded outbox, a federated node's sink into its
// link. Sinks never block, so neither a slow reader nor a slow link ever
// holds an announce up, and nothing is encoded or delivered under a lock.
// Effects alias the frame and memory that the table does not write again; so
// a frame is copied once on its way, into the outbox. Last, the [Watcher] (the
// federation, if there is one) is told that the swarm was touched.
//
// # Ownership
//
// A membership belongs to (session, info hash, peer id), and each table checks
// that on each change. A session keeps an index of what it owns only so that
// it can leave when it closes; an entry gone stale, because the member expired
// or moved to a newer connection, does no harm.
//
// Tables know owners by number, so that they hold no pointers, and effects
// name them so; owners.go tells the sessions, without a lock, and sees to it
// that no number means somebody else too soon. A session that idles is small:
// 112 bytes, its one membership in a string, and its share of the table.
//
// A federated node is a member of the swarm like another, with a weight. It
// comes in through [Tracker.OpenNode], by its key rather than by its link, so
// that its memberships and the ledger of its offers outlive the loss of a
// link. This package knows nothing else of federation.
//
// # Locks
//
// Each shard has one, held for one table operation. A session and a node
// session have one each, for their index; theirs may be held when a shard's
// is taken, never the other way round. No lock is held while a sink, the
// watcher or an access hook runs.
package tracker
