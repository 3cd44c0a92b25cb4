package federation

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation/dialguard"
	"github.com/draeder/peerservers/federation/frame"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/mesh"
	"github.com/draeder/peerservers/federation/nodeaddr"
)

// dialTimeout bounds one dial, from the name to the handshake's end.
const dialTimeout = 15 * time.Second

// dial performs mesh.ActDial.
func (f *Federation) dial(a mesh.Action, seq uint64) {
	ctx, cancel := context.WithTimeout(f.ctx, dialTimeout)
	defer cancel()
	l, err := f.connect(ctx, a.URL, a.Key, seq)
	outcome, key := outcomeOf(err), mesh.Key{}
	if err == nil {
		key = l.peer.key
		if !l.peer.addLink(l) {
			outcome = mesh.DialFailed
			l.conn.Close()
		}
	} else {
		f.log.Debug("dial failed", "url", a.URL.String(), "why", err)
	}
	f.step(func(m *mesh.Mesh, now time.Duration) { m.DialDone(now, a.ID, outcome, key) })
	if l != nil {
		f.start(l)
	}
}

func outcomeOf(err error) mesh.Outcome {
	var refused *dialguard.RefusedError
	switch {
	case err == nil:
		return mesh.DialOK
	case errors.As(err, &refused) && refused.Own, errors.Is(err, handshake.FaultOwnKey):
		return mesh.DialSelf
	case errors.As(err, &refused):
		return mesh.DialRefused
	case errors.Is(err, handshake.FaultUnexpectedKey):
		return mesh.DialWrongKey
	}
	return mesh.DialFailed
}

// connect dials u and proves who is there. It follows no redirect and asks no
// proxy: either would lead around the guard.
func (f *Federation) connect(ctx context.Context, u nodeaddr.URL, expect mesh.Key, seq uint64) (*link, error) {
	if expect != (mesh.Key{}) { // a seed is the operator's word
		ctx = dialguard.WithAttempt(ctx, func(a netip.AddrPort) error {
			if !f.knocks.Take(f.now(), a, u.Host) {
				f.stats.dialsCrowded.Add(1)
				return dialguard.ErrCrowded
			}
			return nil
		})
	}
	d := ws.Dialer{
		Protocols: []string{Subprotocol},
		NetDial:   f.cfg.Dialer.DialContext,
		TLSConfig: f.tlsConfig(u, expect),
	}
	conn, br, hs, err := d.Dial(ctx, u.Link(f.cfg.Network.LinkPath()))
	if err != nil {
		return nil, err
	}
	if hs.Protocol != Subprotocol {
		conn.Close()
		return nil, fmt.Errorf("subprotocol %q", hs.Protocol)
	}
	l, err := f.proveDialled(ctx, conn, br, u, expect, seq)
	if err != nil {
		conn.Close()
		return nil, err
	}
	f.knocks.Proven(f.now(), remoteAddr(conn), u.Host)
	return l, nil
}

func (f *Federation) proveDialled(ctx context.Context, conn net.Conn, br *bufio.Reader, u nodeaddr.URL, expect mesh.Key, seq uint64) (*link, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	deadline, _ := ctx.Deadline()
	car := newCarrier(conn, br, true)
	out := newOutbox(true)
	d, hello, err := handshake.Dial(f.local, f.entropy(), u.Link(f.cfg.Network.LinkPath()), seq, expect)
	if err != nil {
		return nil, err
	}
	out.put(ws.OpBinary, hello, false)
	if _, err := out.write(conn); err != nil {
		return nil, err
	}
	conn.SetReadDeadline(deadline)
	msg, err := readHandshake(car)
	if err != nil {
		return nil, err
	}
	proof, session, err := d.Handle(msg)
	if err != nil {
		f.stats.handshakeFault(err)
		return nil, err
	}
	out.put(ws.OpBinary, proof, false)
	if _, err := out.write(conn); err != nil {
		return nil, err
	}
	if !stop() {
		return nil, ctx.Err()
	}
	return f.newLink(conn, car, out, session, remoteAddr(conn))
}

// readHandshake reads one message of the handshake, which is all that a node
// may say before it proved its key.
func readHandshake(c *carrier) ([]byte, error) {
	for range 4 { // control frames between, but not for ever
		op, msg, err := c.read(frame.HandshakeLimits().MaxFrame)
		switch {
		case err != nil:
			return nil, err
		case op == ws.OpBinary:
			return msg, nil
		case op == ws.OpClose:
			return nil, errProtocol
		}
	}
	return nil, errProtocol
}

func entropy() (e handshake.Entropy) {
	rand.Read(e.Nonce[:])
	rand.Read(e.Scalar[:])
	return e
}

func (f *Federation) tlsConfig(u nodeaddr.URL, key mesh.Key) *tls.Config {
	pin, ok := f.pinOf(key)
	return tlsFor(u, f.cfg.RootCAs, pin, ok)
}

// tlsFor verifies the other side's certificate: by its pin, if its record has
// one, and otherwise as a browser would.
func tlsFor(u nodeaddr.URL, roots *x509.CertPool, pin [32]byte, pinned bool) *tls.Config {
	c := &tls.Config{ServerName: u.Host, RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if !pinned {
		return c
	}
	c.InsecureSkipVerify = true // VerifyConnection does it
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if sha256.Sum256(cs.PeerCertificates[0].RawSubjectPublicKeyInfo) != pin {
			return errors.New("certificate is not the pinned one")
		}
		return nil
	}
	return c
}

// newLink makes the link of a session that is proven, and pins its peer.
func (f *Federation) newLink(conn net.Conn, car *carrier, out *outbox, s handshake.Session, from netip.AddrPort) (*link, error) {
	key := mesh.Key(s.Peer)
	f.mu.Lock()
	barred := f.mesh.Barred(f.now(), key) || !s.Dialled && f.mesh.BarredAt(f.now(), groupOf(from), f.seenAt(key))
	full := !s.Dialled && !f.mesh.Admits(f.now(), key, f.linkOf(key, s.Dialled, from))
	f.mu.Unlock()
	switch {
	case barred:
		f.stats.barred.Add(1)
		return nil, errors.New("node misbehaved lately")
	case full:
		f.stats.acceptsFull.Add(1)
		return nil, errors.New("no room for another link")
	}
	conn.SetDeadline(time.Time{})
	car.join(conn)
	out.limit(f.cfg.Quota, f.now, &f.backlog)
	now := f.now()
	return &link{
		f: f, peer: f.pin(key), conn: conn, car: car, out: out, session: s, from: from, group: groupOf(from), opened: now,
		quota: newMeter(f.cfg.Quota, now), dead: make(chan struct{}), writeDone: make(chan struct{}),
	}, nil
}

// start serves a link on a goroutine of its own, or ends it if Run is over.
func (f *Federation) start(l *link) {
	f.stats.links.Add(1)
	f.log.Info("link: up", "key", l.peer.name, "dialled", l.session.Dialled, "url", l.session.URL)
	f.greet(l)
	f.recheck(l.peer) // the lists of nodes may have changed since the handshake
	if !f.spawn(l.serve) {
		l.conn.Close()
		l.out.discard()
		l.peer.removeLink(l, errClosed)
	}
}
