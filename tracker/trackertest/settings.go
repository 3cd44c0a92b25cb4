package trackertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/draeder/peerservers/tracker"
	"github.com/draeder/peerservers/tracker/access"
)

// Config is the tracker's configuration that a talk asks for. Lists that the
// tracker reads from files are put in dir. Every choice is repeatable.
func (t *Talk) Config(dir string) (tracker.Config, error) {
	cfg := tracker.DefaultConfig()
	cfg.Shards = 2
	cfg.Swarm.MaxParkedBytes = 1 << 20
	cfg.Seed = &[32]byte{1}
	var rules access.Config
	for i, s := range t.With {
		name, value, _ := strings.Cut(s, "=")
		file := filepath.Join(dir, fmt.Sprintf("list%d", i))
		switch name {
		case "strict_ids":
			cfg.Limits.StrictIDs = true
		case "scrape_all":
			cfg.ScrapeAll = true
		case "deny":
			rules.DenyHashes = file
		case "allow":
			rules.AllowHashes = file
		case "token":
			rules.Tokens = file
		case "deny_origin":
			rules.DenyOrigins = append(rules.DenyOrigins, value)
		case "deny_empty_origin":
			rules.DenyEmptyOrigin = true
		default:
			return cfg, fmt.Errorf("%s: no setting is called %q", t.Name(), name)
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			return cfg, err
		}
	}
	var err error
	cfg.Access, err = access.New(rules)
	return cfg, err
}
