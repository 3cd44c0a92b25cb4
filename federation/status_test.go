package federation_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/frame"
)

// What an operator is shown of a link is what went over it.
func TestStatusOfALink(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		toNoon()
		a := w.start(1)
		ca, cb := a.client("alice"), a.client("bob")
		cb.announce(hash(1), 0)
		p := w.puppet(50, a)
		time.Sleep(time.Minute)
		p.join(hash(1), 0, 5)
		link := func() federation.LinkStatus {
			quiet()
			s := a.fed.Status()
			if len(s.Links) != 1 {
				t.Fatalf("%d links", len(s.Links))
			}
			return s.Links[0]
		}
		l := link()
		if l.Direction != "in" || l.Age < 60 || l.Age > 62 || l.Shared != 1 || l.Address == "" || l.Prefix == "" || l.KnownFor != l.Age {
			t.Errorf("%+v", l)
		}
		// Two offers for bob, of which one finds no receiver; an answer that
		// nobody asked for; something that is no frame.
		p.offer(hash(1), id20("mallory"), "o1", "o2")
		p.answer(hash(1), ca.id, id20("paul"), []byte(`"never offered"`))
		p.write([]byte{0x22, 0x7f})
		l = link()
		if l.Offers != (federation.Flow{Received: 2}) || l.Answers.Received != 1 || l.Accepted != 0 || l.Refused.Sent != 1 ||
			l.Dropped["no_peer"] != 1 || l.Dropped["unmatched"]+l.Dropped["gone"] != 1 || len(l.Dropped) != 2 ||
			l.Strikes["frame"] != 1 || len(l.Strikes) != 1 {
			t.Errorf("%+v", l)
		}
		// What goes out, and comes back with effect.
		ca.announce(hash(1), 5)
		for _, f := range p.sent(frame.KindOffers) {
			for _, o := range f.Offers.Offers {
				p.answer(hash(1), ca.id, id20("paul"), o.ID)
			}
		}
		l = link()
		if _, answers := ca.got(); l.Offers.Sent == 0 || l.Accepted != l.Offers.Sent || uint64(len(answers)) < l.Accepted {
			t.Errorf("%+v, %d answers came", l, len(answers))
		}
		s := a.fed.Status()
		if s.Strikes["frame"] != 1 || s.Network != "test" || s.Closed || s.Leaf {
			t.Errorf("%+v", s)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
	})
}
