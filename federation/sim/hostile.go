package sim

// hostile is what a node does that is none of ours.
type hostile struct {
	mute bool // it answers nobody
}

func (h *hostile) take(l *link, b []byte) {}
func (h *hostile) met(l *link)            {}
func (h *hostile) lost(l *link)           {}
