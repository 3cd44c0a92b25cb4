package tlsstream

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
)

// takeover collects the secrets of a handshake, as crypto/tls logs them, so that
// an own stream can follow it.
type takeover struct {
	secrets [secrets][]byte
	log     io.Writer // the configuration's own key log, or nil
}

// The secrets, in the order of labels.
const (
	clientHandshake = iota
	serverHandshake
	clientTraffic
	serverTraffic
	secrets
)

// label is a secret's in a key log.
func label(secret int) string {
	return [secrets]string{
		"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
		"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0",
	}[secret]
}

// Write takes a line of the key log: a label, the ClientHello's random and the
// secret. It is the log of this handshake only, so the random says nothing.
func (t *takeover) Write(line []byte) (int, error) {
	if f := bytes.Fields(line); len(f) == 3 {
		for i := range t.secrets {
			if string(f[0]) != label(i) {
				continue
			}
			secret, err := hex.DecodeString(string(f[2]))
			if err != nil || t.secrets[i] != nil {
				secret = []byte{} // fits no suite
			}
			t.secrets[i] = secret
		}
	}
	if t.log != nil {
		return t.log.Write(line)
	}
	return len(line), nil
}

// stream returns the stream that follows the handshake, or nil if there is
// doubt about anything: then crypto/tls goes on.
//
// What crypto/tls did with the application keys has to be known to the record,
// because each takes a sequence number. So all records that it sent and got
// are opened once more, and each has to be one that the secrets explain: first
// those without protection, then those with the handshake keys, in order, then
// those with the application keys, in order. The latter are the session tickets
// that the server has sent; of the client's there can be none, since crypto/tls
// was given one record at a time and asks for none after the Finished.
func (t *takeover) stream(shared *records, sent, received []byte, version, suiteID uint16) Stream {
	if version != tls.VersionTLS13 {
		return nil
	}
	o := &own{shared: shared}
	tickets, ok := t.account(&o.write, suiteID, sent, serverHandshake, serverTraffic)
	if !ok || tickets > maxTickets {
		return nil
	}
	n, ok := t.account(&o.read, suiteID, received, clientHandshake, clientTraffic)
	if !ok || n > 0 {
		return nil
	}
	return o
}

// maxTickets is how many records crypto/tls may have sealed with the application
// key. It makes one ticket.
const maxTickets = 4

// account starts h with the application secret, at the sequence number that the
// records lead to, and reports how many had application keys and whether all
// are explained.
func (t *takeover) account(h *half, suiteID uint16, all []byte, early, late int) (n int, ok bool) {
	var before half
	if !before.start(suiteID, t.secrets[early]) || !h.start(suiteID, t.secrets[late]) {
		return 0, false
	}
	var inner []byte
	for len(all) > 0 {
		if len(all) < headerLen {
			return 0, false
		}
		header := all[:headerLen]
		size := int(binary.BigEndian.Uint16(header[3:]))
		if all = all[headerLen:]; len(all) < size {
			return 0, false
		}
		payload := all[:size]
		all = all[size:]
		switch contentType(header[0]) {
		case typeHandshake, typeChange:
			// A hello, or a change_cipher_spec of compatibility mode. The
			// client's may come at any time before its Finished.
			if h.seq > 0 || contentType(header[0]) == typeHandshake && before.seq > 0 {
				return 0, false
			}
			continue
		case typeApplication:
		default:
			return 0, false
		}
		if h.seq == 0 {
			if inner, ok = before.open(inner[:0], header, payload); ok {
				continue
			}
		}
		if inner, ok = h.open(inner[:0], header, payload); !ok || !isTicket(inner) {
			return 0, false
		}
	}
	return int(h.seq), before.seq > 0
}

// isTicket reports whether the inner plaintext is a NewSessionTicket.
func isTicket(inner []byte) bool {
	return len(inner) > 1 && inner[0] == messageNewTicket && contentType(inner[len(inner)-1]) == typeHandshake
}
