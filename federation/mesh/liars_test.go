package mesh

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/nodeaddr"
)

// later is what happens at a time, for script.play.
type later struct {
	at time.Duration
	do func()
}

// play lets a directory with a list of n addresses and what they lead to
// answer s until done, and tells when that was; 0: not before end. resolve and
// dial say what comes of address or node i, and after how long.
func (s *script) play(n int, end time.Duration, resolve func(i int) (time.Duration, func(i int)), dial func(i int) (time.Duration, bool), done func() bool) time.Duration {
	index, keys := make(map[string]int), make(map[Key]int)
	for i := range n {
		index[addr(i).String()] = i
		keys[key(i+1)] = i
	}
	var waiting []later
	in := func(d time.Duration, do func()) { waiting = append(waiting, later{s.now + d, do}) }
	for s.now < end {
		s.to(s.now)
		if done() {
			return s.now
		}
		for _, a := range s.out {
			switch a.Kind {
			case ActSearch:
				in(time.Second, func() {
					for i := range n {
						s.m.Sighting(s.now, a.ID, addr(i))
					}
				})
				in(4*time.Second, func() { s.m.SearchDone(s.now, a.ID, false) })
			case ActResolve:
				i := index[a.Addr.String()]
				took, then := resolve(i)
				in(took, func() { then(i) })
			case ActDial:
				took, ok := dial(keys[a.Key])
				in(took, func() {
					if ok {
						s.m.LinkUp(s.now, a.Key, Link{Dialled: true})
						s.m.DialDone(s.now, a.ID, DialOK, a.Key)
						return
					}
					s.m.DialDone(s.now, a.ID, DialFailed, Key{})
				})
			}
		}
		next := max(s.m.Next(), s.now+1)
		for _, w := range waiting {
			next = min(next, max(w.at, s.now))
		}
		s.now = next
		var rest []later
		for _, w := range waiting {
			if w.at <= s.now {
				w.do()
			} else {
				rest = append(rest, w)
			}
		}
		waiting = rest
	}
	return 0
}

// One honest node in a list with 60 liars is met within two minutes, whatever
// kind of liars they are, and also if the swarm has company already.
func TestAnHonestNodeAmongLiarsHasItsTurn(t *testing.T) {
	const liars = 60
	silent := func(s *script, i int) (time.Duration, func(int)) {
		return 5 * time.Second, func(int) { s.m.Unresolved(s.now, addr(i), false) }
	}
	bad := func(s *script, i int) (time.Duration, func(int)) {
		return 100 * time.Millisecond, func(int) { s.m.Unresolved(s.now, addr(i), true) }
	}
	valid := func(s *script, i int) (time.Duration, func(int)) {
		return 100 * time.Millisecond, func(int) { s.m.Resolved(s.now, addr(i), recordOf(i+1)) }
	}
	oneHost := func(s *script, i int) (time.Duration, func(int)) {
		return 100 * time.Millisecond, func(int) {
			r := recordOf(i + 1)
			r.URLs = []nodeaddr.URL{nodeURL(500)}
			s.m.Resolved(s.now, addr(i), r)
		}
	}
	type kind = func(*script, int) (time.Duration, func(int))
	for name, kinds := range map[string][]kind{
		"silent": {silent}, "bad records": {bad}, "dead hosts": {valid}, "one host": {oneHost}, "mixed": {silent, bad, valid, oneHost},
	} {
		worst := time.Duration(0)
		for seed := range uint64(10) {
			for _, remote := range []int{0, 1} {
				r := rand.New(rand.NewPCG(seed, 9))
				honest := r.IntN(liars + 1)
				s := newScript(t, Config{NoRendezvous: true, Rand: r})
				s.m.Touched(0, "x", SwarmState{Local: 1, Remote: remote}, true)
				met := s.play(liars+1, 3*time.Minute, func(i int) (time.Duration, func(int)) {
					if i == honest {
						return valid(s, i)
					}
					return kinds[i%len(kinds)](s, i)
				}, func(i int) (time.Duration, bool) {
					if i == honest {
						return 200 * time.Millisecond, true
					}
					return 15 * time.Second, false
				}, func() bool {
					for _, a := range s.out {
						if a.Kind == ActJoin && a.Key == key(honest+1) {
							return true
						}
					}
					return false
				})
				if met == 0 || met > 2*time.Minute {
					t.Errorf("%s, seed %d, %d remote peers: met after %v (0: not in 3 minutes)", name, seed, remote, met)
				}
				worst = max(worst, met)
			}
		}
		t.Logf("%s: met after %v at worst", name, worst)
	}
}
