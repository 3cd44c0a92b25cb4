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
// # The usual stream
//
// It is a *tls.Conn above an adapter: reading gives what was fed and then an
// error that says it is temporary, after which crypto/tls can be asked again
// and has lost nothing; writing appends to what is to be sent. Records are
// handed to it one at a time, so that its buffer of input never grows beyond
// one record. It holds 4 to 7 KiB when the handshake is over, and the largest
// record that it has seen in addition.
//
// # The stream with its own records
//
// With Config.OwnRecords, crypto/tls makes the handshake, and this package
// opens and seals the records that follow, in TLS 1.3. That is a few hundred
// bytes for each connection, 1.5 KiB more while its ciphers are kept, and less
// CPU for each record. Why should anybody trust it?
//
// What is not done here is everything that TLS is feared for. Versions,
// suites, certificates, signatures, key exchange, tickets, the transcript and
// both Finished messages are crypto/tls's, as is any connection that is not
// TLS 1.3 with one of its three suites. AES-GCM, HKDF and the hashes are the
// standard library's, ChaCha20-Poly1305 is golang.org/x/crypto's, each through
// its documented interface. No private field is read and nothing is linked to
// that is not exported.
//
// What is done here is RFC 8446, sections 5 (records), 4.6.3 (KeyUpdate), 6
// (alerts) and 7.1 to 7.3 for these: keys.go derives keys and makes nonces,
// own.go has the rules. A nonce is the sequence number, which is in one place
// and goes up with each record that the cipher took; it starts from zero only
// with another key.
//
// What is between the two is takeover.go: the secrets come from the key log of
// the one handshake, an interface meant for debugging but documented, whose
// lines have a fixed format. The sequence numbers come from the records: all
// that crypto/tls has sent and got are opened a second time with these secrets,
// and each must be explained: by no protection, by the handshake's keys, or, for
// session tickets only, by the application's, in this order and without a gap.
// Such a record would not open with wrong secrets, nor with a number that is off
// by one, so nothing about this is guessed, and a later crypto/tls that does
// something else is noticed. Then, as in any other doubt, crypto/tls goes on
// with the connection, and Stats.Fallbacks counts it. The one thing that cannot
// be shown beforehand is the secret of a client that has not sent anything: were
// it wrong, its first record would not open, which ends the connection.
//
// If the code here were wrong, what could happen? A reader who opens records
// wrongly ends connections, since nothing but the AEAD's output becomes
// plaintext. A writer that used a nonce twice would be the worst that there is;
// that is why half.seal is the only place that seals, the number goes up right
// below the call, and a half whose last word was said forgets its keys.
//
// What tests show: conversations with crypto/tls's client and with OpenSSL's, all
// suites, both ways, cut anywhere; updates of keys by either side, also many and
// at once; resumption; each byte of a record flipped, records left out, replayed
// and reordered; everything that a client must not send, with the alert that it
// gets; that any byte stream, sealed or not, ends in an error or in waiting.
//
// What they do not show is constant time above the AEAD. Where padding ends is
// found by a loop over plaintext that has been authenticated, so that its time
// tells the sender's own padding and nothing else.
package tlsstream
