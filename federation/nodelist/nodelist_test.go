package nodelist

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draeder/peerservers/federation/nodekey"
)

func file(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestLists(t *testing.T) {
	dir := t.TempDir()
	a, b, c := nodekey.Key{1, 1}, nodekey.Key{2, 2}, nodekey.Key{3, 3}
	h := func(k nodekey.Key) string { return hex.EncodeToString(k[:]) }
	allow := file(t, filepath.Join(dir, "allow"), "# friends\n\n"+strings.ToUpper(h(a))+" # a\n  "+h(b)+"\t\r\n")
	deny := file(t, filepath.Join(dir, "deny"), h(b))
	for _, x := range []struct {
		allow, deny string
		want        [3]bool
	}{
		{"", "", [3]bool{true, true, true}},
		{"", deny, [3]bool{true, false, true}},
		{allow, "", [3]bool{true, true, false}},
		{allow, deny, [3]bool{true, false, false}},
	} {
		l, err := Load(x.allow, x.deny)
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]bool{l.Allows(a), l.Allows(b), l.Allows(c)}; got != x.want {
			t.Errorf("allow %q, deny %q: %v, want %v", x.allow, x.deny, got, x.want)
		}
	}
	if l := (*Lists)(nil); !l.Allows(a) || l.Reload() != nil {
		t.Error("no lists refuse somebody")
	}

	// An empty list of allowed nodes allows nobody.
	none, err := Load(file(t, filepath.Join(dir, "none"), "# nobody yet\n"), "")
	if err != nil || none.Allows(a) {
		t.Errorf("an empty list allows: %v", err)
	}

	// Read again; and what cannot be read changes nothing.
	l, err := Load(allow, deny)
	if err != nil {
		t.Fatal(err)
	}
	file(t, allow, h(c))
	if err := l.Reload(); err != nil || l.Allows(a) || !l.Allows(c) {
		t.Errorf("not read again: %v", err)
	}
	file(t, allow, h(a)+"\nnonsense\n")
	if err := l.Reload(); err == nil || !strings.Contains(err.Error(), "allow:2: ") || l.Allows(a) || !l.Allows(c) {
		t.Errorf("a bad file: %v", err)
	}
	os.Remove(allow)
	if err := l.Reload(); err == nil || !l.Allows(c) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load("", file(t, filepath.Join(dir, "long"), strings.Repeat("x", 2000))); err == nil {
		t.Error("an endless line passes")
	}
}
