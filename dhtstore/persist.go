package dhtstore

import (
	"container/list"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

const (
	stateFile    = "dht.json"
	maxStateSize = 4 << 20
	maxSaved     = 200  // nodes
	maxSeqs      = 4096 // keys whose highest sequence number is kept
)

// seqs remembers the highest sequence number of each key, so that an old
// record, validly signed, does not come back. The key seen longest ago is
// forgotten first.
type seqs struct {
	keys   map[[32]byte]*list.Element
	recent *list.List // of *seqOf, latest first
}

type seqOf struct {
	key [32]byte
	seq int64
}

func newSeqs() *seqs {
	return &seqs{keys: make(map[[32]byte]*list.Element), recent: list.New()}
}

// note records seq, and reports false when a higher one is known.
func (s *seqs) note(key []byte, seq int64) bool {
	k := [32]byte(key)
	if el, ok := s.keys[k]; ok {
		of := el.Value.(*seqOf)
		if seq < of.seq {
			return false
		}
		of.seq = seq
		s.recent.MoveToFront(el)
		return true
	}
	if s.recent.Len() >= maxSeqs {
		last := s.recent.Back()
		delete(s.keys, last.Value.(*seqOf).key)
		s.recent.Remove(last)
	}
	s.keys[k] = s.recent.PushFront(&seqOf{k, seq})
	return true
}

func (s *seqs) highest(key []byte) (int64, bool) {
	if len(key) != 32 {
		return 0, false
	}
	el, ok := s.keys[[32]byte(key)]
	if !ok {
		return 0, false
	}
	return el.Value.(*seqOf).seq, true
}

// savedState is what outlives a restart.
type savedState struct {
	id       nodeID
	external netip.Addr
	nodes    []contact
	seen     *seqs
}

// stateJSON is its form in the file.
type stateJSON struct {
	Version  int        `json:"version"`
	ID       string     `json:"id"`
	External netip.Addr `json:"external,omitzero"`
	Nodes    []nodeJSON `json:"nodes"`
	// Seqs are listed with the latest seen first.
	Seqs []seqJSON `json:"seqs"`
}

type nodeJSON struct {
	ID   string         `json:"id"`
	Addr netip.AddrPort `json:"addr"`
}

type seqJSON struct {
	Key string `json:"key"`
	Seq int64  `json:"seq"`
}

// loadState reads the state in dir. A missing file is an empty state, and so
// is a damaged one, which is kept aside: the network can be found again, but
// whoever wonders about accepted old records can see why.
func loadState(dir string) (*savedState, error) {
	s := &savedState{seen: newSeqs()}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("dhtstore: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("dhtstore: %w", err)
	}
	var j stateJSON
	if info.Size() > maxStateSize {
		err = errors.New("too large")
	} else {
		var b []byte
		if b, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("dhtstore: %w", err)
		}
		err = json.Unmarshal(b, &j)
	}
	if err == nil && j.Version != 1 {
		err = fmt.Errorf("version %d", j.Version)
	}
	if err != nil {
		if err := os.Rename(path, path+".bad"); err != nil {
			return nil, fmt.Errorf("dhtstore: %w", err)
		}
		return s, nil
	}
	decodeHex(s.id[:], j.ID)
	if isPublic(j.External) {
		s.external = j.External
	}
	for _, nj := range j.Nodes[:min(maxSaved, len(j.Nodes))] {
		var c contact
		if c.addr = nj.Addr; decodeHex(c.id[:], nj.ID) && c.addr.Addr().Is4() && c.addr.Port() != 0 {
			s.nodes = append(s.nodes, c)
		}
	}
	for i := min(maxSeqs, len(j.Seqs)) - 1; i >= 0; i-- {
		var key [32]byte
		if decodeHex(key[:], j.Seqs[i].Key) {
			s.seen.note(key[:], j.Seqs[i].Seq)
		}
	}
	return s, nil
}

func decodeHex(dst []byte, s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == len(dst) && copy(dst, b) == len(dst)
}

// save writes the state. While nobody answers, the last table that was good
// is kept.
func (n *Node) save() error {
	n.saving.Lock() // an older state must not replace a newer one
	defer n.saving.Unlock()
	n.mu.Lock()
	now := time.Now()
	if good := n.table.closest(now, n.table.self, maxSaved, true); len(good) > 0 {
		n.saved = good
	}
	j := stateJSON{Version: 1, ID: hex.EncodeToString(n.table.self[:])}
	if us, ok := n.external.address(now); ok && isPublic(us.Addr()) {
		j.External = us.Addr()
	}
	for _, c := range n.saved {
		j.Nodes = append(j.Nodes, nodeJSON{hex.EncodeToString(c.id[:]), c.addr})
	}
	for el := n.seen.recent.Front(); el != nil; el = el.Next() {
		of := el.Value.(*seqOf)
		j.Seqs = append(j.Seqs, seqJSON{hex.EncodeToString(of.key[:]), of.seq})
	}
	n.mu.Unlock()
	if n.cfg.Dir == "" {
		return nil
	}
	b, err := json.MarshalIndent(&j, "", " ")
	if err != nil {
		return fmt.Errorf("dhtstore: %w", err)
	}
	if err := writeAtomically(filepath.Join(n.cfg.Dir, stateFile), b); err != nil {
		return fmt.Errorf("dhtstore: saving state: %w", err)
	}
	return nil
}

// writeAtomically replaces the file at path: a crash leaves the old contents
// or the new.
func writeAtomically(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that matters is the first
		}
	}()
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
