// Package wire turns a client's frames into requests and messages into
// frames: the JSON of the WebTorrent tracker protocol, and nothing else.
//
// A tracker relays text between strangers. Three decisions follow from that.
//
// Payloads are not understood. The offer, the answer and the offer id of a
// frame are kept as the bytes that the client sent and written back verbatim,
// so that nothing a client adds is lost, no number is rounded and encrypted
// session descriptions pass like others. Only what relaying needs is checked:
// that the bytes are JSON and UTF-8 (a browser that receives an invalid text
// frame fails its connection, so one peer could cut off others), that a
// payload is an object with a string "sdp", and that all is within [Limits].
//
// Ids are compared decoded. Clients send 20 bytes as 20 code points, some
// escaped, some raw, and other clients use text of other lengths; the decoded
// UTF-8 is the one form in which equal ids are equal bytes. See [Raw20] for
// the way back to 20 bytes.
//
// One wrong member does not spoil a frame. Members that clients are known to
// send in odd shapes (event, left, numwant, elements of offers) are read
// leniently and stand for their defaults when they make no sense; what cannot
// be served becomes a [Fault], which says whether the client is told, and
// what.
//
// Parse walks the frame once, with a scanner of its own: encoding/json would
// allocate for each member, match keys without regard to case, and replace
// broken text instead of refusing it. It neither allocates (once its scratch
// has grown) nor recurses, and its cost is linear in the length of the frame.
// Session descriptions, of which frames mostly consist, it passes over 32 bytes
// at a time where the processor has AVX2 (lines_amd64.s), and all other text by
// eight; built with the tag purego it has no assembly.
package wire
