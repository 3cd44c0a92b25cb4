package frame

// What two nodes tell each other of the swarms that they may have in common,
// and of themselves.

func (m *Census) decode(b []byte) Fault {
	*m = Census{}
	r := reader{rest: b}
	for r.next() {
		if r.num == 1 {
			m.Swarms = r.varint(m.Swarms)
		}
	}
	return r.fault
}

func (m *Filter) decode(b []byte, l *Limits) Fault {
	*m = Filter{}
	r := reader{rest: b}
	for r.next() {
		switch r.num {
		case 1:
			m.Generation = uint32(r.varint(uint64(m.Generation)))
		case 2:
			m.From = uint32(r.varint(uint64(m.From)))
		case 3:
			m.To = uint32(r.varint(uint64(m.To)))
		case 4:
			m.Data = r.bytes(m.Data, l.MaxFilter, FaultFilter)
		}
	}
	return r.fault
}

func (m *Names) decode(b []byte, l *Limits) Fault {
	*m = Names{Names: m.Names[:0]}
	r := reader{rest: b}
	for r.next() {
		if r.num == 1 {
			m.Names = r.fixed(m.Names, l.MaxNames, FaultNames)
		}
	}
	return r.fault
}

// maxAddress is the length of an IPv6 address.
const maxAddress = 16

func (m *Seen) decode(b []byte) Fault {
	*m = Seen{}
	r := reader{rest: b}
	for r.next() {
		if r.num == 1 {
			m.Address = r.bytes(m.Address, maxAddress, FaultAddress)
		}
	}
	return r.fault
}
