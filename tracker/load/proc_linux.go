package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what a process has used so far.
type usage struct {
	cpu  time.Duration // of all its threads, as the scheduler counts
	user time.Duration // the part outside the kernel, in ticks of 10 ms
	anon int64         // bytes of memory that is its own
}

// processUsage reads it from /proc.
func processUsage(pid int) (u usage, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, fmt.Errorf("process %d: %w", pid, err)
	}
	// The name of the program, in parentheses, may contain anything.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return u, fmt.Errorf("process %d: %s/stat is short", pid, dir)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 everywhere
	user, _ := strconv.ParseInt(string(f[11]), 10, 64)
	kernel, _ := strconv.ParseInt(string(f[12]), 10, 64)
	u.user, u.cpu = time.Duration(user)*tick, time.Duration(user+kernel)*tick
	if ns, ok := scheduled(dir); ok {
		u.cpu = ns
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, fmt.Errorf("process %d: %w", pid, err)
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("RssAnon:")); ok {
			if f := bytes.Fields(rest); len(f) > 0 {
				kib, _ := strconv.ParseInt(string(f[0]), 10, 64)
				u.anon = kib << 10
			}
		}
	}
	return u, nil
}

// scheduled is the time that all threads ran, to the nanosecond.
func scheduled(dir string) (sum time.Duration, ok bool) {
	tasks, err := os.ReadDir(dir + "/task")
	if err != nil {
		return 0, false
	}
	for _, t := range tasks {
		b, err := os.ReadFile(dir + "/task/" + t.Name() + "/schedstat")
		if err != nil {
			continue // it has just ended, or there is no such file
		}
		if f := bytes.Fields(b); len(f) > 0 {
			ns, err := strconv.ParseInt(string(f[0]), 10, 64)
			if err != nil {
				return 0, false
			}
			sum += time.Duration(ns)
		}
	}
	return sum, sum > 0
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
