package dhtstore

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx := context.Background()
		m := NewMemory()
		a := m.Node(netip.MustParseAddrPort("127.0.0.1:1"))
		b := m.Node(netip.MustParseAddrPort("127.0.0.1:2"))
		see := func(n *MemoryNode, announce bool) (out []netip.AddrPort) {
			t.Helper()
			if err := n.Lookup(ctx, testTarget(1), announce, func(x netip.AddrPort) { out = append(out, x) }); err != nil {
				t.Fatal(err)
			}
			return out
		}
		if got := see(a, true); len(got) != 0 {
			t.Errorf("a finds %v", got)
		}
		if got := see(b, false); !slices.Equal(got, []netip.AddrPort{a.Addr()}) {
			t.Errorf("b finds %v", got)
		}
		if got := see(a, false); len(got) != 0 {
			t.Errorf("a finds %v", got)
		}
		stranger := netip.MustParseAddrPort("9.9.9.9:9")
		time.Sleep(peerExpiry - time.Second)
		m.Plant(testTarget(1), stranger)
		time.Sleep(time.Second)
		if got := see(b, false); !slices.Equal(got, []netip.AddrPort{stranger}) {
			t.Errorf("b finds %v", got)
		}

		item := testRecord(t, testKey(1), 5, "a")
		if _, err := b.Resolve(ctx, a.Addr()); !errors.Is(err, errNoAnswer) {
			t.Errorf("resolve: %v", err)
		}
		if _, err := b.Fetch(ctx, item.Key); !errors.Is(err, ErrNotFound) {
			t.Errorf("fetch: %v", err)
		}
		if err := a.Publish(ctx, item); err != nil {
			t.Fatal(err)
		}
		for _, get := range []func() error{
			func() error { _, err := b.Resolve(ctx, a.Addr()); return err },
			func() error { _, err := b.Fetch(ctx, item.Key); return err },
		} {
			if err := get(); err != nil {
				t.Error(err)
			}
		}
		if err := a.Publish(ctx, testRecord(t, testKey(1), 4, "old")); !errors.Is(err, ErrStale) {
			t.Errorf("publishing an old record: %v", err)
		}
		forged := cloneItem(item)
		forged.Value[6]++
		if err := a.Publish(ctx, forged); !errors.Is(err, errBadSignature) {
			t.Errorf("publishing a forged record: %v", err)
		}
		m.PlantRecord(stranger, forged)
		if _, err := b.Resolve(ctx, stranger); !errors.Is(err, errBadSignature) {
			t.Errorf("resolving a forged record: %v", err)
		}

		down := errors.New("down")
		a.SetFail(down)
		if err := a.Lookup(ctx, testTarget(1), true, nil); !errors.Is(err, down) {
			t.Errorf("lookup: %v", err)
		}
		if _, err := b.Resolve(ctx, a.Addr()); err != nil {
			t.Errorf("another's lookup fails as well: %v", err)
		}
		m.SetFail(down)
		if _, err := b.Fetch(ctx, item.Key); !errors.Is(err, down) {
			t.Errorf("fetch: %v", err)
		}
		m.SetFail(nil)
		a.Leave()
		if _, err := b.Resolve(ctx, a.Addr()); !errors.Is(err, errNoAnswer) {
			t.Errorf("resolving one who left: %v", err)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if err := b.Lookup(gone, testTarget(1), false, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("lookup: %v", err)
		}
	})
}
