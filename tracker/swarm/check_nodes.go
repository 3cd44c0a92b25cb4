package swarm

import "fmt"

func (t *Table) checkNodes(x *extension) error {
	s := t.of(x)
	complete, incomplete := 0, 0
	groups := make(map[*group]int)
	draw := make(map[*group]int)
	for _, nd := range x.nodes {
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
		if nd.credit < 0 || nd.credit > creditMax || nd.trust.Proven && nd.credit == 0 {
			return fmt.Errorf("a node has credit %d, proven %v", nd.credit, nd.trust.Proven)
		}
		limit := claimUnproven
		if nd.trust.Proven {
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
			for k := range s.len() {
				m := t.member(s, k)
				local = local || Tag(nd.tagKey, t.text(nil, &m.id, m.has(odd))) == g.hash
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
	if complete != x.remoteComplete || incomplete != x.remoteIncomplete {
		return fmt.Errorf("remote %d and %d, counted as %d and %d", complete, incomplete, x.remoteComplete, x.remoteIncomplete)
	}
	if len(groups) != len(x.groups) {
		return fmt.Errorf("%d groups, listed %d", len(groups), len(x.groups))
	}
	for g, n := range groups {
		if g.nodes != n || draw[g] != min(n, drawing) || g.balance <= -1-1e-9 || g.balance > burstGroup {
			return fmt.Errorf("group %q: %d nodes, counted as %d, %d draw, balance %v", g.name, n, g.nodes, draw[g], g.balance)
		}
	}
	if x.unproven.balance <= -1-1e-9 || x.unproven.balance > burstUnproven {
		return fmt.Errorf("the balance of the unproven is %v", x.unproven.balance)
	}
	for k := range x.young {
		if b := x.young[k].balance; b <= -1-1e-9 || b > burstYoung {
			return fmt.Errorf("the balance of cohort %d is %v", k, b)
		}
	}
	return nil
}
