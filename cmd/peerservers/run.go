package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/alecthomas/kong"
)

const (
	exitFailure = 1
	exitUsage   = 2
)

// commandLine is the whole of it; commands are defined beside what they do.
type commandLine struct {
	Config   kong.ConfigFlag `placeholder:"FILE" help:"Read flags from a JSON object, their names without dashes in front: {\"listen\": [\":8000\"], \"max-offers\": 20}. The command line and the environment win."`
	LogLevel slog.Level      `default:"info" placeholder:"LEVEL" help:"Log from this level on: debug, info, warn or error."`

	Serve  serveCommand  `cmd:"" default:"withargs" help:"Run a node: a tracker for clients, federated with others. This is what happens without a command."`
	DHT    dhtCommand    `cmd:"" name:"dht" help:"Run a DHT node alone, for others of a private network to start from."`
	Nodes  nodesCommand  `cmd:"" help:"Show the nodes that a running node is linked with, and how it does among them."`
	Lookup lookupCommand `cmd:"" help:"Show which nodes list themselves for an info hash; without one, whether others would find and reach this node."`
	ID     idCommand     `cmd:"" name:"id" help:"Show this node's key and signed record."`
	Bench  benchCommand  `cmd:"" help:"Load a tracker with many clients, check what it does, and report (Linux)."`
	Echo   echoCommand   `cmd:"" help:"Serve echoes instead of a tracker, to measure the machine and the engine with bench."`
}

// console is where a command writes: results and the lines that a person
// waits for to out, the log to err.
type console struct {
	out, err io.Writer
	log      *slog.Logger
}

func (c *console) printf(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

// exited carries an exit status out of the parser, whose help ends the program.
type exited int

// run is the program without its process: what a command line does until ctx
// is done, and the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	defer func() {
		if r := recover(); r != nil {
			code, ok := r.(exited)
			if !ok {
				panic(r)
			}
			status = int(code)
		}
	}()
	var line commandLine
	parser, err := kong.New(&line,
		kong.Name("peerservers"),
		kong.Description("A WebTorrent tracker that federates: clients of many nodes are one swarm.\n\n"+
			"Each flag may be given in the environment too: --max-offers as PEERSERVERS_MAX_OFFERS."),
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.Configuration(readConfig),
		kong.DefaultEnvars("PEERSERVERS"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ExplicitGroups(groups()),
	)
	if err != nil {
		panic(err) // the grammar above is wrong
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "peerservers: %v\n", err)
		fmt.Fprintln(stderr, "peerservers --help lists the flags")
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: line.LogLevel}))
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(&console{out: stdout, err: stderr, log: log})
	err = parsed.Run()
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "peerservers: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "peerservers: %v\n", err)
	return exitFailure
}

// usageError is a mistake in a flag that only shows when the flag is used: it
// names the flag, what is wrong with it and the mend.
type usageError struct {
	flag, value string
	err         error
	mend        string
}

func (e *usageError) Error() string {
	s := e.flag
	if e.value != "" {
		s += " " + e.value
	}
	s += ": " + e.err.Error()
	if e.mend != "" {
		s += "; " + e.mend
	}
	return s
}

func (e *usageError) Unwrap() error { return e.err }

func wrong(flag, value, mend, format string, args ...any) error {
	return &usageError{flag: flag, value: value, err: fmt.Errorf(format, args...), mend: mend}
}
