package identity_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/draeder/peerservers/federation/identity"
)

// The key outlives restarts, so that a pin that others have goes on to fit;
// the certificate need not.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, pin, err := identity.Certificate(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if identity.Pin(cert.Leaf) != pin || cert.PrivateKey == nil {
		t.Error("the certificate is not the pinned one")
	}
	if again, same, err := identity.Certificate(dir, time.Now()); err != nil || same != pin || identity.Pin(again.Leaf) != pin {
		t.Errorf("another key at the second start: %v", err)
	}
	if _, other, err := identity.Certificate(t.TempDir(), time.Now()); err != nil || other == pin {
		t.Errorf("two nodes with one key: %v", err)
	}
	path := filepath.Join(dir, identity.CertificateFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v %v", files, err)
	}
	// A node's key there is of another kind.
	if _, _, err := identity.LoadOrCreate(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, identity.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := identity.Certificate(dir, time.Now()); err == nil {
		t.Error("an ed25519 key is taken for the certificate's")
	}
}
