package federation

import (
	"crypto/ed25519"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/federation/registry"
)

// responsibleLink is a link to a node that keeps registrations.
func responsibleLink(t *testing.T, now *atomic.Int64) (*Federation, *link) {
	f, l := oneLink(t, Quota{}, now, 0, nil)
	f.cfg.NoRendezvous = false
	l.quota.max = 1 << 30 // faults are looked at, and end nothing
	return f, l
}

// What one link may register and ask has a rate, and what it leaves behind a
// bound.
func TestRegisteringHasARate(t *testing.T) {
	var now atomic.Int64
	f, l := responsibleLink(t, &now)
	names := make([]uint64, frame.DefaultLimits().MaxNames)
	sent := uint64(0)
	for s := range 60 {
		now.Store(int64(s) * int64(time.Second))
		for range 10 {
			for i := range names {
				sent++
				names[i] = sent
			}
			half := len(names) / 2
			l.onRegister(&frame.Register{Names: names[:half], Asked: names[half:]})
		}
	}
	st := f.Stats()
	if most := uint64(8200 + 60*100); st.Registry.Names+st.Registry.Asked > most || st.Registry.Names < 4000 {
		t.Errorf("%d names and %d questions in a minute, want %d at most", st.Registry.Names, st.Registry.Asked, most)
	}
	if st.Strikes["names"] == 0 || st.Registry.Held > 8192 {
		t.Errorf("%d strikes, %d kept", st.Strikes["names"], st.Registry.Held)
	}
}

// Asking again and again brings no more than the rate: 8 bytes are answered
// with a few records.
func TestAnswersHaveARate(t *testing.T) {
	var now atomic.Int64
	f, l := responsibleLink(t, &now)
	for i := range 100 {
		key := ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(1+i)))
		s, err := record.Sign(key, f.cfg.Now().Unix(), record.Record{
			Caps: record.CapRelay | record.CapRegister, Protocol: 1, Expires: f.cfg.Now().Unix() + record.Lifetime,
			URLs: []nodeaddr.URL{{Scheme: "wss", Host: fmt.Sprintf("n%d.example.org", i), Port: 443}},
		}, record.Seal{})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.learn(s); err != nil {
			t.Fatal(err)
		}
		f.Registered(mesh.Key(s.Key), uint64(i%25))
	}
	bytes := 0
	for s := range 60 {
		now.Store(int64(s) * int64(time.Second))
		for range 12 {
			l.onRegister(&frame.Register{Asked: []uint64{uint64(s) % 25, uint64(s+7) % 25, 1000}})
		}
		l.out.mu.Lock()
		bytes += len(l.out.buf)
		l.out.buf = l.out.buf[:0]
		l.out.mu.Unlock()
	}
	st := f.Stats()
	if told := st.Registry.Told; told < 300 || told > 256+4*60 || bytes > int(told)*400 || st.MeshDropped["untold"] == 0 {
		t.Errorf("%d records told in %d bytes, %d not", told, bytes, st.MeshDropped["untold"])
	}
}

// Answers that are none are faults, and so are too many.
func TestAnswersThatAreNone(t *testing.T) {
	var now atomic.Int64
	f, l := responsibleLink(t, &now)
	good := frame.Record{Key: make([]byte, 32), Signature: make([]byte, 64), Value: []byte("de")}
	short := good
	short.Key = short.Key[:31]
	for _, c := range []struct {
		m    frame.Told
		want string
	}{
		{frame.Told{Records: []frame.Record{good}, Found: []frame.Found{{Name: 1, Nodes: []byte{0, 1}}}}, "frame"},
		{frame.Told{Records: []frame.Record{short}}, "records"},
	} {
		before := f.Stats().Strikes[c.want]
		l.onTold(&c.m)
		if got := f.Stats().Strikes[c.want] - before; got != 1 {
			t.Errorf("%+v: %d strikes", c.m.Found, got)
		}
	}
	for range 600 {
		l.onTold(&frame.Told{Records: []frame.Record{good}})
	}
	if n := f.Stats().Strikes["records"]; n < 80 {
		t.Errorf("%d strikes for 600 records", n)
	}
}

// However many names an answer is about, mesh takes it in at once: each costs a
// few bytes, and one record goes for all.
func TestAnAnswerIsOneStep(t *testing.T) {
	var now atomic.Int64
	f, l := responsibleLink(t, &now)
	clock, reads := f.cfg.Now, 0
	f.cfg.Now = func() time.Time { reads++; return clock() }
	m := frame.Told{}
	for i := range frame.DefaultLimits().MaxNames {
		m.Found = append(m.Found, frame.Found{Name: uint64(i)})
	}
	if l.onTold(&m); reads > 10 {
		t.Errorf("the clock was read %d times for an answer about %d names", reads, len(m.Found))
	}
}

// A node whose record is not there, is a guess or is a leaf's is told to nobody.
func TestWhoIsNotTold(t *testing.T) {
	var now atomic.Int64
	f, l := responsibleLink(t, &now)
	unix := f.cfg.Now().Unix()
	u := []nodeaddr.URL{{Scheme: "wss", Host: "n.example.org", Port: 443}}
	for i, r := range []record.Record{{Caps: record.CapLeaf}, {Caps: record.CapUnverified, URLs: u}, {Caps: record.CapRelay, URLs: u}} {
		r.Protocol, r.Expires = 1, unix+record.Lifetime
		s, err := record.Sign(ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(9+i))), unix, r, record.Seal{})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.learn(s); err != nil {
			t.Fatal(err)
		}
		f.Registered(mesh.Key(s.Key), 5)
	}
	f.Registered(mesh.Key{99}, 5)
	if rest := l.sendTold([]answer{{5, f.registry.store.Ask(0, registry.Key{}, 5, 8, nil)}}); len(rest) > 0 {
		t.Error("answers left")
	}
	if st := f.Stats(); st.Registry.Told != 1 || st.MeshDropped["untold"] != 3 {
		t.Errorf("%d told, %d not", st.Registry.Told, st.MeshDropped["untold"])
	}
}
