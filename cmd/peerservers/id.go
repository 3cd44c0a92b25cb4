package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"time"

	"github.com/draeder/peerservers/federation"
	"github.com/draeder/peerservers/federation/derive"
	"github.com/draeder/peerservers/federation/handshake"
	"github.com/draeder/peerservers/federation/identity"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
)

// idCommand shows who a node is. It may be asked while the node runs.
type idCommand struct {
	DataDir           string   `placeholder:"DIR" help:"The node's data directory, as for serve."`
	NodeURL           []string `name:"node-url" placeholder:"URL" help:"Show the record that a node with these URLs would publish, instead of the last one published. Repeatable."`
	NetworkSecretFile string   `placeholder:"FILE" help:"The secret of the node's closed network, as for serve, with which its record is sealed."`
	AllowPrivate      bool     `help:"Admit ws:// and private URLs there."`
}

// Run implements kong's run.
func (c *idCommand) Run(_ context.Context, con *console) error {
	dir := c.DataDir
	if dir == "" {
		var err error
		if dir, err = defaultDataDir(); err != nil {
			return err
		}
	}
	key, created, err := identity.LoadOrCreate(dir)
	if err != nil {
		return wrong("--data-dir", dir, "name the node's data directory", "%w", err)
	}
	if created {
		con.log.Info("made a new key", "dir", dir)
	}
	network, err := network(c.NetworkSecretFile)
	if err != nil {
		return err
	}
	signed, err := c.record(key, dir, network)
	if err != nil {
		return err
	}
	r, err := signed.Decode(network.RecordKey(), true)
	if err == record.FaultSealed || err == record.FaultNotSealed {
		return wrong("--network-secret-file", c.NetworkSecretFile, "give it as it was when the node ran last", "the node's last record is %w", err)
	}
	if err != nil {
		return err
	}
	con.printf("key %s", hex.EncodeToString(signed.Key[:]))
	con.printf("urls %s", urls(r))
	con.printf("seq %d", signed.Seq)
	con.printf("expires %s", stamp(r.Expires))
	con.printf("record %s", hex.EncodeToString(signed.Value))
	con.printf("signature %s", hex.EncodeToString(signed.Sig[:]))
	return nil
}

// record is the last record that the node published, or, if there is none or
// other URLs are asked about, what it would be now.
func (c *idCommand) record(key ed25519.PrivateKey, dir string, network derive.Network) (record.Signed, error) {
	if len(c.NodeURL) == 0 {
		saved, err := ownRecordFile(dir).Load()
		if err == nil && len(saved) == 1 && saved[0].Record.Key == record.Key(key.Public().(ed25519.PublicKey)) {
			return saved[0].Record, nil
		}
	}
	now := time.Now().Unix()
	r := record.Record{Caps: record.CapRelay, Protocol: handshake.Version, Expires: now + record.Lifetime}
	if len(c.NodeURL) == 0 {
		r.Caps |= record.CapLeaf
	}
	var errs []error
	for _, s := range c.NodeURL {
		u, err := nodeaddr.Parse(s, c.AllowPrivate)
		if err != nil {
			errs = append(errs, wrong("--node-url", s, nodeURLMend(s, c.AllowPrivate), "%w", err))
			continue
		}
		r.URLs = append(r.URLs, u)
	}
	if err := errors.Join(errs...); err != nil {
		return record.Signed{}, err
	}
	return record.Sign(key, now, r, federation.SealFor(network))
}
