package wsserver

import (
	"testing"

	"github.com/draeder/peerservers/tracker/wire"
)

// Clients who take as little as they may, and ask for as much as they are let,
// take nothing from those who read.
func TestStalledLeaveRoom(t *testing.T) {
	cfg := Config{}.withDefaults()
	for _, crowd := range []int{10, 100, 400, 2000, 20_000} {
		unsent, total := make([]int, crowd), int64(0)
		for more := true; more; {
			more = false
			for i := range unsent {
				const reply = 13 << 10 // to a scrape
				if unsent[i]+reply <= cfg.HardBacklog && admit(&cfg, wire.KindReply, reply, unsent[i], total) == admitted {
					unsent[i] += reply
					total += reply
					more = true
				}
			}
		}
		if total > cfg.TotalBacklog {
			t.Errorf("%d have %d bytes", crowd, total)
		}
		for _, kind := range []wire.MessageKind{wire.KindOffer, wire.KindAnswer, wire.KindReply} {
			for _, has := range []int{0, 4 << 10, 16 << 10} {
				if r := admit(&cfg, kind, 1500, has, total); r != admitted {
					t.Errorf("beside %d with %d bytes: kind %d to one with %d: %v", crowd, total, kind, has, r)
				}
			}
		}
	}
}
