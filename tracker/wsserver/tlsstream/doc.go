// Package tlsstream is the server's side of TLS as bytes in and bytes out: no
// socket, and no goroutine once the handshake is over, so that event loops can
// have thousands of connections that cost nothing while they are silent.
//
// A Server makes Handshakes, which become Streams. Both are fed with what
// arrived, cut anywhere, and asked for what to send.
//
// Handshakes are crypto/tls's own. One needs a goroutine, but only from the
// time that its first complete record is there: a client that connects and
// says nothing costs a few words. Server bounds how many are under way, how
// many of these compute at once, and how many places one group of clients
// holds; the others wait, one group after another, for as long as the caller
// lets them.
//
// Session tickets are crypto/tls's own too. It encrypts them with keys that it
// makes for a Config, replaces once a day and accepts for a week, or with those
// that were given to Config.SetSessionTicketKeys. So clients resume as long as
// Config.TLS of this package returns the same *tls.Config.
//
// # Streams
//
// The usual Stream is a *tls.Conn above an adapter: reading gives what was fed
// and then an error that says it is temporary, after which crypto/tls can be
// asked again and has lost nothing; writing appends to what is to be sent.
// Records are handed to it one at a time, so that its buffer of input never
// grows beyond one record.
package tlsstream
