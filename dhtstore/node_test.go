package dhtstore

import (
	"bytes"
	"errors"
	"testing"

	"github.com/draeder/peerservers/federation"
)

func TestTwoNodesSuffice(t *testing.T) {
	a := startNode(t, "127.0.0.2", nil)
	b := startNode(t, "127.0.0.3", nil, a.LocalAddr().String())
	eventually(t, func() bool { return a.GoodNodes() == 1 && b.GoodNodes() == 1 })

	target := testTarget(1)
	if got := lookupAll(t, a, target, true); len(got) != 0 {
		t.Errorf("first lookup found %v", got)
	}
	if got := lookupAll(t, b, target, true); len(got) != 1 || got[a.LocalAddr()] == 0 {
		t.Errorf("b found %v, want a", got)
	}
	// b announced to a: a's own store is all there is to ask.
	if got := lookupAll(t, a, target, true); len(got) != 1 || got[b.LocalAddr()] == 0 {
		t.Errorf("a found %v, want b", got)
	}

	item := testRecord(t, testKey(1), 7, "hello")
	if _, err := b.Resolve(testContext(t), a.LocalAddr()); err == nil {
		t.Error("resolved a node without record")
	}
	if err := a.Publish(testContext(t), item); err != nil {
		t.Fatal(err)
	}
	got, err := b.Resolve(testContext(t), a.LocalAddr())
	if err != nil || string(got.Value) != string(item.Value) || got.Seq != 7 || !got.Key.Equal(item.Key) {
		t.Errorf("resolve: %v, %v", got, err)
	}
	for _, n := range []*Node{a, b} {
		got, err = n.Fetch(testContext(t), item.Key)
		if err != nil || string(got.Value) != string(item.Value) {
			t.Errorf("fetch: %v, %v", got, err)
		}
	}
	if _, err := b.Fetch(testContext(t), testRecord(t, testKey(2), 1, "x").Key); !errors.Is(err, ErrNotFound) {
		t.Errorf("fetch of an unknown key: %v", err)
	}
	// The next one replaces it, the former one does not come back.
	// It is as large as may be, and sealed, which is a string.
	next, err := SignRecord(testKey(1), 8, append([]byte("946:"), bytes.Repeat([]byte{0, 'e', 255}, 316)[:946]...))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Publish(testContext(t), next); err != nil {
		t.Fatal(err)
	}
	for name, get := range map[string]func() (federation.Item, error){
		"fetch":   func() (federation.Item, error) { return b.Fetch(testContext(t), item.Key) },
		"resolve": func() (federation.Item, error) { return b.Resolve(testContext(t), a.LocalAddr()) },
	} {
		if got, err := get(); err != nil || got.Seq != 8 || !bytes.Equal(got.Value, next.Value) {
			t.Errorf("%s after an update: %v, %v", name, got, err)
		}
	}
	if err := a.Publish(testContext(t), item); !errors.Is(err, ErrStale) {
		t.Errorf("publishing an older record: %v", err)
	}
}

var _ federation.Directory = (*MemoryNode)(nil)
