package dhtstore

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStateOutlivesARestart: id, table and the numbers that must not fall.
func TestStateOutlivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by us")
	a := startNode(t, "127.0.0.2", nil)
	keep := func(c *Config) { c.Dir = dir }
	b := startNode(t, "127.0.0.3", keep, a.LocalAddr().String())
	eventually(t, func() bool { return a.GoodNodes() == 1 && b.GoodNodes() == 1 })
	key, mine := testKey(1), testKey(2)
	if err := a.Publish(testContext(t), testRecord(t, key, 10, "new")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Resolve(testContext(t), a.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(testContext(t), testRecord(t, mine, 20, "b")); err != nil {
		t.Fatal(err)
	}
	id := b.first().table.self
	closeAll(t, b)
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}

	b = startNode(t, "127.0.0.3", keep)
	eventually(t, func() bool { return b.GoodNodes() == 1 })
	if b.first().table.self != id {
		t.Error("another id")
	}
	if seq, ok := b.HighestSeq(mine.Public().(ed25519.PublicKey)); !ok || seq != 20 {
		t.Errorf("own number: %d, %v", seq, ok)
	}
	if err := b.Publish(testContext(t), testRecord(t, mine, 19, "b")); !errors.Is(err, ErrStale) {
		t.Errorf("publishing an old record: %v", err)
	}
	// An old record of a, validly signed, comes from somebody else.
	old := testRecord(t, key, 9, "old")
	c := startNode(t, "127.0.0.4", nil)
	c.mu.Lock()
	c.record = &storedItem{key: old.Key, sig: old.Sig[:], seq: old.Seq, value: old.Value}
	c.mu.Unlock()
	if _, err := b.Resolve(testContext(t), c.LocalAddr()); !errors.Is(err, ErrStale) {
		t.Errorf("an old record: %v", err)
	}
	if b.counts[countStaleRecords].Load() != 1 {
		t.Error("not counted")
	}
}

func TestDamagedStateIsSetAside(t *testing.T) {
	for name, contents := range map[string]string{
		"torn": `{"version":1,"nodes":[{"id":"00`, "empty": "", "later": `{"version":99}`,
		"huge": strings.Repeat(" ", maxStateSize+1),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, stateFile)
			if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := loadState(dir)
			if err != nil || len(s.of[ipv4].nodes) != 0 || s.of[ipv4].id != (nodeID{}) {
				t.Errorf("%+v, %v", s, err)
			}
			if b, err := os.ReadFile(path + ".bad"); err != nil || !bytes.Equal(b, []byte(contents)) {
				t.Errorf("not kept: %v", err)
			}
		})
	}
}

func TestStateIsNotTrusted(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(`{"version":1,"id":"zz","external":"10.1.1.1",
		"nodes":[{"id":"00","addr":"5.1.1.1:7000"},{"id":"`+strings.Repeat("01", 20)+`","addr":"[2001:db8::1]:1"},{"id":"`+strings.Repeat("02", 20)+`","addr":"5.1.1.1:7000"}],
		"ipv6":{"id":"`+strings.Repeat("04", 20)+`","nodes":[{"id":"`+strings.Repeat("05", 20)+`","addr":"5.1.1.1:7000"},{"id":"`+strings.Repeat("06", 20)+`","addr":"[::ffff:5.1.1.1]:7000"},
			{"id":"`+strings.Repeat("07", 20)+`","addr":"[2a00:1::1]:7000"}]},
		"seqs":[{"key":"00","seq":1},{"key":"`+strings.Repeat("03", 32)+`","seq":7}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loadState(dir)
	if err != nil || len(s.of[ipv4].nodes) != 1 || s.of[ipv4].nodes[0].addr != netip.MustParseAddrPort("5.1.1.1:7000") {
		t.Errorf("%+v, %v", s, err)
	}
	six := s.of[ipv6]
	if six.id[0] != 4 || len(six.nodes) != 1 || six.nodes[0].addr != netip.MustParseAddrPort("[2a00:1::1]:7000") {
		t.Errorf("%+v", six)
	}
	if seq, ok := s.seen.highest(bytes.Repeat([]byte{3}, 32)); !ok || seq != 7 || len(s.seen.keys) != 1 {
		t.Errorf("numbers: %d, %v", seq, ok)
	}
}
