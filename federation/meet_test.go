package federation_test

import (
	"testing"
	"time"
)

func TestAnnounceOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.start(1), w.start(2)
		ca, cb := a.client("alice"), b.client("bob")
		ca.announce(hash(1), 5)
		time.Sleep(time.Second)
		cb.announce(hash(1), 5)
		introduced(t, ca, cb, 5*time.Second)
	})
}
