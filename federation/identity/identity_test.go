package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

func TestCreateOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before the first start: %v", err)
	}
	first, created, err := LoadOrCreate(dir)
	if err != nil || !created || len(first) != ed25519.PrivateKeySize {
		t.Fatalf("first start: %v, %v", created, err)
	}
	second, created, err := LoadOrCreate(dir)
	if err != nil || created || !second.Equal(first) {
		t.Errorf("second start: new key %v, %v", created, err)
	}
	if loaded, err := Load(dir); err != nil || !loaded.Equal(first) {
		t.Errorf("load: %v", err)
	}
	onlyKey(t, dir)
	if runtime.GOOS == "windows" {
		return
	}
	for name, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, FileName): 0o600} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: mode %04o, want %04o", name, got, want)
		}
	}
}

// onlyKey wants nothing but the key in dir.
func onlyKey(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != FileName {
		t.Errorf("the directory holds %v", entries)
	}
}

// TestSimultaneousStarts: all get one key, whoever made it.
func TestSimultaneousStarts(t *testing.T) {
	dir := t.TempDir()
	keys := make([]ed25519.PrivateKey, 16)
	made := make([]bool, len(keys))
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], made[i], err = LoadOrCreate(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for i := range keys {
		if !keys[i].Equal(keys[0]) {
			t.Error("two keys")
		}
		if made[i] {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d made the key", n)
	}
	onlyKey(t, dir)
}

// TestBadFiles: a file that is there but holds no key is an error, never
// replaced.
func TestBadFiles(t *testing.T) {
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.MarshalPKCS8PrivateKey(p256(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty": nil, "text": []byte("key"), "half": block(blockType, der)[:60], "public": block("PUBLIC KEY", public),
		"not DER": block(blockType, []byte("x")), "other kind": block(blockType, other),
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := LoadOrCreate(dir); err == nil {
			t.Errorf("%s: no error", name)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(content) {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
}

func TestReadableByOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("Windows has access lists instead")
		return
	}
	dir := t.TempDir()
	if _, _, err := LoadOrCreate(dir); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660} {
		if err := os.Chmod(filepath.Join(dir, FileName), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil {
			t.Errorf("mode %04o is accepted", mode)
		}
	}
}

func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadOrCreate(file); err == nil {
		t.Error("a file for a directory gave a key")
	}
}

func p256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
