package epoll

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a descriptor is ready for, or is to be watched for; see epoll_ctl(2).
const (
	Readable = unix.EPOLLIN
	Writable = unix.EPOLLOUT
	HungUp   = unix.EPOLLHUP | unix.EPOLLERR | unix.EPOLLRDHUP
)

// Event says that what was added with Data is ready for Ready.
type Event struct {
	Ready uint32
	Data  uint64
}

// Poller watches descriptors, level-triggered. Wake may be called from any
// goroutine until Close; everything else belongs to one.
type Poller struct {
	fd, wake int
	raw      []unix.EpollEvent
}

// wakeData is the Data of the poller's own event descriptor.
const wakeData = ^uint64(0)

// NewPoller makes a poller that returns up to batch events at a time.
func NewPoller(batch int) (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &Poller{fd: fd, wake: wake, raw: make([]unix.EpollEvent, batch)}
	if err := p.Add(wake, wakeData, Readable); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close ends the poller. Descriptors that it watched stay open.
func (p *Poller) Close() error { return errors.Join(unix.Close(p.fd), unix.Close(p.wake)) }

// Add watches fd for events; data comes back with each of them and must not be
// the largest number there is.
func (p *Poller) Add(fd int, data uint64, events uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, data, events)
}

// Modify changes what fd is watched for, and its data.
func (p *Poller) Modify(fd int, data uint64, events uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, data, events)
}

// Remove stops watching fd, which closing it does as well.
func (p *Poller) Remove(fd int) error { return p.control(unix.EPOLL_CTL_DEL, fd, 0, 0) }

func (p *Poller) control(op, fd int, data uint64, events uint32) error {
	// The kernel's data is 64 bits; x/sys calls its halves Fd and Pad.
	ev := unix.EpollEvent{Events: events, Fd: int32(data), Pad: int32(data >> 32)}
	_, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	if e != 0 {
		return fmt.Errorf("epoll_ctl: %w", e)
	}
	return nil
}

// Wait appends the events that have come to dst, which should have room for a
// batch. With none it waits for up to timeout milliseconds, or without end if
// that is negative, or until somebody calls Wake, which woken reports.
func (p *Poller) Wait(dst []Event, timeout int) (_ []Event, woken bool, err error) {
	var n uintptr
	var e unix.Errno
	events := uintptr(unsafe.Pointer(&p.raw[0]))
	if timeout == 0 {
		n, _, e = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), events, uintptr(len(p.raw)), 0, 0, 0)
	} else {
		n, _, e = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), events, uintptr(len(p.raw)), uintptr(timeout), 0, 0)
	}
	switch e {
	case 0:
	case unix.EINTR:
		return dst, false, nil
	default:
		return dst, false, fmt.Errorf("epoll_pwait: %w", e)
	}
	for i := range p.raw[:n] {
		r := &p.raw[i]
		data := uint64(uint32(r.Fd)) | uint64(uint32(r.Pad))<<32
		if data == wakeData {
			woken = true
			var count [8]byte
			unix.RawSyscall(unix.SYS_READ, uintptr(p.wake), uintptr(unsafe.Pointer(&count)), uintptr(len(count)))
			continue
		}
		dst = append(dst, Event{Ready: r.Events, Data: data})
	}
	return dst, woken, nil
}

// Wake makes the Wait under way, or else the next one, return.
func (p *Poller) Wake() {
	one := [8]byte{0: 1} // any number in either byte order
	unix.RawSyscall(unix.SYS_WRITE, uintptr(p.wake), uintptr(unsafe.Pointer(&one)), uintptr(len(one)))
}

// Read reads from a socket what is there. With nothing there the error is
// unix.EAGAIN; 0 without an error is the end.
func Read(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// Write writes to a socket as much as it takes. If that is nothing the error
// is unix.EAGAIN.
func Write(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}
