package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestErrorsNameFlagAndMend: a person who made a mistake learns which flag it
// is and what to write instead, and scripts get exit status 2.
func TestErrorsNameFlagAndMend(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("file", "in the way")
	short := write("short", "short\n")
	bad := write("bad", "no hash\n")
	for _, c := range []struct {
		args string
		want []string
	}{
		{"--listen 8000", []string{"--listen 8000", "HOST:PORT"}},
		{"--listen 127.0.0.1:99999", []string{"--listen", "HOST:PORT"}},
		{"--interval 5s", []string{"--interval 5s", "30s or more"}},
		{"--interval 48h", []string{"--interval", "1h or less"}},
		{"--interval soon", []string{"--interval"}},
		{"--max-offers 0", []string{"--max-offers 0", "1 to 100"}},
		{"--tls-cert x", []string{"--tls-cert", "give --tls-key"}},
		{"--tls-key x", []string{"--tls-key", "give --tls-cert"}},
		{"--no-federation --listen 127.0.0.1:0 --tls-cert " + file + " --tls-key " + file, []string{"--tls-cert", "PEM"}},
		{"--path announce", []string{"--path announce", "give /announce"}},
		{"--node-url http://example.org", []string{"--node-url http://example.org", "wss://"}},
		{"--node-url ws://example.org:8000", []string{"--node-url", "--allow-private"}},
		{"--node-url wss://10.0.0.1", []string{"--node-url", "--allow-private"}},
		{"--seed nonsense", []string{"--seed nonsense", "wss://"}},
		{"--node-url wss://a.example.org,wss://b.example.org,wss://c.example.org,wss://d.example.org,wss://e.example.org", []string{"--node-url", "up to 4"}},
		{"--dht-listen x", []string{"--dht-listen x", "HOST:PORT"}},
		{"--dht-listen :7 --dht-listen 127.0.0.1:7", []string{"--dht-listen :7, 127.0.0.1:7", "one of each"}},
		{"--dht-bootstrap x", []string{"--dht-bootstrap x", "HOST:PORT"}},
		{"--dht-bootstrap 127.0.0.1:7000", []string{"--dht-bootstrap", "--allow-private"}},
		{"--dht-rate 1000", []string{"--dht-rate 1000", "1 to 250"}},
		{"--registry-from=-1", []string{"--registry-from -1", "1 to 2048", "0 for never"}},
		{"--registry-from 3000", []string{"--registry-from 3000", "1 to 2048"}},
		{"--max-links 0", []string{"--max-links 0", "1 to 2048"}},
		{"--max-links 3000", []string{"--max-links 3000", "1 to 2048"}},
		{"--registry-from few", []string{"--registry-from"}},
		{"--trusted-proxy localhost", []string{"--trusted-proxy localhost", "10.0.0.0/8"}},
		{"--proxy-protocol", []string{"--proxy-protocol", "--trusted-proxy"}},
		{"--max-connections -1", []string{"--max-connections"}},
		{"--max-connections-per-ip=-1", []string{"--max-connections-per-ip", "1 or more"}},
		{"--admin 9100", []string{"--admin 9100", "HOST:PORT"}},
		{"--engine steam", []string{"--engine steam", "loops or portable"}},
		{"--loops 65", []string{"--loops 65", "1 to 64"}},
		{"--compress=-1", []string{"--compress -1", "1 or more"}},
		{"--drain=-1s", []string{"--drain", "0s or more"}},
		{"--listen 127.0.0.1:0 --data-dir " + file, []string{"--data-dir", "can be written"}},
		{"--listen 127.0.0.1:0 --data-dir " + dir + " --network-secret-file " + filepath.Join(dir, "none"), []string{"--network-secret-file", "16 to 255"}},
		{"--listen 127.0.0.1:0 --data-dir " + dir + " --network-secret-file " + short, []string{"--network-secret-file", "16 to 255"}},
		{"--listen 127.0.0.1:0 --no-federation --allow-hashes " + bad, []string{"--allow-hashes", bad}},
		{"--listen 127.0.0.1:0 --data-dir " + dir + " --deny-nodes " + bad, []string{"--deny-nodes", bad + ":1", "64 hex digits"}},
		{"--listen 192.0.2.1:8000 --no-federation", []string{"--listen 192.0.2.1:8000", "give another"}},
		{"--listen 127.0.0.1:0 --no-federation --admin 192.0.2.1:8000", []string{"--admin 192.0.2.1:8000", "give another"}},
		{"--nonsense", []string{"--nonsense"}},
		{"--log-level loud", []string{"--log-level"}},
		{"--config " + file, []string{"JSON"}},
		{"dht --listen x", []string{"--listen x", "HOST:PORT"}},
		{"dht --listen 192.0.2.1:7000", []string{"--listen 192.0.2.1:7000", "give another"}},
		{"dht --dht-bootstrap x:y", []string{"--dht-bootstrap x:y"}},
		{"lookup --data-dir " + dir, []string{"--data-dir " + dir, "start the node once"}},
		{"lookup x --timeout=-1s", []string{"--timeout"}},
		{"lookup " + strings.Repeat("x", 65), []string{"INFOHASH", "40 hex digits"}},
		{"id --data-dir " + file, []string{"--data-dir", file}},
		{"id --data-dir " + dir + " --node-url ws://example.org:8000", []string{"--node-url", "--allow-private"}},
	} {
		status, _, err := command(t, strings.Fields(c.args)...)
		if status != exitUsage {
			t.Errorf("%s: exit status %d, want %d", c.args, status, exitUsage)
		}
		for _, want := range c.want {
			if !strings.Contains(err, want) {
				t.Errorf("%s: %q does not say %q", c.args, err, want)
			}
		}
	}
}

func TestHelp(t *testing.T) {
	for args, want := range map[string][]string{
		"--help":        {"serve", "dht", "lookup", "id", "PEERSERVERS_MAX_OFFERS"},
		"serve --help":  {"--listen", "--node-url", "--data-dir", "--dht-listen", "--dht-bootstrap", "--allow-private", "--tls-cert", "--tls-key", "--no-federation", "--no-rendezvous", "--registry-from", "--max-links", "--interval", "--max-offers", "--admin", "--drain", "Federation:"},
		"dht --help":    {"--listen"},
		"lookup --help": {"infohash", "--dht-bootstrap"},
		"id --help":     {"--data-dir"},
	} {
		status, out, _ := command(t, strings.Fields(args)...)
		if status != 0 {
			t.Errorf("%s: exit status %d", args, status)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s does not show %s", args, w)
			}
		}
	}
}

// TestSources: the command line wins over the environment, which wins over
// the configuration file; what is in none of them has its default.
func TestSources(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.json")
	text := `{"listen": ["127.0.0.1:0", "127.0.0.1:0"], "no-federation": true, "interval": "1s", "max-offers": 7, "log-level": "warn"}`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := command(t, "--config", config); !strings.Contains(err, "--interval 1s") {
		t.Errorf("the file does not count: %s", err)
	}
	t.Setenv("PEERSERVERS_INTERVAL", "2s")
	if _, _, err := command(t, "--config", config); !strings.Contains(err, "--interval 2s") {
		t.Errorf("the environment does not win: %s", err)
	}
	if _, _, err := command(t, "--config", config, "--interval", "3s"); !strings.Contains(err, "--interval 3s") {
		t.Errorf("the command line does not win: %s", err)
	}
	t.Setenv("PEERSERVERS_INTERVAL", "30s")
	t.Setenv("PEERSERVERS_CONFIG", config)
	p := start(t)
	if p.line(`clients: (.*)\n`); strings.Count(p.out.String(), "ws://127.0.0.1:") != 2 {
		t.Errorf("two listeners in the file: %s", &p.out)
	}
	if s := p.stop(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	if e := p.err.String(); e != "" {
		t.Errorf("a log above the level that the file sets: %s", e)
	}
}

func TestConfigIsStrict(t *testing.T) {
	for text, want := range map[string]string{
		`{"max-ofers": 7}`:       `"max-ofers" is not a flag`,
		`{"maxOffers": 7}`:       `"maxOffers" is not a flag`,
		`{"config": "x"}`:        `"config" is not a flag`,
		`{"max-offers": "many"}`: "max-offers",
		`[]`:                     "JSON object",
		`{} {}`:                  "more follows",
	} {
		config := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		status, _, err := command(t, "--config", config, "--no-federation", "--listen", "127.0.0.1:0")
		if status != exitUsage || !strings.Contains(err, want) {
			t.Errorf("%s: status %d, %q, want %q", text, status, err, want)
		}
	}
}
