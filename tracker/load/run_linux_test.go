package load_test

import (
	"context"
	"crypto/rand"
	"net"
	"testing"
	"time"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/load"
	"github.com/draeder/peerservers/tracker/wsserver"
)

// small is a load that takes half a second.
func small(urls ...string) load.Config {
	cfg := load.Config{
		URLs: urls,
		Shape: load.Shape{
			Connections: 24, Swarms: 3, Every: 100 * time.Millisecond, Offers: 4,
			For: 300 * time.Millisecond,
		},
		Settle: -1, Sample: 1, Late: time.Minute,
	}
	rand.Read(cfg.Seed[:])
	return cfg
}

// serve runs a server until the test ends and returns its address.
func serve(t *testing.T, cfg wsserver.Config) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	if !cfg.Echo {
		trk, err := tracker.New(tracker.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		cfg.Tracker = trk
		go func() { trk.Run(ctx); done <- struct{}{} }()
	} else {
		done <- struct{}{}
	}
	srv, err := wsserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { srv.Serve(ctx, l); done <- struct{}{} }()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return l.Addr().String()
}

func run(t *testing.T, cfg load.Config) *load.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	report, err := load.Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// A tracker that does as it should is without fault, and all that was sent is
// accounted for: of 32 messages for 10 offers here 14 for 4.
func TestTracker(t *testing.T) {
	report := run(t, small("ws://"+serve(t, wsserver.Config{})))
	if n := report.Faults.Total(); n != 0 {
		t.Errorf("%d faults: %+v", n, report.Faults)
	}
	if report.Connect.Connections != 24 || report.Reply.Count == 0 || report.Answer.Count != 4*report.Reply.Count {
		t.Errorf("%+v", report)
	}
}

func TestEcho(t *testing.T) {
	cfg := small("ws://" + serve(t, wsserver.Config{Echo: true}))
	cfg.Echo = true
	report := run(t, cfg)
	if n := report.Faults.Total(); n != 0 {
		t.Errorf("%d faults: %+v", n, report.Faults)
	}
	if report.Reply.Count == 0 || report.Answer.Count == 0 {
		t.Errorf("%+v", report)
	}
}
