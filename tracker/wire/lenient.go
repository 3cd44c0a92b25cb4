package wire

// MaxNumWant is what larger values of numwant are read as.
const MaxNumWant = 1_000_000

// readEvent reads every event that is not known as a plain announce:
// anacrolix/torrent sends "<regular>", libtorrent "paused", and others "",
// null, "empty" or "update".
func readEvent(raw []byte) Event {
	switch {
	case isString(raw, "started"):
		return EventStarted
	case isString(raw, "stopped"):
		return EventStopped
	case isString(raw, "completed"):
		return EventCompleted
	}
	return EventUpdate
}

// readLeft takes 0 and "0" for a seeder and any number above 0 for a leecher.
// Everything else is no statement: anacrolix/torrent sends -1 and webtorrent
// null while they have no metadata, and others send nothing.
func readLeft(raw []byte) Left {
	if isString(raw, "0") {
		return LeftZero
	}
	n, ok := readNumber(raw)
	switch {
	case !ok:
		return LeftUnknown
	case n.zero():
		return LeftZero
	case n.negative:
		return LeftUnknown
	}
	return LeftMore
}

// readNumWant reads a JSON number that is an integer of 0 or more, in
// whatever notation, and gives -1 for anything else.
func readNumWant(raw []byte) int {
	n, ok := readNumber(raw)
	if !ok {
		return -1
	}
	if n.zero() {
		return 0
	}
	value, integer := n.integer()
	if n.negative || !integer {
		return -1
	}
	return value
}

// number is a JSON number taken apart: its digits without the point, and how
// many of them are before the point once the exponent is applied.
type number struct {
	negative    bool
	whole, frac []byte // digits before and after the point
	point       int
}

// readNumber takes a value that was scanned apart, if it is a number. The
// value is exact, whatever its length and exponent: no float is involved that
// would round it, and no digit is looked at more than twice.
func readNumber(raw []byte) (n number, ok bool) {
	if len(raw) == 0 || raw[0] != '-' && raw[0]-'0' > 9 {
		return number{}, false
	}
	i := 0
	if raw[0] == '-' {
		n.negative = true
		i++
	}
	end := digits(raw, i)
	n.whole = raw[i:end]
	if i = end; i < len(raw) && raw[i] == '.' {
		end = digits(raw, i+1)
		n.frac = raw[i+1 : end]
		i = end
	}
	n.point = len(n.whole)
	if i == len(raw) {
		return n, true
	}
	i++ // e
	minus := raw[i] == '-'
	if minus || raw[i] == '+' {
		i++
	}
	// No frame has so many digits that an exponent beyond this could be made
	// up for by them.
	const beyond = 100_000_000
	exponent := 0
	for _, c := range raw[i:] {
		if exponent = exponent*10 + int(c-'0'); exponent > beyond {
			exponent = beyond
			break
		}
	}
	if minus {
		exponent = -exponent
	}
	n.point += exponent
	return n, true
}

func (n *number) digit(i int) byte {
	if i < len(n.whole) {
		return n.whole[i]
	}
	return n.frac[i-len(n.whole)]
}

func (n *number) digits() int { return len(n.whole) + len(n.frac) }

func (n *number) zero() bool {
	for i := range n.digits() {
		if n.digit(i) != '0' {
			return false
		}
	}
	return true
}

// integer is the magnitude of a number other than zero, at most MaxNumWant,
// and whether it is an integer.
func (n *number) integer() (value int, ok bool) {
	for i := max(n.point, 0); i < n.digits(); i++ {
		if n.digit(i) != '0' {
			return 0, false
		}
	}
	for i := range max(n.point, 0) {
		var d int
		if i < n.digits() {
			d = int(n.digit(i) - '0')
		}
		if value = value*10 + d; value >= MaxNumWant {
			return MaxNumWant, true
		}
	}
	return value, true
}
