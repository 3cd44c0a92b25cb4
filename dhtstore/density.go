package dhtstore

import (
	"encoding/binary"
	"math"
	"slices"
)

// Anybody can choose ids next to a target, stand there with a few nodes, and
// swallow what is announced. What he cannot do is make the whole DHT denser. So
// a node estimates from its lookups how many nodes the DHT has. Where more of
// the closest are near a target than chance would have there, a lookup takes up
// to 8 more, the closest of those that are not near, and reads from and writes
// to these as well: honest nodes do both in the same place.

// distance is how far id is from target, as a part of all ids.
func distance(target, id *nodeID) float64 {
	return math.Ldexp(float64(binary.BigEndian.Uint64(target[:])^binary.BigEndian.Uint64(id[:])), -64)
}

// crowded reports whether in a DHT of so many nodes the count-th closest to a
// target is nearer than by chance, in one lookup of some hundreds: as near are
// count²/32 nodes on average. It is not if the size is unknown, that is 0.
func crowded(size, distance float64, count int) bool {
	return size > 0 && count >= bucketSize/2 && size*distance < float64(count*count)/32
}

// near reports whether id is so near that of a DHT of so many nodes less than
// one is, on average.
func near(size, distance float64) bool { return size*distance < 1 }

// estimate is how many nodes the DHT has, going by the distance of the 8th
// closest of those that answered; 0 if fewer did.
func (l *lookup) estimate() float64 {
	count, secure := 0, false
	for i := range l.cands {
		c := &l.cands[i]
		if c.state != answered || count > 0 && c.secure != secure {
			continue
		}
		secure = c.secure
		if count++; count == bucketSize {
			return (bucketSize - 1) / max(distance(&l.target, &c.id), 1e-18)
		}
	}
	return 0
}

const (
	maxEstimates = 32
	minEstimates = 8
)

// estimates are those of the last lookups.
type estimates struct {
	last  [maxEstimates]float64
	count int
}

func (e *estimates) note(size float64) {
	if size > 0 {
		e.last[e.count%maxEstimates] = size
		e.count++
	}
}

// size is the median, which those who crowd a few targets do not move; 0 while
// there are too few.
func (e *estimates) size() float64 {
	n := min(e.count, maxEstimates)
	if n < minEstimates {
		return 0
	}
	sorted := e.last
	slices.Sort(sorted[:n])
	return sorted[n/2]
}
