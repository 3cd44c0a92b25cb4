package access

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Bounds of the files, far above any use, so that a wrong path (a disk image,
// an endless device) is an error and not the end of the memory.
const (
	maxHashes = 20 << 20
	maxTokens = 1 << 20
	maxLine   = 1024
)

// hashSet is sorted: 20 bytes an entry, whatever their number, and a list
// that is reloaded each minute leaves one slice to the collector.
type hashSet [][20]byte

func compareHash(a, b [20]byte) int { return bytes.Compare(a[:], b[:]) }

func (s hashSet) has(h [20]byte) bool {
	_, ok := slices.BinarySearchFunc(s, h, compareHash)
	return ok
}

func load(cfg Config) (*rules, error) {
	r := &rules{cfg: cfg}
	if cfg.AllowHashes != "" {
		if err := readFile(cfg.AllowHashes, r.allow.read); err != nil {
			return nil, fmt.Errorf("access: allowed info hashes: %w", err)
		}
		r.listed = true
	}
	if cfg.DenyHashes != "" {
		if err := readFile(cfg.DenyHashes, r.deny.read); err != nil {
			return nil, fmt.Errorf("access: denied info hashes: %w", err)
		}
	}
	if cfg.Tokens != "" {
		r.tokens = make(map[[sha256.Size]byte]struct{})
		if err := readFile(cfg.Tokens, r.readTokens); err != nil {
			return nil, fmt.Errorf("access: tokens: %w", err)
		}
	}
	var err error
	if r.allowOrigins, err = originSet(cfg.AllowOrigins); err != nil {
		return nil, fmt.Errorf("access: allowed origins: %w", err)
	}
	if r.denyOrigins, err = originSet(cfg.DenyOrigins); err != nil {
		return nil, fmt.Errorf("access: denied origins: %w", err)
	}
	return r, nil
}

func readFile(name string, read func(io.Reader) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := read(f); err != nil {
		return fmt.Errorf("%s:%w", name, err)
	}
	return nil
}

// eachLine calls do with what is left of each line once the comment and the
// space around it are gone. Errors begin with the line's number.
func eachLine(r io.Reader, do func(line []byte) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, maxLine), maxLine)
	n := 0
	for sc.Scan() {
		n++
		line, _, _ := bytes.Cut(sc.Bytes(), []byte("#"))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := do(line); err != nil {
			return fmt.Errorf("%d: %w", n, err)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("%d: %w", n+1, err)
	}
	return nil
}

func (s *hashSet) read(r io.Reader) error {
	set := hashSet{}
	err := eachLine(r, func(line []byte) error {
		var h [20]byte
		if len(line) != hex.EncodedLen(len(h)) {
			return fmt.Errorf("an info hash has 40 hex digits, this line has %d characters", len(line))
		}
		if _, err := hex.Decode(h[:], line); err != nil {
			return err
		}
		if len(set) == maxHashes {
			return fmt.Errorf("more than %d info hashes", maxHashes)
		}
		set = append(set, h)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(set, compareHash)
	*s = slices.Clip(slices.Compact(set))
	return nil
}

func (r *rules) readTokens(f io.Reader) error {
	return eachLine(f, func(line []byte) error {
		if len(r.tokens) == maxTokens {
			return fmt.Errorf("more than %d tokens", maxTokens)
		}
		r.tokens[sha256.Sum256(line)] = struct{}{}
		return nil
	})
}

func originSet(list []string) (map[string]struct{}, error) {
	set := make(map[string]struct{}, len(list))
	for _, o := range list {
		n := normalOrigin(strings.TrimSpace(o))
		if n != "null" && !strings.Contains(n, "://") {
			return nil, fmt.Errorf("%q is no origin: write it with its scheme, as https://example.org", o)
		}
		set[n] = struct{}{}
	}
	return set, nil
}
