//go:build linux

package nettest

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything is waited for before the test fails. What
// works takes a small part of it, on a loaded machine too.
const Patience = 2 * time.Minute

// Eventually waits until ok holds, and fails the test if it never does.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("never: %s", what)
		}
	}
}

// Process is a program on a Host.
type Process struct {
	tb   testing.TB
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{}
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Start starts a program on the host; env is added to the environment. It is
// killed at the test's end, and when the test binary dies. What it printed is
// logged if the test fails.
func (h *Host) Start(env []string, binary string, args ...string) *Process {
	h.tb.Helper()
	p := &Process{tb: h.tb, name: h.Name, cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	h.ns.on(func() { err = p.cmd.Start() })
	if err != nil {
		h.tb.Fatalf("host %s: %v", h.Name, err)
	}
	go func() {
		_ = p.cmd.Wait() // its status is in cmd.ProcessState
		close(p.done)
	}()
	h.tb.Cleanup(func() {
		p.Kill()
		if h.tb.Failed() {
			h.tb.Logf("%s said (%d bytes):\n%s", h.Name, len(p.Output()), lastLines(p.Output(), 60))
		}
	})
	return p
}

// Kill is kill -9, and returns when the process is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may be gone
	<-p.done
}

// Stop is SIGTERM, and returns the exit status.
func (p *Process) Stop() int {
	p.tb.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		p.tb.Fatalf("%s: does not end", p.name)
		return -1
	}
}

// Output is what the process has printed so far.
func (p *Process) Output() string { return p.out.String() }

// Line waits for output that matches, and returns the first group or all.
func (p *Process) Line(pattern string) (found string) {
	p.tb.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(Patience); ; time.Sleep(20 * time.Millisecond) {
		if m := re.FindStringSubmatch(p.Output()); m != nil {
			return m[len(m)-1]
		}
		if p.Exited() || time.Now().After(end) {
			p.tb.Fatalf("%s: no output like %s:\n%s", p.name, pattern, lastLines(p.Output(), 60))
		}
	}
}

// Exited reports whether the process has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func lastLines(s string, n int) string {
	lines := slices.Collect(strings.Lines(s))
	return strings.Join(lines[max(0, len(lines)-n):], "")
}
