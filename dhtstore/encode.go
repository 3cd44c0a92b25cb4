package dhtstore

import (
	"net/netip"
	"strconv"
)

func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	return append(append(dst, ':'), s...)
}

func appendInt(dst []byte, v int64) []byte {
	return append(strconv.AppendInt(append(dst, 'i'), v, 10), 'e')
}

// body is what a reply says. Absent fields are empty.
type body struct {
	id       nodeID
	nodes    [families][]contact
	values   []netip.AddrPort
	token    []byte
	key, sig []byte
	value    []byte
	seq      int64
	hasSeq   bool
}

// appendReply encodes a reply to the query tid of to, keys in order.
func appendReply(dst, tid []byte, to netip.AddrPort, r *body) []byte {
	dst = append(dst, 'd')
	dst = appendExternal(dst, to)
	dst = append(dst, "1:rd2:id20:"...)
	dst = append(dst, r.id[:]...)
	if len(r.key) > 0 {
		dst = appendString(append(dst, "1:k"...), r.key)
	}
	for f, nodes := range r.nodes {
		if len(nodes) == 0 {
			continue
		}
		dst = append(dst, family(f).nodesKey()...)
		dst = strconv.AppendInt(dst, int64(len(nodes)*family(f).compactNode()), 10)
		dst = append(dst, ':')
		for _, c := range nodes {
			dst = appendCompact(append(dst, c.id[:]...), c.addr)
		}
	}
	if r.hasSeq {
		dst = appendInt(append(dst, "3:seq"...), r.seq)
	}
	if len(r.sig) > 0 {
		dst = appendString(append(dst, "3:sig"...), r.sig)
	}
	if len(r.token) > 0 {
		dst = appendString(append(dst, "5:token"...), r.token)
	}
	if len(r.value) > 0 {
		dst = append(append(dst, "1:v"...), r.value...)
	}
	dst = appendValues(dst, r.values)
	dst = append(dst, 'e')
	return appendTail(dst, tid, 'r')
}

// appendError encodes an error reply.
func appendError(dst, tid []byte, to netip.AddrPort, code int64, text string) []byte {
	dst = append(dst, 'd')
	dst = appendInt(append(dst, "1:el"...), code)
	dst = append(appendString(dst, text), 'e')
	dst = appendExternal(dst, to)
	return appendTail(dst, tid, 'e')
}

func appendValues(dst []byte, values []netip.AddrPort) []byte {
	if len(values) == 0 {
		return dst
	}
	dst = append(dst, "6:valuesl"...)
	for _, addr := range values {
		dst = appendAddr(dst, addr)
	}
	return append(dst, 'e')
}

// appendExternal says where we see the asker.
func appendExternal(dst []byte, to netip.AddrPort) []byte {
	return appendAddr(append(dst, "2:ip"...), to)
}

// appendAddr encodes a compact address and port as a string.
func appendAddr(dst []byte, addr netip.AddrPort) []byte {
	f, _ := familyOf(addr.Addr())
	dst = strconv.AppendInt(dst, int64(f.compactPeer()), 10)
	return appendCompact(append(dst, ':'), addr)
}

func appendTail(dst, tid []byte, kind byte) []byte {
	dst = appendString(append(dst, "1:t"...), tid)
	return append(dst, '1', ':', 'y', '1', ':', kind, 'e')
}

// appendRebuilt encodes the reply m anew for the library, from the parsed
// fields only and under the transaction id that the library gave. "ro" keeps
// the library from adding the sender to a routing table that nobody reads.
func appendRebuilt(dst []byte, m *message, tid []byte) []byte {
	dst = append(dst, 'd')
	if m.kind == 'e' {
		dst = appendInt(append(dst, "1:el"...), m.code)
		dst = append(appendString(dst, m.text), 'e')
	}
	if m.external.IsValid() {
		dst = appendExternal(dst, m.external)
	}
	if m.kind == 'r' {
		dst = append(dst, "1:rd2:id20:"...)
		dst = append(dst, m.id[:]...)
		if m.key != nil {
			dst = appendString(append(dst, "1:k"...), m.key)
		}
		for f, nodes := range m.nodes {
			if len(nodes) > 0 {
				dst = appendString(append(dst, family(f).nodesKey()...), nodes)
			}
		}
		if m.hasSeq {
			dst = appendInt(append(dst, "3:seq"...), m.seq)
		}
		if m.sig != nil {
			dst = appendString(append(dst, "3:sig"...), m.sig)
		}
		if len(m.token) > 0 {
			dst = appendString(append(dst, "5:token"...), m.token)
		}
		if m.value != nil {
			dst = append(append(dst, "1:v"...), m.value...)
		}
		dst = appendValues(dst, m.values)
		dst = append(dst, 'e')
	}
	dst = append(dst, "2:roi1e"...)
	return appendTail(dst, tid, m.kind)
}
