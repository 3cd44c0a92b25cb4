package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// lockName is the file in a data directory that is locked while a node uses
// it. Two nodes with one key would cut each other's links off.
const lockName = "lock"

var errLocked = errors.New("in use by another peerservers")

// defaultDataDir is where a person's other programs keep their settings.
func defaultDataDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", wrong("--data-dir", "", "name a directory", "no per-user directory for the node's key: %w", err)
	}
	return filepath.Join(dir, "peerservers"), nil
}

// openDataDir makes dir, or the default for "", and holds it until release.
func openDataDir(dir string) (path string, release func(), err error) {
	if dir == "" {
		if dir, err = defaultDataDir(); err != nil {
			return "", nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, wrong("--data-dir", dir, "name a directory that can be written", "%w", err)
	}
	f, err := lockFile(filepath.Join(dir, lockName))
	switch {
	case errors.Is(err, errLocked):
		return "", nil, wrong("--data-dir", dir, "give each node its own", "%w", err)
	case err != nil:
		return "", nil, wrong("--data-dir", dir, "name a directory that can be written", "%w", err)
	}
	// For whoever wonders what holds it; the lock itself goes with the process.
	f.Truncate(0)
	fmt.Fprintf(f, "%d\n", os.Getpid())
	return dir, func() { f.Close() }, nil
}
