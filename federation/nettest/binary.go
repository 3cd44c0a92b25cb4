//go:build linux

package nettest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// built are the binaries of this run.
var built = binaries{done: make(map[time.Duration]*build)}

type binaries struct {
	mu   sync.Mutex
	dir  string
	done map[time.Duration]*build
}

type build struct {
	once sync.Once
	path string
	err  error
}

// Binary is the product, built once for a run.
func (n *Net) Binary() string {
	n.tb.Helper()
	return n.binary(0)
}

// BinaryWithClock is the product with a clock that is wrong by so much. It is
// the same source; only the standard library's time.Now differs, by one line:
// Linux cannot give a process another CLOCK_REALTIME, and a hook in the
// product would miss what does not use it.
func (n *Net) BinaryWithClock(wrong time.Duration) string {
	n.tb.Helper()
	return n.binary(wrong)
}

func (n *Net) binary(wrong time.Duration) string {
	n.tb.Helper()
	path, err := built.get(wrong)
	if err != nil {
		n.tb.Fatal(err)
	}
	return path
}

func (b *binaries) get(wrong time.Duration) (string, error) {
	b.mu.Lock()
	if b.dir == "" {
		var err error
		if b.dir, err = os.MkdirTemp("", "peerservers-nettest-"); err != nil {
			b.mu.Unlock()
			return "", err
		}
	}
	one := b.done[wrong]
	if one == nil {
		one = new(build)
		b.done[wrong] = one
	}
	dir := b.dir
	b.mu.Unlock()
	one.once.Do(func() { one.path, one.err = compile(dir, wrong) })
	return one.path, one.err
}

// RemoveBinaries is for the end of TestMain.
func RemoveBinaries() {
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
}

func compile(dir string, wrong time.Duration) (string, error) {
	path := filepath.Join(dir, "peerservers"+strconv.FormatInt(int64(wrong.Seconds()), 10))
	args := []string{"build", "-o", path}
	if wrong != 0 {
		overlay, err := wrongClock(dir, wrong)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "github.com/draeder/peerservers/cmd/peerservers")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return path, nil
}

// wrongClock writes an overlay for the compiler in which time.Now is wrong.
// The monotonic clock stays as it is, so timers run as ever.
func wrongClock(dir string, wrong time.Duration) (overlay string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	const now = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), now) != 1 {
		return "", fmt.Errorf("%s has changed: no line %q in it", original, now)
	}
	seconds := int64(wrong / time.Second)
	name := filepath.Join(dir, fmt.Sprintf("time%d.go", seconds))
	text := strings.Replace(string(source), now, now+fmt.Sprintf("\tsec += %d\n", seconds), 1)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: name}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, fmt.Sprintf("overlay%d.json", seconds))
	return overlay, os.WriteFile(overlay, list, 0o600)
}
