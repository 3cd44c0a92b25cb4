package load

import "slices"

// schedule begins the pacing: clients announce at times of their own in each
// period, which do not change.
func (r *runner) schedule() {
	every := int64(r.cfg.Every)
	r.order = r.order[:0]
	for i := range r.clients {
		r.order = append(r.order, int32(i))
		r.phase = append(r.phase, r.rng.Int64N(every))
	}
	slices.Sort(r.phase)
	r.rng.Shuffle(len(r.order), func(i, j int) { r.order[i], r.order[j] = r.order[j], r.order[i] })
	r.cursor, r.period, r.pacing = 0, r.clock(), true
}

// due sends the announces whose time has come and returns when the next has.
func (r *runner) due(now int64) int64 {
	for {
		at := r.period + r.phase[r.cursor]
		if at > now {
			return at
		}
		if i := int(r.order[r.cursor]); r.clients[i].open {
			r.lateness.add(now - at)
			r.now = now
			r.announce(i, false, r.cfg.Offers)
		}
		if r.cursor++; r.cursor == len(r.order) {
			r.cursor = 0
			r.period += int64(r.cfg.Every)
		}
	}
}

// announce queues a client's announce.
func (r *runner) announce(i int, first bool, offers int) {
	c := &r.clients[i]
	start := len(c.out)
	r.queue(i)
	b := begin(c.out)
	if r.referee != nil {
		seq := r.referee.announced(i, offers, r.now)
		b = r.script.appendAnnounce(b, i, seq, first, offers)
	} else {
		b = r.mirror.appendAnnounce(b, i, first, r.now)
	}
	c.out = r.script.seal(b, start, opText)
	r.sent++
}

// message judges a message and sends the answer, if there is one.
func (r *runner) message(i int, text []byte, isText bool) {
	r.recvd++
	if !isText {
		r.malformed++ // browsers would get a Blob
		return
	}
	if r.referee == nil {
		if seq, answer := r.mirror.receive(i, text, r.now); answer {
			r.answerEcho(i, seq)
		}
		return
	}
	if to, n := r.referee.receive(i, text, r.now); to != nil {
		c := &r.clients[i]
		start := len(c.out)
		r.queue(i)
		c.out = r.script.seal(r.script.appendAnswerTo(begin(c.out), i, to, n), start, opText)
		r.sent++
	}
}

// answerEcho lets others of the swarm send what they would answer.
func (r *runner) answerEcho(from int, seq uint64) {
	step := r.cfg.Swarms
	size := (len(r.clients) - 1 - r.cfg.swarm(from)) / step // others
	if size == 0 {
		return
	}
	first := r.rng.IntN(size)
	mine := from / step
	for k := range min(r.cfg.Offers, size) {
		at := (first + k) % size
		if at >= mine {
			at++
		}
		i := at*step + r.cfg.swarm(from)
		if c := &r.clients[i]; c.open {
			start := len(c.out)
			r.queue(i)
			c.out = r.script.seal(r.mirror.appendAnswer(begin(c.out), i, from, offerNumber(seq, k), r.now), start, opText)
			r.sent++
		}
	}
}
