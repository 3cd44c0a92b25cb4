package wsserver

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen makes n listeners of one TCP address, for so many event loops: the
// kernel deals the connections out among them. With port 0 they share the one
// that the first was given.
func Listen(addr string, n int) ([]net.Listener, error) {
	var config net.ListenConfig
	if n > 1 {
		config.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if cerr := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}); cerr != nil {
				return cerr
			}
			return err
		}
	}
	var list []net.Listener
	for range max(n, 1) {
		l, err := config.Listen(context.Background(), "tcp", addr)
		if err != nil {
			for _, l := range list {
				l.Close()
			}
			return nil, err
		}
		addr = l.Addr().String()
		list = append(list, l)
	}
	return list, nil
}
