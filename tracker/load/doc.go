// Package load is a load generator for WebTorrent trackers that checks what it
// gets: many clients, each on a connection of its own, that announce, answer
// the offers of others as browsers do, and know what must come back.
//
// It is paced: announces are due at times set beforehand, whether the tracker
// keeps up or not, and those that leave late are counted as the generator's own
// lateness, so that a run on a machine that is too busy is seen as one. It is
// driven by one event loop on raw descriptors and builds, masks and checks
// frames without an allocation, so that it costs less than what it measures.
// This part exists on Linux only.
//
// What is checked. An offer must reach one connection, not its sender's, of the
// same swarm, and once; the answer to it must reach the offerer, once; each
// announce must be replied to, with the number of peers that its swarm has;
// payloads and ids must arrive as they were sent. Ids of offers carry the
// number of the announce and of the offer in it, as do the session descriptions,
// so that no frame needs to be looked up by its contents. The bytes of each
// payload are compared with what was sent. Some servers write JSON anew, in a
// different form: for those, and for one frame in 64 of any, the whole frame is
// decoded by encoding/json and compared.
//
// What is measured. Messages are text messages of the WebSocket protocol, in
// and out as the server sees them. The CPU time of the server's process is
// read from /proc, at the beginning and at the end of the measured time. Memory
// is what the process has of its own (RssAnon), less what it had before the
// first connection; the kernel's share of a socket is not in it. Round trips
// begin when the generator hands a frame to the system, and end when it sees
// the frame that it waits for.
package load
