package frame_test

import (
	"bytes"
	"testing"

	"github.com/draeder/peerservers/federation/frame"
)

// tenOffers is what a real client's announce becomes: 10 offers of 1.5 kB.
func tenOffers() *frame.Frame {
	f := &frame.Frame{Kind: frame.KindOffers}
	f.Offers.InfoHash, f.Offers.PeerID = bytes.Repeat([]byte("h"), 20), bytes.Repeat([]byte("p"), 20)
	for range 10 {
		f.Offers.Offers = append(f.Offers.Offers, frame.Offer{ID: bytes.Repeat([]byte("i"), 42), Payload: bytes.Repeat([]byte("s"), 1500)})
	}
	return f
}

func TestOffersDoNotAllocate(t *testing.T) {
	f := tenOffers()
	b := frame.Append(nil, f)
	buf := make([]byte, 0, len(b))
	if n := testing.AllocsPerRun(100, func() { buf = frame.Append(buf[:0], f) }); n != 0 {
		t.Errorf("Append: %v allocations", n)
	}
	var g frame.Frame
	if n := testing.AllocsPerRun(100, func() {
		if err := g.Decode(b, frame.DefaultLimits()); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Decode: %v allocations", n)
	}
	if &g.Offers.Offers[9].Payload[0] != &b[len(b)-1500] {
		t.Error("the payload was copied")
	}
}

func BenchmarkAppendOffers(b *testing.B) {
	f := tenOffers()
	buf := frame.Append(nil, f)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = frame.Append(buf[:0], f)
	}
}

func BenchmarkDecodeOffers(b *testing.B) {
	buf := frame.Append(nil, tenOffers())
	var f frame.Frame
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Decode(buf, frame.DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeJoin(b *testing.B) {
	buf := frame.AppendJoin(nil, &frame.Join{InfoHash: bytes.Repeat([]byte("h"), 20), Incomplete: 64, Tagged: true, IncompleteTags: make([]uint64, 64)})
	var f frame.Frame
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Decode(buf, frame.DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}
