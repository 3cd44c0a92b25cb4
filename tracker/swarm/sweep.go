package swarm

import (
	"bytes"
	"time"
)

// cursor is where Sweep goes on: a place in Table.list, and a slot there.
type cursor struct{ swarm, slot int }

// Sweep does what only time brings about: it decides claims, releases and drops
// parked offers, and ends the memberships of those who have been silent for the TTL:
// no announce, no answer, and no ping of their own accord. It does at most
// about budget units of work, one being a look at a member or a swarm; the
// next call goes on from there. With a budget of 0 or less it is a 64th of
// the table and a bit: a caller that sweeps once or more a second then sees a
// silent member off within about a minute of its TTL, while claims and parked
// offers, which wait in order, keep their terms. Each change of membership
// leaves an EffectTouch.
func (t *Table[O]) Sweep(now time.Duration, budget int, out []Effect[O]) []Effect[O] {
	t.ledger.turn(now)
	if budget <= 0 {
		budget = 256 + (t.stats.Members+len(t.list))/64
	}
	out, budget = t.judge(now, budget, out)
	out, budget = t.release(now, budget, out)
	budget = t.expire(now, budget)
	budget = min(budget, t.stats.Members+len(t.list)) // once around
	for ; budget > 0 && len(t.list) > 0; budget-- {
		if t.cursor.swarm >= len(t.list) {
			t.cursor = cursor{}
		}
		s := t.list[t.cursor.swarm]
		if t.cursor.slot >= len(s.members) {
			t.cursor.swarm++
			t.cursor.slot = 0
			continue
		}
		m := &s.members[t.cursor.slot]
		if now-max(m.seen, m.owner.LastPing()) < t.cfg.TTL {
			t.cursor.slot++
			continue
		}
		t.stats.Expired++
		out, _ = t.depart(now, s, t.cursor.slot, out)
		out = touch(s, out)
	}
	return out
}

// touch tells the watcher of a swarm, unless that was the last thing said.
func touch[O Owner](s *swarm[O], out []Effect[O]) []Effect[O] {
	if n := len(out); n > 0 && out[n-1].Kind == EffectTouch && bytes.Equal(out[n-1].InfoHash, s.hash) {
		return out
	}
	return append(out, Effect[O]{Kind: EffectTouch, InfoHash: s.hash})
}
