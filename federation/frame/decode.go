package frame

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Decode reads one frame into f, whose slices then alias b and memory that
// the next Decode uses again. The error is a Fault; after one, f is not to be
// read.
func (f *Frame) Decode(b []byte, l Limits) error {
	f.Kind = KindUnknown
	if len(b) > l.MaxFrame {
		return FaultFrame
	}
	r := reader{rest: b}
	for r.next() {
		if r.typ != protowire.BytesType || r.num >= protowire.Number(Kinds) {
			continue
		}
		if f.Kind != KindUnknown {
			return FaultTwoMessages
		}
		f.Kind = Kind(r.num)
		if fault := f.message(r.val, &l); fault != 0 {
			return fault
		}
	}
	if r.fault != 0 {
		return r.fault
	}
	return nil
}

func (f *Frame) message(b []byte, l *Limits) Fault {
	switch f.Kind {
	case KindHello:
		return f.Hello.decode(b, l)
	case KindHelloReply:
		return f.HelloReply.decode(b, l)
	case KindProof:
		return f.Proof.decode(b)
	case KindJoin:
		return f.Join.decode(b, l)
	case KindLeave:
		return f.Leave.decode(b, l)
	case KindOffers:
		return f.Offers.decode(b, l)
	case KindAnswer:
		return f.Answer.decode(b, l)
	case KindRefused:
		return f.Refused.decode(b, l)
	case KindRecords:
		return f.Records.decode(b, l)
	case KindCensus:
		return f.Census.decode(b)
	case KindFilter:
		return f.Filter.decode(b, l)
	case KindNames:
		return f.Names.decode(b, l)
	case KindSeen:
		return f.Seen.decode(b)
	case KindRegister:
		return f.Register.decode(b, l)
	case KindTold:
		return f.Told.decode(b, l)
	default:
		return f.Bye.decode(b)
	}
}

// maxOpaque bounds nonces, keys and signatures of the handshake; their exact
// lengths are the handshake's business.
const maxOpaque = 64

func (m *Hello) decode(b []byte, l *Limits) Fault {
	*m = Hello{Versions: m.Versions[:0]}
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.Versions = r.versions(m.Versions, l.MaxVersions)
		case 2:
			m.Network = r.bytes(m.Network, maxOpaque, FaultHandshake)
		case 3:
			m.Nonce = r.bytes(m.Nonce, maxOpaque, FaultHandshake)
		case 4:
			m.Key = r.bytes(m.Key, maxOpaque, FaultHandshake)
		case 5:
			m.Ephemeral = r.bytes(m.Ephemeral, maxOpaque, FaultHandshake)
		case 6:
			m.URL = r.bytes(m.URL, l.MaxURL, FaultHandshake)
			if r.fault == 0 && !utf8.Valid(m.URL) {
				r.fault = FaultText
			}
		case 7:
			m.Sequence = r.varint(m.Sequence)
		}
	}
	return r.fault
}

func (m *HelloReply) decode(b []byte, l *Limits) Fault {
	*m = HelloReply{Versions: m.Versions[:0]}
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.Versions = r.versions(m.Versions, l.MaxVersions)
		case 2:
			m.Network = r.bytes(m.Network, maxOpaque, FaultHandshake)
		case 3:
			m.Nonce = r.bytes(m.Nonce, maxOpaque, FaultHandshake)
		case 4:
			m.Key = r.bytes(m.Key, maxOpaque, FaultHandshake)
		case 5:
			m.Ephemeral = r.bytes(m.Ephemeral, maxOpaque, FaultHandshake)
		case 6:
			m.Version = uint32(r.varint(uint64(m.Version)))
		case 7:
			m.Signature = r.bytes(m.Signature, maxOpaque, FaultHandshake)
		}
	}
	return r.fault
}

func (m *Proof) decode(b []byte) Fault {
	*m = Proof{}
	r := reader{rest: b}
	for r.next() {
		if r.num == 1 {
			m.Signature = r.bytes(m.Signature, maxOpaque, FaultHandshake)
		}
	}
	return r.fault
}

func (m *Join) decode(b []byte, l *Limits) Fault {
	*m = Join{CompleteTags: m.CompleteTags[:0], IncompleteTags: m.IncompleteTags[:0]}
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.InfoHash = r.bytes(m.InfoHash, l.MaxID, FaultID)
		case 2:
			m.Complete = r.varint(m.Complete)
		case 3:
			m.Incomplete = r.varint(m.Incomplete)
		case 4:
			if r.typ == protowire.VarintType {
				m.Tagged = r.u != 0
			}
		case 5:
			m.CompleteTags = r.tags(m.CompleteTags, l.MaxTags-len(m.IncompleteTags))
		case 6:
			m.IncompleteTags = r.tags(m.IncompleteTags, l.MaxTags-len(m.CompleteTags))
		}
	}
	return r.fault
}

func (m *Leave) decode(b []byte, l *Limits) Fault {
	*m = Leave{}
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.InfoHash = r.bytes(m.InfoHash, l.MaxID, FaultID)
		case 2:
			m.Full = r.varint(0) != 0
		}
	}
	return r.fault
}

// decode does not clear m first: a field that comes twice is merged.
func (m *Offer) decode(b []byte, l *Limits) Fault {
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.ID = r.bytes(m.ID, l.MaxOfferID, FaultID)
		case 2:
			m.Payload = r.bytes(m.Payload, l.MaxPayload, FaultPayload)
		}
	}
	return r.fault
}

func (m *Offers) decode(b []byte, l *Limits) Fault {
	*m = Offers{Offers: m.Offers[:0]}
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.InfoHash = r.bytes(m.InfoHash, l.MaxID, FaultID)
		case 2:
			m.PeerID = r.bytes(m.PeerID, l.MaxID, FaultID)
		case 3:
			if r.typ != protowire.BytesType {
				continue
			}
			if len(m.Offers) == l.MaxOffers {
				return FaultOffers
			}
			m.Offers = append(m.Offers, Offer{})
			if f := m.Offers[len(m.Offers)-1].decode(r.val, l); f != 0 {
				return f
			}
		}
	}
	return r.fault
}

func (m *Answer) decode(b []byte, l *Limits) Fault {
	*m = Answer{}
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.InfoHash = r.bytes(m.InfoHash, l.MaxID, FaultID)
		case 2:
			m.ToPeerID = r.bytes(m.ToPeerID, l.MaxID, FaultID)
		case 3:
			m.PeerID = r.bytes(m.PeerID, l.MaxID, FaultID)
		case 4:
			m.OfferID = r.bytes(m.OfferID, l.MaxOfferID, FaultID)
		case 5:
			m.Payload = r.bytes(m.Payload, l.MaxPayload, FaultPayload)
		}
	}
	return r.fault
}

func (m *Refused) decode(b []byte, l *Limits) Fault {
	*m = Refused{}
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.InfoHash = r.bytes(m.InfoHash, l.MaxID, FaultID)
		case 2:
			m.PeerID = r.bytes(m.PeerID, l.MaxID, FaultID)
		case 3:
			if r.typ != protowire.BytesType {
				continue
			}
			if f := m.Offer.decode(r.val, l); f != 0 {
				return f
			}
		case 4:
			m.Reason = Reason(r.varint(uint64(m.Reason)))
		}
	}
	return r.fault
}

func (m *Records) decode(b []byte, l *Limits) Fault {
	*m = Records{Records: m.Records[:0]}
	r := reader{rest: b}
	for r.next() {
		if r.num != 1 || r.typ != protowire.BytesType {
			continue
		}
		if len(m.Records) == l.MaxRecords {
			return FaultRecords
		}
		m.Records = append(m.Records, Record{})
		if f := m.Records[len(m.Records)-1].decode(r.val, l); f != 0 {
			return f
		}
	}
	return r.fault
}

func (m *Record) decode(b []byte, l *Limits) Fault {
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.Key = r.bytes(m.Key, maxOpaque, FaultRecords)
		case 2:
			m.Seq = int64(r.varint(uint64(m.Seq)))
		case 3:
			m.Signature = r.bytes(m.Signature, maxOpaque, FaultRecords)
		case 4:
			m.Value = r.bytes(m.Value, l.MaxRecord, FaultRecords)
		}
	}
	return r.fault
}

func (m *Bye) decode(b []byte) Fault {
	*m = Bye{}
	r := reader{rest: b}
	for r.next() {
		if r.num == 1 {
			m.Code = Code(r.varint(uint64(m.Code)))
		}
	}
	return r.fault
}
