package trackertest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/draeder/peerservers/tracker/trackertest"
)

const folder = "../../testdata/talks"

// elsewhere are the cases that need clients of npm: the end-to-end tests have
// them.
var elsewhere = map[int]string{
	44: "bittorrent-tracker's Client.scrape, end to end",
	45: "real clients, end to end",
}

// target is somewhere to run talks.
type target struct {
	name string
	kind trackertest.Kind
	run  func(t *testing.T, talk *trackertest.Talk)
}

var targets = []target{
	{"core", trackertest.KindCore, runCore},
	{"server in memory", trackertest.KindServer, runServer},
	{"server over sockets", trackertest.KindSockets, runSockets},
	{"loops", trackertest.KindServer, runLoops},
	{"pair", trackertest.KindFederated, runPair},
	{"two nodes", trackertest.KindFederated, runLinks},
}

func load(t *testing.T) []*trackertest.Talk {
	t.Helper()
	talks, err := trackertest.Load(os.DirFS(folder))
	if err != nil {
		t.Fatal(err)
	}
	return talks
}

// TestTalks runs every talk on every target of the kinds that it names, and
// accounts for each conformance case.
func TestTalks(t *testing.T) {
	talks := load(t)
	ran := map[int]map[string]bool{}
	for _, target := range targets {
		t.Run(target.name, func(t *testing.T) {
			for _, talk := range talks {
				if !slices.Contains(talk.On, target.kind) {
					continue
				}
				for _, n := range talk.Cases {
					if ran[n] == nil {
						ran[n] = map[string]bool{}
					}
					ran[n][target.name] = true
				}
				t.Run(talk.Name(), func(t *testing.T) { target.run(t, talk) })
			}
		})
	}
	for n := 1; n <= 49; n++ {
		var on []string
		for _, target := range targets {
			if ran[n][target.name] {
				on = append(on, target.name)
			}
		}
		switch where := elsewhere[n]; {
		case len(on) > 0:
			t.Logf("case %d ran on %s", n, strings.Join(on, ", "))
		case where != "":
			t.Logf("case %d: %s", n, where)
		default:
			t.Errorf("case %d ran nowhere", n)
		}
	}
}

// TestKindsHaveTargets: no talk names a kind that nothing here provides.
func TestKindsHaveTargets(t *testing.T) {
	for _, talk := range load(t) {
		for _, kind := range talk.On {
			if !slices.ContainsFunc(targets, func(x target) bool { return x.kind == kind }) {
				t.Errorf("%s: nothing runs it on %s", talk.Name(), kind)
			}
		}
	}
}

func runCore(t *testing.T, talk *trackertest.Talk) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg, err := talk.Config(dir)
		if err != nil {
			t.Fatal(err)
		}
		w, err := trackertest.NewCore(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		check(t, talk, w)
	})
}

func runPair(t *testing.T, talk *trackertest.Talk) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg, err := talk.Config(dir)
		if err != nil {
			t.Fatal(err)
		}
		w, err := trackertest.NewPair(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		check(t, talk, w)
	})
}

func check(t *testing.T, talk *trackertest.Talk, w trackertest.World) {
	t.Helper()
	if err := trackertest.Run(talk, w); err != nil {
		t.Error(fmt.Errorf("%s: %w", talk.File, err))
	}
}
