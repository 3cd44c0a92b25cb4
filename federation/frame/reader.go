package frame

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// reader walks the fields of one message. A field of a wire type that the
// schema does not give it is unknown, as protobuf has it, hence skipped.
type reader struct {
	rest  []byte
	num   protowire.Number
	typ   protowire.Type
	val   []byte // of a BytesType field
	u     uint64 // of a VarintType or Fixed64Type field
	fault Fault
}

// next moves to the next field; false at the end or at a fault.
func (r *reader) next() bool {
	if len(r.rest) == 0 || r.fault != 0 {
		return false
	}
	num, typ, n := protowire.ConsumeTag(r.rest)
	if n < 0 {
		r.fault = FaultMalformed
		return false
	}
	r.num, r.typ = num, typ
	b := r.rest[n:]
	switch typ {
	case protowire.BytesType:
		r.val, n = protowire.ConsumeBytes(b)
	case protowire.VarintType:
		r.u, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		r.u, n = protowire.ConsumeFixed64(b)
	default:
		n = protowire.ConsumeFieldValue(num, typ, b)
	}
	if n < 0 {
		r.fault = FaultMalformed
		return false
	}
	r.rest = b[n:]
	return true
}

// bytes is the field's value, at most max bytes, if the field has that wire
// type; otherwise old, unchanged.
func (r *reader) bytes(old []byte, max int, f Fault) []byte {
	if r.typ != protowire.BytesType {
		return old
	}
	if len(r.val) > max {
		r.fault = f
	}
	return r.val
}

func (r *reader) varint(old uint64) uint64 {
	if r.typ != protowire.VarintType {
		return old
	}
	return r.u
}

func (r *reader) fixed64(old uint64) uint64 {
	if r.typ != protowire.Fixed64Type {
		return old
	}
	return r.u
}

// versions appends a repeated uint32, packed or not.
func (r *reader) versions(to []uint32, max int) []uint32 {
	switch r.typ {
	case protowire.VarintType:
		if len(to) == max {
			r.fault = FaultHandshake
			return to
		}
		return append(to, uint32(r.u))
	case protowire.BytesType:
		for b := r.val; len(b) > 0; {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				r.fault = FaultMalformed
				return to
			}
			if len(to) == max {
				r.fault = FaultHandshake
				return to
			}
			to, b = append(to, uint32(v)), b[n:]
		}
	}
	return to
}

// tags appends a repeated fixed64 of tags.
func (r *reader) tags(to []uint64, max int) []uint64 { return r.fixed(to, max, FaultTags) }

// fixed appends a repeated fixed64, packed or not, up to max elements in all.
func (r *reader) fixed(to []uint64, max int, f Fault) []uint64 {
	switch r.typ {
	case protowire.Fixed64Type:
		if len(to) >= max {
			r.fault = f
			return to
		}
		return append(to, r.u)
	case protowire.BytesType:
		if len(r.val)%8 != 0 {
			r.fault = FaultMalformed
			return to
		}
		if len(to)+len(r.val)/8 > max {
			r.fault = f
			return to
		}
		for b := r.val; len(b) > 0; b = b[8:] {
			to = append(to, binary.LittleEndian.Uint64(b))
		}
	}
	return to
}
