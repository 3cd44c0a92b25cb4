package epoll_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/draeder/peerservers/tracker/epoll"
)

func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func poller(t *testing.T) *epoll.Poller {
	t.Helper()
	p, err := epoll.NewPoller(8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// All 64 bits of an event's data come back: the upper half is where callers
// keep generations.
func TestEventsCarryTheirData(t *testing.T) {
	p := poller(t)
	a, b := pair(t)
	const data = 0xfedcba98_76543210
	if err := p.Add(a, data, epoll.Readable); err != nil {
		t.Fatal(err)
	}
	if got, woken, err := p.Wait(nil, 0); len(got) != 0 || woken || err != nil {
		t.Fatalf("before anything came: %v %v %v", got, woken, err)
	}
	if n, err := epoll.Write(b, []byte("hello")); n != 5 || err != nil {
		t.Fatalf("Write: %d %v", n, err)
	}
	for range 2 { // level-triggered: as long as it is not read
		got, woken, err := p.Wait(nil, -1)
		if err != nil || woken || len(got) != 1 || got[0].Data != data || got[0].Ready&epoll.Readable == 0 {
			t.Fatalf("Wait: %x %v %v", got, woken, err)
		}
	}
	if err := p.Modify(a, data+1, epoll.Writable); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := p.Wait(nil, -1); len(got) != 1 || got[0].Data != data+1 || got[0].Ready != epoll.Writable {
		t.Fatalf("after Modify: %x", got)
	}
	if err := p.Remove(a); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := p.Wait(nil, 0); len(got) != 0 {
		t.Fatalf("after Remove: %x", got)
	}
}

func TestReadAndWriteNeverBlock(t *testing.T) {
	a, b := pair(t)
	buf := make([]byte, 64<<10)
	if _, err := epoll.Read(a, buf); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("reading nothing: %v", err)
	}
	sent := 0
	for {
		n, err := epoll.Write(b, buf)
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				t.Errorf("writing to the full: %v", err)
			}
			break
		}
		sent += n
	}
	got := 0
	for got < sent {
		n, err := epoll.Read(a, buf)
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	unix.Shutdown(b, unix.SHUT_WR)
	if n, err := epoll.Read(a, buf); n != 0 || err != nil {
		t.Errorf("the end: %d %v", n, err)
	}
	if n, err := epoll.Write(a, nil); n != 0 || err != nil {
		t.Errorf("nothing written: %d %v", n, err)
	}
}

// A wake that came first is not lost, many are one, and none is left over.
func TestWake(t *testing.T) {
	p := poller(t)
	p.Wake()
	p.Wake()
	if got, woken, err := p.Wait(nil, -1); !woken || len(got) != 0 || err != nil {
		t.Fatalf("Wait: %v %v %v", got, woken, err)
	}
	if _, woken, _ := p.Wait(nil, 0); woken {
		t.Error("woken once more")
	}
	go p.Wake()
	if _, woken, err := p.Wait(nil, -1); !woken || err != nil {
		t.Errorf("while waiting: %v %v", woken, err)
	}
}

func TestHotCallsDoNotAllocate(t *testing.T) {
	p := poller(t)
	a, b := pair(t)
	if err := p.Add(a, 1, epoll.Readable); err != nil {
		t.Fatal(err)
	}
	buf, events := make([]byte, 16), make([]epoll.Event, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		epoll.Write(b, buf)
		p.Wake()
		p.Wait(events, 0)
		p.Modify(a, 1, epoll.Readable)
		epoll.Read(a, buf)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
