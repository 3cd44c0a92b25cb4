// Command peerservers is a WebTorrent tracker whose nodes find each other
// through the BitTorrent DHT and serve a swarm together.
//
// There is no logic here. The command line (options.go) becomes the
// configurations of the packages that do the work, serve.go joins them, and
// admin.go and metrics.go show what they count:
//
//	clients --> tracker/wsserver --> tracker --> (Watcher) federation
//	nodes   --> tracker/wsserver --> federation --> tracker
//	                                 federation --> (Directory) dhtstore
//
// A node serves clients as soon as its port is open. Federation starts beside
// it and may fail, or find nobody, without any client noticing.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal drains; a later one ends at once, by default action. One
	// that comes at the same time is the same: a shell or a supervisor signals
	// the process and its group.
	context.AfterFunc(ctx, func() {
		time.Sleep(time.Second)
		stop()
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
