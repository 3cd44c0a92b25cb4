package dhtstore

import (
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
	maxSaved     = 200 // nodes of one DHT
)

// savedState is what outlives a restart.
type savedState struct {
	of   [families]savedFamily
	seen *seqs
}

type savedFamily struct {
	id    nodeID
	nodes []contact
}

// stateJSON is its form in the file. The IPv4 DHT's part stands where it stood
// when there was no other.
type stateJSON struct {
	Version int `json:"version"`
	familyJSON
	IPv6 *familyJSON `json:"ipv6,omitempty"`
	// Seqs are listed with the latest seen first.
	Seqs []seqJSON `json:"seqs"`
}

type familyJSON struct {
	ID    string     `json:"id"`
	Nodes []nodeJSON `json:"nodes"`
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
	s.of[ipv4] = j.familyJSON.load(ipv4)
	if j.IPv6 != nil {
		s.of[ipv6] = j.IPv6.load(ipv6)
	}
	for i := min(maxSeqs, len(j.Seqs)) - 1; i >= 0; i-- {
		var key [32]byte
		if decodeHex(key[:], j.Seqs[i].Key) {
			s.seen.note(key[:], j.Seqs[i].Seq)
		}
	}
	return s, nil
}

func (j *familyJSON) load(f family) (s savedFamily) {
	decodeHex(s.id[:], j.ID)
	for _, nj := range j.Nodes[:min(maxSaved, len(j.Nodes))] {
		var c contact
		c.addr = nj.Addr
		if g, ok := familyOf(c.addr.Addr()); ok && g == f && c.addr.Port() != 0 && decodeHex(c.id[:], nj.ID) {
			s.nodes = append(s.nodes, c)
		}
	}
	return s
}

func (s *savedFamily) json() familyJSON {
	j := familyJSON{ID: hex.EncodeToString(s.id[:])}
	for _, c := range s.nodes {
		j.Nodes = append(j.Nodes, nodeJSON{hex.EncodeToString(c.id[:]), c.addr})
	}
	return j
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
	for _, s := range n.stacks {
		if good := s.table.closest(now, s.table.self, maxSaved, true); len(good) > 0 {
			s.saved = good
		}
		n.saved[s.family] = savedFamily{id: s.table.self, nodes: s.saved}
	}
	j := stateJSON{Version: 1, familyJSON: n.saved[ipv4].json()}
	if six := n.saved[ipv6]; six.id != (nodeID{}) {
		x := six.json()
		j.IPv6 = &x
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
