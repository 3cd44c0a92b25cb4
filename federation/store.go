package federation

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/record"
)

// storeEvery is how often changes of what is known are saved.
const storeEvery = time.Minute

// load takes in what was saved. What has expired still counts for its age and
// its number.
func (f *Federation) load() {
	if f.cfg.Store == nil {
		return
	}
	saved, err := f.cfg.Store.Load()
	if err != nil {
		f.log.Warn("saved nodes not read", "why", err)
	}
	now := f.cfg.Now()
	for i := range saved {
		s := &saved[i]
		f.mu.Lock()
		if n := f.known.get(mesh.Key(s.Record.Key), now); n != nil {
			if s.FirstSeen.Before(n.firstSeen) {
				n.firstSeen = s.FirstSeen
			}
			n.signed, n.met = s.Record, s.Met
		}
		f.mu.Unlock()
		if len(s.Record.Value) > 0 && f.learnSaved(s.Record) != nil {
			f.stats.savedStale.Add(1)
		}
	}
	f.mu.Lock()
	f.known.dirty = false
	f.mu.Unlock()
}

// learnSaved takes a saved record although it may have expired meanwhile: its
// node is probably where it was, and the handshake will tell.
func (f *Federation) learnSaved(s record.Signed) error {
	if s.Key == record.Key(f.key) || !f.cfg.Nodes.Allows(s.Key) {
		return nil
	}
	r, err := s.Decode(f.cfg.Network.RecordKey(), f.cfg.AllowPrivate)
	if err != nil {
		return err
	}
	f.step(func(m *mesh.Mesh, now time.Duration) { m.Learn(now, meshRecord(r, s.Seq)) })
	f.mu.Lock()
	if n := f.known.nodes[mesh.Key(s.Key)]; n != nil {
		n.record = r
	}
	f.mu.Unlock()
	return nil
}

// keepStore saves what is known, when it has changed and at the end.
func (f *Federation) keepStore() {
	t := time.NewTicker(storeEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			f.save()
		case <-f.ctx.Done():
			f.save()
			return
		}
	}
}

func (f *Federation) save() {
	f.mu.Lock()
	if !f.known.dirty {
		f.mu.Unlock()
		return
	}
	f.known.dirty = false
	var list []Saved
	for _, n := range f.known.nodes {
		if n.signed.Value != nil {
			list = append(list, Saved{Record: n.signed, FirstSeen: n.firstSeen, Met: n.met})
		}
	}
	f.mu.Unlock()
	if err := f.cfg.Store.Save(list); err != nil {
		f.log.Warn("known nodes not saved", "why", err)
	}
}

// FileStore is a Store in one file, which is never half written.
type FileStore struct{ Path string }

// Load implements Store. A file that is not there is empty.
func (s FileStore) Load() (list []Saved, err error) {
	b, err := os.ReadFile(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	return list[:min(len(list), maxKnown)], nil
}

// Save implements Store.
func (s FileStore) Save(list []Saved) error {
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	t, err := os.CreateTemp(filepath.Dir(s.Path), filepath.Base(s.Path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(t.Name())
	_, err = t.Write(b)
	if e := t.Sync(); err == nil {
		err = e
	}
	if e := t.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(t.Name(), s.Path)
}
