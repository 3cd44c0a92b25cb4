package sim_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draeder/peerservers/federation/sim"
)

var (
	sizeName = flag.String("sim.size", "tiny", "how large the scenarios are: tiny, short, or full as the issue asks for")
	seed     = flag.Uint64("sim.seed", 1, "of every random choice")
	jsonFile = flag.String("sim.json", "", "write the results to this file")
	only     = flag.String("sim.only", "", "run this scenario only")
	off      = flag.String("sim.off", "", "what the nodes do without: publishing, parking, retries, trust or registry")
	show     = flag.Bool("sim.print", false, "print the tables")
)

// TestScenarios runs them all.
func TestScenarios(t *testing.T) {
	size, ok := map[string]sim.Size{"tiny": sim.Tiny, "short": sim.Short, "full": sim.Full}[*sizeName]
	if !ok {
		t.Fatalf("no size %q", *sizeName)
	}
	var results []*sim.Result
	for _, s := range sim.Scenarios() {
		if *only != "" && *only != s.Name {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			var progress func(time.Duration, uint64)
			if *show && size == sim.Full {
				progress = func(now time.Duration, events uint64) {
					fmt.Fprintf(os.Stderr, "%s: %v, %d events\n", s.Name, now, events)
				}
			}
			r := run(t, s, size, *seed, sim.Switches{
				Progress:  progress,
				NoPublish: *off == "publishing", NoParking: *off == "parking", NoRetries: *off == "retries", NoTrust: *off == "trust",
				NoRegistry: *off == "registry",
			})
			results = append(results, r)
			if *show {
				r.Print(os.Stdout)
			}
			for _, f := range r.Failures {
				t.Error(f)
			}
		})
	}
	if *jsonFile != "" {
		b, err := json.MarshalIndent(results, "", "  ")
		if err == nil {
			err = os.WriteFile(*jsonFile, append(b, '\n'), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// run runs a scenario in a bubble, where a tracker's housekeeping takes no
// time: see the package comment.
func run(t *testing.T, s sim.Scenario, size sim.Size, seed uint64, sw sim.Switches) (r *sim.Result) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { r = s.Run(size, seed, sw) })
	return r
}

// The same seed gives the same run, another one another.
func TestDeterminism(t *testing.T) {
	text := func(seed uint64) string {
		b, err := json.Marshal(run(t, sim.Scenario{Run: sim.Yardstick}, sim.Tiny, seed, sim.Switches{}))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := text(5)
	if again := text(5); first != again {
		t.Errorf("two runs of one seed:\n%s\n%s", first, again)
	}
	if first == text(6) {
		t.Error("two seeds gave the same run")
	}
}

// Each part that can be switched off is missed by some scenario.
func TestSwitches(t *testing.T) {
	for _, c := range []struct {
		name     string
		scenario func(sim.Size, uint64, sim.Switches) *sim.Result
		off      sim.Switches
	}{
		{"publishing", sim.Late, sim.Switches{NoPublish: true}},
		{"parking", sim.Late, sim.Switches{NoParking: true}},
		{"retries", sim.Partition, sim.Switches{NoRetries: true}},
		{"trust", sim.Siege, sim.Switches{NoTrust: true}},
		{"registry", sim.Responsible, sim.Switches{NoRegistry: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Chance may help a run, but not one after the other.
			for s := *seed; s < *seed+3; s++ {
				r := run(t, sim.Scenario{Run: c.scenario}, sim.Tiny, s, c.off)
				if len(r.Failures) > 0 {
					t.Logf("%s, seed %d: %q", r.Scenario, s, r.Failures)
					return
				}
			}
			t.Errorf("the scenario holds without %s", c.name)
		})
	}
}
