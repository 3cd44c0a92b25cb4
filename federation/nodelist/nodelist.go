// Package nodelist says which nodes this one has anything to do with: by files
// of node keys that are allowed or denied, read again while the node runs.
//
// Lists are looked up without a lock and replaced as a whole. A file that
// cannot be read leaves the former lists in force.
package nodelist

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/draeder/peerservers/federation/nodekey"
)

// Bounds of the files, far above any use, so that a wrong path is an error and
// not the end of the memory.
const (
	maxKeys = 1 << 20
	maxLine = 1024
)

// Lists are the rules. A nil *Lists allows every node.
type Lists struct {
	allowFile, denyFile string
	rules               atomic.Pointer[rules]
}

type rules struct{ allow, deny map[nodekey.Key]struct{} } // allow is nil without a list

// Load reads the files; empty names stand for none. With a list of allowed
// keys no other node is dealt with; denied ones are not in any case.
//
// A file has one key a line, as package nodekey reads it; text after # is
// ignored.
func Load(allowFile, denyFile string) (*Lists, error) {
	l := &Lists{allowFile: allowFile, denyFile: denyFile}
	if err := l.Reload(); err != nil {
		return nil, err
	}
	return l, nil
}

// Reload reads the files again.
func (l *Lists) Reload() (err error) {
	if l == nil {
		return nil
	}
	var r rules
	if l.allowFile != "" {
		if r.allow, err = read(l.allowFile); err != nil {
			return fmt.Errorf("allowed nodes: %w", err)
		}
	}
	if l.denyFile != "" {
		if r.deny, err = read(l.denyFile); err != nil {
			return fmt.Errorf("denied nodes: %w", err)
		}
	}
	l.rules.Store(&r)
	return nil
}

// Allows reports whether this node deals with the one with key k.
func (l *Lists) Allows(k nodekey.Key) bool {
	if l == nil {
		return true
	}
	r := l.rules.Load()
	if _, denied := r.deny[k]; denied {
		return false
	}
	_, allowed := r.allow[k]
	return allowed || r.allow == nil
}

func read(name string) (map[nodekey.Key]struct{}, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	keys := make(map[nodekey.Key]struct{})
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	n := 1
	for ; lines.Scan(); n++ {
		line, _, _ := bytes.Cut(lines.Bytes(), []byte("#"))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		k, err := nodekey.Parse(string(line))
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if len(keys) == maxKeys {
			return nil, fmt.Errorf("%s:%d: more than %d keys", name, n, maxKeys)
		}
		keys[k] = struct{}{}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, n, err)
	}
	return keys, nil
}
