package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
)

// tiny is a load that takes no time. However slow the machine is, nothing is
// late or lost.
func tiny(args ...string) []string {
	return append([]string{"bench", "--connections", "12", "--swarms", "2", "--offers", "3",
		"--for", "200ms", "--settle", "0s", "--every", "100ms", "--late", "1m", "--drain", "1m"}, args...)
}

// A tracker that does its work passes, with all figures in the report.
func TestBench(t *testing.T) {
	n := start(t, "serve", "--no-federation", "--listen", "127.0.0.1:0")
	url := n.line(`announce to (\S+)`)
	status, out, errs := command(t, tiny(url, "--progress", "--pid", strconv.Itoa(os.Getpid()))...)
	if status != 0 {
		t.Fatalf("exit status %d\n%s%s", status, out, errs)
	}
	for _, want := range []string{"12 in 2 swarms", "announce to answer", "us a message", "KiB", "faults", "none"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	status, out, errs = command(t, tiny(url, "--json", "--profile", "light")...)
	var report struct {
		Connect struct{ Connections int }
		Answer  struct{ Count int }
		Faults  map[string]int
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 0 {
		t.Fatalf("exit status %d, %v\n%s%s", status, err, out, errs)
	}
	if report.Connect.Connections != 12 || report.Answer.Count == 0 || len(report.Faults) < 10 {
		t.Errorf("%+v", report)
	}
}

// An echo is no tracker, and is said to be none; to the echo profile it is all
// it should be.
func TestBenchOfEcho(t *testing.T) {
	e := start(t, "echo", "--listen", "127.0.0.1:0")
	url := "ws://" + e.line(`echo: on (\S+)`)
	if status, out, errs := command(t, tiny(url, "--profile", "echo")...); status != 0 {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
	status, out, errs := command(t, tiny(url, "--drain", "200ms")...)
	if status != exitFailure || !strings.Contains(errs, "faults") || !strings.Contains(out, "malformed") {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
	if status := e.stop(); status != 0 {
		t.Errorf("echo ended with %d\n%s", status, &e.err)
	}
}

// Two nodes find each other, and what crosses between them is counted.
func TestBenchOfTwoNodes(t *testing.T) {
	dht := startDHT(t)
	a := startNode(t, dht)
	b := startNode(t, dht, "--seed", "ws://"+a.addr)
	status, out, errs := command(t, tiny("ws://"+a.addr, "ws://"+b.addr)...)
	if status != 0 {
		t.Fatalf("exit status %d\n%s%s", status, out, errs)
	}
	for _, want := range []string{"swarms on one node each", "nodes met", "through the other node", "relayed messages", "added to an answer"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestBenchFlags(t *testing.T) {
	for args, want := range map[string]string{
		"bench http://127.0.0.1":                       "no URL of a tracker",
		"bench ws://127.0.0.1 --profile heavier":       "--profile",
		"bench ws://127.0.0.1 --offers 101":            "101 offers",
		"bench ws://a ws://b --pid 1":                  "one for each URL",
		"bench ws://127.0.0.1 --tls-ca nowhere":        "--tls-ca",
		"bench ws://127.0.0.1 --tls-ca " + os.Args[0]:  "PEM",
		"echo --listen 8000":                           "HOST:PORT",
		"bench ws://127.0.0.1 ws://127.0.0.2 ws://c:1": "3 URLs",
	} {
		if status, _, errs := command(t, strings.Fields(args)...); status != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: exit status %d, %s", args, status, errs)
		}
	}
}
