package federation

import "sync"

// maxDirty is how many touched swarms wait to be looked at. Beyond, all
// swarms are, which costs more but loses none.
const maxDirty = 1 << 16

// Watcher collects touched swarms for a Federation. It is the tracker's
// Watcher, made before both, and the only part of this package that serving
// a client runs through: it takes one short lock.
type Watcher struct {
	wake chan struct{} // capacity 1

	mu       sync.Mutex
	dirty    map[string]touch
	overflow bool
	lost     uint64
}

// touch says on which side a swarm changed.
type touch uint8

const (
	touchLocal  touch = 1 << iota // our members: others are to be told
	touchRemote                   // theirs
)

// NewWatcher makes a Watcher.
func NewWatcher() *Watcher {
	return &Watcher{wake: make(chan struct{}, 1), dirty: make(map[string]touch)}
}

// Touch implements tracker.Watcher.
func (w *Watcher) Touch(infoHash []byte) { w.touch(infoHash, touchLocal) }

func (w *Watcher) touch(infoHash []byte, t touch) {
	w.mu.Lock()
	switch had, ok := w.dirty[string(infoHash)]; {
	case ok && had|t == had:
		w.mu.Unlock()
		return
	case !ok && len(w.dirty) >= maxDirty:
		w.overflow = true
		w.lost++
	default:
		w.dirty[string(infoHash)] = had | t
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take empties the Watcher. With all, the set does not name every swarm that
// was touched.
func (w *Watcher) take() (dirty map[string]touch, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, w.overflow = w.overflow, false
	if len(w.dirty) > 0 { // else the map stays here, where it is written to
		dirty, w.dirty = w.dirty, make(map[string]touch)
	}
	return dirty, all
}

// overflows is how many touches met a full set.
func (w *Watcher) overflows() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}
