package federation

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/gobwas/ws"

	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
)

// Probe dials u as another node of the network would, and returns nil if the
// node of record r proves its key there. It says hello under a key that nobody
// knows and leaves it at that, so no link comes about.
func Probe(ctx context.Context, dialer Dialer, network derive.Network, u nodeaddr.URL, r record.Record) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	d := ws.Dialer{Protocols: []string{Subprotocol}, NetDial: dialer.DialContext, TLSConfig: tlsFor(u, nil, r.Pin, r.Pinned)}
	conn, br, hs, err := d.Dial(ctx, u.Link(network.LinkPath()))
	if err != nil {
		return err
	}
	defer conn.Close()
	if hs.Protocol != Subprotocol {
		return fmt.Errorf("subprotocol %q", hs.Protocol)
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	local := handshake.Local{Key: key, Network: network.ID(), Member: network.MemberKey(), Versions: []uint32{handshake.Version}}
	h, hello, err := handshake.Dial(local, entropy(), u.Link(network.LinkPath()), uint64(time.Now().UnixMilli()), r.Key)
	if err != nil {
		return err
	}
	out := newOutbox(true)
	out.put(ws.OpBinary, hello, false)
	if _, err := out.write(conn); err != nil {
		return err
	}
	msg, err := readHandshake(newCarrier(conn, br, true))
	if err != nil {
		return fmt.Errorf("it did not answer the hello: %w", err)
	}
	_, _, err = h.Handle(msg)
	return err
}
