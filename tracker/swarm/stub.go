package swarm

import "time"

type Drop uint8

const DropNone Drop = 0

func (d Drop) String() string { return "" }

type Stats struct{}

type Table[O Owner] struct{}

func New[O Owner](cfg Config, seed [32]byte) *Table[O] { return &Table[O]{} }
func (t *Table[O]) Announce(now time.Duration, from O, a *Announce, out []Effect[O]) ([]Effect[O], Outcome) {
	return out, Outcome{}
}
func (t *Table[O]) Answer(now time.Duration, from O, a *Answer, out []Effect[O]) ([]Effect[O], Outcome) {
	return out, Outcome{}
}
func (t *Table[O]) Leave(now time.Duration, from O, infoHash, peerID []byte, out []Effect[O]) ([]Effect[O], Outcome) {
	return out, Outcome{}
}

// Sweep: EffectTouch tells of swarms whose members expired or were rebound.
func (t *Table[O]) Sweep(now time.Duration, budget int, out []Effect[O]) []Effect[O] { return out }
func (t *Table[O]) Scrape(infoHash []byte) (complete, incomplete, downloaded int)    { return }
func (t *Table[O]) Owns(from O, infoHash, peerID []byte) bool                        { return false }
func (t *Table[O]) NodeJoin(now time.Duration, node O, j *NodeJoin, out []Effect[O]) ([]Effect[O], Outcome) {
	return out, Outcome{}
}
func (t *Table[O]) NodeLeave(now time.Duration, node O, infoHash []byte, out []Effect[O]) ([]Effect[O], Outcome) {
	return out, Outcome{}
}
func (t *Table[O]) NodeOffers(now time.Duration, node O, infoHash, peerID []byte, offers []Offer, out []Effect[O]) ([]Effect[O], Outcome) {
	return out, Outcome{}
}
func (t *Table[O]) NodeAnswer(now time.Duration, node O, a *Answer, out []Effect[O]) ([]Effect[O], Outcome) {
	return out, Outcome{}
}
func (t *Table[O]) NodeRefused(now time.Duration, node O, infoHash, peerID []byte, offer Offer, reason RefuseReason, out []Effect[O]) ([]Effect[O], Outcome) {
	return out, Outcome{}
}
func (t *Table[O]) State(infoHash []byte) (State, bool) { return State{}, false }
func (t *Table[O]) Tags(infoHash []byte, key [16]byte, complete, incomplete []uint64) (c, i []uint64, ok bool) {
	return complete, incomplete, false
}
func (t *Table[O]) Swarms(yield func(infoHash []byte, s State) bool) {}
func (t *Table[O]) Stats() Stats                                     { return Stats{} }
func (t *Table[O]) Check() error                                     { return nil }
func Tag(key [16]byte, peerID []byte) uint64                         { return 0 }
