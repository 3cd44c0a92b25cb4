package access

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	hexA = "6161616161616161616161616161616161616161"
	rawA = "aaaaaaaaaaaaaaaaaaaa"
	hexB = "6262626262626262626262626262626262626262"
	rawB = "bbbbbbbbbbbbbbbbbbbb"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func policy(t *testing.T, cfg Config) *Policy {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func verdict(p *Policy, infoHash string) Verdict {
	v, _ := p.Announce(&Request{InfoHash: []byte(infoHash)})
	return v
}

func TestNilAndZeroAllowAll(t *testing.T) {
	var none *Policy
	for _, p := range []*Policy{none, policy(t, Config{})} {
		if v, text := p.Announce(&Request{InfoHash: []byte(rawA)}); v != Allowed || text != "" {
			t.Errorf("announce: %v %q", v, text)
		}
		if !p.Hash([]byte(rawA)) || !p.Origin("") || !p.Origin("https://example.org") {
			t.Error("something was refused")
		}
		if err := p.Reload(); err != nil {
			t.Error(err)
		}
	}
}

func TestHashLists(t *testing.T) {
	allow := write(t, "allow", "# ours\n"+strings.ToUpper(hexA)+"  # first\n\n"+hexB+"\r\n")
	deny := write(t, "deny", hexB+"\n")
	for _, c := range []struct {
		name string
		cfg  Config
		a, b Verdict
	}{
		{"allow", Config{AllowHashes: allow}, Allowed, Allowed},
		{"deny", Config{DenyHashes: deny}, Allowed, Denied},
		{"deny outranks allow", Config{AllowHashes: allow, DenyHashes: deny}, Allowed, Denied},
		{"not listed", Config{AllowHashes: deny}, NotListed, Allowed},
		{"empty list allows none", Config{AllowHashes: write(t, "empty", "")}, NotListed, NotListed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy(t, c.cfg)
			if v := verdict(p, rawA); v != c.a {
				t.Errorf("a: %v, want %v", v, c.a)
			}
			if v := verdict(p, rawB); v != c.b {
				t.Errorf("b: %v, want %v", v, c.b)
			}
			if p.Hash([]byte(rawB)) != (c.b == Allowed) {
				t.Error("Hash disagrees with Announce")
			}
		})
	}
}

func TestBytesAbove7F(t *testing.T) {
	p := policy(t, Config{AllowHashes: write(t, "allow", strings.Repeat("e9", 20))})
	if v := verdict(p, strings.Repeat("é", 20)); v != Allowed {
		t.Errorf("latin-1 info hash: %v", v)
	}
}

func TestTokens(t *testing.T) {
	p := policy(t, Config{Tokens: write(t, "tokens", "# issued in May\nopen sesame\nsecond\n")})
	for _, c := range []struct {
		announce, conn string
		want           Verdict
	}{
		{"", "", NoToken},
		{"open sesame", "", Allowed},
		{"", "second", Allowed},
		{"wrong", "", BadToken},
		{"", "wrong", BadToken},
		{"wrong", "second", Allowed},
		{"# issued in May", "", BadToken},
	} {
		q := Request{InfoHash: []byte(rawA), Token: []byte(c.announce), ConnToken: c.conn}
		v, text := p.Announce(&q)
		if v != c.want || (text == "") != (v == Allowed) {
			t.Errorf("token %q, connection's %q: %v %q, want %v", c.announce, c.conn, v, text, c.want)
		}
	}
	if !p.Hash([]byte(rawA)) {
		t.Error("tokens must not hide an info hash from scrapes")
	}
}

func TestHook(t *testing.T) {
	var asked []string
	p := policy(t, Config{
		DenyHashes: write(t, "deny", hexB),
		Hook: func(q *Request) string {
			asked = append(asked, string(q.InfoHash))
			if q.Path == "/closed" {
				return "closed today"
			}
			return ""
		},
	})
	if v, _ := p.Announce(&Request{InfoHash: []byte(rawA)}); v != Allowed {
		t.Error(v)
	}
	if v, text := p.Announce(&Request{InfoHash: []byte(rawA), Path: "/closed"}); v != Refused || text != "closed today" {
		t.Error(v, text)
	}
	if v := verdict(p, rawB); v != Denied {
		t.Error(v)
	}
	if len(asked) != 2 {
		t.Errorf("the hook was asked about %q: it must come last", asked)
	}
}

func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		name    string
		cfg     Config
		allowed []string
		refused []string
	}{
		{"allow", Config{AllowOrigins: []string{"https://Example.org/", "null"}},
			[]string{"https://example.org", "null", ""}, []string{"http://example.org", "https://example.org:8443", "https://evil.example.org"}},
		{"deny", Config{DenyOrigins: []string{"https://evil.org"}},
			[]string{"https://example.org", ""}, []string{"https://evil.org", "HTTPS://EVIL.ORG"}},
		{"both", Config{AllowOrigins: []string{"https://a.org", "https://b.org"}, DenyOrigins: []string{"https://b.org"}},
			[]string{"https://a.org"}, []string{"https://b.org", "https://c.org"}},
		{"empty", Config{DenyEmptyOrigin: true}, []string{"https://a.org"}, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy(t, c.cfg)
			for _, o := range c.allowed {
				if !p.Origin(o) {
					t.Errorf("%q refused", o)
				}
			}
			for _, o := range c.refused {
				if p.Origin(o) {
					t.Errorf("%q allowed", o)
				}
			}
		})
	}
}

func TestErrorsNameFileAndLine(t *testing.T) {
	bad := write(t, "bad", hexA+"\n\nxyz\n")
	for _, cfg := range []Config{{AllowHashes: bad}, {DenyHashes: bad}} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), bad+":3:") {
			t.Errorf("%v", err)
		}
	}
	if _, err := New(Config{DenyHashes: write(t, "digits", strings.Repeat("g", 40))}); err == nil {
		t.Error("40 characters that are not hex were accepted")
	}
	if _, err := New(Config{Tokens: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := New(Config{Tokens: write(t, "long", strings.Repeat("x", 2*maxLine))}); err == nil {
		t.Error("an endless line was accepted")
	}
	if _, err := New(Config{AllowOrigins: []string{"example.org"}}); err == nil {
		t.Error("an origin without scheme was accepted: it would never match")
	}
}

func TestReload(t *testing.T) {
	file := write(t, "deny", hexA)
	p := policy(t, Config{DenyHashes: file})
	if v := verdict(p, rawA); v != Denied {
		t.Fatal(v)
	}
	write(t, file, hexB)
	if v := verdict(p, rawA); v != Denied {
		t.Errorf("before the reload: %v", v)
	}
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	if a, b := verdict(p, rawA), verdict(p, rawB); a != Allowed || b != Denied {
		t.Errorf("after it: %v %v", a, b)
	}
	// A file that is broken leaves the rules as they were.
	write(t, file, "oops")
	if err := p.Reload(); err == nil {
		t.Error("a broken file was accepted")
	}
	if a, b := verdict(p, rawA), verdict(p, rawB); a != Allowed || b != Denied {
		t.Errorf("after a failed one: %v %v", a, b)
	}
	if err := p.Set(Config{}); err != nil {
		t.Fatal(err)
	}
	if v := verdict(p, rawB); v != Allowed {
		t.Errorf("without lists: %v", v)
	}
}

// Announces run while rules are swapped: each is judged by one set of rules,
// in which exactly one of the two info hashes is denied.
func TestReloadIsAtomic(t *testing.T) {
	cfgs := []Config{{DenyHashes: write(t, "a", hexA)}, {DenyHashes: write(t, "b", hexB)}}
	p := policy(t, cfgs[0])
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := p.current()
				if (r.hash([]byte(rawA)) == Denied) == (r.hash([]byte(rawB)) == Denied) {
					t.Error("a mixture of two sets of rules")
					return
				}
			}
		})
	}
	for i := range 100 {
		if err := p.Set(cfgs[i%2]); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestAnnounceDoesNotAllocate(t *testing.T) {
	p := policy(t, Config{AllowHashes: write(t, "allow", hexA), Tokens: write(t, "tokens", "second\n")})
	q := &Request{InfoHash: []byte(rawA), Token: []byte("second"), ConnToken: "other"}
	if n := testing.AllocsPerRun(100, func() {
		if v, _ := p.Announce(q); v != Allowed {
			t.Fatal(v)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLabelsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for v := range NumVerdicts {
		if s := v.String(); seen[s] || s == "unknown" {
			t.Errorf("verdict %d: label %q", v, s)
		} else {
			seen[s] = true
		}
	}
}
