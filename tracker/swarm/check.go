package swarm

import "fmt"

// Check verifies every invariant of the table's own structures, the slow way.
// It is for tests and for whoever hunts a bug.
func (t *Table[O]) Check() error {
	if len(t.list) != len(t.swarms) {
		return fmt.Errorf("%d swarms listed, %d mapped", len(t.list), len(t.swarms))
	}
	var sum Stats
	claims, batches := 0, 0
	by := make(map[O]parkedSum)
	for i, s := range t.list {
		if s.at != i || t.swarms[string(s.hash)] != s {
			return fmt.Errorf("swarm %q is not in its place", s.hash)
		}
		if err := s.check(); err != nil {
			return fmt.Errorf("swarm %q: %w", s.hash, err)
		}
		sum.Members += len(s.members)
		sum.Complete += s.complete
		sum.Nodes += len(s.nodes)
		for _, b := range s.batches {
			if b.place.value != b || b.turn.value != b || len(b.offers) == 0 {
				return fmt.Errorf("swarm %q: batch of %q is not in the queues or empty", s.hash, b.peerID)
			}
			own := by[b.owner]
			by[b.owner] = parkedSum{own.offers + len(b.offers), own.bytes + b.bytes}
			sum.Parked += len(b.offers)
			sum.ParkedBytes += b.bytes
			batches++
		}
		for k := range s.members {
			if c := s.members[k].claim; c != nil {
				if c.place.value != c || c.swarm != s {
					return fmt.Errorf("swarm %q: claim to %q is not in the queue", s.hash, c.a.PeerID)
				}
				claims++
				sum.ClaimBytes += c.bytes
			}
		}
		switch {
		case len(s.nodes) > t.cfg.MaxNodes || len(s.departed) > t.cfg.MaxNodes:
			return fmt.Errorf("swarm %q: %d nodes, %d departed", s.hash, len(s.nodes), len(s.departed))
		case s.claims > t.cfg.MaxClaimsSwarm || s.parked > t.cfg.MaxParkedSwarm:
			return fmt.Errorf("swarm %q: %d claims, %d parked", s.hash, s.claims, s.parked)
		}
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

func (s *swarm[O]) check() error {
	if len(s.members) == 0 || len(s.deck) != len(s.members) || s.dealt < 0 || s.dealt > len(s.deck) {
		return fmt.Errorf("%d members, %d cards, %d dealt", len(s.members), len(s.deck), s.dealt)
	}
	if (s.index == nil) != (s.owned == nil) || s.index == nil && len(s.members) > indexAbove ||
		s.index != nil && len(s.index) != len(s.members) {
		return fmt.Errorf("index of %d for %d members", len(s.index), len(s.members))
	}
	complete, claims, batches := 0, 0, 0
	ids := make(map[string]bool)
	owners := make(map[O]int)
	for i := range s.members {
		m := &s.members[i]
		if ids[m.id] || s.find([]byte(m.id)) != i || s.deck[m.card] != int32(i) {
			return fmt.Errorf("member %q: twice, not found, or without its card", m.id)
		}
		ids[m.id] = true
		owners[m.owner]++
		if m.complete {
			complete++
		}
		if m.claim != nil {
			if claims++; string(m.claim.a.PeerID) != m.id || m.claim.owner == m.owner {
				return fmt.Errorf("member %q has a claim to %q, or its owner's own", m.id, m.claim.a.PeerID)
			}
		}
		if m.batch != nil {
			if batches++; string(m.batch.peerID) != m.id || m.batch.owner != m.owner {
				return fmt.Errorf("member %q has the offers of %q", m.id, m.batch.peerID)
			}
		}
	}
	parked := 0
	for i, b := range s.batches {
		if parked += len(b.offers); b.at != i || b.swarm != s {
			return fmt.Errorf("batch of %q is not in its place", b.peerID)
		}
	}
	if complete != s.complete || claims != s.claims || batches != len(s.batches) || batches != s.oldest.len || parked != s.parked {
		return fmt.Errorf("seeders, claims, batches, parked: %d %d %d %d, counted as %d %d %d %d",
			complete, claims, batches, parked, s.complete, s.claims, len(s.batches), s.parked)
	}
	for o, n := range owners {
		if s.ownedBy(o) != n || s.owned != nil && len(s.owned) != len(owners) {
			return fmt.Errorf("an owner has %d members, counted as %d", n, s.ownedBy(o))
		}
	}
	return s.checkNodes()
}

func (s *swarm[O]) checkNodes() error {
	complete, incomplete := 0, 0
	groups := make(map[*group]int)
	draw := make(map[*group]int)
	for _, nd := range s.nodes {
		if nd.group != nil {
			groups[nd.group]++
			if nd.draws {
				draw[nd.group]++
			}
		} else if !nd.draws {
			return fmt.Errorf("a node without a group does not draw")
		}
		complete += nd.complete
		incomplete += nd.incomplete
		if nd.credit < 0 || nd.credit > creditMax || nd.proven != (nd.credit > 0) {
			return fmt.Errorf("a node has credit %d, proven %v", nd.credit, nd.proven)
		}
		limit := claimUnproven
		if nd.proven {
			limit = claimProven
		}
		if n := nd.complete + nd.incomplete; n < 0 || n > limit || !nd.draws && n > 0 {
			return fmt.Errorf("a node counts for %d, limit %d, draws %v", n, limit, nd.draws)
		}
		if nd.balance <= -1-1e-9 || nd.balance > burstGroup {
			return fmt.Errorf("a node's balance is %v", nd.balance)
		}
		here := [2]int{}
		for i, g := range nd.tags {
			if i > 0 && nd.tags[i-1].hash >= g.hash {
				return fmt.Errorf("tags are not sorted")
			}
			local := false
			for k := range s.members {
				local = local || Tag(nd.tagKey, []byte(s.members[k].id)) == g.hash
			}
			if local != g.here {
				return fmt.Errorf("a tag is said to be here: %v, is: %v", g.here, local)
			}
			if local {
				here[g.role]++
			}
		}
		if here != nd.duplicates || len(nd.tags) > MaxTags {
			return fmt.Errorf("a node has %v duplicates, counted as %v", here, nd.duplicates)
		}
	}
	if complete != s.remoteComplete || incomplete != s.remoteIncomplete {
		return fmt.Errorf("remote %d and %d, counted as %d and %d", complete, incomplete, s.remoteComplete, s.remoteIncomplete)
	}
	if len(groups) != len(s.groups) {
		return fmt.Errorf("%d groups, listed %d", len(groups), len(s.groups))
	}
	for g, n := range groups {
		if g.nodes != n || draw[g] != min(n, drawing) || g.balance <= -1-1e-9 || g.balance > burstGroup {
			return fmt.Errorf("group %q: %d nodes, counted as %d, %d draw, balance %v", g.name, n, g.nodes, draw[g], g.balance)
		}
	}
	if s.unproven.balance <= -1-1e-9 || s.unproven.balance > burstUnproven {
		return fmt.Errorf("the balance of the unproven is %v", s.unproven.balance)
	}
	return nil
}
