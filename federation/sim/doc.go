// Package sim runs hundreds of nodes on virtual time: real trackers, real
// meshes, the real frames between them, and everything else modelled. It is
// for tests and for scripts/sim; no product imports it.
//
// # What is real
//
// Each node has a tracker.Tracker and a mesh.Mesh of its own, with their
// default bounds, and what lies between the two in package federation is
// mirrored here without sockets, goroutines and locks: node.go follows
// federation.go and watcher.go, peer.go peer.go and membership.go, link.go
// link.go and frames.go, dial.go dial.go and accept.go, records.go records.go,
// swarms.go swarms.go, meter.go meter.go and the allowance of outbox.go. What is changed there is to
// be changed here. Frames travel as the bytes that package frame makes of them, so that another kind of frame
// needs one more case in link.take, and another action of the mesh one more in
// node.perform. Clients speak JSON to their tracker.
//
// # What is modelled
//
//   - Links: latency by the distance of two nodes in a plane, a late piece now
//     and then, order kept as TCP does; handshakes of four round trips; ends
//     that learn of the other's end, or do not and time out; partitions.
//   - The DHT: lists of addresses on 8 nodes for each target, of which some are
//     dead, with expiry and bounds; a lookup takes seconds and some 35 packets of
//     the node's budget; replies carry a part of a long list.
//   - Clients: as the reference client behaves, one swarm and one connection
//     each. An introduction counts when an answer reaches the client that made
//     the offer while both want the connection, once for each pair. What is no
//     description they do not answer, and an answer that is none, or of nobody,
//     costs them a place for a while.
//   - Attackers: links, and what they say over them; see hostile.go.
//
// # What is not
//
// Bandwidth, CPU and the queues that come of them; signatures and TLS (nobody
// forges here); DNS; several epochs of the DHT's targets; the DHT's own
// routing, and what its nodes think of who asks too much; IPv6; leaves; two
// trackers in one client's list; WebRTC that fails though the answer came.
//
// # Time
//
// A World is one queue of events, worked off by whoever calls Run. The same
// seed gives the same run. The one thing in it that wants package time is a
// tracker's housekeeping; see turn for why a scenario runs in a
// testing/synctest bubble.
package sim
