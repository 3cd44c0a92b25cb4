// Package identity keeps a node's ed25519 key, and the one of its own
// certificate: made at first start, readable by their owner alone, and never
// half written.
//
// The key is the node. Whoever has the file can speak as this node; losing it
// means to start again as a node that nobody has seen before.
package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// FileName is the key's name in the data directory.
const FileName = "node.key"

// Load reads the key in dir.
func Load(dir string) (ed25519.PrivateKey, error) {
	return load[ed25519.PrivateKey](filepath.Join(dir, FileName))
}

// load reads a key of that type.
func load[K any](path string) (key K, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return key, err
	}
	if err := private(path); err != nil {
		return key, err
	}
	k, err := parse(b)
	if err != nil {
		return key, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := k.(K)
	if !ok {
		return key, fmt.Errorf("%s: a key of another kind", path)
	}
	return key, nil
}

// LoadOrCreate reads the key in dir, or makes directory and key if they are
// not there. Of several that start at once in one directory all get the same
// key. created reports that the key is new.
func LoadOrCreate(dir string) (key ed25519.PrivateKey, created bool, err error) {
	key, err = Load(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, err
	}
	_, fresh, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, false, err
	}
	if created, err = create(dir, FileName, fresh); err != nil {
		return nil, false, err
	}
	key, err = Load(dir)
	return key, created, err
}

// create writes a new key under another name and links it into place, which
// fails if somebody was faster: a rename would replace a key already in use.
func create(dir, name string, key any) (created bool, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return false, err
	}
	f, err := os.CreateTemp(dir, name+".*.tmp") // 0600
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	err = pem.Encode(f, &pem.Block{Type: blockType, Bytes: der})
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return false, err
	}
	return place(f.Name(), filepath.Join(dir, name))
}

// place gives the file at from the name to unless that exists.
func place(from, to string) (placed bool, err error) {
	err = os.Link(from, to)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil
	}
	// A file system without hard links: two first starts in the same instant
	// could then disagree until the next one.
	if _, e := os.Lstat(to); e == nil {
		return false, nil
	}
	return true, os.Rename(from, to)
}

const blockType = "PRIVATE KEY"

func parse(b []byte) (any, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != blockType {
		return nil, errors.New("no PEM private key in it")
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}

// private refuses a key that others on the machine can read. Windows has no
// such bits; there the directory's access list decides.
func private(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s: others may read it (mode %04o); chmod 600 it, or delete it to become a new node", path, info.Mode().Perm())
	}
	return nil
}
