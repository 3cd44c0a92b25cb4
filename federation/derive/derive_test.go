package derive

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha1"
	"slices"
	"strings"
	"testing"
)

func network(t *testing.T, name, secret string) Network {
	t.Helper()
	n, err := New(name, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const secret = "correct horse battery"

// TestFormulas spells the derivations of PROTOCOL.md out byte for byte.
func TestFormulas(t *testing.T) {
	open, closed := network(t, "net", ""), network(t, "net", secret)
	ih := [20]byte{1, 2, 3}
	for _, c := range []struct {
		name string
		got  Target
		want string
	}{
		{"open NH", open.Node(0x01020304, 3), "wtfed1:node\x00\x01\x02\x03\x04\x03net\x03"},
		{"closed NH", closed.Node(0x01020304, 0), "wtfed1:node\x00\x01\x02\x03\x04\x15" + secret + "\x00"},
		{"open PH", open.Swarm(5, ih), "wtfed1:peer\x00\x00\x00\x00\x05\x00" + string(ih[:])},
		{"closed PH", closed.Swarm(5, ih), "wtfed1:peer\x00\x00\x00\x00\x05\x15" + secret + string(ih[:])},
	} {
		if c.got != sha1.Sum([]byte(c.want)) {
			t.Errorf("%s differs", c.name)
		}
	}
}

// TestSecretIsInEverything: nothing that a closed network shows equals what
// the open one of that name, or one with another secret, does.
func TestSecretIsInEverything(t *testing.T) {
	nets := []Network{network(t, "net", ""), network(t, "net", secret), network(t, "net", secret+"!")}
	for i, a := range nets {
		if a.Closed() != (i > 0) || a.Name() != "net" {
			t.Errorf("network %d: %q, closed %v", i, a.Name(), a.Closed())
		}
		for _, b := range nets[:i] {
			if a.ID() == b.ID() || a.BucketKey() == b.BucketKey() || bytes.Equal(a.MemberKey(), b.MemberKey()) || bytes.Equal(a.RecordKey(), b.RecordKey()) || bytes.Equal(a.QueryKey(), b.QueryKey()) || a.RecordSalt() == b.RecordSalt() || a.LinkPath() == b.LinkPath() || a.Node(1, 1) == b.Node(1, 1) || a.Swarm(1, [20]byte{}) == b.Swarm(1, [20]byte{}) {
				t.Error("two networks share a name")
			}
		}
	}
	id := nets[1].ID()
	if bytes.Contains(id[:], []byte(secret)) || network(t, "other", secret).ID() == id || network(t, "net", secret).ID() != id {
		t.Error("the id is not that of name and secret")
	}
}

func TestNew(t *testing.T) {
	long := string(make([]byte, 256))
	for _, c := range []struct {
		name, secret string
		ok           bool
	}{
		{DefaultName, "", true}, {"", "", false}, {long[:255], "", true}, {long, "", false},
		{"n", long[:15], false}, {"n", long[:16], true}, {"n", long[:255], true}, {"n", long, false},
	} {
		if _, err := New(c.name, []byte(c.secret)); (err == nil) != c.ok {
			t.Errorf("%d and %d bytes: %v", len(c.name), len(c.secret), err)
		}
	}
}

func TestEpochs(t *testing.T) {
	const d = 86400
	for _, c := range []struct {
		at   int64
		want []uint32
	}{
		{100 * d, []uint32{100, 99}}, {100*d + 7199, []uint32{100, 99}}, {100*d + 7200, []uint32{100}},
		{100*d + d/2, []uint32{100}}, {101*d - 7201, []uint32{100}}, {101*d - 7200, []uint32{100, 101}}, {101*d - 1, []uint32{100, 101}},
		{0, []uint32{0}},
	} {
		e, n := Epochs(c.at)
		if !slices.Equal(e[:n], c.want) || Epoch(c.at) != c.want[0] {
			t.Errorf("%d: %v, want %v", c.at, e[:n], c.want)
		}
	}
}

// TestEpochsMeet: clocks up to four hours apart share a day at any time.
func TestEpochsMeet(t *testing.T) {
	for at := int64(100 * 86400); at < 102*86400; at += 60 {
		for apart := int64(0); apart < 4*3600; apart += 600 {
			a, n := Epochs(at)
			b, m := Epochs(at + apart)
			if !slices.ContainsFunc(a[:n], func(e uint32) bool { return slices.Contains(b[:m], e) }) {
				t.Fatalf("%d and %d s later: %v, %v", at, apart, a[:n], b[:m])
			}
		}
	}
}

func TestShard(t *testing.T) {
	var seen [Shards]int
	for i := range 256 {
		seen[Shard(ed25519.PublicKey{byte(i)})]++
	}
	if slices.Min(seen[:]) < 32 {
		t.Errorf("keys fall on shards as %v", seen)
	}
}

// TestLinkPath: any network's can follow the longest node URL in a frame, and
// that of open networks stays what it is.
func TestLinkPath(t *testing.T) {
	open, closed := network(t, "net", "").LinkPath(), network(t, "net", secret).LinkPath()
	if open != "/federation" || len(closed) != 13 || strings.Trim(closed[1:], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("%q, %q", open, closed)
	}
}
