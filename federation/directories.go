package federation

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/record"
	"github.com/draeder/peerservers/tracker/wire"
)

const (
	// searchTimeout is twice what a search takes of those that the mesh has
	// under way at once, in two DHTs, at the default rate of packets.
	searchTimeout  = 30 * time.Second
	resolveTimeout = 5 * time.Second
	fetchTimeout   = 15 * time.Second
)

// search performs mesh.ActSearch: one lookup for each epoch, at once.
func (f *Federation) search(a mesh.Action) {
	ctx, cancel := context.WithTimeout(f.ctx, searchTimeout)
	defer cancel()
	found := func(addr netip.AddrPort) {
		f.step(func(m *mesh.Mesh, now time.Duration) { m.Sighting(now, a.ID, addr) })
	}
	errs := make([]error, len(a.Epochs))
	var all sync.WaitGroup
	for i, epoch := range a.Epochs {
		target := f.cfg.Network.Node(epoch, uint8(a.Shard))
		if a.InfoHash != "" {
			target = f.cfg.Network.Swarm(epoch, wire.Raw20([]byte(a.InfoHash)))
		}
		all.Go(func() {
			errs[i] = errNoDirectory
			if f.cfg.Directory != nil {
				errs[i] = f.cfg.Directory.Lookup(ctx, Target(target), a.Announce, found)
			}
		})
	}
	all.Wait()
	err := errors.Join(errs...)
	if err != nil {
		f.log.Debug("search failed", "why", err)
	}
	f.step(func(m *mesh.Mesh, now time.Duration) { m.SearchDone(now, a.ID, err != nil) })
}

var errNoDirectory = errors.New("no directory")

// resolve performs mesh.ActResolve.
func (f *Federation) resolve(addr netip.AddrPort) {
	ctx, cancel := context.WithTimeout(f.ctx, resolveTimeout)
	defer cancel()
	item, err := f.cfg.Directory.Resolve(ctx, addr)
	var r record.Record
	var s record.Signed
	bad := false
	if err == nil {
		if s, err = signedOf(item); err == nil {
			r, err = f.verify(s)
		}
		bad = err != nil
	}
	f.step(func(m *mesh.Mesh, now time.Duration) {
		if err != nil {
			m.Unresolved(now, addr, bad)
			return
		}
		m.Resolved(now, addr, meshRecord(r, s.Seq))
	})
}

// fetch performs mesh.ActFetch.
func (f *Federation) fetch(key mesh.Key) {
	if f.cfg.Directory == nil {
		return
	}
	ctx, cancel := context.WithTimeout(f.ctx, fetchTimeout)
	defer cancel()
	item, err := f.cfg.Directory.Fetch(ctx, ed25519.PublicKey(key[:]))
	if err != nil {
		return
	}
	s, err := signedOf(item)
	if err != nil || mesh.Key(s.Key) != key {
		return
	}
	f.learn(s)
}

// learn takes a record from anywhere, if it is good.
func (f *Federation) learn(s record.Signed) error {
	r, err := f.verify(s)
	if err != nil {
		return err
	}
	f.step(func(m *mesh.Mesh, now time.Duration) { m.Learn(now, meshRecord(r, s.Seq)) })
	return nil
}

// verify judges a record and keeps it if it is good.
func (f *Federation) verify(s record.Signed) (record.Record, error) {
	if !f.cfg.Nodes.Allows(s.Key) {
		f.stats.recordFault(record.FaultDenied)
		return record.Record{}, record.FaultDenied
	}
	rules := record.Rules{Now: f.cfg.Now().Unix(), AllowPrivate: f.cfg.AllowPrivate, RecordKey: f.cfg.Network.RecordKey(), Salt: f.cfg.Network.RecordSalt()}
	f.mu.Lock()
	rules.LastSeq = f.known.lastSeq(mesh.Key(s.Key))
	f.mu.Unlock()
	r, err := s.Verify(rules)
	if err != nil {
		f.stats.recordFault(err)
		return r, err
	}
	f.mu.Lock()
	f.known.keep(s, r, f.cfg.Now())
	f.mu.Unlock()
	return r, nil
}

func meshRecord(r record.Record, seq int64) mesh.Record {
	return mesh.Record{Key: mesh.Key(r.Key), URLs: r.URLs, Seq: seq, Expires: r.Expires, Unverified: r.Caps&record.CapUnverified != 0, Registers: r.Caps&record.CapRegister != 0}
}

func signedOf(item Item) (record.Signed, error) {
	if len(item.Key) != ed25519.PublicKeySize {
		return record.Signed{}, record.FaultKey
	}
	return record.Signed{Key: record.Key(item.Key), Seq: item.Seq, Sig: item.Sig, Value: item.Value}, nil
}
