package dhtstore

import (
	"net/netip"
)

// method is a query's name. Names from the wire end here: unknown ones are
// one method, so that nobody can make us keep or print what they invent.
type method uint8

const (
	methodUnknown method = iota
	methodPing
	methodFindNode
	methodGetPeers
	methodAnnounce
	methodGet
	methodPut
	methodRecord
	numMethods
)

var methodNames = [numMethods]string{"unknown", "ping", "find_node", "get_peers", "announce_peer", "get", "put", "wt_rec"}

func (m method) String() string { return methodNames[m] }

func parseMethod(name []byte) method {
	for m := methodPing; m < numMethods; m++ {
		if methodNames[m] == string(name) {
			return m
		}
	}
	return methodUnknown
}

// Errors of BEP 5 and BEP 44.
const (
	codeGeneric  = 201
	codeProtocol = 203
	codeUnknown  = 204
	codeTooBig   = 205
	codeBadSig   = 206
	codeSalt     = 207
	codeCAS      = 301
	codeSeq      = 302
)

const (
	maxDatagram  = 2048 // the longest that is read
	maxReply     = 1200 // the longest that we send: below every usual MTU
	maxTID       = 32
	maxToken     = 64
	maxNodesRead = 32
	maxValueRead = 128
)

// message is a parsed KRPC message. Its slices alias the datagram.
type message struct {
	kind     byte // q, r or e
	tid      []byte
	tidAt    int // offset of the encoded transaction id
	readOnly bool
	method   method

	id, target, infoHash          nodeID
	idAt                          int // offset of the id's 20 bytes
	hasID, hasTarget, hasInfoHash bool
	token                         []byte
	port                          int64
	implied                       bool
	hasWant                       bool
	want                          [families]bool // what "want" lists

	value          []byte // raw bencode
	key, sig, salt []byte
	seq, cas       int64
	hasSeq, hasCAS bool
	nodes          [families][]byte // whole compact nodes
	values         []netip.AddrPort
	external       netip.AddrPort
	code           int64
	text           []byte
}

// fault says why a datagram was dropped.
type fault uint8

const (
	faultNone      fault = iota
	faultSize            // empty or longer than we read
	faultBencode         // not one well-formed dictionary
	faultEnvelope        // no usable y, t, q
	faultArguments       // a or r missing, or a field of the wrong form
)

// parse fills m from the datagram b. It accepts nothing that is not wholly
// well-formed, bounded, and of the right type in each field that we know;
// fields that we do not know are skipped.
func (m *message) parse(b []byte) fault {
	*m = message{values: m.values[:0]}
	if len(b) < 2 || len(b) > maxDatagram {
		return faultSize
	}
	if b[0] != 'd' || scan(b, maxDepth, false) != len(b) {
		return faultBencode
	}
	var args, ret, errBody, name []byte
	argsAt := 0
	ok := eachField(b, func(key, value []byte, at int) bool {
		switch string(key) {
		case "y":
			y, _ := scanString(value)
			if len(y) != 1 {
				return false
			}
			m.kind = y[0]
		case "t":
			m.tid, _ = scanString(value)
			m.tidAt = at
			return len(m.tid) > 0 && len(m.tid) <= maxTID
		case "q":
			var n int
			name, n = scanString(value)
			return n > 0
		case "a":
			args, argsAt = value, at
		case "r":
			ret = value
		case "e":
			errBody = value
		case "ro":
			v, n := scanInt(value)
			m.readOnly = n > 0 && v == 1
		case "ip":
			s, _ := scanString(value)
			if addr, ok := addrFromCompact(s); ok && !addr.Addr().Is4In6() {
				m.external = addr
			}
		}
		return true
	})
	if !ok || m.tid == nil {
		return faultEnvelope
	}
	switch m.kind {
	case 'q':
		if len(name) == 0 {
			return faultEnvelope
		}
		m.method = parseMethod(name)
		if m.method == methodUnknown {
			return faultNone // answered with an error, whatever it carries
		}
		f := m.parseBody(args)
		m.idAt += argsAt
		if f != faultNone && m.method == methodRecord {
			// Nodes that do not know the method would not mind either.
			*m = message{kind: m.kind, tid: m.tid, tidAt: m.tidAt}
			return faultNone
		}
		return f
	case 'r':
		return m.parseBody(ret)
	case 'e':
		return m.parseError(errBody)
	}
	return faultEnvelope
}

func (m *message) parseBody(body []byte) fault {
	if len(body) == 0 || body[0] != 'd' {
		return faultArguments
	}
	ok := eachField(body, func(key, value []byte, at int) bool {
		var n int
		switch string(key) {
		case "id":
			m.idAt = at + len("20:")
			m.hasID = readID(value, &m.id)
			return m.hasID
		case "target":
			m.hasTarget = readID(value, &m.target)
			return m.hasTarget
		case "info_hash":
			m.hasInfoHash = readID(value, &m.infoHash)
			return m.hasInfoHash
		case "token":
			m.token, n = scanString(value)
			return n > 0 && len(m.token) <= maxToken
		case "port":
			m.port, n = scanInt(value)
			return n > 0
		case "implied_port":
			v, n := scanInt(value)
			m.implied = v != 0
			return n > 0
		case "want":
			return m.parseWant(value)
		case "v":
			// Not before the length of its encoding is known to be bounded,
			// which the datagram's is; the store has its own limit.
			m.value = value
		case "seq":
			m.seq, n = scanInt(value)
			m.hasSeq = n > 0
			return m.hasSeq
		case "cas":
			m.cas, n = scanInt(value)
			m.hasCAS = n > 0
			return m.hasCAS
		case "k":
			m.key, _ = scanString(value)
			return len(m.key) == 32
		case "sig":
			m.sig, _ = scanString(value)
			return len(m.sig) == 64
		case "salt":
			m.salt, n = scanString(value)
			return n > 0
		case "nodes":
			return m.parseNodes(ipv4, value)
		case "nodes6":
			return m.parseNodes(ipv6, value)
		case "values":
			return m.parseValues(value)
		}
		return true
	})
	if !ok || !m.hasID {
		return faultArguments
	}
	return faultNone
}

func (m *message) parseWant(value []byte) bool {
	if value[0] != 'l' {
		return false
	}
	m.hasWant = true
	for n := 1; value[n] != 'e'; {
		s, size := scanString(value[n:])
		if size == 0 {
			return false
		}
		for f := range m.want {
			m.want[f] = m.want[f] || string(s) == family(f).want()
		}
		n += size
	}
	return true
}

func (m *message) parseNodes(f family, value []byte) bool {
	nodes, n := scanString(value)
	m.nodes[f] = nodes
	return n > 0 && len(nodes)%f.compactNode() == 0 && len(nodes) <= maxNodesRead*f.compactNode()
}

// parseValues takes peers of both families: bittorrent-dht and others list
// them together. Any other length is a fault, as it is what crashes the
// library.
func (m *message) parseValues(value []byte) bool {
	if value[0] != 'l' {
		return false
	}
	for n := 1; value[n] != 'e'; {
		s, size := scanString(value[n:])
		addr, ok := addrFromCompact(s)
		if size == 0 || !ok {
			return false
		}
		// An IPv4 address in the form of an IPv6 one is neither.
		if _, ok = familyOf(addr.Addr()); ok && len(m.values) < maxValueRead {
			m.values = append(m.values, addr)
		}
		n += size
	}
	return true
}

func (m *message) parseError(body []byte) fault {
	if len(body) == 0 || body[0] != 'l' {
		return faultArguments
	}
	code, n := scanInt(body[1:])
	if n == 0 || code < 0 || code > 1<<16 {
		return faultArguments
	}
	text, size := scanString(body[1+n:])
	if size == 0 || body[1+n+size] != 'e' {
		return faultArguments
	}
	if len(text) > 128 {
		text = text[:128]
	}
	m.code, m.text = code, text
	return faultNone
}

func readID(value []byte, id *nodeID) bool {
	s, _ := scanString(value)
	return copy(id[:], s) == len(id) && len(s) == len(id)
}
