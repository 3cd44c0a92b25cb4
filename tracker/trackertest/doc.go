// Package trackertest runs talks: scripted conversations between clients and
// a tracker, written down as data in testdata/talks, one file per conformance
// case. A talk knows nothing of what it runs against. [Run] plays it against
// anything that can open a connection: the pure core without a socket, the
// real server over pipes on virtual time, the same over loopback sockets, two
// federated nodes with the clients spread over both.
//
// # Files
//
// A talk file is lines of text. A line that starts with # is prose, empty
// lines mean nothing, and a line that nobody understands is an error. The
// head of the file says what it proves:
//
//	case 10 11                  the conformance cases that the file holds
//	on core server sockets      the kinds of target that its talks run on
//	use common.inc              take the lets of another file
//	let H = hhhhhhhhhhhhhhhhhhhh
//
// Then come the talks, each with a tracker of its own:
//
//	talk an offer reaches the other peer
//	on core federated           replaces the head's
//	with scrape_all strict_ids  settings of the tracker
//
// Kinds of target: core (no framing, virtual time), server (WebSocket over
// in-memory connections, virtual time; and over loopback to event loops whose
// clock the talk puts forward), sockets (WebSocket over loopback,
// real time, so no advance), federated (two nodes; the first, third, ...
// connection opened is on node 1, the others on node 2, unless node= says
// otherwise).
//
// # Steps
//
//	A: open /announce origin=https://x
//	A> {"action":"announce", ...}      send a text frame
//	A>binary {...}                     send a binary frame
//	A>split 7 {...}                    send a text frame in 7 fragments
//	A>bytes ff fe 00                   send a text frame of these bytes
//	A< {"action":"announce", ...}      the next frame received has this shape
//	A<* {...}                          consecutive lines: these, in any order
//	A< nothing                         nothing (more) has been received
//	A: ping                            send a ping and get its pong
//	A: pinged                          the server has pinged since last asked
//	A: stall                           stop reading: a half-open connection
//	A: close                           close cleanly;  A: drop  cuts the wire
//	A: closed 1009                     the server has closed with this code
//	A: gone                            the server has closed, however
//	A: alive                           the connection is open
//	A: fuzz 500 7                      send 500 broken frames, from seed 7
//	advance 90s                        let time pass
//	swarms 0                           the tracker knows this many swarms
//	drain                              the server stops accepting connections
//	shutdown                           the server closes what is left
//	http /stats accept=text/html       a GET; then:
//	http< 200 text/html                its status and content type
//	http< {pattern}                    its JSON body
//	check ${x} != ${y}                 also =, in (any of the words), < and >
//	collect s ${x}                     add to the set s; ${count s} is its size
//	repeat 50 as i                     ... until end; ${i} counts from 1
//
// Options of open: origin=, extensions=, protocol=, from= (an address),
// status= (the handshake is refused with it; none: there is no connection at
// all), node=.
//
// When another connection acts than before, what was done before has had its
// effects; one connection's frames go out back to back. A frame that no line
// accounts for fails the talk at its end, as does a connection that the server
// closed unasked.
//
// Several connections at once: "A,B< nothing" is each of them; "P1..P9" is
// P1 to P9; "A|B|P1..P9 as R< ..." is exactly one of them, which is called R
// from then on.
//
// # Text
//
// ${name} is replaced wherever it stands. A let whose text has ${1}, ${2} is
// used with arguments, ${reply 0 1}; ${3?} may be missing. Made up on the
// spot: ${sdp 60000} that many bytes of SDP, ${nest 100} arrays in arrays,
// ${fill 65 x} repeated text, ${offers 100} elements of offers, ${latin1 0 63}
// the inside of a string of these code points, ${escaped 0 63} the same written
// with escapes only, ${count s}. After "B|C as X< ..." ${X} is the name of the
// connection, so that ${p${X}} can be its peer id.
//
// # Shapes
//
// A pattern is JSON with additions. Objects have exactly the members listed,
// in any order, unless "..." stands among them. Strings are compared by what
// they decode to. Text between backquotes is compared with the raw bytes of
// the member: that is how a verbatim relay is held. $x takes the value (of a
// string: decoded) as ${x}, usable from there on, also to the right in the
// same pattern. ~2 is 2, or on federated nodes, which may not yet have heard
// of each other, 0 to 2. @int, @string, @any, @reason (a string that says
// something) and @interval (an integer that real clients take: 30 to 3600)
// are what they say.
package trackertest
