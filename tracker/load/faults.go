package load

// Faults is what was wrong, by kind. In a run without fault all are zero.
type Faults struct {
	// What was sent and never came: replies to announces, offers at any
	// receiver, answers at the offerer.
	RepliesLost int64 `json:"replies_lost"`
	OffersLost  int64 `json:"offers_lost"`
	AnswersLost int64 `json:"answers_lost"`
	// RepliesUnasked: a second reply to an announce, or one to an answer, which
	// some clients take for that to their next announce.
	RepliesUnasked int64 `json:"replies_unasked"`
	// What came once more than it was sent.
	OffersTwice  int64 `json:"offers_twice"`
	AnswersTwice int64 `json:"answers_twice"`
	// Misrouted: offers in another swarm, or back at their sender; answers at
	// somebody who did not make the offer, or from somebody who did not get it.
	Misrouted int64 `json:"misrouted"`
	// Altered: an id or a session description is not what was sent.
	Altered int64 `json:"altered"`
	// Counts: complete and incomplete of a reply are not those of the swarm.
	Counts int64 `json:"counts"`
	// Unknown: an offer or answer that nobody sent, or so late that it was
	// counted as lost.
	Unknown int64 `json:"unknown"`
	// Malformed: frames that are not JSON, or not of the protocol.
	Malformed int64 `json:"malformed"`
	// Refused: the server answered with a failure.
	Refused int64 `json:"refused"`
	// Late: round trips that took longer than they may. They are not lost.
	Late int64 `json:"late"`
	// NotConnected could not connect, Disconnected did and were closed.
	NotConnected int64 `json:"not_connected"`
	Disconnected int64 `json:"disconnected"`
	// EchoesLost and EchoesAltered: messages that did not come back, or
	// did not come back as they were or in their turn.
	EchoesLost    int64 `json:"echoes_lost"`
	EchoesAltered int64 `json:"echoes_altered"`
	// NeverMet are swarms whose two halves did not find each other.
	NeverMet int64 `json:"never_met"`
}

// Each calls visit with the name and the number of every kind.
func (f *Faults) Each(visit func(name string, n int64)) {
	visit("replies lost", f.RepliesLost)
	visit("offers lost", f.OffersLost)
	visit("answers lost", f.AnswersLost)
	visit("replies unasked for", f.RepliesUnasked)
	visit("offers twice", f.OffersTwice)
	visit("answers twice", f.AnswersTwice)
	visit("misrouted", f.Misrouted)
	visit("altered", f.Altered)
	visit("wrong counts", f.Counts)
	visit("unknown", f.Unknown)
	visit("malformed", f.Malformed)
	visit("refused", f.Refused)
	visit("late", f.Late)
	visit("not connected", f.NotConnected)
	visit("disconnected", f.Disconnected)
	visit("echoes lost", f.EchoesLost)
	visit("echoes altered", f.EchoesAltered)
	visit("swarms never met", f.NeverMet)
}

// Total is how many faults there were.
func (f *Faults) Total() (n int64) {
	f.Each(func(_ string, k int64) { n += k })
	return n
}
