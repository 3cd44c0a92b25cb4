package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/draeder/peerservers/tracker/load"
)

// benchCommand loads a tracker and says how it does.
type benchCommand struct {
	URL         []string       `arg:"" help:"The tracker's URL, ws:// or wss://; or those of two nodes of one federation, each with half of every swarm."`
	Profile     string         `default:"heavy" enum:"heavy,full,light,idle,echo" help:"What to do, a choice of the flags below (default ${default}): heavy is 2000 clients in 50 swarms that announce every second, with 10 offers; full 4000 in 100; light 3000 in 75, every 5 s; idle 20,000 that announce once; echo is heavy for peerservers echo."`
	Connections int            `placeholder:"N" help:"How many clients."`
	Swarms      int            `placeholder:"N" help:"How many swarms they are in."`
	Every       *time.Duration `placeholder:"D" help:"Time between a client's announces; 0s is once."`
	Offers      *int           `placeholder:"N" help:"Offers in an announce."`
	For         time.Duration  `placeholder:"D" help:"How long to measure."`
	Settle      time.Duration  `default:"1s" help:"How long to wait after the last client has come, before a look at memory (default ${default})."`
	Drain       time.Duration  `default:"5s" help:"How long replies to the first announces, and what is under way at the end, may stay away until they are lost (default ${default})."`
	Late        time.Duration  `default:"1s" help:"What takes longer from an announce to its reply or answer is a fault (default ${default})."`
	PID         []int          `name:"pid" placeholder:"PID" help:"The server's process on this machine, for its CPU time and memory; with two URLs one for each. Repeatable."`
	TLSCA       string         `name:"tls-ca" placeholder:"FILE" help:"Certificates in PEM that sign the server's."`
	JSON        bool           `name:"json" help:"Print the report as JSON."`
	Progress    bool           `help:"A line a second on how it goes, even if nobody looks at it on a terminal."`
}

// Validate implements kong's validation.
func (c *benchCommand) Validate() error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if len(c.PID) > 0 && len(c.PID) < len(c.URL) {
		return wrong("--pid", "", "give one for each URL", "%d processes of %d servers", len(c.PID), len(c.URL))
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%w; peerservers bench --help lists the flags", err)
	}
	return nil
}

// config is the profile, with what the flags say otherwise.
func (c *benchCommand) config() (load.Config, error) {
	shape := load.Profiles()[c.Profile]
	if c.Connections != 0 {
		shape.Connections = c.Connections
	} else if n := load.MaxConnections(); n > 0 {
		shape.Connections = min(shape.Connections, n) // the report says how many
	}
	if c.Swarms != 0 {
		shape.Swarms = c.Swarms
	}
	if c.Every != nil {
		shape.Every = *c.Every
	}
	if c.Offers != nil {
		shape.Offers = *c.Offers
	}
	if c.For != 0 {
		shape.For = c.For
	}
	shape.Swarms = min(shape.Swarms, shape.Connections)
	// None at all, where load takes zero for its own choice.
	cfg := load.Config{URLs: c.URL, Shape: shape, PIDs: c.PID, Settle: cmp.Or(c.Settle, -1), Drain: max(c.Drain, 1), Late: max(c.Late, 1)}
	if c.TLSCA != "" {
		pem, err := os.ReadFile(c.TLSCA)
		if err != nil {
			return cfg, wrong("--tls-ca", "", "name a file that can be read", "%w", err)
		}
		cfg.Roots = x509.NewCertPool()
		if !cfg.Roots.AppendCertsFromPEM(pem) {
			return cfg, wrong("--tls-ca", c.TLSCA, "give a certificate in PEM", "no certificate in it")
		}
	}
	return cfg, nil
}

// Run implements kong's run.
func (c *benchCommand) Run(ctx context.Context, con *console) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if c.Progress || terminal(con.err) {
		cfg.Progress = func(p load.Progress) { fmt.Fprintln(con.err, progressLine(p)) }
	}
	var results benchResults
	if len(c.URL) > 1 {
		// First with swarms that are whole, to compare with.
		cfg.Whole = true
		if results.Whole, err = c.once(ctx, cfg); err != nil {
			return err
		}
		cfg.Whole = false
	}
	if results.Report, err = c.once(ctx, cfg); err != nil {
		return err
	}
	if results.Whole != nil {
		relay := load.Compare(results.Whole, results.Report)
		results.Relay = &relay
	}
	if c.JSON {
		enc := json.NewEncoder(con.out)
		enc.SetIndent("", "  ")
		err = enc.Encode(results)
	} else {
		err = results.table(con.out)
	}
	if err != nil {
		return err
	}
	if n := results.faults(); n > 0 {
		return fmt.Errorf("%d faults", n)
	}
	return nil
}

func (c *benchCommand) once(ctx context.Context, cfg load.Config) (*load.Report, error) {
	rand.Read(cfg.Seed[:])
	report, err := load.Run(ctx, cfg)
	if errors.Is(err, context.Canceled) {
		return nil, errors.New("interrupted: no report")
	}
	return report, err
}

func progressLine(p load.Progress) string {
	return fmt.Sprintf("%6.1f s  %-10s %6d connections  %7d sent/s  %7d received/s  %d faults",
		p.Elapsed.Seconds(), p.Phase, p.Connections, p.SentRate, p.RecvdRate, p.Faults)
}

// terminal reports whether somebody reads w as it is written.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
