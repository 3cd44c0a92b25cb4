package swarm

import (
	"bytes"
	"time"
)

// cursor is where Sweep goes on: a swarm, and a slot there.
type cursor struct {
	swarm uint32
	slot  int
}

// Sweep does what only time brings about: it decides claims, releases and drops
// parked offers, and ends the memberships of those who have been silent for the TTL:
// no announce, no answer, and no ping of their own accord. It does at most
// about budget units of work, one being a look at a member or a swarm; the
// next call goes on from there. With a budget of 0 or less it is a 64th of
// the table and a bit: a caller that sweeps once or more a second then sees a
// silent member off within about a minute of its TTL, while claims and parked
// offers, which wait in order, keep their terms. Each change of membership
// leaves an EffectTouch.
func (t *Table) Sweep(now time.Duration, budget int, out []Effect) []Effect {
	t.ledger.turn(now)
	if budget <= 0 {
		budget = 256 + (t.stats.Members+int(t.swarms.rows))/64
	}
	out, budget = t.judge(now, budget, out)
	out, budget = t.release(now, budget, out)
	budget = t.expire(now, budget)
	budget = min(budget, t.stats.Members+int(t.swarms.rows)) // once around
	for ; budget > 0 && t.swarms.rows > 0; budget-- {
		if t.cursor.swarm >= t.swarms.rows {
			t.cursor = cursor{}
		}
		s := t.swarms.at(t.cursor.swarm)
		if t.cursor.slot >= s.len() {
			t.tidy(now, s)
			t.cursor.swarm++
			t.cursor.slot = 0
			continue
		}
		m := t.member(s, t.cursor.slot)
		if m.silent(now) < t.cfg.TTL || now-t.signs.LastPing(m.owner) < t.cfg.TTL {
			t.cursor.slot++
			continue
		}
		t.stats.Expired++
		t.scratch = t.text(t.scratch[:0], &s.hash, s.odd)
		name := t.scratch
		if n := len(out); n > 0 && out[n-1].Kind == EffectTouch && bytes.Equal(out[n-1].InfoHash, name) {
			name = out[n-1].InfoHash
		} else {
			name = bytes.Clone(name)
		}
		out, _ = t.depart(now, s, m, out)
		out = touch(name, out)
	}
	return out
}

// touch tells the watcher of a swarm, unless that was the last thing said.
func touch(infoHash []byte, out []Effect) []Effect {
	if n := len(out); n > 0 && out[n-1].Kind == EffectTouch && bytes.Equal(out[n-1].InfoHash, infoHash) {
		return out
	}
	return append(out, Effect{Kind: EffectTouch, InfoHash: infoHash})
}
