package tracker

import (
	"net/netip"

	"github.com/draeder/peerservers/tracker/swarm"
	"github.com/draeder/peerservers/tracker/wire"
)

// Sink is the way back to a client. Its methods never block and never call
// the session, and may be called from any goroutine, after the session was
// closed too.
type Sink interface {
	// Deliver sends a frame, or drops it and counts why. m is valid only
	// during the call.
	Deliver(m *wire.Message)
	// Ping sends a WebSocket ping: somebody claims a peer id of this client.
	Ping()
	// Close ends the connection with a close code and a reason.
	Close(code int, reason string)
}

// Courier delivers to sinks in their stead. An event loop that owns the
// connections behind many of them does so without a lock while it handles a
// frame: see Session.HandleVia.
type Courier interface {
	// Deliver does what to.Deliver(m) would.
	Deliver(to Sink, m *wire.Message)
}

// NodeSink is the way to a federated node. Its methods never block and keep
// nothing that they are given.
type NodeSink interface {
	// Offers relays those offers of one announce that fall to the node.
	Offers(infoHash, peerID []byte, offers []swarm.Offer)
	// Answer returns the answer of peerID to the offer that the node relayed
	// for toPeerID.
	Answer(infoHash, toPeerID, peerID, offerID, payload []byte)
	// Refused gives back an offer of peerID that the node relayed.
	Refused(infoHash, peerID []byte, offer swarm.Offer, reason swarm.RefuseReason)
}

// Watcher is told when a swarm is worth another look: local members came, went
// or changed roles, or offers wait for somebody to take them. Level-triggered:
// it says which swarm, and the watcher asks State how things are by now. It
// must not block; no lock is held. infoHash is valid only during the call.
type Watcher interface {
	Touch(infoHash []byte)
}

// Client is what a transport knows of a connection.
type Client struct {
	// Addr is the client's own address as far as it is known, not that of a
	// trusted proxy.
	Addr   netip.AddrPort
	Origin string
	Path   string
	// Token is what the URL brought, for access rules.
	Token string
}
