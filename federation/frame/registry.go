package frame

import "google.golang.org/protobuf/encoding/protowire"

// What a node tells those responsible for its swarms, and is told by them.

// AppendRegister appends a register frame.
func AppendRegister(dst []byte, names, asked []uint64) []byte {
	dst = header(dst, KindRegister, sizeTags(names)+sizeTags(asked))
	return appendTags(appendTags(dst, 1, names), 2, asked)
}

// AppendTold appends a told frame.
func AppendTold(dst []byte, m *Told) []byte {
	size := 0
	for i := range m.Records {
		size += sizeMessage(m.Records[i].size())
	}
	for i := range m.Found {
		size += sizeMessage(m.Found[i].size())
	}
	dst = header(dst, KindTold, size)
	for i := range m.Records {
		dst = m.Records[i].append(appendHeader(dst, 1, m.Records[i].size()))
	}
	for i := range m.Found {
		dst = m.Found[i].append(appendHeader(dst, 2, m.Found[i].size()))
	}
	return dst
}

func (m *Found) size() int { return sizeFixed(m.Name) + sizeBytes(m.Nodes) }

func (m *Found) append(dst []byte) []byte {
	return appendBytes(appendFixed(dst, 1, m.Name), 2, m.Nodes)
}

func (m *Register) decode(b []byte, l *Limits) Fault {
	*m = Register{Names: m.Names[:0], Asked: m.Asked[:0]}
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.Names = r.fixed(m.Names, l.MaxNames-len(m.Asked), FaultNames)
		case 2:
			m.Asked = r.fixed(m.Asked, l.MaxNames-len(m.Names), FaultNames)
		}
	}
	return r.fault
}

func (m *Told) decode(b []byte, l *Limits) Fault {
	*m = Told{Records: m.Records[:0], Found: m.Found[:0]}
	r := reader{rest: b}
	for r.next() {
		if r.typ != protowire.BytesType {
			continue
		}
		fault := Fault(0)
		switch r.num {
		case 1:
			if len(m.Records) == l.MaxRecords {
				return FaultRecords
			}
			m.Records = append(m.Records, Record{})
			fault = m.Records[len(m.Records)-1].decode(r.val, l)
		case 2:
			if len(m.Found) == l.MaxNames {
				return FaultNames
			}
			m.Found = append(m.Found, Found{})
			fault = m.Found[len(m.Found)-1].decode(r.val, l)
		}
		if fault != 0 {
			return fault
		}
	}
	return r.fault
}

func (m *Found) decode(b []byte, l *Limits) Fault {
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.Name = r.fixed64(m.Name)
		case 2:
			m.Nodes = r.bytes(m.Nodes, l.MaxFound, FaultNames)
		}
	}
	return r.fault
}
