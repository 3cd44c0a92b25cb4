package frame

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// Append appends f's message to dst as one frame. Fields are written in the
// order of their numbers and fields that hold their zero value are left out,
// so that equal messages have equal frames. A Frame of KindUnknown appends
// nothing.
func Append(dst []byte, f *Frame) []byte {
	switch f.Kind {
	case KindHello:
		return f.Hello.append(header(dst, f.Kind, f.Hello.size()))
	case KindHelloReply:
		return f.HelloReply.append(header(dst, f.Kind, f.HelloReply.size()))
	case KindProof:
		return appendBytes(header(dst, f.Kind, sizeBytes(f.Proof.Signature)), 1, f.Proof.Signature)
	case KindJoin:
		return AppendJoin(dst, &f.Join)
	case KindLeave:
		return AppendLeave(dst, f.Leave.InfoHash, f.Leave.Full)
	case KindOffers:
		return AppendOffers(dst, &f.Offers)
	case KindAnswer:
		return AppendAnswer(dst, &f.Answer)
	case KindRefused:
		return AppendRefused(dst, &f.Refused)
	case KindRecords:
		return AppendRecords(dst, f.Records.Records)
	case KindBye:
		return AppendBye(dst, f.Bye.Code)
	case KindCensus:
		return AppendCensus(dst, f.Census.Swarms)
	case KindFilter:
		return AppendFilter(dst, &f.Filter)
	case KindNames:
		return AppendNames(dst, f.Names.Names)
	case KindSeen:
		return AppendSeen(dst, f.Seen.Address)
	case KindRegister:
		return AppendRegister(dst, f.Register.Names, f.Register.Asked)
	case KindTold:
		return AppendTold(dst, &f.Told)
	}
	return dst
}

// AppendJoin appends a join frame.
func AppendJoin(dst []byte, m *Join) []byte {
	return m.append(header(dst, KindJoin, m.size()))
}

// AppendLeave appends a leave frame.
func AppendLeave(dst []byte, infoHash []byte, full bool) []byte {
	f := uint64(0)
	if full {
		f = 1
	}
	return appendVarint(appendBytes(header(dst, KindLeave, sizeBytes(infoHash)+sizeVarint(f)), 1, infoHash), 2, f)
}

// AppendOffers appends an offers frame.
func AppendOffers(dst []byte, m *Offers) []byte {
	return m.append(header(dst, KindOffers, m.size()))
}

// AppendAnswer appends an answer frame.
func AppendAnswer(dst []byte, m *Answer) []byte {
	return m.append(header(dst, KindAnswer, m.size()))
}

// AppendRefused appends a refused frame.
func AppendRefused(dst []byte, m *Refused) []byte {
	return m.append(header(dst, KindRefused, m.size()))
}

// AppendRecords appends a records frame.
func AppendRecords(dst []byte, records []Record) []byte {
	size := 0
	for i := range records {
		size += sizeMessage(records[i].size())
	}
	dst = header(dst, KindRecords, size)
	for i := range records {
		dst = appendHeader(dst, 1, records[i].size())
		dst = records[i].append(dst)
	}
	return dst
}

// AppendBye appends a bye frame.
func AppendBye(dst []byte, code Code) []byte {
	return appendVarint(header(dst, KindBye, sizeVarint(enum(int32(code)))), 1, enum(int32(code)))
}

// AppendCensus appends a census frame.
func AppendCensus(dst []byte, swarms uint64) []byte {
	return appendVarint(header(dst, KindCensus, sizeVarint(swarms)), 1, swarms)
}

// AppendFilter appends a filter frame.
func AppendFilter(dst []byte, m *Filter) []byte {
	size := sizeVarint(uint64(m.Generation)) + sizeVarint(uint64(m.From)) + sizeVarint(uint64(m.To)) + sizeBytes(m.Data)
	dst = appendVarint(header(dst, KindFilter, size), 1, uint64(m.Generation))
	dst = appendVarint(dst, 2, uint64(m.From))
	dst = appendVarint(dst, 3, uint64(m.To))
	return appendBytes(dst, 4, m.Data)
}

// AppendNames appends a names frame.
func AppendNames(dst []byte, names []uint64) []byte {
	return appendTags(header(dst, KindNames, sizeTags(names)), 1, names)
}

// AppendSeen appends a seen frame.
func AppendSeen(dst []byte, address []byte) []byte {
	return appendBytes(header(dst, KindSeen, sizeBytes(address)), 1, address)
}

// Every field number inside a message is below 16, hence every tag one byte.
const tagSize = 1

func header(dst []byte, k Kind, size int) []byte {
	return appendHeader(dst, protowire.Number(k), size)
}

func appendHeader(dst []byte, num protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.BytesType), uint64(size))
}

func sizeMessage(size int) int { return tagSize + protowire.SizeBytes(size) }

func sizeBytes(v []byte) int {
	if len(v) == 0 {
		return 0
	}
	return sizeMessage(len(v))
}

func appendBytes(dst []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	return append(appendHeader(dst, num, len(v)), v...)
}

func sizeVarint(v uint64) int {
	if v == 0 {
		return 0
	}
	return tagSize + protowire.SizeVarint(v)
}

func appendVarint(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
}

// enum is how protobuf writes an enum's value: sign-extended to 64 bits.
func enum(v int32) uint64 { return uint64(int64(v)) }

func sizeVersions(v []uint32) (n int) {
	for _, x := range v {
		n += protowire.SizeVarint(uint64(x))
	}
	return n
}

func appendVersions(dst []byte, v []uint32) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = appendHeader(dst, 1, sizeVersions(v))
	for _, x := range v {
		dst = protowire.AppendVarint(dst, uint64(x))
	}
	return dst
}

func (m *Hello) size() int {
	n := sizeBytes(m.Network) + sizeBytes(m.Nonce) + sizeBytes(m.Key) + sizeBytes(m.Ephemeral) + sizeBytes(m.URL) + sizeVarint(m.Sequence)
	if v := sizeVersions(m.Versions); v > 0 {
		n += sizeMessage(v)
	}
	return n
}

func (m *Hello) append(dst []byte) []byte {
	dst = appendVersions(dst, m.Versions)
	dst = appendBytes(dst, 2, m.Network)
	dst = appendBytes(dst, 3, m.Nonce)
	dst = appendBytes(dst, 4, m.Key)
	dst = appendBytes(dst, 5, m.Ephemeral)
	dst = appendBytes(dst, 6, m.URL)
	return appendVarint(dst, 7, m.Sequence)
}

func (m *HelloReply) size() int {
	n := sizeBytes(m.Network) + sizeBytes(m.Nonce) + sizeBytes(m.Key) + sizeBytes(m.Ephemeral) + sizeVarint(uint64(m.Version)) + sizeBytes(m.Signature)
	if v := sizeVersions(m.Versions); v > 0 {
		n += sizeMessage(v)
	}
	return n
}

func (m *HelloReply) append(dst []byte) []byte {
	dst = appendVersions(dst, m.Versions)
	dst = appendBytes(dst, 2, m.Network)
	dst = appendBytes(dst, 3, m.Nonce)
	dst = appendBytes(dst, 4, m.Key)
	dst = appendBytes(dst, 5, m.Ephemeral)
	dst = appendVarint(dst, 6, uint64(m.Version))
	return appendBytes(dst, 7, m.Signature)
}

func sizeTags(v []uint64) int {
	if len(v) == 0 {
		return 0
	}
	return sizeMessage(8 * len(v))
}

func appendTags(dst []byte, num protowire.Number, v []uint64) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = appendHeader(dst, num, 8*len(v))
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint64(dst, x)
	}
	return dst
}

func sizeFixed(v uint64) int {
	if v == 0 {
		return 0
	}
	return tagSize + 8
}

func appendFixed(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendFixed64(protowire.AppendTag(dst, num, protowire.Fixed64Type), v)
}

func (m *Join) size() int {
	n := sizeBytes(m.InfoHash) + sizeVarint(m.Complete) + sizeVarint(m.Incomplete) + sizeTags(m.CompleteTags) + sizeTags(m.IncompleteTags)
	if m.Tagged {
		n += sizeVarint(1)
	}
	return n
}

func (m *Join) append(dst []byte) []byte {
	dst = appendBytes(dst, 1, m.InfoHash)
	dst = appendVarint(dst, 2, m.Complete)
	dst = appendVarint(dst, 3, m.Incomplete)
	if m.Tagged {
		dst = appendVarint(dst, 4, 1)
	}
	dst = appendTags(dst, 5, m.CompleteTags)
	return appendTags(dst, 6, m.IncompleteTags)
}

func (m *Offer) size() int { return sizeBytes(m.ID) + sizeBytes(m.Payload) }

func (m *Offer) append(dst []byte) []byte {
	return appendBytes(appendBytes(dst, 1, m.ID), 2, m.Payload)
}

func (m *Offers) size() int {
	n := sizeBytes(m.InfoHash) + sizeBytes(m.PeerID)
	for i := range m.Offers {
		n += sizeMessage(m.Offers[i].size())
	}
	return n
}

func (m *Offers) append(dst []byte) []byte {
	dst = appendBytes(dst, 1, m.InfoHash)
	dst = appendBytes(dst, 2, m.PeerID)
	for i := range m.Offers {
		dst = appendHeader(dst, 3, m.Offers[i].size())
		dst = m.Offers[i].append(dst)
	}
	return dst
}

func (m *Answer) size() int {
	return sizeBytes(m.InfoHash) + sizeBytes(m.ToPeerID) + sizeBytes(m.PeerID) + sizeBytes(m.OfferID) + sizeBytes(m.Payload)
}

func (m *Answer) append(dst []byte) []byte {
	dst = appendBytes(dst, 1, m.InfoHash)
	dst = appendBytes(dst, 2, m.ToPeerID)
	dst = appendBytes(dst, 3, m.PeerID)
	dst = appendBytes(dst, 4, m.OfferID)
	return appendBytes(dst, 5, m.Payload)
}

func (m *Refused) size() int {
	return sizeBytes(m.InfoHash) + sizeBytes(m.PeerID) + sizeMessage(m.Offer.size()) + sizeVarint(enum(int32(m.Reason)))
}

func (m *Refused) append(dst []byte) []byte {
	dst = appendBytes(dst, 1, m.InfoHash)
	dst = appendBytes(dst, 2, m.PeerID)
	dst = m.Offer.append(appendHeader(dst, 3, m.Offer.size()))
	return appendVarint(dst, 4, enum(int32(m.Reason)))
}

func (m *Record) size() int {
	return sizeBytes(m.Key) + sizeVarint(uint64(m.Seq)) + sizeBytes(m.Signature) + sizeBytes(m.Value)
}

func (m *Record) append(dst []byte) []byte {
	dst = appendBytes(dst, 1, m.Key)
	dst = appendVarint(dst, 2, uint64(m.Seq))
	dst = appendBytes(dst, 3, m.Signature)
	return appendBytes(dst, 4, m.Value)
}
