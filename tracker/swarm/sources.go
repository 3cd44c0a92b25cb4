package swarm

import "time"

// What local clients say of a node by their deeds has a bound for each of them. A
// client can vouch for a node, by answering its peers, or by offers that it
// answers, and slander it, by coming again and again with offers that nobody can
// answer. So of the deeds that one source is behind, an address prefix or a
// connection (Signs.Source), only so many count until they have faded. They
// do not outweigh sixteen owed offers: by slander alone nobody becomes unproven.
//
// Sources are told apart as far as they fall into different buckets.
const (
	sourceBuckets = 256
	sourceOwed    = perAnswer // offers owed to one source; as many as are free
	sourceProof   = 8         // answers, and meetings
)

// sources counts deeds by who is behind them.
type sources struct {
	n  [sourceBuckets][DeedMet + 1]uint8
	at time.Duration // when they were halved
}

func bucketOf(source uint64) int { return int(source * 0x9e3779b97f4a7c15 >> 56) }

// count enters a deed of a source, and says whether it counts. Halves are taken when
// what they stand for has faded to 1/e.
func (s *sources) count(now time.Duration, d Deed, source uint64) bool {
	if turns := (now - s.at) / memory; turns > 0 {
		for i := range s.n {
			for k := range s.n[i] {
				s.n[i][k] >>= min(turns, 7)
			}
		}
		s.at += turns * memory
	}
	b := &s.n[bucketOf(source)]
	most := uint8(sourceProof)
	switch d {
	case DeedExcused:
		if source != 0 {
			b[DeedOwed] = max(b[DeedOwed], 1) - 1
		}
		return true
	case DeedOwed:
		most = sourceOwed
	}
	if b[d] >= most {
		return false
	}
	b[d]++
	return true
}

// halve goes with halving what is owed and was answered: where many clients come, the
// bound is one on what each has of the last ones.
func (s *sources) halve() {
	for i := range s.n {
		s.n[i][DeedOwed] /= 2
		s.n[i][DeedAnswered] /= 2
	}
}

// source stands for whoever is behind a client's connection; 0 for nobody.
func (t *Table) source(o Owner) uint64 {
	if o == 0 {
		return 0
	}
	if s := t.signs.Source(o); s != 0 {
		return s
	}
	return uint64(o)
}

// behind is the source of a member; 0 for nobody.
func (t *Table) behind(m *member) uint64 {
	if m == nil {
		return 0
	}
	return t.source(m.owner)
}
