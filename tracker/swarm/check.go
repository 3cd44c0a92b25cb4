package swarm

import (
	"bytes"
	"errors"
	"fmt"
)

// Check verifies every invariant of the table's own structures, the slow way.
// It is for tests and for whoever hunts a bug.
func (t *Table) Check() error {
	if err := t.checkSlabs(); err != nil {
		return err
	}
	var sum Stats
	claims, batches, texts, exts := 0, 0, 0, 0
	by := make(map[Owner]parkedSum)
	for at := range t.swarms.rows {
		s := t.swarms.at(at)
		name := t.text(nil, &s.hash, s.odd)
		if t.swarm(name) != s || t.place(s) != at {
			return fmt.Errorf("swarm %q is not in its place", name)
		}
		n, err := t.checkMembers(s)
		if err != nil {
			return fmt.Errorf("swarm %q: %w", name, err)
		}
		texts += n
		if s.odd {
			texts++
		}
		sum.Members += s.len()
		sum.Complete += int(s.complete)
		x := t.ext(s)
		if x == nil {
			continue
		}
		exts++
		if x.at != at || !bytes.Equal(x.name, name) {
			return fmt.Errorf("swarm %q has an extension of %d, %q", name, x.at, x.name)
		}
		if err := t.checkNodes(x); err != nil {
			return fmt.Errorf("swarm %q: %w", name, err)
		}
		sum.Nodes += len(x.nodes)
		for _, b := range x.batches {
			if b.place.value != b || b.turn.value != b || len(b.offers) == 0 {
				return fmt.Errorf("swarm %q: batch of %q is not in the queues or empty", name, b.peerID)
			}
			own := by[b.owner]
			by[b.owner] = parkedSum{own.offers + len(b.offers), own.bytes + b.bytes}
			sum.Parked += len(b.offers)
			sum.ParkedBytes += b.bytes
			batches++
		}
		for _, c := range x.claims {
			if c.place.value != c || c.x != x {
				return fmt.Errorf("swarm %q: claim to %q is not in the queue", name, c.a.PeerID)
			}
			claims++
			sum.ClaimBytes += c.bytes
		}
		switch {
		case len(x.nodes) > t.cfg.MaxNodes || len(x.departed) > t.cfg.MaxNodes:
			return fmt.Errorf("swarm %q: %d nodes, %d departed", name, len(x.nodes), len(x.departed))
		case len(x.claims) > t.cfg.MaxClaimsSwarm || x.parked > t.cfg.MaxParkedSwarm:
			return fmt.Errorf("swarm %q: %d claims, %d parked", name, len(x.claims), x.parked)
		}
	}
	if exts != int(t.exts.rows) || texts != t.texts.len() {
		return fmt.Errorf("%d extensions, %d texts in use, %d and %d are kept", exts, texts, t.exts.rows, t.texts.len())
	}
	st := t.Stats()
	switch {
	case sum.Members != st.Members || sum.Complete != st.Complete || sum.Nodes != st.Nodes:
		return fmt.Errorf("members, seeders, nodes: %d %d %d, counted as %d %d %d",
			sum.Members, sum.Complete, sum.Nodes, st.Members, st.Complete, st.Nodes)
	case claims != t.claims.len || sum.ClaimBytes != st.ClaimBytes:
		return fmt.Errorf("claims: %d of %d bytes, counted as %d of %d", claims, sum.ClaimBytes, t.claims.len, st.ClaimBytes)
	case batches != t.batches.len || sum.Parked != st.Parked || sum.ParkedBytes != st.ParkedBytes || len(by) != len(t.parkedBy):
		return fmt.Errorf("parked: %d batches, %d offers, %d bytes, %d owners, counted as %d, %d, %d, %d",
			batches, sum.Parked, sum.ParkedBytes, len(by), t.batches.len, st.Parked, st.ParkedBytes, len(t.parkedBy))
	case st.Members > t.cfg.MaxMembers || st.Swarms > t.cfg.MaxSwarms || st.Ledger > max(0, t.cfg.MaxLedger) ||
		st.Claims > t.cfg.MaxClaims || st.ClaimBytes > t.cfg.MaxClaimBytes || st.ParkedBytes > t.cfg.MaxParkedBytes:
		return fmt.Errorf("a bound is passed: %+v", st)
	}
	for o, own := range by {
		if t.parkedBy[o] != own || own.offers > t.cfg.MaxParkedOwner || own.bytes > t.cfg.MaxParkedOwnerBytes {
			return fmt.Errorf("an owner has %v parked, counted as %v", own, t.parkedBy[o])
		}
	}
	for g, m := range t.ledger.gen {
		for _, e := range m {
			if e.count == 0 {
				return fmt.Errorf("ledger generation %d has a spent entry", g)
			}
		}
	}
	return nil
}

// checkSlabs verifies that nothing in the slabs is out of use.
func (t *Table) checkSlabs() error {
	if t.index.n != int(t.swarms.rows) {
		return fmt.Errorf("%d swarms, %d indexed", t.swarms.rows, t.index.n)
	}
	if err := t.index.check(t.swarmHash); err != nil {
		return fmt.Errorf("index of swarms: %w", err)
	}
	rows, paged := uint32(0), uint32(0)
	for at := range t.swarms.rows {
		if t.swarms.at(at).paged {
			paged++
		}
	}
	for c := range t.rows {
		if t.rows[c].rows != t.backs[c].rows {
			return fmt.Errorf("%d rows of %d members, %d known", t.rows[c].rows, rowSizes[c], t.backs[c].rows)
		}
		for row := range t.rows[c].rows {
			s := t.swarms.at(*t.backs[c].at(row))
			if s.paged || s.row != row || rowClass[s.n] != uint8(c) {
				return fmt.Errorf("row %d of %d members is not its swarm's", row, rowSizes[c])
			}
		}
		rows += t.rows[c].rows
	}
	if rows+paged != t.swarms.rows {
		return fmt.Errorf("%d swarms, %d rows, %d in pages", t.swarms.rows, rows, paged)
	}
	for i := range t.exts.rows {
		x := *t.exts.at(i)
		if x == nil || x.at >= t.swarms.rows || t.of(x).ext != i+1 {
			return fmt.Errorf("extension %d is not its swarm's", i)
		}
	}
	return nil
}

// checkMembers returns how many odd peer ids there are.
func (t *Table) checkMembers(s *swarm) (texts int, err error) {
	n := s.len()
	if n == 0 || s.dealt > s.n || s.complete > s.n {
		return 0, fmt.Errorf("%d members, %d seeders, %d dealt", n, s.complete, s.dealt)
	}
	x := t.ext(s)
	switch {
	case s.paged && (n <= rowAgain || len(x.pages)*pageLen < n || len(x.pages)*pageLen >= n+2*pageLen):
		return 0, fmt.Errorf("%d members in %d pages", n, len(x.pages))
	case !s.paged && (n > maxRow || x != nil && (x.pages != nil || x.owned != nil || x.index.dir != nil)):
		return 0, fmt.Errorf("%d members without pages", n)
	case s.paged && x.index.n != n:
		return 0, fmt.Errorf("%d members, %d indexed", n, x.index.n)
	}
	if s.paged {
		if err := x.index.check(func(at uint32) uint32 { return t.memberHash(t.member(s, int(at))) }); err != nil {
			return 0, err
		}
	}
	complete, claims, batches := 0, 0, 0
	owners := make(map[Owner]int)
	for i := range n {
		m := t.member(s, i)
		name := t.text(nil, &m.id, m.has(odd))
		if t.peer(s, name) != m || t.slot(s, m) != i {
			return 0, fmt.Errorf("member %q of slot %d is not found there", name, i)
		}
		owners[m.owner]++
		if m.has(odd) {
			texts++
		}
		if m.has(seeder) {
			complete++
		}
		c, b := t.claimTo(s, m), t.batchOf(s, m)
		if c != nil {
			if claims++; string(c.a.PeerID) != string(name) || c.owner == m.owner {
				return 0, fmt.Errorf("member %q has a claim to %q, or its owner's own", name, c.a.PeerID)
			}
		}
		if b != nil {
			if batches++; string(b.peerID) != string(name) || b.owner != m.owner {
				return 0, fmt.Errorf("member %q has the offers of %q", name, b.peerID)
			}
		}
		if m.has(rare) != (b != nil || c != nil) {
			return 0, fmt.Errorf("member %q is not what its flag says", name)
		}
	}
	for o, n := range owners {
		if o == 0 || t.ownedBy(s, o) != n || s.paged && len(x.owned) != len(owners) {
			return 0, fmt.Errorf("an owner has %d members, counted as %d", n, t.ownedBy(s, o))
		}
	}
	if complete != int(s.complete) {
		return 0, fmt.Errorf("%d seeders, counted as %d", complete, s.complete)
	}
	if x == nil {
		return texts, nil
	}
	parked := 0
	for i, b := range x.batches {
		if parked += len(b.offers); b.at != i || b.x != x {
			return 0, fmt.Errorf("batch of %q is not in its place", b.peerID)
		}
	}
	if claims != len(x.claims) || batches != len(x.batches) || batches != x.oldest.len || parked != x.parked {
		return 0, fmt.Errorf("claims, batches, parked: %d %d %d, counted as %d %d %d",
			claims, batches, parked, len(x.claims), len(x.batches), x.parked)
	}
	return texts, nil
}

// check verifies that all places are where a search would find them.
func (x *index) check(hash func(uint32) uint32) error {
	if x.dir == nil {
		if x.n != 0 {
			return errors.New("lost")
		}
		return nil
	}
	if len(x.dir) != 1<<x.depth {
		return fmt.Errorf("directory of %d, depth %d", len(x.dir), x.depth)
	}
	n := 0
	seen := make(map[uint32]bool)
	for i := 0; i < len(x.dir); {
		g := x.dir[i]
		span := len(x.dir) >> g.depth
		if g.depth > x.depth || i%span != 0 {
			return fmt.Errorf("segment %d of depth %d in %d", i, g.depth, x.depth)
		}
		for k := range span {
			if x.dir[i+k] != g {
				return fmt.Errorf("segment %d of depth %d is not alone", i+k, g.depth)
			}
		}
		in := 0
		for at, v := range g.slots {
			if v == 0 {
				continue
			}
			in++
			h := hash(v - 1)
			if x.segment(h) != g || g.tags[at] != g.tag(h) || seen[v] {
				return fmt.Errorf("place %d is in the wrong segment, or twice", v-1)
			}
			seen[v] = true
			if found, slot := x.find(h, v-1); found != g || slot != at {
				return fmt.Errorf("place %d is not found", v-1)
			}
		}
		if in != g.n || !fits(g.n, len(g.slots)) || len(g.tags) != len(g.slots) {
			return fmt.Errorf("%d places of %d, counted as %d", in, len(g.slots), g.n)
		}
		n += in
		i += span
	}
	if n != x.n {
		return fmt.Errorf("%d places, counted as %d", n, x.n)
	}
	return nil
}
