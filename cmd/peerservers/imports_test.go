package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/draeder/peerservers/"

// source is a package of this module as its files have it, for every platform
// and without its tests.
type source struct {
	name    string // path in the module
	files   []*ast.File
	fset    *token.FileSet
	imports []string
}

// mayImport is the layering (design.md section 3): what of this module each
// package may import directly. A package that is not in it is a question for
// whoever adds it.
var mayImport = map[string][]string{
	"tracker/wire":   {},
	"tracker/swarm":  {"tracker/wire"},
	"tracker/access": {"tracker/wire"},
	"tracker":        {"tracker/wire", "tracker/swarm", "tracker/access"},
	"tracker/epoll":  {},

	"tracker/wsserver":           {"tracker", "tracker/epoll", "tracker/wsserver/tlsstream", "tracker/access", "tracker/swarm", "tracker/wire"},
	"tracker/wsserver/tlsstream": {},
	"tracker/load":               {"tracker/epoll"},
	"tracker/trackertest":        {"tracker", "tracker/access", "tracker/swarm", "tracker/wire"},

	"federation/nodeaddr":  {},
	"federation/nodekey":   {},
	"federation/nodelist":  {"federation/nodekey"},
	"federation/derive":    {},
	"federation/identity":  {},
	"federation/frame":     {},
	"federation/record":    {"federation/nodeaddr", "federation/nodekey"},
	"federation/dialguard": {"federation/nodeaddr"},
	"federation/handshake": {"federation/nodeaddr", "federation/nodekey", "federation/frame"},
	"federation/filter":    {},
	"federation/reach":     {"federation/nodeaddr"},
	"federation/registry":  {"federation/filter"},
	"federation/mesh":      {"federation/nodeaddr", "federation/derive", "federation/filter", "federation/record", "federation/registry", "tracker/wire"},
	"federation": {
		"tracker", "tracker/swarm", "tracker/wire",
		"federation/nodeaddr", "federation/derive", "federation/identity", "federation/frame",
		"federation/record", "federation/dialguard", "federation/handshake", "federation/filter", "federation/mesh",
		"federation/nodelist",
		"federation/reach", "federation/registry",
	},

	// For tests and scripts/sim.
	"federation/sim": {
		"tracker", "tracker/swarm", "tracker/wire",
		"federation/nodeaddr", "federation/derive", "federation/filter", "federation/frame", "federation/record", "federation/registry", "federation/mesh",
	},
	// For its own tests: it runs the product's binary, and knows none of it.
	"federation/nettest": {},

	"dhtstore": {"federation", "federation/nodeaddr"},
}

// pure packages have no sockets, files, locks, logs or clocks.
var pure = []string{
	"tracker/wire", "tracker/swarm",
	"federation/frame", "federation/filter", "federation/mesh", "federation/handshake", "federation/record", "federation/derive", "federation/nodeaddr", "federation/nodekey",
	"federation/reach", "federation/registry",
}

// impure is what they must not import; package time is for durations there.
var impure = []string{"net", "net/http", "os", "sync", "sync/atomic", "log", "log/slog", "context", "crypto/rand"}

// TestImports asserts the layering and the purity of the pure packages. It
// reads the sources itself: go test then knows what its result depends on,
// and does not call one of yesterday's sources today's.
func TestImports(t *testing.T) {
	pkgs := sources(t, filepath.Join("..", ".."))
	for name, p := range pkgs {
		if strings.HasPrefix(name, "cmd/") {
			continue // it joins them all
		}
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s has no place in the layering: say in mayImport what it may import", name)
		}
		for _, i := range p.imports {
			if dep, ours := strings.CutPrefix(i, module); ours && !slices.Contains(allowed, dep) {
				t.Errorf("%s imports %s", name, dep)
			}
			if strings.HasPrefix(i, "github.com/anacrolix/dht/") && name != "dhtstore" {
				t.Errorf("%s imports %s: only dhtstore may", name, i)
			}
		}
	}
	for _, not := range []string{"dhtstore", "tracker/wsserver"} {
		if reaches(pkgs, "federation", not) {
			t.Errorf("federation depends on %s", not)
		}
	}
	for _, not := range []string{"federation/sim", "federation/nettest"} {
		if reaches(pkgs, "cmd/peerservers", not) {
			t.Errorf("the product contains %s", not)
		}
	}
	if reaches(pkgs, "tracker", "federation") {
		t.Error("tracker depends on federation")
	}
	for _, name := range pure {
		p, ok := pkgs[name]
		if !ok {
			t.Errorf("%s is not there", name)
			continue
		}
		for _, i := range p.imports {
			if slices.Contains(impure, i) {
				t.Errorf("%s imports %s: it must stay pure", name, i)
			}
		}
		for _, use := range clocks(p) {
			t.Errorf("%s: time passes into a pure package as an argument", use)
		}
	}
}

// TestImportsNotices shows that the checks above can fail.
func TestImportsNotices(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a/a.go":   `package a; import (clock "time"; _ "` + module + `b"); var T = clock.Now()`,
		"b/b.go":   `package b; import (_ "net"; _ "` + module + `c/d")`,
		"c/d/d.go": `package d`, "c/d/d_test.go": `package d; import _ "os"`,
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pkgs := sources(t, dir)
	if len(pkgs) != 3 {
		t.Errorf("%d packages, want 3", len(pkgs))
	}
	if uses := clocks(pkgs["a"]); len(uses) != 1 {
		t.Errorf("uses of a clock: %v, want one", uses)
	}
	if !slices.Contains(pkgs["b"].imports, "net") {
		t.Error("an import is overlooked")
	}
	if !reaches(pkgs, "a", "c/d") || reaches(pkgs, "b", "a") {
		t.Error("indirect imports are not followed as they are")
	}
	if len(pkgs["c/d"].imports) != 0 {
		t.Error("a test's imports count")
	}
}

// reaches reports whether package from imports to, directly or not.
func reaches(pkgs map[string]*source, from, to string) bool {
	seen := make(map[string]bool)
	var visit func(string) bool
	visit = func(name string) bool {
		p := pkgs[name]
		if p == nil || seen[name] {
			return false
		}
		seen[name] = true
		for _, i := range p.imports {
			if dep, ours := strings.CutPrefix(i, module); ours && (dep == to || visit(dep)) {
				return true
			}
		}
		return false
	}
	return visit(from)
}

// clocks lists uses of package time that read or run on a clock.
func clocks(p *source) (uses []string) {
	reads := []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer"}
	for _, f := range p.files {
		local := ""
		for _, i := range f.Imports {
			if i.Path.Value == `"time"` {
				local = "time"
				if i.Name != nil {
					local = i.Name.Name
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok || local == "" || !slices.Contains(reads, s.Sel.Name) {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
				uses = append(uses, p.fset.Position(s.Pos()).String()+" uses time."+s.Sel.Name)
			}
			return true
		})
	}
	return uses
}

// sources parses the packages below root.
func sources(t *testing.T, root string) map[string]*source {
	pkgs := make(map[string]*source)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		p := pkgs[rel]
		if p == nil {
			p = &source{name: rel, fset: token.NewFileSet()}
			pkgs[rel] = p
		}
		f, err := parser.ParseFile(p.fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		p.files = append(p.files, f)
		for _, i := range f.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if !slices.Contains(p.imports, imported) {
				p.imports = append(p.imports, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}
