package main

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/draeder/peerservers/federation/identity"
	"github.com/draeder/peerservers/federation/nodeaddr"
	"github.com/draeder/peerservers/federation/record"
)

// idCommand shows who a node is. It may be asked while the node runs.
type idCommand struct {
	DataDir      string   `placeholder:"DIR" help:"The node's data directory, as for serve."`
	NodeURL      []string `name:"node-url" placeholder:"URL" help:"The node's URLs, as for serve. Repeatable."`
	AllowPrivate bool     `help:"Admit ws:// and private URLs."`
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
	r, err := ownRecord(c.NodeURL, c.AllowPrivate)
	if err != nil {
		return err
	}
	signed, err := record.Sign(key, time.Now().Unix(), r)
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

// ownRecord is what a node with these URLs says of itself.
func ownRecord(nodeURLs []string, allowPrivate bool) (record.Record, error) {
	r := record.Record{Caps: record.CapRelay, Protocol: 1, Expires: time.Now().Unix() + record.Lifetime}
	if len(nodeURLs) == 0 {
		r.Caps |= record.CapLeaf
	}
	var errs []error
	for _, s := range nodeURLs {
		u, err := nodeaddr.Parse(s, allowPrivate)
		if err != nil {
			errs = append(errs, wrong("--node-url", s, nodeURLMend(s, allowPrivate), "%w", err))
			continue
		}
		r.URLs = append(r.URLs, u)
	}
	return r, errors.Join(errs...)
}
