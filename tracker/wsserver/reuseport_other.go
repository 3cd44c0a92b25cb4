//go:build !linux

package wsserver

import "net"

// Listen makes a listener of a TCP address: without event loops there is no
// use for more than one of the n that it makes on Linux.
func Listen(addr string, _ int) ([]net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}
