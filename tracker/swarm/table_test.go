package swarm

import "time"

// conn is an owner in tests: a client's connection or a node.
type conn struct {
	name       string
	seen, ping time.Duration
	id         Owner
	source     uint64
}

// table is a Table whose owners are conns, for tests to read well.
type table struct {
	*Table
	conns []*conn
	raw   []Effect
}

// effect is an Effect for a conn.
type effect struct {
	Effect
	To *conn
}

func newTable(cfg Config, seed [32]byte) *table {
	t := new(table)
	t.Table = New(cfg, t, seed)
	return t
}

func (t *table) LastSeen(o Owner) time.Duration { return t.conns[o-1].seen }
func (t *table) LastPing(o Owner) time.Duration { return t.conns[o-1].ping }
func (t *table) Source(o Owner) uint64          { return t.conns[o-1].source }

// owner is the number of a conn, which it gets when it first comes here.
func (t *table) owner(c *conn) Owner {
	if c.id == 0 {
		t.conns = append(t.conns, c)
		c.id = Owner(len(t.conns))
	}
	return c.id
}

func (t *table) conn(o Owner) *conn {
	if o == 0 {
		return nil
	}
	return t.conns[o-1]
}

func (t *table) effects(out []effect, raw []Effect) []effect {
	t.raw = raw[:0]
	for _, e := range raw {
		out = append(out, effect{e, t.conn(e.To)})
	}
	return out
}

func (t *table) Announce(now time.Duration, from *conn, a *Announce, out []effect) ([]effect, Outcome) {
	raw, oc := t.Table.Announce(now, t.owner(from), a, t.raw)
	return t.effects(out, raw), oc
}

func (t *table) Answer(now time.Duration, from *conn, a *Answer, out []effect) ([]effect, Outcome) {
	raw, oc := t.Table.Answer(now, t.owner(from), a, t.raw)
	return t.effects(out, raw), oc
}

func (t *table) Leave(now time.Duration, from *conn, infoHash, peerID []byte, out []effect) ([]effect, Outcome) {
	raw, oc := t.Table.Leave(now, t.owner(from), infoHash, peerID, t.raw)
	return t.effects(out, raw), oc
}

func (t *table) Owns(from *conn, infoHash, peerID []byte) bool {
	return t.Table.Owns(t.owner(from), infoHash, peerID)
}

func (t *table) Sweep(now time.Duration, budget int, out []effect) []effect {
	return t.effects(out, t.Table.Sweep(now, budget, t.raw))
}

func (t *table) NodeJoin(now time.Duration, from *conn, j *NodeJoin, out []effect) ([]effect, Outcome) {
	raw, oc := t.Table.NodeJoin(now, t.owner(from), j, t.raw)
	return t.effects(out, raw), oc
}

func (t *table) NodeLeave(now time.Duration, from *conn, infoHash []byte, out []effect) ([]effect, Outcome) {
	raw, oc := t.Table.NodeLeave(now, t.owner(from), infoHash, t.raw)
	return t.effects(out, raw), oc
}

func (t *table) NodeOffers(now time.Duration, from *conn, infoHash, peerID []byte, offers []Offer, out []effect) ([]effect, Outcome) {
	raw, oc := t.Table.NodeOffers(now, t.owner(from), infoHash, peerID, offers, t.raw)
	return t.effects(out, raw), oc
}

func (t *table) NodeAnswer(now time.Duration, from *conn, a *Answer, out []effect) ([]effect, Outcome) {
	raw, oc := t.Table.NodeAnswer(now, t.owner(from), a, t.raw)
	return t.effects(out, raw), oc
}

func (t *table) NodeRefused(now time.Duration, from *conn, infoHash, peerID []byte, offer Offer, why RefuseReason, out []effect) ([]effect, Outcome) {
	raw, oc := t.Table.NodeRefused(now, t.owner(from), infoHash, peerID, offer, why, t.raw)
	return t.effects(out, raw), oc
}

// of is a swarm and its extension by name.
func (t *table) of(hash string) (*swarm, *extension) {
	s := t.swarm([]byte(hash))
	if s == nil {
		return nil, nil
	}
	return s, t.ext(s)
}
