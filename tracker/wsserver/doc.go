// Package wsserver puts a tracker on the network: WebSocket for clients, a few
// HTTP pages for people and machines, TLS beside plain text, all on one port.
//
// # Two engines
//
// On Linux, sockets are served by event loops (loop_linux.go); on other
// systems, for other listeners and for programs that bring their own HTTP
// server, by the portable engine, which is net/http and a goroutine for each
// connection. Clients cannot tell them apart: the same tests, the same talks
// and a comparison on random streams hold them to that. A loop needs less than
// half of the CPU for a message, because an iteration writes once for each
// connection whatever it brought, and a few hundred bytes for a silent client,
// because all that it reads and writes with is the loop's.
//
// One loop serves tens of thousands of clients, and several have to hand on what
// is for each other's. So there is one, until it is busy: then another is
// started, and takes new connections until it has as much to do
// (balance_linux.go). Config.Loops fixes their number; then
// each can have a listener of its own (Listen).
//
// The loops wait with epoll. The same on io_uring, with multishot receives and
// sends in batches, took 0.92 of the CPU time under the heavy profile: the time goes
// to TCP, not to system calls. That is too little for a second engine.
//
// # The portable engine: a connection's life
//
// Accept never waits: it counts the socket against its limits and wraps it so
// that the first Read, in the connection's own goroutine, looks at the first
// byte and decides whether TLS follows. net/http reads the request, under a
// deadline and a bound on its headers. A request for a WebSocket, on whatever
// path, is hijacked and leaves net/http behind: its goroutine and its buffers
// end, and a connection is from then on one goroutine that reads, one small
// buffer, and, only while there is something to write, one goroutine that
// writes. Larger buffers come from pools and grow with the bytes that arrived,
// never with the length that a header promises.
//
// # Reading
//
// Frames are checked by RFC 6455 to the letter, with the primitives of
// gobwas/ws. What breaks the protocol of WebSocket closes the connection with
// the code that the RFC gives (1002, 1007, 1009). What breaks the tracker's
// protocol does not: that is for tracker.Session to answer. No subprotocol is
// ever selected for a client, and everything sent is text, because clients
// exist that break on anything else. The one extension is permessage-deflate,
// for those who ask for it and only if Config.Compress turns it on: see
// deflate.go for what a client can make of it, which is bounded.
//
// What a client sends is bounded in number, too, where it is neither part of a
// message nor the tracker's to judge: see pace.go.
//
// # Writing
//
// Whoever has something for a connection puts it in the connection's outbox
// and goes on; see outbox.go, whose rules are the loops' as well. A reader too slow loses offers first, which
// clients make anew with each announce, and then its connection.
//
// # Time
//
// A connection has one timer, in the portable engine its read deadline. When it
// fires the client has been silent for 25 to 30 s and is pinged; after two pings without any
// sign of life the connection is dropped.
package wsserver
