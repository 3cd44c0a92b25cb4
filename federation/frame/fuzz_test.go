package frame_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/draeder/peerservers/federation/frame"
)

func seeds(f *testing.F) [][]byte {
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.hex"))
	if err != nil || len(files) == 0 {
		f.Fatal("no golden frames: ", err)
	}
	var all [][]byte
	for _, path := range files {
		all = append(all, readHex(f, path))
	}
	return all
}

// FuzzDecode: whatever arrives, the bounds hold, and what was read can be
// written and read again.
func FuzzDecode(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	l := frame.DefaultLimits()
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second frame.Frame
		if err := first.Decode(b, l); err != nil {
			if _, ok := err.(frame.Fault); !ok {
				t.Fatalf("%T is not a Fault", err)
			}
			return
		}
		if len(first.Offers.Offers) > l.MaxOffers || len(first.Records.Records) > l.MaxRecords ||
			len(first.Join.CompleteTags)+len(first.Join.IncompleteTags) > l.MaxTags || len(first.Hello.Versions) > l.MaxVersions ||
			len(first.Register.Names)+len(first.Register.Asked) > l.MaxNames || len(first.Told.Records) > l.MaxRecords || len(first.Told.Found) > l.MaxNames {
			t.Fatal("over a bound")
		}
		once := frame.Append(nil, &first)
		if first.Kind == frame.KindUnknown {
			if len(once) != 0 {
				t.Fatal("an unknown message was written")
			}
			return
		}
		if len(once) > l.MaxFrame {
			return
		}
		if err := second.Decode(once, l); err != nil {
			t.Fatalf("own encoding: %v", err)
		}
		if again := frame.Append(nil, &second); !bytes.Equal(once, again) {
			t.Fatalf("%x, then %x", once, again)
		}
	})
}
