package main

import (
	"context"
	"errors"

	"github.com/draeder/peerservers/tracker/wsserver"
)

// echoCommand runs the engine of a node without the tracker on it.
type echoCommand struct {
	Listen     []string `default:":8000" placeholder:"HOST:PORT" help:"Where clients connect (default ${default}). Repeatable."`
	TLSCert    string   `name:"tls-cert" placeholder:"FILE" help:"Certificate chain in PEM, for wss://."`
	TLSKey     string   `name:"tls-key" placeholder:"FILE" help:"The certificate's key in PEM."`
	Engine     string   `default:"" placeholder:"NAME" help:"As that of serve."`
	Loops      int      `placeholder:"N" help:"As that of serve."`
	Compress   int      `placeholder:"BYTES" help:"As that of serve."`
	TLSRecords bool     `name:"tls-records" help:"As that of serve."`
}

// Validate implements kong's validation.
func (c *echoCommand) Validate() error {
	var errs []error
	for _, addr := range c.Listen {
		errs = append(errs, hostPort("--listen", addr))
	}
	return errors.Join(errs...)
}

// Run implements kong's run.
func (c *echoCommand) Run(ctx context.Context, con *console) error {
	leanHeap(false)
	server, err := wsserver.New(wsserver.Config{
		Echo:     true,
		CertFile: c.TLSCert, KeyFile: c.TLSKey,
		Engine: c.Engine, Loops: c.Loops, Compress: c.Compress, TLSRecords: c.TLSRecords,
		MaxMessage: 16 << 20, // as large as those of the Autobahn test-suite
		Log:        con.log,
	})
	if err != nil {
		return err
	}
	listeners, err := listen("--listen", c.Loops, c.Listen...)
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	for _, l := range listeners {
		con.printf("echo: on %v", l.Addr())
	}
	return server.Serve(ctx, listeners...)
}
