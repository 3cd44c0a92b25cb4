package wsserver

import "time"

// Frames that bring nothing to the tracker: control frames, and fragments
// without a byte in them that do not end their message. They are cheap to send
// (six bytes each) and, unlike messages, neither the tracker's to judge nor
// bounded by a message's size, so a client could keep a core busy with them
// for as long as it likes. Real ones send a ping every few seconds.
const (
	// paceBurst is how many may come at once,
	paceBurst = 1000
	// paceEvery how long each is paid off in.
	paceEvery = 10 * time.Millisecond
)

// pace counts such frames of one connection: a bucket that leaks, kept as the
// moment at which it will be empty. The zero value is an empty one.
type pace struct {
	empty time.Duration
}

// spend notes one more frame at now, which is measured from any moment in the
// past that stays the same, and reports whether there may be that many.
func (p *pace) spend(now time.Duration) bool {
	p.empty = max(p.empty, now) + paceEvery
	return p.empty-now <= paceBurst*paceEvery
}
